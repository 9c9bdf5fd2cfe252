"""Segments: every vector that was paid for, in immutable Arrow IPC files.

    vectors/<first 12 hex of the profile fingerprint>/<ref of the batch>.arrow

A segment has three columns, `key` (the 20 bytes of an embedding key), `slot` (0 to n-1 within that embedding) and
`vector`, in record batches of exactly `ROWS_PER_BATCH` rows (the last may be shorter), so that a row number leads to
its vector by arithmetic. Profile and ref stand in the schema's metadata: what vectors there are can be learned from
the segments alone, should `state.db` be lost; so can what was paid for them, which the last record batch carries, and
which state wrote them.

A segment appears under its name whole and synced, or not at all. It is never changed afterwards; a damaged one
is renamed, never deleted. Importing this package loads neither numpy nor pyarrow.
"""

from voyage_jobs.segments.format import ROWS_PER_BATCH, Billed, WrittenSegment
from voyage_jobs.segments.reader import SegmentReader
from voyage_jobs.segments.store import AdoptedSegment, SegmentStore
from voyage_jobs.segments.writer import SegmentWriter

__all__ = [
    "ROWS_PER_BATCH",
    "AdoptedSegment",
    "Billed",
    "SegmentReader",
    "SegmentStore",
    "SegmentWriter",
    "WrittenSegment",
]
