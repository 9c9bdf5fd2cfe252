"""File contents on their way out: whole, in ranges, or by way of another host."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from voyage_jobs.clock import US
from voyage_jobs.simulator.blobs import Blob
from voyage_jobs.simulator.files import StoredFile
from voyage_jobs.simulator.messages import ApiError, Request, Response
from voyage_jobs.simulator.options import Options
from voyage_jobs.simulator.stamps import Ids

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class Contents:
    """Serves the bytes of files and remembers the addresses it has redirected to."""

    def __init__(self, ids: Ids, options: Options) -> None:
        self._ids = ids
        self._options = options
        self._tokens: dict[str, tuple[Blob, int]] = {}

    def of(self, file: StoredFile, request: Request, now_us: int) -> Response:
        """The answer to GET /files/{id}/content."""
        if self._options.redirect_to is None:
            return self._bytes(file.blob, request.headers)
        self._tokens = {t: entry for t, entry in self._tokens.items() if entry[1] > now_us}
        token = self._ids.new()
        self._tokens[token] = (file.blob, now_us + int(self._options.redirect_valid_s * US))
        return Response(302, {"location": f"{self._options.redirect_to.rstrip('/')}/_storage/{token}"})

    def stored(self, token: str, request: Request, now_us: int) -> Response:
        """The other host's answer; like signed storage addresses it takes no second form of authorization."""
        if "authorization" in request.headers:
            raise ApiError(400, "Only one auth mechanism allowed.")
        blob, until_us = self._tokens.get(token, (None, 0))
        if blob is None or now_us >= until_us:
            raise ApiError(403, "The signed address is not valid or has expired.")
        return self._bytes(blob, request.headers)

    def _bytes(self, blob: Blob, headers: Mapping[str, str]) -> Response:
        size = blob.size
        shown = {"content-type": "text/plain"}
        asked = _RANGE.fullmatch(headers.get("range", "")) if self._options.ranges else None
        if self._options.ranges:
            shown["accept-ranges"] = "bytes"
        if asked is None:
            return Response(200, shown, blob.chunks(), size)
        start = int(asked[1])
        stop = min(int(asked[2]) + 1, size) if asked[2] else size
        if start >= size or stop <= start:
            return Response(416, {"content-range": f"bytes */{size}"})
        shown["content-range"] = f"bytes {start}-{stop - 1}/{size}"
        return Response(206, shown, blob.chunks(start, stop), stop - start)


def cut(response: Response, keep_share: float) -> Response:
    """The same answer, but the connection breaks after that share of its body."""
    body = _first(response.chunks(), int(response.length * keep_share))
    return Response(response.status, response.headers, body, response.length, cut=True)


def _first(pieces: Iterator[bytes], left: int) -> Iterator[bytes]:
    for piece in pieces:
        yield piece[:left]
        left -= len(piece)
        if left <= 0:
            return
