"""Counting for `status`: how much is where, without walking through everything that is published.

What is published is counted as it changes (`schema.TOTALS`). Only chunks that wait for a vector are looked at one by
one, and of those only the smaller part: what is still to be sent, or what is at the provider; the other part is the
difference.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import Connection, TextClause, text

from voyage_jobs.core.states import AT_THE_VENDOR, BEFORE_THE_JOB, Attempt, Batch, Embedding
from voyage_jobs.state.documents import KEPT
from voyage_jobs.state.outcomes import OPEN
from voyage_jobs.state.schema import DROPPED, FAILED, PACKED, PATH, WANTED
from voyage_jobs.state.statements import Prepared

PLACES = ("waiting", "packed", "submitted", "held", "published", "failed")
"""Where a chunk can be, in the order it gets there."""

Chunks = dict[str, int]
"""Number of chunks by place."""


@dataclass
class SourceStats:
    """One source in numbers. `oldest_seen_at`: since when its oldest unpublished version is known (microseconds)."""

    present: int = 0
    missing: int = 0
    kept: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    published_documents: int = 0
    waiting_documents: int = 0
    oldest_seen_at: int | None = None
    oldest_document: int | None = None
    cancelled: int = 0
    chunks: Chunks = field(default_factory=lambda: dict.fromkeys(PLACES, 0))


# Purpose: documents ever seen and what the table serves, by source.
_TOTALS = text(
    "SELECT id, documents, published, published_chunks, published_failed FROM sources WHERE documents > 0"
)
# Purpose: those that are not present, with the reason (a partial index has just these).
_NOT_PRESENT = text(
    "SELECT source_id, state, reason, COUNT(*) FROM documents WHERE state != 'present'"
    " GROUP BY source_id, state, reason"
)
# Purpose: what is on its way to the table: held chunks are those that are neither open nor failed.
_UNPUBLISHED = text(
    "SELECT source_id, COUNT(*), SUM(chunks - open_chunks - failed_chunks), SUM(failed_chunks), SUM(open_chunks),"
    " MIN(seen_at) FROM versions WHERE state IN ('waiting', 'ready') GROUP BY source_id"
)
# Purpose: the document that has been on its way for longest.
_OLDEST = text(
    "SELECT document_id FROM versions WHERE state IN ('waiting', 'ready') AND source_id = :source AND seen_at = :at"
    " ORDER BY id LIMIT 1"
)
# Purpose: how many embeddings wait, and how many are in batches: which of the two is the smaller part.
_SIZES = text(
    f"SELECT (SELECT COUNT(*) FROM embeddings WHERE state = {WANTED}),"
    f" (SELECT COUNT(*) FROM embeddings WHERE state = {PACKED})"
)


# (CROSS JOIN and the plus sign hold the planner to the order written: from the few, by row id, to their versions.)
def _of_embeddings(state: int) -> TextClause:
    return text(
        "SELECT v.source_id, COUNT(*) FROM embeddings e CROSS JOIN chunks c ON c.embedding_id = e.id"
        " CROSS JOIN versions v ON v.id = c.version_id"
        f" WHERE e.state = {state} AND +v.state IN ('waiting', 'ready') GROUP BY v.source_id"
    )


def _of_batches(*wanted: Batch) -> TextClause:
    words = ", ".join(f"'{state}'" for state in wanted)
    return text(
        "SELECT v.source_id, COUNT(*) FROM batches b CROSS JOIN lines l ON l.batch_id = b.id"
        " CROSS JOIN chunks c ON c.embedding_id = l.embedding_id CROSS JOIN versions v ON v.id = c.version_id"
        f" WHERE b.state IN ({words}) AND b.state != 'closed' AND l.outcome = {OPEN}"
        " AND +v.state IN ('waiting', 'ready') GROUP BY v.source_id"
    )


# Purpose: chunks whose embedding nobody has asked for yet.
_WAITING = _of_embeddings(WANTED)
# Purpose: chunks whose embedding an operator cancelled: only `retry` moves them on.
_CANCELLED = _of_embeddings(DROPPED)
# Purpose: chunks in batches that are not at the provider.
_PACKED = _of_batches(*BEFORE_THE_JOB, Batch.PARKED)
# Purpose: chunks in batches that are, or may be, at the provider, or whose results are on their way.
_SUBMITTED = _of_batches(*AT_THE_VENDOR, Batch.ENDED)


def by_source(connection: Connection) -> Mapping[int, SourceStats]:
    """Every source in numbers, by its row."""
    source_stats: defaultdict[int, SourceStats] = defaultdict(SourceStats)
    for source, seen, published, served, failed in connection.execute(_TOTALS):
        one = source_stats[source]
        one.present, one.published_documents = seen, published
        one.chunks["published"], one.chunks["failed"] = served, failed
    for source, state, reason, count in connection.execute(_NOT_PRESENT):
        one = source_stats[source]
        one.present -= count
        if state == "missing":
            one.missing += count
            one.kept += count if reason == KEPT else 0
        elif state == "skipped":
            one.skipped[reason] = count
    _add_unpublished(connection, source_stats)
    return source_stats


def _add_unpublished(connection: Connection, source_stats: Mapping[int, SourceStats]) -> None:
    unsent: Counter[int] = Counter()
    for source, documents, held, failed, waiting, oldest in connection.execute(_UNPUBLISHED).all():
        one = source_stats[source]
        one.waiting_documents, one.oldest_seen_at = documents, oldest
        one.oldest_document = connection.execute(_OLDEST, {"source": source, "at": oldest}).scalar()
        one.chunks["held"] = held
        one.chunks["failed"] += failed
        unsent[source] = waiting
    if not unsent.total():
        return
    cancelled, packed = _count(connection, _CANCELLED), _count(connection, _PACKED)
    wanted, in_batches = connection.execute(_SIZES).one()
    known, counted = ("waiting", _WAITING) if wanted <= in_batches else ("submitted", _SUBMITTED)
    other = "submitted" if known == "waiting" else "waiting"
    part = _count(connection, counted)
    for source, one in source_stats.items():
        one.cancelled = cancelled[source]
        one.chunks["failed"] += cancelled[source]
        one.chunks["packed"] = packed[source]
        one.chunks[known] = part[source]
        one.chunks[other] = max(0, unsent[source] - cancelled[source] - packed[source] - part[source])


def _count(connection: Connection, statement: TextClause) -> Counter[int]:
    return Counter({row[0]: row[1] for row in connection.execute(statement)})


@dataclass(frozen=True)
class Waiting:
    """What waits to be sent: embeddings, their estimated tokens, the oldest's time and the first one's tokens."""

    embeddings: int
    tokens: int
    oldest_at: int | None
    first_tokens: int | None


# Purpose: what is to be sent, and what it may cost.
_BACKLOG = Prepared(
    f"SELECT COUNT(*), COALESCE(SUM(tokens), 0), MIN(wanted_at) FROM embeddings WHERE state = {WANTED}"
)
_FIRST = Prepared(
    f"SELECT tokens FROM embeddings WHERE state = {WANTED} ORDER BY profile_id, refusals, id LIMIT 1"
)


def waiting(connection: Connection) -> Waiting:
    """What waits to be sent."""
    count, tokens, oldest = _BACKLOG.row(connection)
    return Waiting(count, tokens, oldest, _FIRST.value(connection))


# Purpose: all batches ever, by state.
_BATCHES = text("SELECT state, COUNT(*) AS times FROM batches GROUP BY state")


def batches_by_state(connection: Connection) -> dict[str, int]:
    """How many batches are in each state that occurs."""
    return {row.state: row.times for row in connection.execute(_BATCHES)}


# Purpose: why embeddings failed, in the provider's words; a look at the first thousand is enough to tell.
_REASONS = text(
    "SELECT COALESCE(l.detail, 'no reason given') AS detail, COUNT(*) AS times FROM"
    f" (SELECT id FROM embeddings WHERE state = {FAILED} ORDER BY id LIMIT 1000) e"
    " JOIN lines l ON l.embedding_id = e.id AND l.batch_id ="
    "  (SELECT MAX(batch_id) FROM lines WHERE embedding_id = e.id)"
    " GROUP BY detail ORDER BY times DESC, detail LIMIT :most"
)


def failure_reasons(connection: Connection, most: int) -> list[str]:
    """The provider's most frequent words about what failed, most frequent first."""
    return [row.detail for row in connection.execute(_REASONS, {"most": most})]


