"""Which rows belong to which documents, and the check that new rows are what they claim to be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from voyage_jobs.table.columns import demand_json
from voyage_jobs.table.engine import open_reading
from voyage_jobs.table.whereabouts import SCAN_ROWS, Whereabouts

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

STREAM_ROWS = 2_048  # of all columns
_TAKE_ROWS = 2_048  # with vectors and texts, about 12 MiB


class DocumentSet:
    """Documents by (source, path), compared as values: no name is ever quoted into a query."""

    def __init__(self, documents: Iterable[tuple[str, str]]) -> None:
        import pyarrow as pa

        paths: dict[str, set[str]] = defaultdict(set)
        for source, path in documents:
            paths[source].add(path)
        self._paths = {source: pa.array(sorted(found), pa.string()) for source, found in paths.items()}

    def mask(self, batch: pa.RecordBatch) -> np.ndarray[Any, Any]:
        """For each row of a batch with columns `source` and `path`: does it belong to one of these
        documents?"""
        import numpy as np
        import pyarrow.compute as pc

        mask = np.zeros(batch.num_rows, dtype=bool)
        for source, paths in self._paths.items():
            here = pc.equal(batch.column("source"), source)
            if pc.any(here).as_py():
                found = pc.and_(here, pc.is_in(batch.column("path"), value_set=paths))
                mask |= found.to_numpy(zero_copy_only=False)
        return mask

    def addresses(self, dataset: Any, whereabouts: Whereabouts) -> np.ndarray[Any, Any]:
        """Where these documents' rows are: Lance row addresses, ascending."""
        import numpy as np

        found = [np.empty(0, dtype=np.uint64)]
        if self._paths:
            for batch in whereabouts.batches(dataset):
                found.append(batch.column("_rowaddr").to_numpy()[self.mask(batch)])
        return np.sort(np.concatenate(found))


def rows_at(
    dataset: Any, addresses: np.ndarray[Any, Any], columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """The rows at these addresses, in ascending order of address; the last column is `_rowaddr`."""
    for start in range(0, len(addresses), _TAKE_ROWS):
        wanted = ",".join(map(str, addresses[start : start + _TAKE_ROWS].tolist()))
        scanner = dataset.scanner(
            columns=list(columns), filter=f"_rowaddr IN ({wanted})", with_row_address=True, scan_in_order=True
        )
        with open_reading(dataset.uri):
            yield from scanner.to_batches()


class Incoming:
    """Rows on their way into the table, checked as they pass; a row that is wrong stops the flip before its
    commit.

    Rows must have the table's columns, no nulls, finite vectors, a `chunk_id` that is unique in the flip, and
    belong to the documents that are flipped. Remembers the chunk ids of one flip: about 150 bytes a row.
    Without `documents` any row may come, and there may be millions: ids are compared among neighbours alone.
    `extra` are columns of the user's: a row that does not have them has nulls there.
    """

    def __init__(
        self,
        schema: pa.Schema,
        documents: DocumentSet | None,
        batches: Iterable[pa.RecordBatch],
        extra: Sequence[pa.Field] = (),
    ) -> None:
        import pyarrow as pa

        self._ours = schema
        self._extra = extra
        self._schema = pa.schema([*schema, *extra], schema.metadata)
        self._documents = documents
        self._batches = batches
        self._chunk_ids: set[str] = set()
        self.failure: BaseException | None = None

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Yield the checked batches. What goes wrong is kept in `failure`: Arrow's C interface loses its
        type."""
        try:
            for batch in self._batches:
                if batch.num_rows:
                    yield self._checked(batch)
        except BaseException as exc:
            self.failure = exc
            raise

    def reader(self) -> pa.RecordBatchReader:
        """The same as an Arrow reader."""
        import pyarrow as pa

        return pa.RecordBatchReader.from_batches(self._schema, iter(self))

    def _checked(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        import pyarrow as pa

        count, ours = len(self._ours), self._ours
        if batch.schema.names[:count] != ours.names or batch.schema.types[:count] != ours.types:
            raise ValueError(f"rows have columns {batch.schema}, the table has {ours}")
        for name, column in zip(ours.names, batch.columns[:count], strict=True):
            if column.null_count:
                raise ValueError(f"column {name} holds nulls")
        if self._documents is not None and not self._documents.mask(batch).all():
            raise ValueError("a row belongs to a document that is not part of this flip")
        self._demand_new_ids(batch.column("chunk_id"))
        _demand_finite(batch.column("vector"))
        demand_json(batch)
        theirs = dict(zip(batch.schema.names[count:], batch.columns[count:], strict=True))
        added = [theirs.get(field.name, pa.nulls(batch.num_rows, field.type)) for field in self._extra]
        return pa.RecordBatch.from_arrays([*batch.columns[:count], *added], schema=self._schema)

    def _demand_new_ids(self, column: pa.Array) -> None:
        if self._documents is None and len(self._chunk_ids) > SCAN_ROWS:
            self._chunk_ids.clear()
        before = len(self._chunk_ids)
        ids = column.to_pylist()
        self._chunk_ids.update(ids)
        if len(self._chunk_ids) != before + len(ids):
            raise ValueError("two rows of one flip have the same chunk_id")


def _demand_finite(vectors: pa.FixedSizeListArray) -> None:
    import numpy as np
    import pyarrow as pa

    values = vectors.flatten()
    if pa.types.is_floating(values.type):
        numbers = values.to_numpy()
        # One pass without a temporary: a NaN or an infinity survives every sum of squares.
        with np.errstate(over="ignore", invalid="ignore"):
            doubtful = not np.isfinite(np.dot(numbers, numbers))
        if doubtful and not np.isfinite(numbers).all():
            raise ValueError("a vector holds NaN or infinity")
