"""Reading a segment: memory-mapped, checked when opened, addressed by row number."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from voyage_jobs.core.profile import KEY_BYTES, Profile
from voyage_jobs.errors import CorruptionError
from voyage_jobs.segments.format import (
    MAGIC,
    ROWS_PER_BATCH,
    Billed,
    billed_in,
    mode_of,
    read_head,
    stamp_of,
)

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

_HEAD_BYTES = 8  # the magic word, padded; an Arrow stream follows
_HINT = "The segment is set aside and its vectors are fetched again while the provider keeps the results."


class SegmentReader:
    """One segment, opened for reading: `profile` of its vectors, `ref` of what brought them, `rows`.

    `stamp` tells which state wrote it, `billed` what was paid for it; None where it does not say. `mode` tells how
    its vectors were asked for.

    Raises `CorruptionError` if the file is missing, cut, foreign or damaged in structure. Changed vector
    bytes in an intact structure are not seen here: that is what the recorded SHA-256 is for.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow as pa

        self.path = path
        try:
            stat = os.stat(path)
            _check_ends(path, stat.st_size)
            source = pa.memory_map(str(path))
            footer = pa.ipc.open_file(source)
            source.seek(_HEAD_BYTES)
            stream = pa.ipc.open_stream(source)
            self.profile, self.ref = read_head(stream.schema)
            self.mode = mode_of(stream.schema)
            self.stamp = stamp_of(stream.schema)
            self._batches, self.billed = _load(stream, footer, self.profile)
        except FileNotFoundError as exc:
            raise CorruptionError(f"The segment {path} is missing.", hint=_HINT) from exc
        except (pa.ArrowException, OSError, ValueError, TypeError, KeyError) as exc:
            if isinstance(exc, OSError) and exc.errno is not None:
                raise  # the disk's or the system's trouble; Arrow's own OSError has no number
            raise CorruptionError(f"{path} is not a whole segment: {exc}", hint=_HINT) from exc
        self._rows = sum(len(batch.slots) for batch in self._batches)
        self.identity = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self._rows

    def keys(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Keys (m, 20) uint8 and slots (m,) int32, per record batch in row order: views of the file."""
        for batch in self._batches:
            yield batch.keys, batch.slots

    def take(self, rows: np.ndarray) -> np.ndarray:
        """The vectors of these row numbers, in the order asked, as a contiguous (m, width) array.

        Consecutive rows of one record batch come as a read-only view of the file without a copy; everything
        else is copied once. Raises `CorruptionError` if the segment has no such row: then it is not the segment
        that was recorded.
        """
        import numpy as np

        rows = np.asarray(rows, np.int64)
        if not rows.size:
            return np.empty((0, self.profile.width), self.profile.storage_dtype)
        if rows.min() < 0 or rows.max() >= self.rows:
            raise CorruptionError(
                f"The segment {self.path} has {self.rows} rows; row {rows.min()} or {rows.max()} was asked for.",
                hint=_HINT,
            )
        if rows[0] // ROWS_PER_BATCH == rows[-1] // ROWS_PER_BATCH and (np.diff(rows) == 1).all():
            batch, first = divmod(int(rows[0]), ROWS_PER_BATCH)
            return self._batches[batch].vectors[first : first + rows.size]
        return self._gather(rows)

    def _gather(self, rows: np.ndarray) -> np.ndarray:
        """Copy scattered rows, one indexing operation per record batch touched."""
        import numpy as np

        order = None if (np.diff(rows) >= 0).all() else np.argsort(rows, kind="stable")
        ordered = rows if order is None else rows[order]
        batches, within = np.divmod(ordered, ROWS_PER_BATCH)
        starts = np.flatnonzero(np.diff(batches, prepend=-1))
        out = np.empty((rows.size, self.profile.width), self.profile.storage_dtype)
        for start, end in zip(starts, [*starts[1:], rows.size], strict=True):
            to = slice(start, end) if order is None else order[start:end]
            out[to] = self._batches[batches[start]].vectors[within[start:end]]
        return out


class _Batch:
    """The three columns of one record batch as read-only views of the mapped file."""

    __slots__ = ("keys", "slots", "vectors")

    def __init__(self, batch: pa.RecordBatch, profile: Profile) -> None:
        import numpy as np

        # Bounds of every buffer; O(1) for these types, and what keeps a damaged file from a segmentation
        # fault.
        batch.validate()
        key, slot, vector = batch.columns
        if batch.num_rows == 0 or any(column.offset or column.null_count for column in (key, slot, vector)):
            raise ValueError("a record batch is not laid out as written")
        rows, width, numbers = batch.num_rows, profile.width, vector.values.buffers()[1]
        self.keys = np.frombuffer(key.buffers()[1], np.uint8, rows * KEY_BYTES).reshape(rows, KEY_BYTES)
        self.slots = np.frombuffer(slot.buffers()[1], np.int32, rows)
        self.vectors = np.frombuffer(numbers, profile.storage_dtype, rows * width).reshape(rows, width)


def _check_ends(path: Path, size: int) -> None:
    with open(path, "rb") as file:
        start = file.read(len(MAGIC))
        file.seek(max(0, size - len(MAGIC)))
        end = file.read(len(MAGIC))
    if size < 2 * len(MAGIC) or start != MAGIC or end != MAGIC:
        raise ValueError("it does not begin and end as an Arrow file does")


def _load(
    stream: pa.RecordBatchStreamReader, footer: pa.RecordBatchFileReader, profile: Profile
) -> tuple[list[_Batch], Billed | None]:
    """The record batches in the order in which they stand in the file, as many as its footer counts; and the bill.

    Where they stand is never taken from the footer: an offset there that is damaged but plausible would lead
    to other vectors.
    """
    batches: list[_Batch] = []
    last = None
    for batch, last in _with_metadata(stream):  # noqa: B007 - what the last one carries
        if batch.num_rows > ROWS_PER_BATCH or (batches and len(batches[-1].slots) != ROWS_PER_BATCH):
            raise ValueError(f"record batch {len(batches)} follows one that is not full, or is too long")
        batches.append(_Batch(batch, profile))
    if len(batches) != footer.num_record_batches:
        raise ValueError(
            f"it has {len(batches)} record batches, its footer counts {footer.num_record_batches}"
        )
    return batches, billed_in(last)


def _with_metadata(
    stream: pa.RecordBatchStreamReader,
) -> Iterator[tuple[pa.RecordBatch, Mapping[bytes, bytes] | None]]:
    while True:
        try:
            found = stream.read_next_batch_with_custom_metadata()
        except StopIteration:
            return
        yield found.batch, found.custom_metadata
