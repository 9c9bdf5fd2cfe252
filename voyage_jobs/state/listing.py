"""Documents, one row each, for people who want to see which there are and how they stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, text

from voyage_jobs.state.schema import DROPPED, FAILED, PACKED, PATH, WANTED
from voyage_jobs.state.statements import slices


@dataclass(frozen=True)
class Listed:
    """One document. `path` is as `names.encode` makes it; times are microseconds."""

    source: str
    path: str
    state: str
    reason: str | None
    detail: str | None
    chunks: int | None
    """In the table; None where it serves nothing of it."""
    failed_chunks: int | None
    published_at: int | None
    missing_at: int | None
    version_id: int | None
    """The version that is to be published."""


_COLUMNS_OF = (
    f"SELECT s.name AS source, {PATH} AS path, d.reason, d.detail, p.chunks - p.failed_chunks AS chunks,"
    " p.failed_chunks, p.published_at, d.missing_at, w.id AS version_id, CASE WHEN d.state != 'present' THEN d.state"
    "  WHEN w.id IS NULL AND p.id IS NOT NULL THEN 'published' ELSE 'waiting' END AS state"
    " FROM sources s {join} folders f ON f.source_id = s.id {join} documents d ON d.folder_id = f.id"
    " LEFT JOIN versions p ON p.document_id = d.id AND p.state = 'published'"
    " LEFT JOIN versions w ON w.document_id = d.id AND w.state IN ('waiting', 'ready')"
    " WHERE (:source IS NULL OR s.name = :source)"
)
# In the order of their paths, through the indexes, until there are enough: else SQLite takes and sorts all there are.
_COLUMNS = _COLUMNS_OF.format(join="CROSS JOIN")
# From those that an index has, or that are few among all.
_COLUMNS_OF_FEW = _COLUMNS_OF.format(join="JOIN")
_ORDER = " ORDER BY s.name, f.path, d.name LIMIT :most"
# Purpose: the documents of one or all sources that stand in one way, in the order of their paths.
_BY_STATE = {
    # (the plus sign: or SQLite makes itself an index of all that are present)
    "published": text(f"{_COLUMNS} AND +d.state = 'present' AND w.id IS NULL AND p.id IS NOT NULL{_ORDER}"),
    "waiting": text(
        f"{_COLUMNS_OF_FEW} AND d.state = 'present' AND (w.id IS NOT NULL OR p.id IS NULL){_ORDER}"
    ),
    # (the first condition is that of the index of these few)
    **{
        state: text(f"{_COLUMNS_OF_FEW} AND d.state != 'present' AND d.state = '{state}'{_ORDER}")
        for state in ("skipped", "missing", "gone")
    },
}
# Purpose: all that are there or served, in the same order.
_ALL = text(f"{_COLUMNS} AND d.state != 'gone'{_ORDER}")

# Purpose: of these versions, those of which something failed or was cancelled, and nothing waits or is in flight.
_AT_REST = text(
    f"SELECT c.version_id, SUM(e.state = {FAILED}) AS failed, SUM(e.state = {DROPPED}) AS cancelled"
    " FROM chunks c CROSS JOIN embeddings e ON e.id = c.embedding_id WHERE c.version_id IN :versions"
    f" GROUP BY c.version_id HAVING failed + cancelled > 0 AND SUM(e.state IN ({WANTED}, {PACKED})) = 0"
).bindparams(bindparam("versions", expanding=True))


def at_rest(connection: Connection, versions: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Of these versions those that only `retry` moves on: how many chunks failed, and were cancelled, of each."""
    found: dict[int, tuple[int, int]] = {}
    for part in slices(versions):
        rows = connection.execute(_AT_REST, {"versions": part})
        found.update((version, (failed, cancelled)) for version, failed, cancelled in rows)
    return found


def documents(connection: Connection, source: str | None, state: str | None, most: int) -> Sequence[Listed]:
    """Up to `most` documents by source and path: those in one of `DOCUMENT_STANDINGS`, or all but what has gone."""
    query = _ALL if state is None else _BY_STATE[state]
    rows = connection.execute(query, {"source": source, "most": most}).mappings()
    return [Listed(**row) for row in rows]
