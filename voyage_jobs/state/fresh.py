"""The fresh lane as it stands on record: which changes wait, what it has used today, how fresh the table is.

A batch of the lane is one of mode `sync` without an order; `fresh_documents` says how many documents it counts for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from voyage_jobs.core.clock import US
from voyage_jobs.state import meta
from voyage_jobs.state.schema import DROPPED, PACKED, WANTED
from voyage_jobs.state.store import Tx

BEGUN = "fresh_begun.{}"  # in meta, by source: the newest version when its promise began; what is older is backlog
DAY_US = 86_400 * US
_LATEST = 1_000


@dataclass(frozen=True)
class Change:
    """A version that waits for vectors. `served`: the table shows an older one of its document.

    `tokens` and `texts` are those to be sent; `elsewhere` counts requests in a batch, or cancelled; `tried` those that
    were sent before and brought no vector.
    """

    version_id: int
    document_id: int
    source_id: int
    served: bool
    tokens: int
    texts: int
    elsewhere: int
    tried: int


# Purpose: the newest versions of a source that wait, with what they lack. `ix_versions_unpublished` has this order.
_CHANGES = text(
    "SELECT version_id, document_id, source_id, served, SUM(tokens), SUM(texts), SUM(elsewhere), SUM(tried) FROM"
    " (SELECT DISTINCT v.id AS version_id, v.document_id, v.source_id, e.id,"
    "   EXISTS (SELECT 1 FROM versions p WHERE p.document_id = v.document_id AND p.state = 'published') AS served,"
    f"   CASE WHEN e.state = {WANTED} THEN e.tokens ELSE 0 END AS tokens,"
    f"   CASE WHEN e.state = {WANTED} THEN e.vectors ELSE 0 END AS texts,"
    f"   e.state IN ({PACKED}, {DROPPED}) AS elsewhere,"
    f"   e.state = {WANTED} AND (e.refusals + e.attempts > 0"
    "    OR EXISTS (SELECT 1 FROM lines l WHERE l.embedding_id = e.id)) AS tried"
    "  FROM (SELECT id, document_id, source_id FROM versions WHERE state = 'waiting' AND source_id = :source"
    "    AND profile_id = :profile AND id > :after ORDER BY id DESC LIMIT :most) v"
    "  JOIN chunks c ON c.version_id = v.id JOIN embeddings e ON e.id = c.embedding_id)"
    " GROUP BY version_id ORDER BY version_id"
)


def changes(connection: Connection, source_id: int, profile_id: int, after: int, most: int) -> list[Change]:
    """The newest `most` versions of a source above the version `after` that wait for vectors, oldest first."""
    values = {"source": source_id, "profile": profile_id, "after": after, "most": most}
    return [Change(*row) for row in connection.execute(_CHANGES, values)]


# --- the promise ---


def begun_after(connection: Connection, source_id: int) -> int | None:
    """The newest version there was when the promise of a source began; None: it has not begun."""
    noted = meta.get(connection, BEGUN.format(source_id))
    return None if noted is None else int(noted)


def begin(tx: Tx, source_id: int) -> None:
    """From now on what changes in a source is promised to be fresh; what waits already is backlog."""
    newest = tx.connection.execute(text("SELECT COALESCE(MAX(id), 0) FROM versions")).scalar_one()
    meta.put(tx, BEGUN.format(source_id), str(newest))


def end(tx: Tx, source_id: int) -> None:
    """Nothing is promised any more: a promise that is made later begins then."""
    meta.forget(tx, BEGUN.format(source_id))


# --- the allowance ---


class Used(NamedTuple):
    """What the lane has spent since a time, or has at stake now."""

    tokens: int
    usd: float
    documents: int


NEVER_CALLED = (
    "(EXISTS (SELECT 1 FROM spend s WHERE s.batch_id = b.id AND s.kind = 'released') AND NOT EXISTS"
    " (SELECT 1 FROM spend s WHERE s.batch_id = b.id AND s.kind IN ('expedited', 'maybe_paid')))"
)
"""Of a batch `b`: its money was given back, and nothing may have been paid."""

# Purpose: what the batches of the lane were billed on a day, may have been, and have at stake. None of them is sent
# that is older than an hour, so what was billed since was made in the day before at the earliest.
_USED = text(
    "SELECT COALESCE(SUM(sign * tokens), 0), COALESCE(SUM(sign * usd), 0.0),"
    " (SELECT COALESCE(SUM(fresh_documents), 0) FROM batches b WHERE fresh_documents IS NOT NULL"
    f"   AND created_at >= :since AND created_at < :until AND NOT {NEVER_CALLED}) FROM"
    " (SELECT s.tokens, s.usd, CASE WHEN s.kind = 'reserved' THEN 1 WHEN s.kind = 'released' THEN -1"
    "   WHEN s.at >= :since AND s.at < :until THEN 1 ELSE 0 END AS sign"
    "  FROM batches b JOIN spend s ON s.batch_id = b.id"
    "  WHERE b.fresh_documents IS NOT NULL AND b.created_at >= :day_before)"
)


def used_since(connection: Connection, since: int) -> Used:
    """What counts against the allowance of the day that began at this time (microseconds UTC)."""
    times = {"since": since, "until": since + DAY_US, "day_before": since - DAY_US}
    row = connection.execute(_USED, times).one()
    return Used(int(row[0]), float(row[1]), int(row[2]))


# --- how fresh it is ---


class Freshness(NamedTuple):
    """Changes of a source that came into the table since a time, and how long that took, in seconds.

    `waits_s` are those of changes for which no job was needed, shortest first; `by_batch` counts the others.
    """

    waits_s: tuple[float, ...]
    by_batch: int


# Purpose: how long the latest changes took from the save (by the time of the file, if that is within one scan of its
# being seen) to the table, and whether a job brought one of their vectors.
_WAITS = text(
    "SELECT (v.published_at - CASE WHEN d.mtime_ns / 1000 BETWEEN v.seen_at - :scan AND v.seen_at"
    "  THEN d.mtime_ns / 1000 ELSE v.seen_at END) / 1000000.0,"
    " EXISTS (SELECT 1 FROM chunks c JOIN lines l ON l.embedding_id = c.embedding_id"
    "  JOIN batches b ON b.id = l.batch_id WHERE c.version_id = v.id AND b.mode = 'batch'"
    "   AND b.created_at >= v.seen_at) AS by_batch"
    " FROM (SELECT * FROM versions WHERE source_id = :source AND state = 'published' AND id > :after"
    "  ORDER BY id DESC LIMIT :most) v JOIN documents d ON d.id = v.document_id"
    " WHERE v.published_at >= :since AND v.seen_at >= :since"
)


def freshness(connection: Connection, source_id: int, after: int, since: int, scan_s: float) -> Freshness:
    """How fresh a source was since a time, by its latest thousand changes. `scan_s`: how far scans are apart."""
    values = {
        "source": source_id,
        "after": after,
        "since": since,
        "scan": int(scan_s * US),
        "most": _LATEST,
    }
    rows = connection.execute(_WAITS, values).all()
    waits = sorted(float(seconds) for seconds, by_batch in rows if not by_batch)
    return Freshness(tuple(waits), len(rows) - len(waits))


# --- a batch of it ---

# Purpose: the keys that versions lack, in reading order, each once.
_LACKED_BY = text(
    'SELECT e.id, e.key, e.vectors, e.tokens, c.version_id, c.start, c."end", c.section, v.source_id'
    " FROM chunks c JOIN embeddings e ON e.id = c.embedding_id JOIN versions v ON v.id = c.version_id"
    f" WHERE c.version_id = :version AND e.state = {WANTED} AND c.ordinal = (SELECT MIN(f.ordinal) FROM chunks f"
    "  WHERE f.version_id = c.version_id AND f.embedding_id = e.id) ORDER BY c.ordinal"
)


def lacked_by(connection: Connection, version_id: int) -> list[tuple[Any, ...]]:
    """What a version lacks, as the fields of `WantedEmbedding`."""
    return [tuple(row) for row in connection.execute(_LACKED_BY, {"version": version_id})]
