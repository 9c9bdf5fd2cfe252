"""The words that walking and reading share: what identifies a file's state, and why a file is not taken."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

_HALF = 1 << 63


class SkipReason(StrEnum):
    """Why a source does not hand out a file that its rules want. Readers have reasons of their own."""

    SYMLINK = "symlink"  # links are not followed
    OUTSIDE = "outside"  # the link leads out of the source folder
    CYCLE = "cycle"  # the link leads to a folder that is entered already
    SPECIAL = "special"  # a FIFO, socket or device: never opened
    UNREADABLE = "unreadable"  # the operating system refuses
    VANISHED = "vanished"  # listed, then gone
    CHANGING = "changing"  # changed between the look and the end of reading
    TOO_LARGE = "too_large"


Revision = tuple[int, int, int, int | None]
"""Size, mtime_ns, inode and ctime_ns of a file; the last is None where an older release read it."""


class FileStat(NamedTuple):
    """A file's name in its folder, and its revision: what changes when its content does.

    `size` is in bytes, `mtime_ns` when it was last written to, by its own account. `inode` is the source's own: of a
    file its inode, elsewhere any number that is another for another content. `ctime_ns` is when the system last changed
    anything about it, which no program can set back; None where the source has no such time. All fit in 64 signed bits.
    """

    name: str
    size: int
    mtime_ns: int
    inode: int
    ctime_ns: int | None = None

    @classmethod
    def of(cls, name: str, stat: os.stat_result) -> FileStat:
        """The part of `stat` that is compared from scan to scan."""
        mtime_ns, inode, ctime_ns = stat.st_mtime_ns, stat.st_ino, stat.st_ctime_ns
        if not (-_HALF <= mtime_ns < _HALF and inode < _HALF and -_HALF <= ctime_ns < _HALF):
            mtime_ns, inode, ctime_ns = map(_signed64, (mtime_ns, inode, ctime_ns))
        return cls(name, stat.st_size, mtime_ns, inode, ctime_ns)

    @property
    def key(self) -> Revision:
        """What is remembered of it from scan to scan."""
        return self[1:]

    def is_as(self, was: Revision | None) -> bool:
        """Whether it is as it was; a time of change that was not remembered is taken for the same."""
        return was is not None and was[:3] == self[1:4] and was[3] in (None, self.ctime_ns)


@dataclass(frozen=True, slots=True)
class Skip:
    """A file that is not taken.

    `stat` is set where another look is pointless until the file changes; without it the next scan tries
    again.
    """

    name: str
    reason: str
    """A `SkipReason`, or that of a reader."""
    detail: str = ""
    stat: FileStat | None = None


def _signed64(number: int) -> int:
    """Inode numbers and times past the year 2262 may need 64 unsigned bits; SQLite has 63 and a sign."""
    return (number + _HALF) % (2 * _HALF) - _HALF