# Purpose: since when a batch is in its state.
_SINCE = text(
    "SELECT MAX(at) FROM transitions WHERE kind = 'batch' AND subject = :id AND origin IS DISTINCT FROM target"
)
# Purpose: the version that has been ready for the table for longest, and since when. (Without the index SQLite goes
# through the versions by id until it meets one that is ready.)
_READY = text(
    "SELECT MAX(t.at) FROM transitions t WHERE t.kind = 'version' AND t.subject ="
    " (SELECT MIN(id) FROM versions INDEXED BY ix_versions_unpublished"
    "  WHERE state = 'ready' AND state IN ('waiting', 'ready'))"
)


def in_state_since(connection: Connection, batch_ids: Sequence[int]) -> dict[int, int]:
    """When each of these batches came into its state (microseconds)."""
    found = {batch_id: connection.execute(_SINCE, {"id": batch_id}).scalar() for batch_id in batch_ids}
    return {batch_id: at for batch_id, at in found.items() if at is not None}


def ready_since(connection: Connection) -> int | None:
    """Since when the first version that is ready has been waiting for its publication (microseconds)."""
    return connection.execute(_READY).scalar()


# Purpose: the path of one document.
_PATH = text(f"SELECT {PATH} FROM documents d JOIN folders f ON f.id = d.folder_id WHERE d.id = :id")
# Purpose: batches that are over and not closed yet, and since when they are.
_UNCLOSED = text(
    "SELECT b.ref, b.state, (SELECT MAX(t.at) FROM transitions t WHERE t.kind = 'batch' AND t.subject = b.id"
    "  AND t.origin IS DISTINCT FROM t.target) AS since FROM batches b"
    " WHERE b.state IN ('collected', 'refused', 'cancelled') AND b.state != 'closed' ORDER BY b.id"
)
# Purpose: since when the first of the documents that are to leave the table is gone.
_LEAVING = text(
    "SELECT MAX(t.at) FROM transitions t WHERE t.kind = 'document' AND t.subject ="
    " (SELECT document_id FROM versions INDEXED BY ix_versions_retire WHERE retire = 1 AND state = 'published'"
    "  ORDER BY id LIMIT 1)"
)
# Purpose: since when documents are missing, by source (a partial index has just these).
_MISSING = text(
    "SELECT source_id, MIN(missing_at) FROM documents"
    " WHERE state = 'missing' AND state != 'present' GROUP BY source_id"
)
# Purpose: since when something that was asked for on the command line waits.
_ASKED = text("SELECT MIN(asked_at) FROM requests WHERE done_at IS NULL")


