"""The table in a few numbers for whoever asks often: read again only when there is a new version."""

from __future__ import annotations

import hashlib
import os
import threading
from dataclasses import dataclass

from voyage_jobs.errors import ConfigError, CorruptionError, TableAwayError
from voyage_jobs.table.engine import newest_manifest, open_dataset, table_path
from voyage_jobs.table.objects import Remote
from voyage_jobs.table.schema import owner_in


@dataclass(frozen=True)
class TableStats:
    """Versions that are kept, fragments of the newest, and bytes of the whole folder."""

    versions: int
    fragments: int
    bytes: int


def revision(uri: str, name: str) -> str | None:
    """Which version of which table is the newest, by its manifest; None if there is no table. Loads no library."""
    manifest = newest_manifest(table_path(uri, name))
    if manifest is None:
        return None
    if "://" in manifest:
        return os.path.basename(manifest)
    try:
        found = os.stat(manifest)
    except FileNotFoundError:  # a newer one came, and an upkeep took this one
        return ""
    return f"{os.path.basename(manifest)} {found.st_ino} {found.st_size} {found.st_mtime_ns}"


def files(uri: str, name: str) -> str | None:
    """A hash of the name, size, times and inode of each file; None in object storage. Loads no library."""
    path = table_path(uri, name)
    if newest_manifest(path) is None or isinstance(path, Remote):
        return None
    found = []
    for folder, _, names in os.walk(path):
        for each in names:
            try:
                at = os.stat(os.path.join(folder, each))
            except FileNotFoundError:  # an upkeep is removing what is old
                return None
            facts = (at.st_size, at.st_mtime_ns, at.st_ctime_ns, at.st_ino)
            found.append(f"{os.path.relpath(folder, path)}/{each} {facts}")
    return hashlib.sha256("\n".join(sorted(found)).encode(errors="surrogateescape")).hexdigest()


@dataclass(frozen=True)
class Seen:
    """How many rows a reader of the newest version sees, and the id of the state it belongs to (empty: none)."""

    rows: int
    owner: str


def see(uri: str, name: str) -> Seen | None:
    """Look into the newest version; None if there is none that can be read. Loads Lance, which takes a second."""
    try:
        dataset = open_dataset(table_path(uri, name))
        return Seen(int(dataset.count_rows()), owner_in(dataset.schema))
    except (OSError, ConfigError, CorruptionError, TableAwayError):
        return None


class TableStatsReader:
    """Keeps the figures of one table. Safe to ask from several threads; only one of them reads."""

    def __init__(self, uri: str, name: str) -> None:
        self._uri, self._name = uri, name
        self._lock = threading.Lock()
        self._known: tuple[str, TableStats] | None = None

    def read(self, *, wait: bool = True) -> TableStats | None:
        """The figures; None if there is no table, it cannot be read, or another thread reads and `wait` is off.

        The first call loads Lance, which takes a second.
        """
        if not self._lock.acquire(blocking=wait):
            return self._known[1] if self._known else None
        try:
            return self._read()
        except (OSError, ConfigError, CorruptionError, TableAwayError):
            return None
        finally:
            self._lock.release()

    def _read(self) -> TableStats | None:
        path = table_path(self._uri, self._name)
        manifest = newest_manifest(path)
        if manifest is None:
            return None
        if self._known is None or self._known[0] != manifest:
            found = TableStats(
                versions=path.versions()
                if isinstance(path, Remote)
                else len(os.listdir(os.path.dirname(manifest))),
                fragments=len(open_dataset(path).get_fragments()),
                bytes=_bytes_below(path),
            )
            self._known = (manifest, found)
        return self._known[1]


def _bytes_below(path: str) -> int:
    if isinstance(path, Remote):
        return sum(path.sizes().values())
    total = 0
    for folder, _, files in os.walk(path):
        for name in files:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except FileNotFoundError:  # an old version is being removed
                continue
    return total
