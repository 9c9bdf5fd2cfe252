"""A folder as a source of documents.

Nothing is opened that could block or act on being opened, and nothing is taken from a file that changed
between the walk's look at it and the end of reading: the next scan takes that one.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import io
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence

from voyage_jobs.sources import names
from voyage_jobs.sources.files import FileStat, Skip, SkipReason
from voyage_jobs.sources.folders import folders
from voyage_jobs.sources.ignored import Ignored
from voyage_jobs.sources.rules import PathRules
from voyage_jobs.sources.source import FolderScan, Known, Opened, RootIdentity
from voyage_jobs.sources.walk import root_identity, walk

CONTENT_HASH_BYTES = 20

_OPEN_FILE = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_READ_BYTES = 1 << 20
_GONE = {errno.ENOENT, errno.ENOTDIR}


class FolderSource:
    """The files below `root` that `include` and `exclude` want, as long as they have at most `max_bytes`.

    `include`, `exclude` and `hidden` are those of `PathRules`; `gitignore` and `default_exclude` leave out what
    `Ignored` names. What it read of that it remembers: make another one to see it as it is later.
    """

    def __init__(
        self,
        root: bytes,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        *,
        hidden: bool = False,
        gitignore: bool = False,
        default_exclude: bool = False,
        follow_symlinks: bool = False,
        max_bytes: int = sys.maxsize,
    ) -> None:
        self.root = root
        self._below = os.path.join(root, b"")
        ignored = Ignored(root, gitignore=gitignore, generated=default_exclude)
        self._patterns = (include, exclude, hidden, ignored)
        self._follow_symlinks = follow_symlinks
        self._max_bytes = max_bytes

    @functools.cached_property
    def rules(self) -> PathRules:
        """Its rules. Raises ConfigError for a pattern that is none."""
        return PathRules(*self._patterns)

    @property
    def fingerprint(self) -> str:
        """Of the patterns, then of what decides besides whether a file is read."""
        return f"{self.rules.fingerprint}:{self._max_bytes}:{self._follow_symlinks}"

    def identity(self) -> RootIdentity:
        """Device and inode of the folder. Raises RootMissing."""
        return root_identity(self.root)

    def discover(self, known: Callable[[str], Known], *, rules_changed: bool = False) -> Iterator[FolderScan]:
        """See `walk`."""
        return walk(
            self.root,
            self.rules,
            follow_symlinks=self._follow_symlinks,
            known=known,
            rules_changed=rules_changed,
        )

    def revision(self, path: str) -> FileStat | None:
        """What the system says of the file now, links followed."""
        try:
            return FileStat.of(path.rpartition("/")[2], os.stat(self._os_path(path)))
        except OSError:
            return None

    def open(self, path: str, expected: FileStat) -> Opened | Skip:
        """The file's bytes, if it is and stays as `expected`; files over the limit are not read."""
        found = self._opened(path, expected)
        if isinstance(found, Skip):
            return found
        try:
            return self._read(found, expected)
        finally:
            os.close(found)

    def stream(self, path: str, expected: FileStat, *, hashed: bool = True) -> Opened | Skip:
        """The file, if it is as `expected`, and the hash of all its bytes, if it is asked for. Any size will do."""
        found = self._opened(path, expected)
        if isinstance(found, Skip):
            return found
        file = io.BufferedReader(io.FileIO(found), _READ_BYTES)
        if not hashed:
            return Opened(file, b"", expected)
        try:
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=CONTENT_HASH_BYTES))
            file.seek(0)
        except OSError as exc:
            file.close()
            return Skip(expected.name, SkipReason.UNREADABLE, exc.strerror or str(exc))
        return Opened(file, digest.digest(), expected)

    def _opened(self, path: str, expected: FileStat) -> int | Skip:
        """A descriptor of the file, to be closed, if it is as `expected`."""
        flags = _OPEN_FILE if self._follow_symlinks else _OPEN_FILE | os.O_NOFOLLOW
        try:
            fd = os.open(self._os_path(path), flags)
        except OSError as exc:
            return _cannot_open(expected.name, exc)
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                fault = Skip(expected.name, SkipReason.SPECIAL, "not a regular file")
            elif FileStat.of(expected.name, found) != expected:
                fault = Skip(expected.name, SkipReason.CHANGING, "changed since it was listed")
            else:
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
        return fault

    def _read(self, fd: int, now: FileStat) -> Opened | Skip:
        if now.size > self._max_bytes:
            return Skip(
                now.name, SkipReason.TOO_LARGE, f"{now.size:,} bytes; the limit is {self._max_bytes:,}", now
            )
        try:
            data = _bytes(fd, now.size)
            if len(data) != now.size or FileStat.of(now.name, os.fstat(fd)) != now:
                return Skip(now.name, SkipReason.CHANGING, "changed while it was read")
        except OSError as exc:
            return Skip(now.name, SkipReason.UNREADABLE, exc.strerror or str(exc))
        digest = hashlib.blake2b(data, digest_size=CONTENT_HASH_BYTES).digest()
        return Opened(io.BytesIO(data), digest, now)

    def keeps(self, path: str) -> bool:
        """By its patterns."""
        return self.rules.keeps(path)

    def enters(self, folder: str) -> bool:
        """By its patterns."""
        return self.rules.enters(folder)

    def to_watch(self) -> Iterator[bytes]:
        """Every folder that a walk would enter. Raises RootMissing."""
        return folders(self.root, self.rules, follow_symlinks=self._follow_symlinks)

    def _os_path(self, path: str) -> bytes:
        return self._below + names.decode(path)


def _cannot_open(name: str, exc: OSError) -> Skip:
    if exc.errno in _GONE:
        return Skip(name, SkipReason.VANISHED, "gone since it was listed")
    if exc.errno == errno.ELOOP:
        return Skip(name, SkipReason.SYMLINK, "became a link since it was listed")
    if exc.errno == errno.ENXIO:
        return Skip(name, SkipReason.SPECIAL, "a socket or a device without its driver")
    return Skip(name, SkipReason.UNREADABLE, exc.strerror or str(exc))


def _bytes(fd: int, size: int) -> bytes:
    """Up to `size` bytes and one more, by which a file that grew is found out."""
    parts, left = [], size + 1
    while left > 0:
        part = os.read(fd, min(left, _READ_BYTES))
        if not part:
            break
        parts.append(part)
        left -= len(part)
        if left == 1 and len(part) < _READ_BYTES:  # that was its end: it gave less than it was asked for
            break
    return parts[0] if len(parts) == 1 else b"".join(parts)
