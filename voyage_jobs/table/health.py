"""Is the table what was written? And if not: put it aside whole, so that a new one can be filled."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from voyage_jobs.core.durable import sync_dir
from voyage_jobs.core.profile import Profile
from voyage_jobs.errors import ConfigError, CorruptionError
from voyage_jobs.table.engine import newest_manifest, open_dataset, open_reading, table_path
from voyage_jobs.table.indexes import Covered, coverage
from voyage_jobs.table.objects import Remote
from voyage_jobs.table.schema import KEY_COLUMNS, demand_ours, profile_in
from voyage_jobs.table.whereabouts import SCAN_ROWS

if TYPE_CHECKING:
    import pyarrow as pa

Reason = Literal["missing", "torn", "foreign"]


@dataclass(frozen=True)
class Health:
    """What `check` found. `reason` is None if all is well.

    missing: there is no table; the next publication makes it. torn: `set_aside` it and publish again. foreign:
    another program's table, or one for other vectors; an operator must do what `hint` says. `version` and `rows`
    are what a reader would see; a version below the one last acknowledged means that commits were lost with
    the power. `indexes` are those that there are: a damaged one leaves the table sound.
    """

    ok: bool
    reason: Reason | None = None
    detail: str = ""
    hint: str = ""
    version: int | None = None
    rows: int | None = None
    indexes: tuple[Covered, ...] = ()


def exists(uri: str, name: str) -> bool:
    """Whether there is a table (whole or not). Cheap: loads no library."""
    return newest_manifest(table_path(uri, name)) is not None


def check(uri: str, name: str, profile: Profile | None = None, *, deep: bool = False) -> Health:
    """Open the newest version, compare every data file's size with what the manifest says, and scan the key
    columns.

    `deep` reads every column instead, which takes as long as reading the whole table. Never raises for a
    damaged table.
    """
    path = table_path(uri, name)
    if not exists(uri, name):
        return Health(False, "missing", f"There is no table at {path}.")
    try:
        dataset = open_dataset(path)
        demand_ours(dataset.schema, profile, path)
        _compare_sizes(dataset, path)
        rows = _scan(dataset, path, None if deep else list(KEY_COLUMNS))
    except CorruptionError as exc:
        return Health(False, "torn", exc.message)
    except ConfigError as exc:
        return Health(False, "foreign", exc.message, exc.hint or "Name another table in [lancedb] table.")
    return Health(True, version=dataset.version, rows=rows, indexes=tuple(coverage(dataset).values()))


def schema_of_table(uri: str, name: str) -> pa.Schema | None:
    """The schema of the newest version; None if there is no table of ours that can be read."""
    path = table_path(uri, name)
    if not exists(uri, name):
        return None
    try:
        found = open_dataset(path).schema
        demand_ours(found, None, path)
    except (CorruptionError, ConfigError):
        return None
    return found


def profile_of_table(uri: str, name: str) -> Profile | None:
    """The profile that the newest version was made for; None if there is no table of ours that can be read."""
    found = schema_of_table(uri, name)
    return None if found is None else profile_in(found)


def _compare_sizes(dataset: Any, path: str) -> None:
    there = path.sizes("data") if isinstance(path, Remote) else None
    for fragment in dataset.get_fragments():
        for file in fragment.data_files():
            where = os.path.join(path, "data", file.path)
            try:
                size = os.stat(where).st_size if there is None else there[file.path]
            except (FileNotFoundError, KeyError):
                raise CorruptionError(f"The table at {path} has lost the file {file.path}.") from None
            expected = file.file_size_bytes
            if expected is not None and size != expected:
                raise CorruptionError(
                    f"The table at {path} has a truncated file: {where}, {size} of {expected} bytes."
                )


def _scan(dataset: Any, path: str, columns: list[str] | None) -> int:
    rows = 0
    batch_rows = SCAN_ROWS if columns else 1_024
    # Of files here Lance reads what is asked for in no time, and would hold 75 to 300 MiB that nobody looks at yet.
    ahead = None if isinstance(path, Remote) else 1
    with open_reading(path):
        scanner = dataset.scanner(columns=columns, batch_size=batch_rows, fragment_readahead=ahead)
        for batch in scanner.to_batches():
            for column in batch.columns:
                column.validate(full=True)
            rows += batch.num_rows
        counted = dataset.count_rows()
    if rows != counted:
        raise CorruptionError(f"The table at {path} says it has {counted} rows and shows {rows}.")
    return rows


def set_aside(uri: str, name: str, stamp: str) -> str:
    """Rename a damaged table's folder to `<name>.lance.damaged-<stamp>` beside it, and return that path.

    Nothing is deleted. LanceDB does not list the renamed folder. If there is no room for a second table, it
    is safe to delete it by hand: the table is a view.
    """
    path = table_path(uri, name)
    if isinstance(path, Remote):
        return path.move(f"{name}.lance.damaged-{stamp}")
    aside = f"{path}.damaged-{stamp}"
    if os.path.lexists(aside):
        raise FileExistsError(f"{aside} exists already")
    os.rename(path, aside)
    sync_dir(os.path.dirname(path))
    return aside
