"""Fetching a result file: streamed, resumed where it broke off, checked in size, renamed when it is whole.

The bytes go to `<name>.part` beside the destination. A download that is cut keeps its part and the next
try asks for the rest only; whatever does not fit together (another range, another size, a hole left by a
power loss) starts again. The provider's own sample follows redirects on this one call, so they are followed
here, by hand: the key goes to nobody but the API itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from voyage_jobs.core import private
from voyage_jobs.core.crash import crash_point
from voyage_jobs.core.durable import no_room_is_one_error, remove, sync_dir, sync_file
from voyage_jobs.errors import BadAnswerError, DiskFullError, InterceptedError, OutcomeUnknownError
from voyage_jobs.vendors.bounded import read_until
from voyage_jobs.vendors.remote import Downloaded
from voyage_jobs.vendors.rest.verdict import intercepted_hint

if TYPE_CHECKING:
    from voyage_jobs.vendors.rest.client import RestClient

MAX_REDIRECTS = 5
STALL_WINDOW_S = 60.0
MIN_WINDOW_BYTES = 64 * 1024  # slower than this is a connection that will never finish a file of a gigabyte
PROGRESS_BYTES = 1024 * 1024
_BLOCK_BYTES = 1024 * 1024
_OPERATION = "fetch a result file"
_REDIRECTS = {301, 302, 303, 307, 308}
_NOT_SATISFIABLE = 416
# From a storage host these say nothing about our key, nor about the file: the signed link has run out, or leads astray.
_LINK_REFUSED = {400, 401, 403, 404, 410}
_PAGE_TYPES = ("text/html", "application/xhtml+xml")
_BLANK = b" \t\r\n\xef\xbb\xbf"  # white space, and the mark that some servers put before a page
_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
_LENGTH = re.compile(r"[0-9]{1,18}")


def part_of(dest: Path) -> Path:
    """Where a download to `dest` is collected until it is whole."""
    return dest.with_name(dest.name + ".part")


def download(
    client: RestClient,
    file_id: str,
    dest: Path,
    *,
    expected_bytes: int | None,
    on_progress: Callable[[int], None] | None = None,
) -> Downloaded:
    """Fetch the content of a remote file to `dest`, which appears only when it is whole and on disk.

    `expected_bytes` is the size that the file object names. `on_progress` hears the bytes there so far
    about once per MiB; if it raises, the part is kept. `dest` must belong to this one remote file, since
    its part is trusted.

    Raises OutcomeUnknownError if the body was cut (call again to resume), InterceptedError if a network's login
    page came in its place, BadAnswerError if the whole is of another size than promised, RefusedError with
    status 404 or 410 if the API says that the file is gone, DiskFullError if there is no room.
    """
    part = part_of(dest)
    try:
        with no_room_is_one_error(str(part)):
            received = _resumable(part, expected_bytes)
            if not received.bytes or received.bytes != expected_bytes:
                received = _Fetch(client, file_id, part, expected_bytes, on_progress).run(received)
            _check_size(client, part, received.bytes, expected_bytes)
            sync_file(part)
            crash_point("download.written")
            os.replace(part, dest)
            sync_dir(dest.parent)
    except DiskFullError:
        remove(part)
        raise
    crash_point("download.renamed")
    return received.done()


class _Received:
    """Size, hash and newlines of what has passed."""

    def __init__(self) -> None:
        self.bytes = 0
        self._sha256 = hashlib.sha256()
        self._newlines = 0
        self._last = b"\n"

    def add(self, block: bytes) -> None:
        self.bytes += len(block)
        self._sha256.update(block)
        self._newlines += block.count(b"\n")
        self._last = block[-1:] or self._last

    def done(self) -> Downloaded:
        return Downloaded(self.bytes, self._sha256.hexdigest(), self._newlines + (self._last != b"\n"))


class _Fetch:
    """One download: asks, follows redirects, appends what comes."""

    def __init__(
        self,
        client: RestClient,
        file_id: str,
        part: Path,
        expected_bytes: int | None,
        on_progress: Callable[[int], None] | None,
    ) -> None:
        self._client = client
        self._url = client.content_url(file_id)
        self._part = part
        self._expected = expected_bytes
        self._on_progress = on_progress

    def run(self, received: _Received) -> _Received:
        """Fetch what is missing; from the beginning if the rest cannot be had on its own."""
        if received.bytes:
            with self._asked(received.bytes) as response:
                if response.status_code == 206 and self._continues(response, received.bytes):
                    return self._append(response, received)
                if response.status_code == 200:
                    return self._append(response, _Received())
        with self._asked(0) as response:
            if response.status_code != 200:
                odd = f"{self._client.name} answered the call to {_OPERATION} with {response.status_code}."
                raise BadAnswerError(odd, status=response.status_code)
            return self._append(response, _Received())

    @contextlib.contextmanager
    def _asked(self, offset: int) -> Iterator[httpx.Response]:
        """The answer at the end of the redirects, body unread; errors are raised, save an unfitting range."""
        # A range counts bytes of the body as encoded, so what is resumed must not be compressed.
        headers = {"Accept": "*/*", "Accept-Encoding": "gzip"}
        if offset:
            headers |= {"Accept-Encoding": "identity", "Range": f"bytes={offset}-"}
        url = self._url
        for _ in range(MAX_REDIRECTS + 1):
            with self._client.stream(_OPERATION, "GET", url, headers=headers) as response:
                if response.status_code not in _REDIRECTS:
                    if not (offset and response.status_code == _NOT_SATISFIABLE):
                        self._check(response)
                    yield response
                    return
                url = self._target(response)
        raise BadAnswerError(f"{self._client.name} redirects in circles when asked to {_OPERATION}.")

    def _target(self, response: httpx.Response) -> httpx.URL:
        """Where a redirect leads, if that is a place to go to."""
        try:
            url = response.url.join(response.headers["location"])
        except (KeyError, httpx.InvalidURL) as exc:
            raise BadAnswerError(f"{self._client.name} redirects to nowhere.") from exc
        if url.scheme not in ("http", "https") or not url.host:
            raise BadAnswerError(f"{self._client.name} redirects to something that is not HTTP.")
        if response.url.scheme == "https" and url.scheme == "http":
            raise BadAnswerError(f"{self._client.name} redirects from https to unprotected http.")
        return url

    def _check(self, response: httpx.Response) -> None:
        if response.is_success:
            return
        if not self._client.is_ours(response.url) and response.status_code in _LINK_REFUSED:
            raise OutcomeUnknownError(
                f"The storage host ({response.url.host}) rejects the link that"
                f" {self._client.api.title} gave ({response.status_code}).",
                hint="The next try gets a new link.",
                status=response.status_code,
            )
        self._client.check(response, self._client.small_body(response, _OPERATION), _OPERATION)

    def _continues(self, response: httpx.Response, offset: int) -> bool:
        match = _RANGE.fullmatch(response.headers.get("content-range", "").strip())
        if match is None or int(match[1]) != offset or _is_encoded(response):
            return False
        return match[3] == "*" or self._expected is None or int(match[3]) == self._expected

    def _append(self, response: httpx.Response, received: _Received) -> _Received:
        """Write the body behind what `tally` has seen; on any break what came is kept for the next try."""
        blocks = self._no_page(response)
        stall = _Stall(response, self._client, max(STALL_WINDOW_S, 2 * self._client.timeout_s))
        begun = reported = received.bytes
        mode = "ab" if received.bytes else "wb"
        with open(self._part, mode, buffering=_BLOCK_BYTES, opener=private.opener) as out:
            for block in blocks:
                out.write(block)
                received.add(block)
                stall.check(len(block))
                if self._expected is not None and received.bytes > self._expected:
                    return received  # no use in reading on: the size check refuses it
                if self._on_progress is not None and received.bytes - reported >= PROGRESS_BYTES:
                    reported = received.bytes
                    self._on_progress(reported)
        if self._on_progress is not None:
            self._on_progress(received.bytes)
        if self._is_cut(response, received.bytes - begun, received.bytes):
            raise OutcomeUnknownError(
                f"{self._client.name} broke off the result file after {received.bytes} bytes.",
                hint="The next try resumes there.",
            )
        return received

    def _no_page(self, response: httpx.Response) -> Iterator[bytes]:
        """The body, unless it is a web page: then nothing is written, and what a former try left is kept."""
        blocks = response.iter_bytes()
        if response.headers.get("content-type", "").split(";")[0].strip().lower() not in _PAGE_TYPES:
            return blocks
        first = b""
        for block in blocks:
            first += block
            if first.strip(_BLANK) or len(first) > _BLOCK_BYTES:
                break
        if first.lstrip(_BLANK).startswith(b"<"):
            raise InterceptedError(
                f"Something between here and {self._client.named(response.url)} answered the call to {_OPERATION},"
                " with an HTML page.",
                hint=intercepted_hint(self._client.api),
                status=response.status_code,
            )
        return itertools.chain([first], blocks)

    def _is_cut(self, response: httpx.Response, received: int, total: int) -> bool:
        """Whether the transport itself shows that there should have been more."""
        head = response.headers
        whole = _RANGE.fullmatch(head.get("content-range", "").strip())
        if whole is not None and whole[3] != "*" and total < int(whole[3]):
            return True
        length = head.get("content-length", "")
        if _LENGTH.fullmatch(length) and not _is_encoded(response):  # it counts bytes as encoded
            return received < int(length)
        framed = length or "transfer-encoding" in head
        return not framed and self._expected is not None and total < self._expected


class _Stall:
    """Ends a body that only trickles: a read timeout alone is satisfied by one byte a minute."""

    def __init__(self, response: httpx.Response, client: RestClient, window_s: float) -> None:
        self._response = response
        self._client = client
        self._clock = client.clock
        self._window_s = window_s
        self._begin(self._clock.mono())

    def _begin(self, now: float) -> None:
        """A window, beyond which nothing is read: what comes may be no byte of the content (the frames of chunks)."""
        self._since, self._bytes = now, 0
        read_until(self._response, now + 2 * self._window_s)

    def check(self, count: int) -> None:
        self._bytes += count
        now = self._clock.mono()
        if self._client.give_up_at is not None and now >= self._client.give_up_at:
            raise OutcomeUnknownError(
                "The deadline passed before the result file was complete.",
                hint="The next try resumes there.",
            )
        if now - self._since < self._window_s:
            return
        if self._bytes < MIN_WINDOW_BYTES:
            raise OutcomeUnknownError(
                f"The result file trickles: {self._bytes} bytes in {now - self._since:.0f} s.",
                hint="The next try resumes there.",
            )
        self._begin(now)


def _resumable(part: Path, expected_bytes: int | None) -> _Received:
    """What a former try left behind; nothing, and no file, if it cannot be the beginning of this one.

    Result files are JSON lines and hold no NUL byte: one that does was cut by a power loss, whose holes
    read as zeros.
    """
    received = _Received()
    try:
        size = os.path.getsize(part)
    except FileNotFoundError:
        return received
    if expected_bytes is None or size <= expected_bytes:
        for block in _blocks(part):
            if b"\0" in block:
                break
            received.add(block)
        else:
            return received
    remove(part)
    return _Received()


def _check_size(client: RestClient, part: Path, size: int, expected_bytes: int | None) -> None:
    if expected_bytes is not None and size != expected_bytes:
        remove(part)
        raise BadAnswerError(
            f"{client.name} sent a result file of {size} bytes where it promised {expected_bytes}."
        )


def _is_encoded(response: httpx.Response) -> bool:
    return response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity")


def _blocks(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while block := file.read(_BLOCK_BYTES):
            yield block