def paths(connection: Connection, documents: Mapping[int, int | None]) -> dict[int, str]:
    """Source -> path of one document of it, for those that name one."""
    found = {key: connection.execute(_PATH, {"id": each}).scalar() for key, each in documents.items() if each}
    return {key: path for key, path in found.items() if path is not None}


def unclosed(connection: Connection) -> list[tuple[str, str, int]]:
    """(ref, state, since when) of batches that are over and not closed."""
    return [(row.ref, row.state, row.since) for row in connection.execute(_UNCLOSED) if row.since is not None]


def leaving_since(connection: Connection) -> int | None:
    """Since when the first document that is to leave the table waits for that (microseconds)."""
    return connection.execute(_LEAVING).scalar()


def missing_since(connection: Connection) -> dict[int, int]:
    """Source -> since when its first missing document is missing (microseconds)."""
    return {source: at for source, at in connection.execute(_MISSING) if at is not None}


def asked_since(connection: Connection) -> int | None:
    """When the oldest request that is not carried out yet was made (microseconds)."""
    return connection.execute(_ASKED).scalar()


# --- what failed ---

# Purpose: the first failed embeddings with the provider's last word on each and the documents that wait for it.
_FAILED_CHUNKS = text(
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
_HOW_MANY_FAILED = text(f"SELECT COUNT(*) FROM embeddings WHERE state = {FAILED}")


class FailedChunk(NamedTuple):
    """One chunk whose embedding failed; `path` is relative to its source."""

    reason: str
    source: str
    path: str


def failed_chunks(connection: Connection, most: int) -> Iterator[FailedChunk]:
    """The chunks of the first `most` failed embeddings."""
    for row in connection.execute(_FAILED_CHUNKS, {"most": most}):
        yield FailedChunk(row.reason, row.source, f"{row.folder}/{row.name}" if row.folder else row.name)


def count_failed(connection: Connection) -> int:
    """How many embeddings have failed."""
    return int(connection.execute(_HOW_MANY_FAILED).scalar_one())


# --- for metrics: indexes answer it, nothing walks through what is published ---

# Purpose: embeddings that are on their way or in trouble: partial indexes have just these.
_FEW = text(
    "SELECT "
    + ", ".join(
        f"(SELECT COUNT(*) FROM embeddings WHERE state = {code})"
        for code in (WANTED, PACKED, FAILED, DROPPED)
    )
)
# Purpose: all embeddings ever: none is deleted, and each that is new takes the number behind the last.
_EVER = text("SELECT COALESCE(MAX(id), 0) FROM embeddings")
# Purpose: what became of the calls that create jobs; one row a batch.
_ATTEMPTS = text(
    "SELECT attempts.state, COUNT(*) AS times FROM attempts JOIN batches ON batches.id = attempts.batch_id"
    " WHERE batches.mode = 'batch' GROUP BY attempts.state"
)
# Purpose: bytes of the segments, without touching the folder.
_SEGMENTS = text("SELECT COALESCE(SUM(bytes), 0) FROM packs")


@dataclass(frozen=True)
class TableStats:
    """One moment: embeddings by state (packed: submitted, too), create attempts by state, bytes of segments."""

    embeddings: dict[str, int]
    attempts: dict[str, int]
    segment_bytes: int


def figures(connection: Connection) -> TableStats:
    """Count them."""
    wanted, packed, failed, dropped = connection.execute(_FEW).one()
    held = int(connection.execute(_EVER).scalar_one()) - wanted - packed - failed - dropped
    states = (Embedding.WANTED, Embedding.PACKED, Embedding.HELD, Embedding.FAILED, Embedding.DROPPED)
    counts = (wanted, packed, held, failed, dropped)
    attempts = {str(state): 0 for state in Attempt}
    attempts.update((row.state, row.times) for row in connection.execute(_ATTEMPTS))
    return TableStats(
        dict(zip(map(str, states), counts, strict=True)),
        attempts,
        int(connection.execute(_SEGMENTS).scalar_one()),
    )
