"""Orders: what an operator asks for at once, the batches of mode `sync` that were made for it, and what these cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select, text

from voyage_jobs.core import states
from voyage_jobs.core.states import Batch
from voyage_jobs.state import batches
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.outcomes import MALFORMED, OPEN, SUCCESS
from voyage_jobs.state.schema import PACKED
from voyage_jobs.state.schema import batches as batch_table
from voyage_jobs.state.versions import Made

LOST_ANSWER = "EXISTS (SELECT 1 FROM attempts a WHERE a.batch_id = b.id AND a.state = 'lost')"
"""Whether the answer to the batch `b`, which was sent at once, is lost: a condition of SQL."""


def batches_of(connection: Connection, order_ref: str) -> list[BatchRow]:
    """The batches of one order, first to last."""
    ids = select(batch_table.c.id).where(batch_table.c.order_ref == order_ref).order_by(batch_table.c.id)
    return [batches.get(connection, batch_id) for batch_id in connection.execute(ids).scalars().all()]


def batches_about(connection: Connection, document_id: int) -> list[int]:
    """The ids of the batches that were ordered for a document."""
    ids = select(batch_table.c.id).where(batch_table.c.document_id == document_id).order_by(batch_table.c.id)
    return list(connection.execute(ids).scalars())


def unsent_calls(connection: Connection) -> list[BatchRow]:
    """The calls that are on record and were surely not sent, or not carried out: these may be given up."""
    return [batch for batch in batches.in_state(connection, Batch.PACKED, Batch.SPOOLED) if batch.is_sync]


@dataclass(frozen=True)
class Outcome:
    """What came of one order: requests sent, texts with a vector, texts whose answer is no vector."""

    requests: int
    held: int
    malformed: int


# Purpose: what came of one order. (`outcome` is that of a line.)
_OUTCOME = text(
    "SELECT (SELECT COUNT(*) FROM attempts a JOIN batches b ON b.id = a.batch_id WHERE b.order_ref = :order),"
    f" COALESCE(SUM(e.vectors) FILTER (WHERE l.outcome = {SUCCESS}), 0),"
    f" COALESCE(SUM(e.vectors) FILTER (WHERE l.outcome = {MALFORMED}), 0)"
    " FROM batches b JOIN lines l ON l.batch_id = b.id JOIN embeddings e ON e.id = l.embedding_id"
    " WHERE b.order_ref = :order"
)


def outcome_of(connection: Connection, order_ref: str) -> Outcome:
    """What came of one order so far."""
    return Outcome(*map(int, connection.execute(_OUTCOME, {"order": order_ref}).one()))


# Purpose: is the answer to one batch lost?
_IS_LOST = text(f"SELECT {LOST_ANSWER} FROM batches b WHERE b.id = :id")


def is_lost(connection: Connection, batch_id: int) -> bool:
    """Whether the answer to a batch that was sent at once is lost."""
    return bool(connection.execute(_IS_LOST, {"id": batch_id}).scalar_one())


@dataclass(frozen=True)
class NeededEmbedding:
    """One embedding of a document: its stored state, the place of (the first of) its text, the open batch it is in."""

    id: int
    key: bytes
    vectors: int
    tokens: int
    state: int
    version_id: int
    start: int
    end: int
    section: int
    batch_id: int | None
    batch_ref: str | None


# What is expected of an embedding by an open batch, the first that it is in, if it is in one.
_TRAVELS = (
    f" LEFT JOIN lines l ON l.embedding_id = e.id AND l.outcome = {OPEN} AND e.state = {PACKED}"
    f"  AND l.batch_id = (SELECT MIN(o.batch_id) FROM lines o WHERE o.embedding_id = e.id AND o.outcome = {OPEN})"
    " LEFT JOIN batches b ON b.id = l.batch_id"
)
# Purpose: what the newest content of a document needs, in reading order, and the open batch that each travels in.
_NEEDED = text(
    'SELECT e.id, e.key, e.vectors, e.tokens, e.state, c.version_id, c.start, c."end", c.section, b.id, b.ref'
    " FROM versions v"
    f" JOIN chunks c ON c.version_id = v.id JOIN embeddings e ON e.id = c.embedding_id{_TRAVELS}"
    " WHERE v.document_id = :document AND v.state IN ('waiting', 'ready', 'published')"
    "  AND v.retire = 0 AND v.doubtful = 0"
    "  AND v.id = (SELECT MAX(n.id) FROM versions n WHERE n.document_id = v.document_id"
    "   AND n.state IN ('waiting', 'ready', 'published'))"
    "  AND c.ordinal = (SELECT MIN(f.ordinal) FROM chunks f WHERE f.version_id = v.id AND f.embedding_id = e.id)"
    " ORDER BY c.ordinal"
)
# Purpose: how one embedding stands, and the open batch that it travels in.
_KNOWN = text(f"SELECT e.state, b.ref FROM embeddings e{_TRAVELS} WHERE e.key = :key")
# Purpose: where a document's newest content stands.
_STANDS = text(
    "SELECT state, content_hash, text_hash, splitter FROM versions WHERE document_id = :document"
    " AND state IN ('waiting', 'ready', 'published') ORDER BY id DESC LIMIT 1"
)


def needed(connection: Connection, document_id: int) -> list[NeededEmbedding]:
    """The embeddings of the newest live version of a document, each once."""
    return [NeededEmbedding(*row) for row in connection.execute(_NEEDED, {"document": document_id})]


def known(connection: Connection, key: bytes) -> tuple[int, str | None] | None:
    """(stored state, ref of the open batch it is in) of an embedding; None if it was never wanted."""
    row = connection.execute(_KNOWN, {"key": key}).first()
    return None if row is None else (int(row[0]), row[1])


def newest_content(connection: Connection, document_id: int) -> tuple[states.Version, Made] | None:
    """(state, identity) of the newest live version of a document, if it has one."""
    row = connection.execute(_STANDS, {"document": document_id}).first()
    return None if row is None else (states.Version(row[0]), Made(*row[1:]))


@dataclass(frozen=True)
class Usage:
    """Requests and texts in numbers; USD is None where a price is not known."""

    calls: int
    inputs: int
    tokens: int
    usd: float | None


# Purpose: requests whose answer is lost.
_LOST = text(
    "SELECT COUNT(*) AS calls, COALESCE(SUM(b.inputs), 0) AS inputs, COALESCE(SUM(b.tokens_estimated), 0) AS tokens,"
    " SUM(b.tokens_estimated * b.usd_per_million / 1000000.0) AS usd,"
    " COUNT(*) FILTER (WHERE b.usd_per_million IS NULL) AS unpriced"
    " FROM attempts a JOIN batches b ON b.id = a.batch_id"
    " WHERE b.mode = 'sync' AND a.state = 'lost' AND a.closed_at >= :since"
)
# Purpose: texts that were sent at once while a batch had them, too, and what that batch billed for them. (CROSS JOIN
# holds the planner to the order written: from the few that were sent at once, not from every line there is.)
_TWICE = text(
    "SELECT COUNT(DISTINCT l.batch_id) AS calls, COALESCE(SUM(e.vectors), 0) AS inputs,"
    " COALESCE(SUM(o.tokens), 0) AS tokens, SUM(o.tokens * t.usd_per_million / 1000000.0) AS usd,"
    " COUNT(*) FILTER (WHERE t.usd_per_million IS NULL) AS unpriced"
    " FROM batches b CROSS JOIN lines l ON l.batch_id = b.id CROSS JOIN lines o ON o.embedding_id = l.embedding_id"
    " CROSS JOIN batches t ON t.id = o.batch_id CROSS JOIN embeddings e ON e.id = l.embedding_id"
    f" WHERE b.mode = 'sync' AND l.outcome = {SUCCESS} AND t.mode = 'batch' AND o.tokens > 0"
    "  AND b.created_at BETWEEN t.created_at AND t.collected_at AND t.collected_at >= :since"
)


def never_known(connection: Connection, since: int = 0) -> Usage:
    """The requests that may have been paid, since a time in microseconds."""
    return _usage(connection, _LOST, since)


def paid_twice(connection: Connection, since: int = 0) -> Usage:
    """What batches billed for texts that were sent at once while they were in them."""
    return _usage(connection, _TWICE, since)


def _usage(connection: Connection, statement: Any, since: int) -> Usage:
    row = connection.execute(statement, {"since": since}).one()
    usd = None if row.unpriced else float(row.usd or 0.0)
    return Usage(int(row.calls), int(row.inputs), int(row.tokens), usd)
