"""Following symbolic links without leaving the source and without going round in circles."""

from __future__ import annotations

import errno
import os
import stat

from voyage_jobs.sources import names
from voyage_jobs.sources.files import SkipReason

NOWHERE = "leads nowhere"
"""The detail of a link whose target is not there."""
_NOWHERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}


class LinkRefused(Exception):  # noqa: N818 - an answer, not a fault
    """The link is not followed, for this `reason`."""

    def __init__(self, reason: SkipReason, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(detail)


class Links:
    """The links of one walk."""

    def __init__(self, root: bytes) -> None:
        self._root = os.path.realpath(root)
        # Folders entered by a link. Each is entered so once at most: links that cross each other would make
        # the number of paths grow without end.
        self._entered: set[tuple[int, int]] = set()

    def resolve(self, path: bytes, above: tuple[tuple[int, int], ...]) -> os.stat_result:
        """The stat of what the link at `path` leads to; `above` are the (device, inode) of the folders over
        it.

        Raises LinkRefused, and OSError if the target cannot be examined. A folder counts as entered from
        now on.
        """
        try:
            real = os.path.realpath(path, strict=True)
        except OSError as exc:
            if exc.errno in _NOWHERE:
                raise LinkRefused(SkipReason.SYMLINK, NOWHERE) from None
            raise
        if os.path.commonpath([self._root, real]) != self._root:
            raise LinkRefused(SkipReason.OUTSIDE, f"leads to {names.display(names.encode(real))}")
        target = os.stat(real, follow_symlinks=False)
        if stat.S_ISDIR(target.st_mode):
            identity = (target.st_dev, target.st_ino)
            if identity in above or identity in self._entered:
                raise LinkRefused(SkipReason.CYCLE, "leads to a folder that is entered already")
            self._entered.add(identity)
        return target
