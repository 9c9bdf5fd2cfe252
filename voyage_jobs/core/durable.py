"""Files that do not lie: written whole, synced, then renamed into place.

A failed fsync is never retried: the kernel has already forgotten what it could not write, so the file is discarded and
the error goes up. Out-of-space in all its spellings becomes one error.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from voyage_jobs.core.private import opener
from voyage_jobs.errors import ConfigError, DiskFullError

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NO_PLACE = {
    errno.EACCES,
    errno.EPERM,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.EROFS,
    errno.ENAMETOOLONG,
}
"""Why nothing can be written under a name that somebody has given."""


def is_there(path: Path) -> bool:
    """Whether there is anything under a name that somebody has given. Raises ConfigError where nobody can tell."""
    try:
        return path.exists()
    except OSError as exc:  # a name that is too long, a folder that is closed to this user
        raise ConfigError(f"{path}: {exc.strerror}.", hint="Give another name.") from exc


def is_as_written(path: Path, size: int | None, sha256: str | None) -> bool:
    """Whether a file is there and has the bytes that are on record: what a disk did to it shows in its hash alone."""
    try:
        with open(path, "rb") as file:
            same_size = os.fstat(file.fileno()).st_size == size
            return same_size and hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def no_room_is_one_error(what: str) -> Iterator[None]:
    """Turn ENOSPC, EDQUOT and EFBIG into `DiskFullError`, naming `what` was being written."""
    try:
        yield
    except OSError as exc:
        if exc.errno in _NO_ROOM:
            raise DiskFullError(
                f"No room left on the disk while writing {what}.",
                hint="Free some space; work resumes by itself.",
            ) from exc
        raise


def sync_dir(path: str | os.PathLike[str]) -> None:
    """Make renames and new names in this directory survive a power loss."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_file(path: str | os.PathLike[str]) -> None:
    """Make the contents of an already written file survive a power loss."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def writing(path: Path, *, private: bool = False, sync_folder: bool = True) -> Iterator[BinaryIO]:
    """Write a file that appears under its final name only when it is whole and on disk.

    The temporary file stands beside it as `<name>.tmp`. On any error it is removed and the final name is untouched.
    `private` is for what lies in the data folder; else the umask says who may read it. Without `sync_folder` the caller
    syncs the folder, once for many files. Into a pipe or a device it is written at once, and what a link leads to is
    replaced, not the link: a file in the place of `/dev/null` or `/dev/stdout` would break the whole machine.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        with no_room_is_one_error(str(path)), open(path, "wb") as out:
            yield out
        return
    if path.is_symlink():
        path = Path(os.path.realpath(path))
    temp = path.with_name(path.name + ".tmp")
    with no_room_is_one_error(str(path)):
        try:
            with open(temp, "wb", opener=opener if private else None) as out:
                yield out
                out.flush()
                os.fsync(out.fileno())
            os.replace(temp, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temp)
            raise
        if sync_folder:
            sync_dir(path.parent)


def remove(path: Path) -> None:
    """Delete a file if it is there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def free_bytes(folder: Path) -> int:
    """The room on the disk of a folder for an ordinary user. Raises OSError."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def known_free_bytes(folder: Path) -> int | None:
    """The same; None where that cannot be told."""
    try:
        return free_bytes(folder)
    except OSError:
        return None
