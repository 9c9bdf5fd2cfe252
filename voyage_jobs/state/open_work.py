"""What is left to do, and what stands in its way: the counts by which `sync` knows that it has come to its end."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, select, text

from voyage_jobs.core import states
from voyage_jobs.state import batches, circuits, ledger, pauses, setback
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.circuits import Circuit
from voyage_jobs.state.pauses import Pauses
from voyage_jobs.state.schema import DROPPED, FAILED, WANTED, publications
from voyage_jobs.state.statements import Prepared

# Purpose: what only `retry` moves on: failed, or cancelled while something still needs it.
_STUCK = text(
    f"SELECT (SELECT COUNT(*) FROM embeddings e WHERE e.state = {FAILED} AND EXISTS"
    "  (SELECT 1 FROM chunks c WHERE c.embedding_id = e.id)) AS failed,"
    f" (SELECT COUNT(*) FROM embeddings e WHERE e.state = {DROPPED} AND EXISTS"
    "  (SELECT 1 FROM chunks c WHERE c.embedding_id = e.id)) AS cancelled"
)
# Purpose: what waits to be sent, to be shown, to be taken out.
_WAITING = Prepared(
    f"SELECT (SELECT COUNT(*) FROM embeddings WHERE state = {WANTED} AND profile_id = :profile) AS wanted,"
    " (SELECT COUNT(*) FROM versions WHERE state = 'ready' AND state IN ('waiting', 'ready')) AS ready,"
    " (SELECT COUNT(*) FROM versions INDEXED BY ix_versions_retire"
    "  WHERE retire = 1 AND state = 'published') AS retiring"
)


@dataclass(frozen=True)
class OpenWork:
    """Counts of embeddings (`wanted`), versions (`ready`, `retiring`), and everything that is open or in trouble."""

    wanted: int
    ready: int
    retiring: int
    open_batches: list[BatchRow]
    parked: list[BatchRow]
    circuits: dict[str, Circuit]
    claiming: bool
    """The state was lost, and the jobs that it knew are not claimed yet."""
    pauses: Pauses


def open_work(connection: Connection, profile_id: int, now: int) -> OpenWork:
    """What is left to do under a profile."""
    wanted, ready, retiring = _WAITING.row(connection, profile=profile_id)
    return OpenWork(
        wanted=wanted,
        ready=ready,
        retiring=retiring,
        open_batches=batches.in_state(connection, *states.UNFINISHED),
        parked=batches.in_state(connection, states.Batch.PARKED),
        circuits=circuits.tripped(connection),
        claiming=setback.is_claim_due(connection),
        pauses=pauses.now(connection, now),
    )


def count_stuck(connection: Connection) -> tuple[int, int]:
    """(failed, cancelled) embeddings that something still needs. Looks at all embeddings: not for every turn."""
    row = connection.execute(_STUCK).one()
    return int(row.failed), int(row.cancelled)


@dataclass(frozen=True)
class Mark:
    """A point in the history of the state, to tell later what came after it. Tokens and USD are settled or saved: of
    what has a price, beside the tokens that have none. (Notes of earlier versions have no dollars where these were.)"""

    publication_id: int
    transition_id: int
    settled_tokens: int
    saved_tokens: int
    settled_usd: float | None
    saved_usd: float | None
    settled_unpriced: int = 0
    saved_unpriced: int = 0


@dataclass(frozen=True)
class Work:
    """What was done since a mark. A USD figure is None where a price is not known."""

    documents_published: int
    chunks_published: int
    documents_removed: int
    batches_sent: int
    embeddings_sent: int
    batches_collected: int
    settled_tokens: int
    saved_tokens: int
    settled_usd: float | None
    saved_usd: float | None


_MARK = Prepared(
    "SELECT (SELECT COALESCE(MAX(id), 0) FROM publications) AS publication_id,"
    " (SELECT COALESCE(MAX(id), 0) FROM transitions) AS transition_id"
)
# Purpose: what `sync` sums up at its end: batches that our create calls brought to the provider, or that came home.
_BATCHES_SINCE = text(
    "SELECT COUNT(*) AS batches, COALESCE(SUM(b.inputs), 0) AS inputs FROM batches b"
    " WHERE b.id IN (SELECT t.batch_id FROM transitions t"
    "  WHERE t.id > :after AND t.kind = :kind AND t.target = :target)"
)


def mark(connection: Connection) -> Mark:
    """The present."""
    settled, saved = ledger.settled_and_saved(connection)
    publication_id, transition_id = _MARK.row(connection)
    return Mark(
        publication_id,
        transition_id,
        settled.tokens,
        saved.tokens,
        settled.usd,
        saved.usd,
        settled.unpriced,
        saved.unpriced,
    )


def work_since(connection: Connection, then: Mark) -> Work:
    """What was done since."""
    now = mark(connection)
    done = {
        row.kind: row
        for row in connection.execute(
            select(
                publications.c.kind,
                func.sum(publications.c.documents).label("documents"),
                func.sum(publications.c.rows).label("rows"),
            )
            .where(publications.c.id > then.publication_id, publications.c.table_version.is_not(None))
            .group_by(publications.c.kind)
        )
    }
    sent = connection.execute(
        _BATCHES_SINCE, {"after": then.transition_id, "kind": "attempt", "target": "created"}
    ).one()
    collected = connection.execute(
        _BATCHES_SINCE, {"after": then.transition_id, "kind": "batch", "target": "collected"}
    ).one()
    return Work(
        documents_published=done["flip"].documents if "flip" in done else 0,
        chunks_published=done["flip"].rows if "flip" in done else 0,
        documents_removed=done["delete"].documents if "delete" in done else 0,
        batches_sent=sent.batches,
        embeddings_sent=sent.inputs,
        batches_collected=collected.batches,
        settled_tokens=now.settled_tokens - then.settled_tokens,
        saved_tokens=now.saved_tokens - then.saved_tokens,
        settled_usd=_less(now.settled_usd, then.settled_usd, now.settled_unpriced - then.settled_unpriced),
        saved_usd=_less(now.saved_usd, then.saved_usd, now.saved_unpriced - then.saved_unpriced),
    )


def _less(now: float | None, then: float | None, unpriced: int) -> float | None:
    return None if now is None or then is None or unpriced else now - then
