"""Plain names in a filter: `price < 20` for a field of the front matter, or a column of records, in Lance's SQL.

A name that is no column of the table is a field of `front_matter`. One that no document has is told, with what may have
been meant.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import orjson

from voyage_jobs.errors import ConfigError
from voyage_jobs.table.engine import open_reading
from voyage_jobs.table.fields import in_quotes, path, translated
from voyage_jobs.table.filters import demand_whole

_SAMPLE_ROWS = 2_000
_SHOWN = 12


def spelled_out(where: str, datasets: Sequence[Any]) -> str:
    """The same filter in Lance's SQL, for tables that are searched as one.

    Raises `ConfigError` for one that does not hold together, and for a name that is none in any of them.
    """
    demand_whole(where)
    columns = {name.lower() for each in datasets for name in each.schema.names}
    if "front_matter" not in columns:
        return where
    sql, fields = translated(where, columns)
    for name in fields:
        if not any(_has(each, name) for each in datasets):
            raise _unknown(name, where, columns, datasets)
    return sql


def _has(dataset: Any, name: str) -> bool:
    exists = f"json_exists(front_matter, {path(name)})"
    with open_reading(dataset.uri):
        return bool(dataset.scanner(columns=["chunk_id"], filter=exists, limit=1).to_table().num_rows)


def _unknown(name: str, where: str, columns: Collection[str], datasets: Sequence[Any]) -> ConfigError:
    fields = list(dict.fromkeys(field for each in datasets for field in _fields(each)))
    near = difflib.get_close_matches(name.lower(), [*fields, *sorted(columns)], 1)
    shown = ", ".join(map(in_quotes, fields[:_SHOWN])) + (", ..." if len(fields) > _SHOWN else "")
    meant = f"Did you mean {in_quotes(near[0])}? " if near else ""
    return ConfigError(
        f"The filter {where!r} cannot be used: no column is called {name!r}, and no document has such a field.",
        hint=f"{meant}Fields here: {shown or 'none'}. Columns: docs/table.md.",
    )


def _fields(dataset: Any) -> Iterator[str]:
    """The names of fields among the first rows of a table."""
    scanner = dataset.scanner(columns=["front_matter"], limit=_SAMPLE_ROWS)
    with open_reading(dataset.uri):
        rows = scanner.to_table().column("front_matter").to_pylist()
    for row in dict.fromkeys(rows):
        yield from orjson.loads(row)
