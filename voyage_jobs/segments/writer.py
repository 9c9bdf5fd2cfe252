"""Writing a segment: batches of a fixed size into a temporary file that becomes the segment in one rename."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from voyage_jobs.core.crash import crash_point
from voyage_jobs.core.durable import no_room_is_one_error, sync_dir
from voyage_jobs.core.generation import Stamp
from voyage_jobs.core.profile import KEY_BYTES, Profile
from voyage_jobs.core.states import Mode
from voyage_jobs.segments.behind import FileBehind
from voyage_jobs.segments.format import (
    ROWS_PER_BATCH,
    Billed,
    WrittenSegment,
    bill,
    name_of,
    segment_schema,
)

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


class SegmentWriter:
    """Writes one segment; a context manager. Leaving it without `close` leaves nothing behind.

    Memory is a few record batches, whatever is appended: the last one is held back until `close` tells what was billed.
    Writing to a name that exists replaces it in one
    rename. Raises `DiskFullError` when there is no room; nothing is under the final name then.
    """

    def __init__(
        self,
        path: Path,
        profile: Profile,
        ref: str,
        mode: Mode = Mode.BATCH,
        stamp: Stamp | None = None,
    ) -> None:
        import pyarrow as pa

        self._path = path
        self._temp = path.with_name(path.name + ".tmp")
        self._schema = segment_schema(profile, ref, mode, stamp)
        self._width, self._dtype = profile.width, profile.storage_dtype
        self._rows = 0
        self._filled = 0
        self._last: pa.RecordBatch | None = None
        self._open = True
        with no_room_is_one_error(str(path)):
            self._file = FileBehind(self._temp)
            self._arrow = pa.ipc.new_file(self._file, self._schema)

    def __enter__(self) -> Self:
        """The writer itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Discard what was written unless `close` has made it the segment."""
        self.abort()

    def append(self, keys: np.ndarray, slots: np.ndarray, vectors: np.ndarray) -> None:
        """Add m rows: keys (m, 20) uint8, slots (m,) integers, vectors (m, width) of the storage type.

        They must not be changed afterwards: they may be written later. Raises ValueError if a shape or type
        is wrong: a segment never converts numbers.
        """
        count = len(keys)
        shapes = (keys.shape, slots.shape, vectors.shape)
        if shapes != ((count, KEY_BYTES), (count,), (count, self._width)):
            raise ValueError(f"rows of shapes {shapes} do not fit this segment")
        if keys.dtype != "uint8" or vectors.dtype != self._dtype:
            raise ValueError(f"keys of {keys.dtype} and vectors of {vectors.dtype} do not fit this segment")
        with no_room_is_one_error(str(self._path)):
            for start, end in self._portions(count):
                part = slice(start, end)
                if end - start == ROWS_PER_BATCH:
                    self._write_batch(keys[part], slots[part], vectors[part])
                else:
                    self._gather(keys[part], slots[part], vectors[part])

    def close(self, billed: Billed | None = None) -> WrittenSegment:
        """Sync the segment and give it its name. Only after this do its vectors exist. `billed` is noted in it."""
        with no_room_is_one_error(str(self._path)):
            if self._filled:
                self._write_gathered()
            if self._last is not None:
                self._write_last(None if billed is None else bill(billed))
            self._arrow.close()
            self._file.sync_and_close()
            crash_point("segment.written")
            os.replace(self._temp, self._path)
            self._open = False
            sync_dir(self._path.parent)
        crash_point("segment.renamed")
        return WrittenSegment(name_of(self._path), self._rows, self._file.size, self._file.sha256())

    def abort(self) -> None:
        """Discard what was written so far; does nothing after `close`."""
        if not self._open:
            return
        self._open = False
        self._file.discard()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._temp)

    def _portions(self, count: int) -> Iterator[tuple[int, int]]:
        """`count` rows cut where record batches end."""
        start = 0
        while start < count:
            end = min(count, start + ROWS_PER_BATCH - self._filled)
            yield start, end
            start = end

    def _gather(self, keys: np.ndarray, slots: np.ndarray, vectors: np.ndarray) -> None:
        """Hold rows back until they fill a record batch; new arrays for each, the old are still being written."""
        import numpy as np

        if not self._filled:
            self._keys = np.empty((ROWS_PER_BATCH, KEY_BYTES), np.uint8)
            self._slots = np.empty(ROWS_PER_BATCH, np.int32)
            self._vectors = np.empty((ROWS_PER_BATCH, self._width), self._dtype)
        rows = slice(self._filled, self._filled + len(keys))
        self._keys[rows], self._slots[rows], self._vectors[rows] = keys, slots, vectors
        self._filled = rows.stop
        if self._filled == ROWS_PER_BATCH:
            self._write_gathered()

    def _write_gathered(self) -> None:
        rows = slice(0, self._filled)
        self._filled = 0
        self._write_batch(self._keys[rows], self._slots[rows], self._vectors[rows])

    def _write_batch(self, keys: np.ndarray, slots: np.ndarray, vectors: np.ndarray) -> None:
        import numpy as np
        import pyarrow as pa

        count = len(keys)
        key, slot, vector = self._schema.types
        numbers = pa.array(np.ascontiguousarray(vectors).reshape(-1))
        columns = [
            pa.Array.from_buffers(key, count, [None, pa.py_buffer(np.ascontiguousarray(keys))]),
            pa.array(np.ascontiguousarray(slots, np.int32), slot),
            pa.Array.from_buffers(vector, count, [None], children=[numbers]),
        ]
        if self._last is not None:
            self._write_last(None)
        self._last = pa.RecordBatch.from_arrays(columns, schema=self._schema)
        self._rows += count

    def _write_last(self, metadata: dict[bytes, bytes] | None) -> None:
        self._arrow.write_batch(self._last, custom_metadata=metadata)
        self._file.hand_over()
