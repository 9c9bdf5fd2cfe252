"""A source without a disk: objects by key, as a store over a network has them."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator

from voyage_jobs.sources.files import FileStat, Skip, SkipReason
from voyage_jobs.sources.source import FolderScan, Known, Opened, RootIdentity, RootMissing


class MemorySource:
    """Objects by path. Each write gives an object a number of its own, as an etag would be; folders are prefixes."""

    fingerprint = "all:"

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, int, int]] = {}
        self.there = True
        self._writes = 0

    def write(self, path: str, data: bytes, mtime_ns: int = 1_000_000_000) -> None:
        """Put an object, in place of the one before."""
        self._writes += 1
        self.objects[path] = (data, mtime_ns, self._writes)

    def identity(self) -> RootIdentity:
        """There is one bucket."""
        if not self.there:
            raise RootMissing("There is no bucket.")
        return RootIdentity(1, 1)

    def discover(self, known: Callable[[str], Known], *, rules_changed: bool = False) -> Iterator[FolderScan]:
        """Prefix by prefix."""
        self.identity()
        return self._folders(known)

    def _folders(self, known: Callable[[str], Known]) -> Iterator[FolderScan]:
        above = {path.rpartition("/")[0] for path in self.objects}
        found = {
            "",
            *above,
            *(folder[:at] for folder in above for at in range(len(folder)) if folder[at] == "/"),
        }
        for folder in sorted(found):
            here = sorted(path for path in self.objects if path.rpartition("/")[0] == folder)
            was, scan = dict(known(folder)), FolderScan(folder, device=1)
            for now in filter(None, map(self.revision, here)):
                if was.pop(now.name, None) == now.key:
                    scan.unchanged += 1
                else:
                    scan.changed.append(now)
            scan.vanished = sorted(was)
            yield scan

    def revision(self, path: str) -> FileStat | None:
        """Size, time and number."""
        if path not in self.objects:
            return None
        data, mtime_ns, number = self.objects[path]
        return FileStat(path.rpartition("/")[2], len(data), mtime_ns, number)

    def open(self, path: str, expected: FileStat) -> Opened | Skip:
        """The object, if it is the one that was listed."""
        now = self.revision(path)
        if now is None:
            return Skip(expected.name, SkipReason.VANISHED, "gone since it was listed")
        if now != expected:
            return Skip(expected.name, SkipReason.CHANGING, "changed since it was listed")
        data = self.objects[path][0]
        return Opened(io.BytesIO(data), hashlib.blake2b(data, digest_size=20).digest(), now)

    def stream(self, path: str, expected: FileStat, *, hashed: bool = True) -> Opened | Skip:
        """It is in memory anyway."""
        return self.open(path, expected)

    def keeps(self, path: str) -> bool:
        """All of them."""
        return True

    def enters(self, folder: str) -> bool:
        """All of them."""
        return True

    def to_watch(self) -> Iterator[bytes]:
        """Nothing tells."""
        self.identity()
        return iter(())
