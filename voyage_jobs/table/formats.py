"""Tables of an older format: what they look like, and their rows as they are in the present one.

A table is brought to the present format out of its own rows, in one commit that replaces all of them. The rows have
all that is needed: what a new column says is made from other columns, or is what was true of every row before it. So
nothing is embedded, no text is looked for (files may have changed since, or gone), no segment is read, and memory is
that of a few batches. Until that is done, everything that reads gets the old rows in the present form, by the same
function.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voyage_jobs.table.columns import COLUMNS, STRING, Column, Kind, array_of

if TYPE_CHECKING:
    import pyarrow as pa

    from voyage_jobs.core.profile import Profile

FORMAT_VERSION = max(column.since for column in COLUMNS)
"""The format that this program writes: that of its newest column."""

_FORMER: dict[int, dict[str, Kind]] = {1: {"metadata": STRING}}
"""By format: columns that have come to be something else, as they were."""
_BY_NAME = {column.name: column for column in COLUMNS}
_ANY = "chunk_id"  # in every table: says how many rows there are, where nothing else is read
_TAKEN = "_user"


def fields_of(format_version: int, profile: Profile) -> dict[str, pa.DataType]:
    """Name and type of the columns of a table of this format."""
    former = _FORMER.get(format_version, {})
    return {
        column.name: former.get(column.name, column.kind).arrow(profile)
        for column in COLUMNS
        if column.since <= format_version or column.name in former
    }


@dataclass(frozen=True)
class Reading:
    """How to read the columns `names` (ours in the present form, and the user's own) from a table of some format.

    `stored` are the columns to read; `lift` makes those that were asked for out of them.
    """

    names: tuple[str, ...]
    stored: tuple[str, ...]
    format_version: int
    profile: Profile

    @classmethod
    def plan(cls, names: Sequence[str], format_version: int, profile: Profile) -> Reading:
        """Find out what has to be read."""
        if format_version == FORMAT_VERSION:
            return cls(tuple(names), tuple(names), format_version, profile)
        stored: dict[str, None] = {}
        for name in names:
            stored |= dict.fromkeys(_sources(name, format_version))
        return cls(tuple(names), tuple(stored) or (_ANY,), format_version, profile)

    def lift(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The columns that were asked for, of the same rows."""
        import pyarrow as pa

        if self.format_version == FORMAT_VERSION:
            return batch.select(self.names)
        found = {name: batch.column(name) for name in batch.schema.names}
        arrays = [self._column(name, found, batch.num_rows) for name in self.names]
        return pa.RecordBatch.from_arrays(arrays, names=list(self.names))

    def lift_rows(self, rows: list[dict[str, Any]], schema: pa.Schema) -> list[dict[str, Any]]:
        """The same for a few rows as a search finds them, whatever else it says of them; `schema` is the table's."""
        import pyarrow as pa

        if self.format_version == FORMAT_VERSION or not rows:
            return rows
        said = [{name: row.pop(name) for name in self.stored} for row in rows]
        batch = pa.RecordBatch.from_pylist(said, pa.schema([schema.field(name) for name in self.stored]))
        return [lifted | row for lifted, row in zip(self.lift(batch).to_pylist(), rows, strict=True)]

    def _column(self, name: str, found: dict[str, pa.Array], rows: int) -> pa.Array:
        column = _BY_NAME.get(name)
        if column is None or column.since <= self.format_version:
            return found[name]
        if column.made is not None:
            return column.made({needed: self._column(needed, found, rows) for needed in column.needs})
        kind = column.kind.arrow(self.profile)
        return array_of(found[column.was] if column.was else [column.absent] * rows, kind)


def _sources(name: str, format_version: int) -> tuple[str, ...]:
    """The stored columns from which a column is made."""
    column: Column | None = _BY_NAME.get(name)
    if column is None or column.since <= format_version:
        return (name,)
    if column.was:
        return (column.was,)
    return tuple(stored for needed in column.needs for stored in _sources(needed, format_version))


def carried_name(name: str) -> str:
    """The name of a user's own column in the present format: one that has come to be ours gives way."""
    return f"{name}{_TAKEN}" if name in _BY_NAME else name
