"""The door to Lance and LanceDB: where a table lives, how it is opened, and what their errors mean."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from typing import Any

from voyage_jobs.errors import ConfigError, CorruptionError, DiskFullError

_CACHE_BYTES = 64 << 20  # Lance would keep up to 6 GiB of indexes and 1 GiB of metadata
_MANIFEST = re.compile(r"\d{20}\.manifest")
_MAGIC = b"LANC"
_NO_ROOM = re.compile(
    r"\(os error (27|28|122)\)"
)  # EFBIG, ENOSPC, EDQUOT: Lance has the number in its text only
_NOT_ALLOWED = re.compile(r"\(os error (1|13)\)")  # EPERM, EACCES
_NAME = re.compile(r"[A-Za-z0-9_.-]+")


def table_path(uri: str, name: str) -> str:
    """The directory of a table. Only local paths: the promises about power loss hold for local disks
    alone."""
    path = uri.removeprefix("file://")
    if "://" in path:
        raise ConfigError(
            f"[lancedb] uri is {uri!r}; voyage-jobs publishes to a local folder only.",
            hint="Give a path, for example ./lancedb.",
        )
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"[lancedb] table is {name!r}; a table's name has letters, digits, '_', '-' and '.' only."
        )
    return os.path.join(os.path.abspath(path), f"{name}.lance")


def newest_manifest(path: str) -> str | None:
    """The file that describes the newest version of the table at `path`, or None where there is no table."""
    try:
        names = [name for name in os.listdir(os.path.join(path, "_versions")) if _MANIFEST.fullmatch(name)]
    except (FileNotFoundError, NotADirectoryError):
        return None
    # Manifests are named by 2^64 - 1 - version, so that the newest sorts first.
    return os.path.join(path, "_versions", min(names)) if names else None


def open_dataset(path: str, *, cache_bytes: int = _CACHE_BYTES, session: Any = None) -> Any:
    """The newest version of the table at `path` as a Lance dataset. Raises `CorruptionError` if it is torn.

    `cache_bytes` is for indexes that are searched; `session` is that of an older version, with what it has cached.
    """
    quiet_logs()
    manifest = newest_manifest(path)
    if manifest is None:
        raise CorruptionError(f"There is no table at {path}.")
    with open(manifest, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - len(_MAGIC)))
        if file.read() != _MAGIC:  # Lance would panic on some of these
            raise CorruptionError(f"The newest version of the table at {path} was not written whole.")
    import lance

    with open_reading(path):
        if session is not None:
            return lance.dataset(path, session=session)
        return lance.dataset(path, index_cache_size_bytes=cache_bytes, metadata_cache_size_bytes=_CACHE_BYTES)


def quiet_logs() -> None:
    """Keep Lance's own remarks off the terminal unless the user asked for them. Before the first import."""
    os.environ.setdefault("LANCE_LOG", "error")
    os.environ.setdefault("LANCEDB_LOG", "error")


@contextlib.contextmanager
def open_reading(path: str) -> Iterator[None]:
    """Turn what Lance says about files it cannot make sense of into `CorruptionError`."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as exc:
        if _NOT_ALLOWED.search(str(exc)):
            raise
        raise CorruptionError(f"The table at {path} cannot be read: {brief(exc)}") from exc
    except BaseException as exc:
        if type(exc).__name__ != "PanicException":  # pyo3 derives it from BaseException and exports no name
            raise
        raise CorruptionError(f"The table at {path} cannot be read: {brief(exc)}") from exc


@contextlib.contextmanager
def open_writing(path: str) -> Iterator[None]:
    """Turn a full disk in Lance's words into `DiskFullError`; everything else goes up as it is."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as exc:
        if _NO_ROOM.search(str(exc)):
            raise DiskFullError(
                f"No room left on the disk while writing the table at {path}.",
                hint="Free some space; voyage-jobs goes on by itself.",
            ) from exc
        raise


def brief(exc: BaseException) -> str:
    """The first line of Lance's message, without the path of its source file."""
    return re.sub(r", \S*\.rs:\d+(:\d+)?$", "", str(exc).splitlines()[0] if str(exc) else type(exc).__name__)
