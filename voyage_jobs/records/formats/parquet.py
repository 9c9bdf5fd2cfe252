"""Parquet: columns with types. Only those that are asked for are read."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Iterator, Set
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
                for values in _values(_plain(part)):
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
    """With times to the microsecond, as Python has them, and numbers of half the width or less as they are written:
    39.9, not the number of full width that is nearest to it, 39.900001525878906."""
    import pyarrow as pa

    return pa.Table.from_arrays(list(map(_plain_column, batch.columns)), batch.schema.names)


def _plain_column(column: Any) -> Any:
    import pyarrow as pa

    if pa.types.is_float16(column.type):
        return pa.array(map(_shortest_half, column.to_pylist()), pa.float64())
    if (kind := _replaced(column.type, _to_microseconds)) != column.type:
        column = column.cast(kind, safe=False)
    if (as_text := _replaced(kind, lambda one: pa.string() if one == pa.float32() else one)) != kind:
        as_double = _replaced(kind, lambda one: pa.float64() if one == pa.float32() else one)
        column = column.cast(as_text).cast(as_double)
    return column


def _to_microseconds(kind: Any) -> Any:
    import pyarrow as pa

    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return pa.timestamp("us", kind.tz)
    return {pa.time64("ns"): pa.time64("us"), pa.duration("ns"): pa.duration("us")}.get(kind, kind)


def _replaced(kind: Any, new: Callable[[Any], Any]) -> Any:
    """A type with what is in it replaced, wherever it is."""
    import pyarrow as pa

    def within(field: Any) -> Any:
        return field.with_type(_replaced(field.type, new))

    if pa.types.is_struct(kind):
        return pa.struct([within(each) for each in kind])
    if pa.types.is_list(kind):
        return pa.list_(within(kind.value_field))
    if pa.types.is_large_list(kind):
        return pa.large_list(within(kind.value_field))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(within(kind.value_field), kind.list_size)
    if pa.types.is_map(kind):
        return pa.map_(kind.key_field, within(kind.item_field))
    return new(kind)


def _values(table: Any) -> list[dict[str, Any]]:
    """Its rows."""
    try:
        found: list[dict[str, Any]] = table.to_pylist()
    except OverflowError:
        columns = [map(_value, column) for column in table.columns]
        found = [dict(zip(table.column_names, row, strict=True)) for row in zip(*columns, strict=True)]
    return found


def _value(scalar: Any) -> Any:
    """A value as Python has it, or, for a time after the year 9999 or before the first, its text."""
    import numpy as np
    import pyarrow as pa

    try:
        return scalar.as_py()
    except OverflowError:
        kind = scalar.type
    if pa.types.is_struct(kind):
        return {name: _value(scalar[name]) for name in scalar}
    if pa.types.is_nested(kind):
        return [_value(each) for each in scalar.values]
    unit: Any = kind.unit if pa.types.is_timestamp(kind) else "D" if pa.types.is_date32(kind) else "ms"
    return str(np.datetime64(scalar.value, unit))


def _shortest_half(value: float | None) -> float | None:
    if value is None or value.is_integer():
        return value
    for digits in range(1, 6):
        said = float(f"{value:.{digits}g}")
        with contextlib.suppress(OverflowError):
            if struct.unpack("e", struct.pack("e", said))[0] == value:
                return said
    return value
