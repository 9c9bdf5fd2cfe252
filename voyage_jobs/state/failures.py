"""Chunks that could not be embedded: why, and whose they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import Connection, text

from voyage_jobs.state.schema import FAILED

# Purpose: the first failed embeddings with the vendor's last word on each and the documents that wait for it.
_FAILED = text(
    "SELECT COALESCE(l.detail, 'no reason given') AS reason, s.name AS source, f.path AS folder, d.name AS name"
    f" FROM (SELECT id FROM embeddings WHERE state = {FAILED} ORDER BY id LIMIT :most) e"
    " CROSS JOIN chunks c ON c.embedding_id = e.id CROSS JOIN versions v ON v.id = c.version_id"
    " CROSS JOIN documents d ON d.id = v.document_id CROSS JOIN folders f ON f.id = d.folder_id"
    " CROSS JOIN sources s ON s.id = d.source_id"
    " LEFT JOIN lines l ON l.embedding_id = e.id AND l.batch_id ="
    "  (SELECT MAX(batch_id) FROM lines WHERE embedding_id = e.id)"
    " WHERE +v.state IN ('waiting', 'ready', 'published')"
)
# Purpose: whether there are more of them than were looked at.
_COUNT = text(f"SELECT COUNT(*) FROM embeddings WHERE state = {FAILED}")


class FailedChunk(NamedTuple):
    """One chunk whose embedding failed; `path` is relative to its source."""

    reason: str
    source: str
    path: str


def failed_chunks(connection: Connection, most: int) -> Iterator[FailedChunk]:
    """The chunks of the first `most` failed embeddings."""
    for row in connection.execute(_FAILED, {"most": most}):
        yield FailedChunk(row.reason, row.source, f"{row.folder}/{row.name}" if row.folder else row.name)


def count(connection: Connection) -> int:
    """How many embeddings have failed."""
    return int(connection.execute(_COUNT).scalar_one())
