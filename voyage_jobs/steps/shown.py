"""The table is a view: it shows what was written, or is filled again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import orjson

from voyage_jobs.errors import CorruptionError
from voyage_jobs.state import meta, publications, versions
from voyage_jobs.steps.context import Context

if TYPE_CHECKING:
    import pyarrow as pa


def demand_rows(batches_read: Iterator[pa.RecordBatch], rows: int) -> None:
    """What the table shows must be what was written: counts are taken from rows that were read."""
    seen = sum(batch.num_rows for batch in batches_read)
    if seen != rows:
        raise CorruptionError(
            f"{rows} rows were published, the table shows {seen}.",
            hint="Nothing is lost: voyage-jobs publishes them again at its next start.",
        )


def note_rows(context: Context) -> None:
    """Let `status` compare the rows of the table with ours without opening it, for as long as nobody changes it."""
    revision = context.table_door.revision()
    if revision is not None and context.table_door.owner() != context.state_id:
        return  # taken over meanwhile: whoever looks is told
    rows = None if revision is None else context.open_table().rows()
    value = orjson.dumps([context.table_door.place, revision, rows]).decode()
    with context.store.read() as connection:
        if meta.get(connection, meta.TABLE_ROWS) == value:
            return
    with context.store.write() as tx:
        meta.put(tx, meta.TABLE_ROWS, value)


def publish_again(context: Context, cause: str) -> None:
    """The table was lost, or is not what was published: everything that was is ready again, at no cost."""
    with context.store.write() as tx:
        count = publications.unpublish_all(tx, cause)
        versions.recount_all(tx)  # vectors may be lost, too
        publications.forget_versions(tx)
    if count:
        context.log.warning("table.rebuild", cause=cause, documents=count)
