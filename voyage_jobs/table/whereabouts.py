"""Which document each row of a table belongs to, remembered by fragment: in object storage each look is a call.

Files of a table never change under their names, and what a deletion takes out has a file of its own. So what was read
of a fragment holds until a version has that fragment in another form.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from voyage_jobs.table.engine import open_reading

if TYPE_CHECKING:
    import pyarrow as pa

SCAN_ROWS = 65_536  # two text columns of so many rows are a few MiB
_MOST_ROWS = 1_000_000  # remembered; names that repeat are kept once, so that this is some dozen MB


class Whereabouts:
    """What is known of one table. Not for use by several threads at once."""

    def __init__(self, *, remembers: bool) -> None:
        self._known: dict[str, list[pa.RecordBatch]] | None = {} if remembers else None

    def batches(self, dataset: Any) -> Iterator[pa.RecordBatch]:
        """The columns `source`, `path` and `_rowaddr` of all rows of this version, in batches."""
        if self._known is None:
            yield from _read(dataset)
            return
        fresh: dict[str, list[pa.RecordBatch]] = {}
        rows = 0
        for fragment in dataset.get_fragments():
            form = repr(fragment.metadata)
            found = self._known.get(form)
            if found is None:
                found = [_small(batch) for batch in _read(dataset, [fragment])]
            rows += sum(batch.num_rows for batch in found)
            if rows <= _MOST_ROWS:
                fresh[form] = found
            yield from map(_plain, found)
        self._known = fresh


def _read(dataset: Any, fragments: list[Any] | None = None) -> Iterator[pa.RecordBatch]:
    scanner = dataset.scanner(
        columns=["source", "path"], with_row_address=True, batch_size=SCAN_ROWS, fragments=fragments
    )
    with open_reading(dataset.uri):
        yield from scanner.to_batches()


def _small(batch: pa.RecordBatch) -> pa.RecordBatch:
    import pyarrow as pa

    columns = [batch.column(name) for name in ("source", "path")]
    packed = [column.dictionary_encode() for column in columns]
    return pa.RecordBatch.from_arrays(
        [*packed, batch.column("_rowaddr")], names=["source", "path", "_rowaddr"]
    )


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    import pyarrow as pa

    columns = [batch.column(name).dictionary_decode() for name in ("source", "path")]
    return pa.RecordBatch.from_arrays(
        [*columns, batch.column("_rowaddr")], names=["source", "path", "_rowaddr"]
    )
