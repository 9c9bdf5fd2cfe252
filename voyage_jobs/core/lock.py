"""One writer per data folder: a lock that the kernel frees on any death, however sudden.

A PID file would have to guess whether its process still lives; `flock` does not. Network file systems are refused:
their locks may not hold between hosts, and SQLite's write-ahead log does not work there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from voyage_jobs.core import private
from voyage_jobs.core.clock import Clock
from voyage_jobs.core.durable import no_room_is_one_error
from voyage_jobs.errors import ConfigError, LockedError

# Another program may look at the lock for an instant (`status` does): try a few times before believing it.
_TRIES = 5
_TRY_AGAIN_S = 0.1
_NETWORK = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "ncpfs",
    "afs",
    "9p",
    "fuse.sshfs",
    "fuse.glusterfs",
    "ceph",
}


@contextlib.contextmanager
def held(path: Path, clock: Clock) -> Iterator[None]:
    """Hold the lock for the time of the block. Raises `LockedError` if another process does, and who that is."""
    make_data_dir(path.parent)
    with open(path, "a+b", opener=private.opener) as file:
        _take(file.fileno(), path, clock)
        with no_room_is_one_error(str(path)):
            os.ftruncate(file.fileno(), 0)
            os.write(file.fileno(), f"{os.getpid()}\n".encode())
        yield


def make_data_dir(folder: Path) -> None:
    """Make the data folder, private to its owner. Raises `ConfigError` if that cannot be, or should not."""
    try:
        private.make_folder(folder)
    except OSError as exc:
        raise ConfigError(
            f"data_dir {folder} cannot be made: {exc.strerror}.",
            hint="Set data_dir to a folder that this user may write.",
        ) from exc
    kind = file_system_of(folder)
    if is_network(kind):
        raise ConfigError(
            f"data_dir {folder} is on a network file system ({kind}), where SQLite and file locks are not safe.",
            hint="Set data_dir to a local disk; sources may stay on the network.",
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(
            f"data_dir {folder} cannot be written by this user.", hint="Check its owner and permissions."
        )


def _take(fd: int, path: Path, clock: Clock) -> None:
    for left in reversed(range(_TRIES)):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not left:
                raise LockedError(
                    f"Another voyage-jobs (process {holder(path) or 'unknown'}) is working on {path.parent}.",
                    hint="`voyage-jobs status` shows what it does; stop it first, or let it finish.",
                ) from None
            clock.wait(_TRY_AGAIN_S)
        else:
            return


def holder(path: Path) -> int | None:
    """The process that holds the lock now, or None if nobody does."""
    try:
        with open(path, "rb") as file:
            try:
                fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read(20) or 0) or None
            return None
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError, ValueError):
        return None


def is_network(kind: str | None) -> bool:
    """Whether a file system of this kind is shared between hosts."""
    return kind in _NETWORK


def file_system_of(path: Path) -> str | None:
    """The kind of file system a path is on, by the mount table; None where there is none to read."""
    try:
        with open("/proc/mounts", encoding="utf-8", errors="surrogateescape") as mounts:
            lines = [line.split() for line in mounts]
    except OSError:
        return None
    real = os.path.realpath(path)
    best: tuple[str, str | None] = ("", None)
    for fields in lines:
        mount = fields[1].encode().decode("unicode_escape", "replace") if "\\" in fields[1] else fields[1]
        inside = real == mount or real.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best[0]):
            best = (mount, fields[2])
    return best[1]
