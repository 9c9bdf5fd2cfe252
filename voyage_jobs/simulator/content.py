"""File contents on their way out: whole, in ranges, or by way of another host."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping

from voyage_jobs.core.clock import US
from voyage_jobs.simulator.answers import about_sick
from voyage_jobs.simulator.faults import FaultParams, FaultScript, Hit
from voyage_jobs.simulator.files import StoredFile
from voyage_jobs.simulator.messages import ApiError, Request, Response
from voyage_jobs.simulator.options import Options
from voyage_jobs.simulator.stamps import Ids

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_GZIP = 16 + zlib.MAX_WBITS
_SOUND_BYTES = 1 << 16
_NO_BLOCK = b"\xff" * 64  # 11 is no type of block


class Contents:
    """Serves the bytes of files and remembers the addresses it has redirected to."""

    def __init__(self, ids: Ids, options: Options, faults: FaultScript) -> None:
        self._ids = ids
        self._options = options
        self._faults = faults
        self._tokens: dict[str, tuple[StoredFile, int]] = {}

    def of(self, file: StoredFile, request: Request, now_us: int) -> Response:
        """The answer to GET /files/{id}/content."""
        if self._options.redirect_to is None:
            return self._served(file, request.headers, now_us)
        self._tokens = {t: entry for t, entry in self._tokens.items() if entry[1] > now_us}
        token = self._ids.new()
        self._tokens[token] = (file, now_us + int(self._options.redirect_valid_s * US))
        return Response(302, {"location": f"{self._options.redirect_to.rstrip('/')}/_storage/{token}"})

    def stored(self, token: str, request: Request, now_us: int) -> Response:
        """The other host's answer; like signed storage addresses it takes no second form of authorization."""
        if "authorization" in request.headers:
            raise ApiError(400, "Only one auth mechanism allowed.")
        file, until_us = self._tokens.get(token, (None, 0))
        if file is None or now_us >= until_us:
            raise ApiError(403, "The signed address is not valid or has expired.")
        return self._served(file, request.headers, now_us)

    def _served(self, file: StoredFile, headers: Mapping[str, str], now_us: int) -> Response:
        """The bytes, unless they are the results of a job that is sick."""
        whole = self._bytes(file, headers, file.blob.size)

        def fits(params: FaultParams) -> bool:
            strikes = {"short": file.blob.size, "reset": whole.length}.get(params["how"], 1) > 0
            return strikes and params["which"] in ("both", file.purpose.removeprefix("batch-"))

        hit = file.job and self._faults.item("results_sick", file.job, now_us, fits)
        if not hit:
            return whole
        match hit["how"]:
            case "short":
                return self._bytes(file, headers, _kept(hit, file.blob.size))
            case "bad_gzip":
                shown = {"content-type": "text/plain", "content-encoding": "gzip"}
                broken = _broken_gzip(file.blob.read(0, _SOUND_BYTES))
                return Response(200, shown, broken, len(broken))
            case "reset":
                body = _first(whole.chunks(), _kept(hit, whole.length))
                return Response(whole.status, whole.headers, body, whole.length, cut=True, reset=True)
        raise about_sick(hit)

    def _bytes(self, file: StoredFile, headers: Mapping[str, str], size: int) -> Response:
        """The first `size` bytes of a file, or what is asked for of them."""
        blob = file.blob
        shown = {"content-type": "text/plain"}
        asked = _RANGE.fullmatch(headers.get("range", "")) if self._options.ranges else None
        if self._options.ranges:
            shown["accept-ranges"] = "bytes"
        if asked is None:
            return Response(200, shown, blob.chunks(0, size), size)
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


def _kept(hit: Hit, size: int) -> int:
    """How much of a body comes: a share of it, else all but one byte."""
    share = hit["keep_share"]
    return size - 1 if share is None else min(size - 1, int(size * share))


def _broken_gzip(data: bytes) -> bytes:
    """A gzip body that yields the data and then cannot be decoded any further."""
    packer = zlib.compressobj(wbits=_GZIP)
    return packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH) + _NO_BLOCK
