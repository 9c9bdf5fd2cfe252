"""One file's text and content hash, or the reason why it is not taken.

Nothing is opened that could block or act on being opened, and nothing is taken from a file that changed
between the walk's look at it and the end of reading: the next scan takes that one.
"""

from __future__ import annotations

import codecs
import errno
import hashlib
import os
import stat
from dataclasses import dataclass

from voyage_jobs.sources.files import FileStat, Skip, SkipReason

CONTENT_HASH_BYTES = 20

_OPEN_FILE = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_READ_BYTES = 1 << 20
_GONE = {errno.ENOENT, errno.ENOTDIR}
# What names itself in its first bytes, and may hold no zero byte that would give it away.
_BINARY_HEADS = (b"%PDF-", b"PK\x03\x04", b"\x1f\x8b", b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"{\\rtf")


@dataclass(frozen=True, slots=True)
class ReadDocument:
    """A file's text. Offsets into a document are offsets into `text`, in characters."""

    text: str
    """Decoded, without byte order mark; line ends are those of the file."""
    encoding: str
    content_hash: bytes
    """BLAKE2b, 20 bytes, of the file's bytes as they are."""
    stat: FileStat

    @property
    def text_hash(self) -> bytes:
        """BLAKE2b, 20 bytes, of `text` in UTF-8: another one cannot be cut by the same offsets."""
        return hashlib.blake2b(self.text.encode(), digest_size=CONTENT_HASH_BYTES).digest()


def read_document(
    path: bytes, expected: FileStat, *, max_bytes: int, follow_symlinks: bool = False
) -> ReadDocument | Skip:
    """Read the file at `path`, which looked as `expected` to the walk; files over `max_bytes` are not read.

    Never raises for what a file may be or do; every such case is a Skip under the name of `expected`.
    """
    try:
        fd = os.open(path, _OPEN_FILE if follow_symlinks else _OPEN_FILE | os.O_NOFOLLOW)
    except OSError as exc:
        return _cannot_open(expected.name, exc)
    try:
        before = os.fstat(fd)
        if not stat.S_ISREG(before.st_mode):
            return Skip(expected.name, SkipReason.SPECIAL, "not a regular file")
        now = FileStat.of(expected.name, before)
        if now.size > max_bytes:
            return Skip(
                now.name, SkipReason.TOO_LARGE, f"{now.size:,} bytes; the limit is {max_bytes:,}", now
            )
        if now != expected:
            return Skip(now.name, SkipReason.CHANGING, "changed since it was listed")
        data = _read(fd, now.size)
        if len(data) != now.size or FileStat.of(now.name, os.fstat(fd)) != now:
            return Skip(now.name, SkipReason.CHANGING, "changed while it was read")
    except OSError as exc:
        return Skip(expected.name, SkipReason.UNREADABLE, exc.strerror or str(exc))
    finally:
        os.close(fd)
    return _decoded(data, now)


def _cannot_open(name: str, exc: OSError) -> Skip:
    if exc.errno in _GONE:
        return Skip(name, SkipReason.VANISHED, "gone since it was listed")
    if exc.errno == errno.ELOOP:
        return Skip(name, SkipReason.SYMLINK, "became a link since it was listed")
    if exc.errno == errno.ENXIO:
        return Skip(name, SkipReason.SPECIAL, "a socket or a device without its driver")
    return Skip(name, SkipReason.UNREADABLE, exc.strerror or str(exc))


def _read(fd: int, size: int) -> bytes:
    """Up to `size` bytes and one more, by which a file that grew is found out."""
    parts, left = [], size + 1
    while left > 0:
        part = os.read(fd, min(left, _READ_BYTES))
        if not part:
            break
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _decoded(data: bytes, now: FileStat) -> ReadDocument | Skip:
    encoding, mark = _encoding(data)
    if encoding == "utf-8":
        zero = data.find(b"\0")
        if zero >= 0:
            return Skip(now.name, SkipReason.BINARY, f"a zero byte at offset {zero}", now)
        if data.startswith(_BINARY_HEADS):
            return Skip(now.name, SkipReason.BINARY, "starts as a binary format does", now)
    try:
        text = data[mark:].decode(encoding) if mark else data.decode(encoding)
    except UnicodeDecodeError as exc:
        detail = f"not {encoding.upper()} at byte {mark + exc.start}"
        return Skip(now.name, SkipReason.UNDECODABLE, detail, now)
    if not text or text.isspace():
        return Skip(now.name, SkipReason.EMPTY, "nothing but white space" if text else "no text", now)
    if "\0" in text:
        return Skip(now.name, SkipReason.BINARY, f"a zero character at offset {text.index(chr(0))}", now)
    digest = hashlib.blake2b(data, digest_size=CONTENT_HASH_BYTES).digest()
    return ReadDocument(text, encoding, digest, now)


def _encoding(data: bytes) -> tuple[str, int]:
    """The encoding by byte order mark, and the mark's length."""
    if data.startswith(codecs.BOM_UTF8):
        return "utf-8", len(codecs.BOM_UTF8)
    if data.startswith(codecs.BOM_UTF16_LE):
        return "utf-16-le", len(codecs.BOM_UTF16_LE)
    if data.startswith(codecs.BOM_UTF16_BE):
        return "utf-16-be", len(codecs.BOM_UTF16_BE)
    return "utf-8", 0
