"""The table is a view: it shows what was written, or is filled again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from voyage_jobs.errors import CorruptionError
from voyage_jobs.state import publications, versions
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


def publish_again(context: Context, cause: str) -> None:
    """The table was lost, or is not what was published: everything that was is ready again, at no cost."""
    with context.store.write() as tx:
        count = publications.unpublish_all(tx, cause)
        versions.recount_all(tx)  # vectors may be lost, too
        publications.forget_versions(tx)
    if count:
        context.log.warning("table.rebuild", cause=cause, documents=count)
