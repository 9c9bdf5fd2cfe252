"""Parquet: columns with types. Only those that are asked for are read."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator, Set
from typing import Any, BinaryIO

from voyage_jobs.readers.reader import Refusal, Refused
from voyage_jobs.records.recipe import Recipe
from voyage_jobs.records.rows import Fault, Row

_AT_ONCE = 2_000
"""Rows; fewer where these would take more bytes than the next says."""
_AT_ONCE_BYTES = 8 << 20
_BUFFER_BYTES = 1 << 20


def rows(file: BinaryIO, recipe: Recipe) -> Iterator[Row | Fault]:
    """A row for each row. Raises Refused for what is no Parquet file, or is broken."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        found = pq.ParquetFile(file, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        names = found.schema_arrow.names
        recipe.demand(names, list(_within(found.schema_arrow)))
        recipe.demand_once(names, "it has")
        wanted = {name.partition(".")[0] for name in recipe.fields} | set(recipe.fields)
        columns = [name for name in names if name in wanted]
        at_once = _rows_at_once(found.metadata, wanted)
        for batch in found.iter_batches(at_once, columns=columns, use_threads=False):
            for part in _parts(batch):
                for values in _plain(part).to_pylist():
                    number += 1
                    yield Row(number, values)
    except (pa.ArrowException, OSError, ValueError) as exc:
        said = " ".join(str(exc).split())[:160]
        raise Refused(Refusal.BROKEN, f"after row {number}: {said}" if number else said) from None


def _rows_at_once(metadata: Any, wanted: Set[str]) -> int:
    """As many as fit, as far as the sizes of its groups of rows tell, where a value that stands often may be once. A
    page of the file is held besides, as large as its writer made it."""
    at_once = _AT_ONCE
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        columns = map(group.column, range(group.num_columns))
        asked = (each for each in columns if each.path_in_schema.partition(".")[0] in wanted)
        size = sum(each.total_uncompressed_size for each in asked)
        at_once = min(at_once, max(1, group.num_rows * _AT_ONCE_BYTES // max(1, size)))
    return at_once


def _parts(batch: Any) -> Iterator[Any]:
    """The same rows, as many at a time as fit: as values of Python they take their room once more."""
    step = max(1, len(batch) * _AT_ONCE_BYTES // max(batch.nbytes, _AT_ONCE_BYTES))
    for start in range(0, len(batch), step):
        yield batch.slice(start, step)


def _within(fields: Any, before: str = "") -> Iterator[str]:
    """The names of fields within others, with dots."""
    import pyarrow as pa

    for each in fields:
        if pa.types.is_struct(each.type):
            yield from (f"{before}{each.name}.{inner.name}" for inner in each.type)
            yield from _within(each.type, f"{before}{each.name}.")


def _plain(batch: Any) -> Any:
    """With times as Python has them, to the microsecond, and numbers of half the width or less as they are written:
    39.9, not the number of full width that is nearest to it, 39.900001525878906."""
    import pyarrow as pa

    table, schema = pa.Table.from_batches([batch]), batch.schema
    for at, each in enumerate(schema):
        if pa.types.is_float16(each.type):
            shortest = pa.array(map(_shortest_half, batch.column(at).to_pylist()), pa.float64())
            table = table.set_column(at, each.name, shortest)
        elif pa.types.is_timestamp(each.type):
            table = table.set_column(
                at, each.name, table[at].cast(pa.timestamp("us", each.type.tz), safe=False)
            )
        elif (as_text := _replaced(each.type, pa.float32(), pa.string())) != each.type:
            as_double = _replaced(each.type, pa.float32(), pa.float64())
            table = table.set_column(at, each.name, table[at].cast(as_text).cast(as_double))
    return table


def _replaced(kind: Any, old: Any, new: Any) -> Any:
    """A type with `new` for `old` wherever it is in it."""
    import pyarrow as pa

    if kind == old:
        return new
    if pa.types.is_struct(kind):
        return pa.struct([each.with_type(_replaced(each.type, old, new)) for each in kind])
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_replaced(kind.value_type, old, new)))
    return kind


def _shortest_half(value: float | None) -> float | None:
    if value is None or value.is_integer():
        return value
    for digits in range(1, 6):
        said = float(f"{value:.{digits}g}")
        with contextlib.suppress(OverflowError):
            if struct.unpack("e", struct.pack("e", said))[0] == value:
                return said
    return value
