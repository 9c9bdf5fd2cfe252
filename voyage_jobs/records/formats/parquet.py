"""Parquet: columns with types. Only those that are asked for are read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from voyage_jobs.readers.reader import Refusal, Refused
from voyage_jobs.records.recipe import Recipe
from voyage_jobs.records.rows import Fault, Row

_AT_ONCE = 2_000
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
        wanted = {name.partition(".")[0] for name in recipe.fields} | set(recipe.fields)
        columns = [name for name in names if name in wanted]
        for batch in found.iter_batches(_AT_ONCE, columns=columns, use_threads=False):
            for values in _plain(batch).to_pylist():
                number += 1
                yield Row(number, values)
    except (pa.ArrowException, OSError, ValueError) as exc:
        said = " ".join(str(exc).split())[:160]
        raise Refused(Refusal.BROKEN, f"after row {number}: {said}" if number else said) from None


def _within(fields: Any, before: str = "") -> Iterator[str]:
    """The names of fields within others, with dots."""
    import pyarrow as pa

    for each in fields:
        if pa.types.is_struct(each.type):
            yield from (f"{before}{each.name}.{inner.name}" for inner in each.type)
            yield from _within(each.type, f"{before}{each.name}.")


def _plain(batch: Any) -> Any:
    """With times as Python has them: to the microsecond."""
    import pyarrow as pa

    fields = [
        each.with_type(pa.timestamp("us", each.type.tz)) if pa.types.is_timestamp(each.type) else each
        for each in batch.schema
    ]
    return pa.Table.from_batches([batch]).cast(pa.schema(fields), safe=False)
