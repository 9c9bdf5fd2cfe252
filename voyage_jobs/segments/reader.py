"""Reading a segment: checked when opened, addressed by row number.

Its structure and its keys are looked at through a memory map, its vectors are read. The pages of a map would stay in
the memory of the process, all of them, since results come in any order; and a disk that fails under a map kills it.
"""

from __future__ import annotations

import mmap
import os
import weakref
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
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            weakref.finalize(self, os.close, self._file)
            stat = os.fstat(self._file)
            _check_ends(self._file, stat.st_size)
            whole = pa.py_buffer(mmap.mmap(self._file, 0, access=mmap.ACCESS_READ))
            source = pa.BufferReader(whole)
            footer = pa.ipc.open_file(source)
            source.seek(_HEAD_BYTES)
            stream = pa.ipc.open_stream(source)
            self.profile, self.ref = read_head(stream.schema)
            self.mode = mode_of(stream.schema)
            self.stamp = stamp_of(stream.schema)
            self._batches, self.billed = _load(stream, footer, self.profile, whole)
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
        """Keys (m, 20) uint8 and slots (m,) int32, per record batch in row order: read-only views of the file."""
        for batch in self._batches:
            yield batch.keys, batch.slots

    def take(self, rows: np.ndarray) -> np.ndarray:
        """The vectors of these row numbers, in the order asked, as a contiguous (m, width) array.

        Raises `CorruptionError` if the segment has no such row: then it is not the segment that was recorded.
        """
        import numpy as np

        rows = np.asarray(rows, np.int64)
        found = np.empty((rows.size, self.profile.width), self.profile.storage_dtype)
        if not rows.size:
            return found
        if rows.min() < 0 or rows.max() >= self.rows:
            raise CorruptionError(
                f"The segment {self.path} has {self.rows} rows; row {rows.min()} or {rows.max()} was asked for.",
                hint=_HINT,
            )
        into, row_bytes = found.data.cast("B"), found.strides[0]
        # Runs of rows that stand behind each other in the file are read at once.
        starts = np.flatnonzero((np.diff(rows, prepend=-2) != 1) | (rows % ROWS_PER_BATCH == 0))
        for start, end in zip(starts.tolist(), [*starts[1:].tolist(), rows.size], strict=True):
            batch, within = divmod(int(rows[start]), ROWS_PER_BATCH)
            at = self._batches[batch].vectors_at + within * row_bytes
            self._read(into[start * row_bytes : end * row_bytes], at)
        return found

    def _read(self, into: memoryview, at: int) -> None:
        while into:
            try:
                count = os.preadv(self._file, [into], at)
            except OSError as exc:
                raise OSError(exc.errno, exc.strerror, str(self.path)) from exc
            if not count:
                raise CorruptionError(f"The segment {self.path} was cut while it was read.", hint=_HINT)
            into, at = into[count:], at + count


class _Batch:
    """One record batch: its keys and slots as read-only views of the mapped file, and where in it the vectors begin."""

    __slots__ = ("keys", "slots", "vectors_at")

    def __init__(self, batch: pa.RecordBatch, profile: Profile, whole: pa.Buffer) -> None:
        import numpy as np

        # Bounds of every buffer; O(1) for these types, and what keeps a damaged file from a segmentation
        # fault.
        batch.validate()
        key, slot, vector = batch.columns
        if batch.num_rows == 0 or any(column.offset or column.null_count for column in (key, slot, vector)):
            raise ValueError("a record batch is not laid out as written")
        rows, numbers = batch.num_rows, vector.values.buffers()[1]
        self.keys = np.frombuffer(key.buffers()[1], np.uint8, rows * KEY_BYTES).reshape(rows, KEY_BYTES)
        self.slots = np.frombuffer(slot.buffers()[1], np.int32, rows)
        self.vectors_at = numbers.address - whole.address
        needed = rows * profile.width * np.dtype(profile.storage_dtype).itemsize
        if needed > numbers.size or not 0 <= self.vectors_at <= whole.size - needed:
            raise ValueError("vectors are not where they were written")


def _check_ends(file: int, size: int) -> None:
    start, end = os.pread(file, len(MAGIC), 0), os.pread(file, len(MAGIC), max(0, size - len(MAGIC)))
    if size < 2 * len(MAGIC) or start != MAGIC or end != MAGIC:
        raise ValueError("it does not begin and end as an Arrow file does")


def _load(
    stream: pa.RecordBatchStreamReader, footer: pa.RecordBatchFileReader, profile: Profile, whole: pa.Buffer
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
        batches.append(_Batch(batch, profile, whole))
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
