"""Logs: lines in the order of time, cut into segments that the lines themselves choose.

A log grows at its end and is cut off at its head, is renamed and packed. So a segment ends before a line that its own
words choose, and is named after what it says: neither moves any other segment. Only the last one is not complete; how
far the others reach is all that has to be known to read on from there.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, BinaryIO, NamedTuple
from zlib import crc32

from voyage_jobs.readers.encodings import AUTO, utf16_without_mark
from voyage_jobs.readers.reader import Refusal, Refused
from voyage_jobs.readers.text import decoded
from voyage_jobs.records.rows import Row

LEAST_BYTES, MOST_BYTES = 56 << 10, 128 << 10
"""Of a segment, but for the last one."""
TAIL = "tail"
"""The id of the last segment, which is not complete."""
_ONE_IN = 256  # lines begin a segment, from the least size on: 81 KiB each where a line has 100 bytes
_SEEN_BYTES = 64  # of a line decide
_READ_BYTES = 1 << 20
_CHECK_BYTES = 4 << 10
_BOMB_BYTES, _BOMB_TIMES = 256 << 20, 250  # a log that packs better than that, and to more, is none
_WIDE_MARKS = (  # those of UTF-32 first, of which one begins as one of UTF-16 does
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_GZIP = b"\x1f\x8b"
_TIME = re.compile(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?: ?(?:Z|[+-]\d\d:?\d\d))?")


class Reached(NamedTuple):
    """How far the complete segments of a log go, and the hash of its first bytes and of those before that."""

    offset: int
    check: str


@dataclass
class LogFile:
    """One reading of a log, up to `size` bytes of it: what is written to it meanwhile is for the next one."""

    file: BinaryIO
    size: int
    encoding: str = ""
    begun_at: int = 0
    """Where it was read on; 0: from the start."""
    reached: Reached | None = None
    """How far its complete segments go, once it was read; None of what is packed or in UTF-16, which is read from its
    start again."""

    def read_on(self, before: Reached | None) -> bool:
        """Begin where the last reading ended, if what stands before is what stood there then."""
        if before is None or before.offset > self.size or self._check(before.offset) != before.check:
            return False
        self.begun_at = before.offset
        return True

    def rows(self) -> Iterator[Row]:
        """A row for each segment that is not blank; the last one has the id `TAIL`. Raises Refused."""
        self.file.seek(0)
        packed = self.file.read(len(_GZIP)) == _GZIP
        self.file.seek(0 if packed else self.begun_at)
        given = _unpacked(self.file) if packed else _limited(self.file, self.size - self.begun_at)
        head = next(given, b"")
        wide = _wide(head, self.encoding) if not self.begun_at else ""
        given, encoding = chain([head], given), self.encoding
        if wide:
            given, encoding = _as_utf8(given, wide), ""
        offset = self.begun_at
        for at, (segment, is_whole) in enumerate(_segments(given), 1):
            if at == 1 and not self.begun_at:
                _demand_text(segment, encoding)
            offset += len(segment) if is_whole else 0
            if (text := _text(segment, encoding)).strip():
                yield Row(at, _values(segment, text, is_whole))
        if not packed and not wide:
            self.reached = Reached(offset, self._check(offset))

    def _check(self, offset: int) -> str:
        self.file.seek(0)
        seen = hashlib.blake2b(self.file.read(min(_CHECK_BYTES, offset)), digest_size=16)
        self.file.seek(max(0, offset - _CHECK_BYTES))
        seen.update(self.file.read(min(_CHECK_BYTES, offset)))
        return seen.hexdigest()


def _text(segment: bytes, said: str) -> str:
    encoding = "utf-8" if said in ("", AUTO) else said
    try:
        text = segment.decode(encoding)
    except UnicodeDecodeError:
        text = segment.decode(encoding, "backslashreplace")  # a few bytes of another encoding lose no line
    return text.replace("\0", " ")


def _wide(head: bytes, said: str) -> str:
    """The encoding of a log whose characters are several bytes each, so that no byte is a line end; else empty.

    A mark tells, then what is `said`, then, where that is `auto`, the zero bytes.
    """
    for mark, encoding in _WIDE_MARKS:
        if head.startswith(mark):
            return encoding
    if said == AUTO:
        return utf16_without_mark(head[:_CHECK_BYTES]) or ""
    return said if said.startswith(("utf-16", "utf-32")) else ""


def _as_utf8(given: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """The same text in UTF-8, without its mark and the half character that may be the last."""
    decoder, is_first = codecs.getincrementaldecoder(encoding)("backslashreplace"), True
    for part in given:
        text = decoder.decode(part)
        if is_first:
            text, is_first = text.removeprefix("\ufeff"), False
        if text:
            yield text.encode(errors="backslashreplace")


def _values(segment: bytes, text: str, is_whole: bool) -> dict[str, Any]:
    """Its id is the time of its first line, if it has one, and a hash; it changed last at the time of its last line."""
    times = _TIME.findall(segment[-_CHECK_BYTES:])
    updated = times[-1].decode().replace(",", ".") if times else ""
    if not is_whole:
        return {"id": TAIL, "text": text, "updated": updated}
    digest = hashlib.blake2b(segment, digest_size=8).hexdigest()
    first = _TIME.search(segment, 0, _CHECK_BYTES)
    name = f"{first[0][:19].decode().replace(' ', 'T')}-{digest}" if first else digest
    return {"id": name, "text": text, "updated": updated}


def _limited(file: BinaryIO, size: int) -> Iterator[bytes]:
    while size > 0 and (part := file.read(min(size, _READ_BYTES))):
        size -= len(part)
        yield part


def _unpacked(file: BinaryIO) -> Iterator[bytes]:
    """What is packed in a file, as long as it is that of a log. Raises Refused."""
    found = 0
    try:
        with gzip.GzipFile(fileobj=file) as opened:
            while part := opened.read(_READ_BYTES):
                found += len(part)
                if found > _BOMB_BYTES and found > _BOMB_TIMES * os.fstat(file.fileno()).st_size:
                    raise Refused(Refusal.LIMIT, f"unpacks to more than {_BOMB_TIMES} times its size")
                yield part
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise Refused(Refusal.BROKEN, "only a part of what was packed") from None


def _segments(given: Iterator[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Segments, and whether they are complete: whatever is written after them, they stay as they are."""
    held, ended = b"", False
    while True:
        while not ended and len(held) < MOST_BYTES + _SEEN_BYTES:
            part = next(given, b"")
            held, ended = held + part, not part
        at, cut = 0, _cut(held, 0)
        while cut:
            yield held[at:cut], True
            at, cut = cut, _cut(held, cut)
        held = held[at:]
        if ended:
            if held:
                yield held, False
            return


def _cut(held: bytes, start: int) -> int:
    """Where the segment ends that begins here; 0 if what is at hand does not tell."""
    most = start + MOST_BYTES
    last, at = 0, held.find(b"\n", start + LEAST_BYTES - 1) + 1
    while 0 < at < most:
        end = held.find(b"\n", at, at + _SEEN_BYTES)
        if end < 0 and len(held) < at + _SEEN_BYTES:
            return 0
        line = held[at : end if end >= 0 else at + _SEEN_BYTES]
        if crc32(line) % _ONE_IN == 0 and not line[:1].isspace():
            return at
        last, at = at, held.find(b"\n", at) + 1
    if len(held) < most + _SEEN_BYTES:
        return 0
    while not last and held[most] & 0xC0 == 0x80 and most > start + LEAST_BYTES:
        most -= 1  # not within a character
    return last or most


def _demand_text(segment: bytes, encoding: str) -> None:
    """Raise Refused for a file whose beginning is that of no text."""
    try:
        decoded(segment.lstrip(b"\0"), encoding)
    except Refused as refused:
        if refused.reason == Refusal.BINARY:
            raise
