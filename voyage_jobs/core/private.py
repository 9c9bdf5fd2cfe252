"""Files and folders for their owner alone, whatever the umask: made so, and closed where they were left open.

The folder at the top is what keeps others out; what lies in it is closed as well, so that a top that is opened later,
by hand or where a copy was unpacked, shows nothing. The umask is left alone: a table outside the data folder, and files
that a command writes where the operator says, are for whom the operator wants.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

FOLDER, FILE = 0o700, 0o600
OTHERS = stat.S_IRWXG | stat.S_IRWXO


def opener(path: str, flags: int) -> int:
    """For `open(..., opener=opener)`: a file that is made is its owner's alone."""
    return os.open(path, flags, FILE)


def make_folder(path: Path) -> None:
    """Make a folder for its owner alone; those above it that are missing are made as the umask says."""
    path.mkdir(mode=FOLDER, parents=True, exist_ok=True)


@dataclass(frozen=True)
class Tightened:
    """What `tighten` did: how many files and folders it closed, and why it had to leave the folder open, if so."""

    closed: int = 0
    left_open: str | None = None


def why_not(found: os.stat_result) -> str | None:
    """Why a folder that others can open is not for us to close, if so."""
    if found.st_uid != os.geteuid():
        return f"it belongs to user {found.st_uid}"
    if found.st_mode & stat.S_ISVTX:
        return "it is shared by all users, as /tmp is"
    return None


def tighten(folder: Path, names: Iterable[str]) -> Tightened:
    """Close `folder` to others if it is open, then what is called `names` in it; nothing else in it is ours.

    One look where it is closed already. The folder goes first, so that nobody can put anything in its place meanwhile;
    links are not followed, and what belongs to others is left as it is.
    """
    found = os.stat(folder)
    if not stat.S_IMODE(found.st_mode) & OTHERS:
        return Tightened()
    reason = why_not(found)
    if reason is not None:
        return Tightened(left_open=reason)
    try:
        os.chmod(folder, FOLDER)
    except OSError as exc:
        return Tightened(left_open=exc.strerror)
    return Tightened(1 + sum(_close_all(folder / name) for name in names))


def _close_all(path: Path) -> int:
    """Close a file, or a folder with all that is in it; how many were open."""
    closed = _close(path)
    if not path.is_symlink():
        for above, folders, files in os.walk(path):
            closed += sum(_close(Path(above, name)) for name in (*folders, *files))
    return closed


def _close(path: Path) -> int:
    with contextlib.suppress(OSError):  # gone meanwhile, or not ours: the folder at the top is closed
        found = os.lstat(path)
        is_folder = stat.S_ISDIR(found.st_mode)
        is_ours = found.st_uid == os.geteuid() and (is_folder or stat.S_ISREG(found.st_mode))
        if is_ours and stat.S_IMODE(found.st_mode) & OTHERS:
            os.chmod(path, FOLDER if is_folder else FILE)
            return 1
    return 0
