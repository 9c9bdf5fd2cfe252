"""The door to Lance and LanceDB: where a table lives, how it is opened, and what their errors mean."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from typing import Any

from voyage_jobs.core.object_uri import ObjectUri
from voyage_jobs.errors import ConfigError, CorruptionError, DiskFullError
from voyage_jobs.table.objects import AWAY, GONE, Remote, table_away

_CACHE_BYTES = 64 << 20  # Lance would keep up to 6 GiB of indexes and 1 GiB of metadata
_MANIFEST = re.compile(r"\d{20}\.manifest")
_MAGIC = b"LANC"
_NO_ROOM = re.compile(
    r"\(os error (27|28|122)\)"
)  # EFBIG, ENOSPC, EDQUOT: Lance has the number in its text only
_NOT_ALLOWED = re.compile(r"\(os error (1|13)\)")  # EPERM, EACCES
_NAME = re.compile(r"[A-Za-z0-9_.-]+")


def table_path(uri: str, name: str) -> str:
    """The directory of a table, or (`Remote`) its address in object storage. Raises ConfigError for what is neither."""
    path = uri.removeprefix("file://")
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"[lancedb] table is {name!r}; a table's name has letters, digits, '_', '-' and '.' only."
        )
    if "://" in path:
        return Remote(uri, name)
    return os.path.join(os.path.abspath(path), f"{name}.lance")


def options_of(path: str) -> dict[str, str] | None:
    """What Lance is told beside a path: nothing where it is a local one."""
    return path.options() if isinstance(path, Remote) else None


def newest_manifest(path: str) -> str | None:
    """The file that describes the newest version of the table at `path`, or None where there is no table."""
    if isinstance(path, Remote):
        return path.newest_manifest()
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
    if isinstance(path, Remote):
        return _open_remote(path, cache_bytes, session)
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


def _open_remote(path: Remote, cache_bytes: int, session: Any) -> Any:
    import lance

    cached = {"session": session} if session is not None else {"index_cache_size_bytes": cache_bytes}
    with open_reading(path):
        return lance.dataset(
            str(path), storage_options=path.options(), metadata_cache_size_bytes=_CACHE_BYTES, **cached
        )


def newest_of(dataset: Any, path: str) -> Any:
    """The newest version of an open dataset: itself, if nothing was committed since."""
    with open_reading(path):
        is_newest = int(dataset.latest_version) == int(dataset.version)
    if is_newest:
        return dataset
    return open_dataset(path, session=dataset.session() if isinstance(path, Remote) else None)


def home_of(dataset: Any) -> str:
    """The path of an open dataset, as `table_path` gives it."""
    uri = str(dataset.uri)
    if "://" not in uri or uri.startswith("file://"):
        return uri
    folder, _, name = uri.rpartition("/")
    return Remote(ObjectUri(folder, dataset.initial_storage_options), name.removesuffix(".lance"))


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
        _demand_there(path, exc)
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
                hint="Free some space; work resumes by itself.",
            ) from exc
        _demand_there(path, exc)
        raise


def _demand_there(path: str, exc: Exception) -> None:
    """Raise `TableAwayError` if what Lance says is about the object storage, and not about the table."""
    said = str(exc)
    if "://" in path and AWAY.search(said) and not GONE.search(said):
        raise table_away(path, exc) from exc


def brief(exc: BaseException) -> str:
    """The first line of Lance's message, without the path of its source file."""
    return re.sub(
        r"(, \S*\.rs:\d+(:\d+)?)+$", "", str(exc).splitlines()[0] if str(exc) else type(exc).__name__
    )
