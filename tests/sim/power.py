"""Power losses: what was not synced is not on the disk.

Every fsync of the process is noted. A power loss then empties each file that was never synced and cuts each that grew
since. SQLite calls fsync from C, unseen here; its commits are taken for durable, as they are under `synchronous=FULL`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock


class Power:
    """Notes what is durable. `watched` must enclose everything that may sync."""

    def __init__(self) -> None:
        self._sizes: dict[int, int] = {}

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Note every fsync of this process."""
        with mock.patch("os.fsync", self._note):
            yield

    def _note(self, fd: int) -> None:
        stat = os.fstat(fd)
        self._sizes[stat.st_ino] = stat.st_size

    def lose(self, *folders: Path) -> int:
        """Cut every file below these folders to what was synced of it. Returns how many were cut."""
        cut = 0
        for folder in folders:
            for path in folder.rglob("*"):
                if path.is_file():
                    stat = path.stat()
                    durable = min(self._sizes.get(stat.st_ino, 0), stat.st_size)
                    if durable < stat.st_size:
                        os.truncate(path, durable)
                        cut += 1
        return cut
