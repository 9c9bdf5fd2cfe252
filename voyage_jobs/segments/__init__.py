"""Packs: every vector that was paid for, in immutable Arrow IPC files.

    vectors/<first 12 hex of the profile fingerprint>/<ref of the batch>.arrow

A pack has three columns, `key` (the 20 bytes of an embedding key), `slot` (0 to n-1 within that embedding)
and `vector`, in record batches of exactly `ROWS_PER_BATCH` rows (the last may be shorter), so that a row
number leads to its vector by arithmetic. Profile and ref stand in the schema's metadata: what vectors there
are can be learned from the packs alone, should `state.db` be lost; so can what was paid for them, which the last record
batch carries, and which state wrote them.

A pack appears under its name whole and synced, or not at all. It is never changed afterwards; a damaged one
is renamed, never deleted. Importing this package loads neither numpy nor pyarrow.
"""

from voyage_jobs.segments.format import ROWS_PER_BATCH, Billed, WrittenPack
from voyage_jobs.segments.reader import PackReader
from voyage_jobs.segments.store import AdoptedPack, PackStore
from voyage_jobs.segments.writer import PackWriter

__all__ = [
    "ROWS_PER_BATCH",
    "AdoptedPack",
    "Billed",
    "PackReader",
    "PackStore",
    "PackWriter",
    "WrittenPack",
]
