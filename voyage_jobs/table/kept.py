"""Versions of the table that are kept on purpose, and brought back: Lance tags them, so that no clean-up takes them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from voyage_jobs.errors import CorruptionError
from voyage_jobs.table.engine import open_dataset, open_reading, open_writing, options_of, quiet_logs
from voyage_jobs.table.upkeep import LEAST_KEEP_S


def _tag(version: int) -> str:
    """Each its own, since a file that was synced must never change under its name."""
    return f"voyage-jobs-kept-{version}"


def keep(dataset: Any, version: int) -> None:
    """Tag a version."""
    if _tag(version) not in dataset.tags.list():
        with open_writing(dataset.uri):
            dataset.tags.create(_tag(version), version)


def let_go(dataset: Any, version: int) -> None:
    """Take the tag off, if it is there, and remove what only old versions need. What is new must be on disk."""
    if not is_kept(dataset, version):
        return
    with open_writing(dataset.uri):
        dataset.tags.delete(_tag(version))
        # Upkeep waits for many versions; this one may be as large as the table.
        dataset.cleanup_old_versions(timedelta(seconds=LEAST_KEEP_S), error_if_tagged_old_versions=False)


def is_kept(dataset: Any, version: int) -> bool:
    """Whether the version is kept. The number alone would not do: a table that was made again has its own."""
    return _tag(version) in dataset.tags.list()


def bring_back(path: str, version: int) -> int:
    """Commit the content of a kept version as the newest one. Raises CorruptionError if it is not kept."""
    quiet_logs()
    import lance

    if not is_kept(open_dataset(path), version):
        raise CorruptionError(f"The table at {path} does not keep its version {version}.")
    with open_reading(path):
        old = lance.dataset(str(path), version=version, storage_options=options_of(path))
    with open_writing(path):
        old.restore()
    return int(open_dataset(path).version)
