"""Embeddings: what is wanted, and what became of each line that asked for one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from voyage_jobs import states
from voyage_jobs.state import batches, moves
from voyage_jobs.state.schema import DROPPED, FAILED, HELD, PACKED, WANTED
from voyage_jobs.state.store import Tx

# How a line ended, as stored in `lines.outcome`.
OPEN, SUCCESS, TRANSIENT, REFUSED, MISSING, MALFORMED, RETURNED, CANCELLED = range(8)
OUTCOME_WORDS = {
    OPEN: "open",
    SUCCESS: "success",
    TRANSIENT: "failed for a passing reason",
    REFUSED: "refused",
    MISSING: "missing from the results",
    MALFORMED: "answered with something that is not a vector",
    RETURNED: "not answered; sent anew",
    CANCELLED: "cancelled",
}


# Whether a batch still has an embedding, once the lines of the batch at hand are not open any more. Two may have it
# where an operator wanted at once what was in flight.
_ELSEWHERE = f"EXISTS (SELECT 1 FROM lines l WHERE l.embedding_id = embeddings.id AND l.outcome = {OPEN})"


@dataclass(frozen=True)
class WantedEmbedding:
    """One embedding that waits to be sent, and where (the first of) its text stands."""

    id: int
    key: bytes
    vectors: int
    tokens: int
    version_id: int
    start: int
    end: int
    source_id: int | None = None
    """The source of that version: whose money is spent."""


# Purpose: what to pack next: oldest versions first, in reading order, each embedding once, never one that no live
# version needs. Those that were in a job that failed validation go by themselves (`refusals`).
_WANTED = (
    'SELECT e.id, e.key, e.vectors, e.tokens, MIN(c.version_id) AS version_id, c.start, c."end", v.source_id'
    " FROM embeddings e CROSS JOIN chunks c ON c.embedding_id = e.id CROSS JOIN versions v ON v.id = c.version_id"
    " WHERE e.state = 0 AND e.profile_id = ? AND e.refusals = ? AND v.source_id NOT IN ({without})"
    " GROUP BY e.id ORDER BY version_id, e.id LIMIT ?"
)


def wanted(
    connection: Connection, profile_id: int, refusals: int, most: int, without: Collection[int] = ()
) -> Iterator[WantedEmbedding]:
    """Up to `most` wanted embeddings that have been refused `refusals` times, in the order to send them.

    Texts that only sources in `without` need are left out.
    """
    sql = _WANTED.format(without=", ".join(map(str, map(int, without))))
    for row in connection.exec_driver_sql(sql, (profile_id, refusals, most)):
        yield WantedEmbedding(*row)


@dataclass(frozen=True)
class Backlog:
    """How much waits to be sent. `oldest_at` is None when nothing does."""

    embeddings: int
    tokens: int
    oldest_at: int | None
    refusals: tuple[int, ...]


# Purpose: is it worth a batch yet?
_BACKLOG = text(
    "SELECT COUNT(*) AS embeddings, COALESCE(SUM(tokens), 0) AS tokens, MIN(wanted_at) AS oldest_at"
    " FROM embeddings WHERE state = 0 AND profile_id = :profile"
)
_REFUSALS = text(
    "SELECT DISTINCT refusals FROM embeddings WHERE state = 0 AND profile_id = :profile ORDER BY refusals"
)


def backlog(connection: Connection, profile_id: int) -> Backlog:
    """What waits to be sent under one profile."""
    row = connection.execute(_BACKLOG, {"profile": profile_id}).one()
    refusals = tuple(connection.execute(_REFUSALS, {"profile": profile_id}).scalars())
    return Backlog(row.embeddings, row.tokens, row.oldest_at, refusals)


# Purpose: the tokens that wait to be sent, by the source that would pay.
_BY_SOURCE = (
    "SELECT source_id, SUM(tokens) FROM (SELECT e.tokens, v.source_id, MIN(c.version_id) FROM embeddings e"
    " JOIN chunks c ON c.embedding_id = e.id JOIN versions v ON v.id = c.version_id"
    " WHERE e.state = 0 AND e.profile_id = ? GROUP BY e.id) GROUP BY source_id"
)


def waiting_by_source(connection: Connection, profile_id: int) -> dict[int, int]:
    """Source -> tokens that wait to be sent."""
    rows = connection.exec_driver_sql(_BY_SOURCE, (profile_id,))
    return {source_id: int(tokens) for source_id, tokens in rows}


# Purpose: how many wanted embeddings go before one (about: they go by the age of their oldest version).
_AHEAD = text(
    "SELECT COUNT(*) FROM embeddings e WHERE e.state = 0 AND e.profile_id ="
    " (SELECT profile_id FROM embeddings WHERE id = :id)"
    " AND (e.refusals < :refusals OR (e.refusals = :refusals AND e.id < :id))"
)


def ahead_of(connection: Connection, embedding_id: int, refusals: int) -> int:
    """About how many embeddings are sent before this one."""
    return int(connection.execute(_AHEAD, {"id": embedding_id, "refusals": refusals}).scalar_one())


# Purpose: nobody needs these any more: their text changed before it was sent. State by state, since each has an index
# of its own: what is held, which is most, is not looked at.
_DROP = [
    text(
        f"UPDATE embeddings SET state = 4 WHERE state = {state} AND NOT EXISTS"
        " (SELECT 1 FROM chunks c WHERE c.embedding_id = embeddings.id)"
    )
    for state in (WANTED, FAILED)
]


_UNNEEDED = "NOT EXISTS (SELECT 1 FROM chunks c WHERE c.embedding_id = e.id)"
# Purpose: is there something that nobody asks for any more and no other step will drop: what has failed, or waits under
# a profile that is not in force? (Two ranges, so that the index finds them.)
_FORGOTTEN = text(
    f"SELECT EXISTS (SELECT 1 FROM embeddings e WHERE e.state = 3 AND {_UNNEEDED})"
    f" OR EXISTS (SELECT 1 FROM embeddings e WHERE e.state = 0 AND e.profile_id < :profile AND {_UNNEEDED})"
    f" OR EXISTS (SELECT 1 FROM embeddings e WHERE e.state = 0 AND e.profile_id > :profile AND {_UNNEEDED})"
)


def any_forgotten(connection: Connection, profile_id: int) -> bool:
    """Whether an embedding that failed, or waits under another profile, is pointed to by no chunk."""
    return bool(connection.execute(_FORGOTTEN, {"profile": profile_id}).scalar_one())


def drop_unneeded(tx: Tx) -> int:
    """Drop wanted and failed embeddings that no chunk points to."""
    dropped = sum(tx.connection.execute(each).rowcount for each in _DROP)
    if dropped:
        cause = f"{dropped} that nothing needs any more"
        moves.record(tx, "embedding", 0, states.Embedding.WANTED, states.Embedding.DROPPED, cause)
    return dropped


@dataclass(frozen=True)
class TextPlace:
    """Where the text of one chunk stands."""

    version_id: int
    start: int
    end: int


# Purpose: where the texts of one embedding stand, in the live version that is most likely to still have its text.
_PLACES = (
    'SELECT c.version_id, c.start, c."end" FROM chunks c WHERE c.embedding_id = ? AND c.version_id ='
    " (SELECT COALESCE(MIN(CASE WHEN t.version_id IS NOT NULL THEN c2.version_id END), MIN(c2.version_id))"
    "  FROM chunks c2 LEFT JOIN texts t ON t.version_id = c2.version_id WHERE c2.embedding_id = ?)"
    " GROUP BY c.slot ORDER BY c.slot"
)


def places(connection: Connection, embedding_id: int, vectors: int) -> list[TextPlace]:
    """The places of the `vectors` texts of one embedding, in slot order; empty if no chunk needs it."""
    rows = connection.exec_driver_sql(_PLACES, (embedding_id, embedding_id)).all()
    return [TextPlace(*row) for row in rows] if len(rows) == vectors else []


# Purpose: the lines of an input file to be written, each with the place of (the first of) its text.
_TO_WRITE = (
    'SELECT e.id, e.key, e.vectors, e.tokens, MIN(c.version_id), c.start, c."end" FROM lines l'
    " JOIN embeddings e ON e.id = l.embedding_id JOIN chunks c ON c.embedding_id = e.id"
    " WHERE l.batch_id = ? GROUP BY l.line ORDER BY l.line"
)


def to_write(connection: Connection, batch_id: int) -> Iterator[WantedEmbedding]:
    """The embeddings of a batch in the order of its lines; one that no chunk needs any more is left out."""
    for row in connection.exec_driver_sql(_TO_WRITE, (batch_id,)):
        yield WantedEmbedding(*row)


@dataclass(frozen=True)
class Line:
    """One line of a batch and the embedding it asks for."""

    line: int
    embedding_id: int
    key: bytes
    vectors: int
    tokens: int
    attempts: int


def count_lines(connection: Connection, batch_id: int) -> int:
    """How many lines a batch has."""
    sql = "SELECT COUNT(*) FROM lines WHERE batch_id = ?"
    return int(connection.exec_driver_sql(sql, (batch_id,)).scalar_one())


_LINES = (
    "SELECT l.line, e.id, e.key, e.vectors, e.tokens, e.attempts FROM lines l"
    " JOIN embeddings e ON e.id = l.embedding_id WHERE l.batch_id = ? ORDER BY l.line"
)


def lines_of(connection: Connection, batch_id: int) -> Iterator[Line]:
    """The lines of a batch, in the order of its input file."""
    for row in connection.exec_driver_sql(_LINES, (batch_id,)):
        yield Line(*row)


def take(
    tx: Tx, batch_id: int, embedding_ids: Sequence[int], *, source_id: int | None = None, in_flight: int = 0
) -> None:
    """Make these embeddings the lines of a batch, in this order, each on the bill of a source: `source_id`, if given.

    `in_flight` is how many of them are in another batch, too, because an operator wants it so.
    """
    tx.connection.exec_driver_sql(
        "INSERT INTO lines (batch_id, line, embedding_id, source_id) VALUES (?, ?, ?, ?)",
        [(batch_id, line, embedding_id, source_id) for line, embedding_id in enumerate(embedding_ids)],
    )
    if source_id is None:
        attribute(tx, batch_id)
    changed = tx.connection.exec_driver_sql(
        f"UPDATE embeddings SET state = {PACKED} WHERE state = {WANTED} AND id IN"
        " (SELECT embedding_id FROM lines WHERE batch_id = ?)",
        (batch_id,),
    ).rowcount
    if changed + in_flight != len(embedding_ids):
        raise moves.StaleMoveError(
            f"{len(embedding_ids)} embeddings were to be packed, {changed} were still wanted"
        )


# Purpose: whose texts the lines of a batch are.
_ATTRIBUTE = (
    "UPDATE lines SET source_id = (SELECT v.source_id FROM chunks c JOIN versions v ON v.id = c.version_id"
    "  WHERE c.embedding_id = lines.embedding_id ORDER BY c.version_id LIMIT 1) WHERE batch_id = ?"
)


def attribute(tx: Tx, batch_id: int) -> None:
    """Put each line of a batch on the bill of a source: that of its text's first chunk, as far as there is one."""
    tx.connection.exec_driver_sql(_ATTRIBUTE, (batch_id,))


def give_back(tx: Tx, batch_id: int) -> int:
    """Everything of this batch that is still packed is wanted again: nothing was sent, or nothing was done."""
    tx.connection.exec_driver_sql(
        "UPDATE lines SET outcome = ? WHERE batch_id = ? AND outcome = ?", (RETURNED, batch_id, OPEN)
    )
    return int(
        tx.connection.exec_driver_sql(
            f"UPDATE embeddings SET state = {WANTED} WHERE state = {PACKED} AND NOT {_ELSEWHERE} AND id IN"
            " (SELECT embedding_id FROM lines WHERE batch_id = ?)",
            (batch_id,),
        ).rowcount
    )


def suspect(tx: Tx, batch_id: int, lines: Sequence[int] | None) -> None:
    """After a failed validation: the named lines, or all of them, will travel in smaller company."""
    where = "" if lines is None else f" AND line IN ({','.join(map(str, map(int, lines)))})"
    tx.connection.exec_driver_sql(
        "UPDATE embeddings SET refusals = refusals + 1 WHERE id IN"
        f" (SELECT embedding_id FROM lines WHERE batch_id = ?{where})",
        (batch_id,),
    )


@dataclass(frozen=True)
class Settled:
    """How one line ended. `pack_row` is the first row of its vectors when it succeeded.

    `tokens` are those that are booked; `assumed`: its answer does not report them.
    """

    line: int
    embedding_id: int
    outcome: int
    tokens: int | None
    detail: str | None
    pack_row: int | None
    assumed: bool = False


def note_outcomes(tx: Tx, batch_id: int, settled: Sequence[Settled]) -> None:
    """Record how lines ended, and leave their embeddings in the batch."""
    if settled:
        tx.connection.exec_driver_sql(
            "UPDATE lines SET outcome = ?, tokens = ?, detail = ?, assumed = ? WHERE batch_id = ? AND line = ?",
            [(s.outcome, s.tokens, s.detail, int(s.assumed), batch_id, s.line) for s in settled],
        )


def settle(tx: Tx, batch_id: int, pack_id: int | None, settled: Sequence[Settled], max_attempts: int) -> None:
    """Record how lines ended, and move their embeddings: held, wanted again, or failed."""
    note_outcomes(tx, batch_id, settled)
    held = [(pack_id, s.pack_row, s.embedding_id, pack_id) for s in settled if s.outcome == SUCCESS]
    if held:
        tx.connection.exec_driver_sql(
            f"UPDATE embeddings SET state = {HELD}, pack_id = ?, pack_row = ?"
            f" WHERE id = ? AND (state != {HELD} OR pack_id = ?)",  # a pack that is written again has other rows
            held,
        )
    again = [(s.embedding_id,) for s in settled if s.outcome in (TRANSIENT, MISSING, MALFORMED)]
    if again:
        tx.connection.exec_driver_sql(
            f"UPDATE embeddings SET attempts = attempts + 1, state = CASE WHEN {_ELSEWHERE} THEN {PACKED}"
            f" WHEN attempts + 1 < {int(max_attempts)} THEN {WANTED} ELSE {FAILED} END"
            f" WHERE id = ? AND state = {PACKED}",
            again,
        )
    refused = [(s.embedding_id,) for s in settled if s.outcome == REFUSED]
    if refused:
        tx.connection.exec_driver_sql(
            f"UPDATE embeddings SET attempts = attempts + 1, state = CASE WHEN {_ELSEWHERE} THEN {PACKED}"
            f" ELSE {FAILED} END WHERE id = ? AND state = {PACKED}",
            refused,
        )


def give_up(tx: Tx, batch_id: int) -> int:
    """A person cancelled this batch: what is not answered is not asked for again until `retry`.

    If it was cancelled for the sake of some sources, the lines of others are wanted again.
    """
    only = batches.cancelled_sources(tx.connection, batch_id)
    where = "" if only is None else f" AND source_id IN ({', '.join(map(str, only))})"
    tx.connection.exec_driver_sql(
        f"UPDATE lines SET outcome = ? WHERE batch_id = ? AND outcome IN (?, ?, ?, ?){where}",
        (CANCELLED, batch_id, OPEN, MISSING, TRANSIENT, MALFORMED),
    )
    dropped = tx.connection.exec_driver_sql(
        f"UPDATE embeddings SET state = {DROPPED} WHERE state IN ({WANTED}, {PACKED}) AND NOT {_ELSEWHERE} AND id IN"
        " (SELECT embedding_id FROM lines WHERE batch_id = ? AND outcome = ?)",
        (batch_id, CANCELLED),
    ).rowcount
    if only is not None:
        give_back(tx, batch_id)
    return int(dropped)


_FOR_IT_ALONE = (
    f" WHERE state = {WANTED} AND EXISTS"
    " (SELECT 1 FROM chunks c JOIN versions v ON v.id = c.version_id"
    "  WHERE c.embedding_id = embeddings.id AND v.source_id = :source)"
    " AND NOT EXISTS (SELECT 1 FROM chunks c JOIN versions v ON v.id = c.version_id"
    "  WHERE c.embedding_id = embeddings.id AND v.source_id != :source)"
)
# Purpose: what waits to be sent for one source, and for no other.
_GIVE_UP_WAITING = text(f"UPDATE embeddings SET state = {DROPPED}{_FOR_IT_ALONE}")
# Purpose: how much that is.
_WAITING_FOR = text(f"SELECT COUNT(*) FROM embeddings{_FOR_IT_ALONE}")


def give_up_waiting(tx: Tx, source_id: int, cause: str) -> int:
    """What waits to be sent for this source alone is not asked for until `retry`. Returns how many."""
    dropped = int(tx.connection.execute(_GIVE_UP_WAITING, {"source": source_id}).rowcount)
    if dropped:
        moves.record(tx, "embedding", 0, states.Embedding.WANTED, states.Embedding.DROPPED, cause)
    return dropped


def count_waiting_for(connection: Connection, source_id: int) -> int:
    """How much waits to be sent for this source alone."""
    return int(connection.execute(_WAITING_FOR, {"source": source_id}).scalar_one())


def count_lines_for(connection: Connection, batch_id: int, source_id: int) -> int:
    """How many lines of a batch are on the bill of a source."""
    sql = "SELECT COUNT(*) FROM lines WHERE batch_id = ? AND source_id = ?"
    return int(connection.exec_driver_sql(sql, (batch_id, source_id)).scalar_one())


@dataclass(frozen=True)
class Stuck:
    """Which of the embeddings that only `retry` moves on are meant; None means any. `failed`: not the cancelled ones.

    `code` is the word with which the detail of the latest line begins.
    """

    batch_id: int | None = None
    source_id: int | None = None
    document_id: int | None = None
    embedding_id: int | None = None
    code: str | None = None
    failed: bool = False


# Purpose: what `retry` is about: failed, or cancelled while something still needs it, as far as it fits what is asked.
_STUCK = text(
    "SELECT e.id, e.state FROM embeddings e WHERE (e.state = 3"
    "  OR (NOT :failed AND e.state = 4 AND EXISTS (SELECT 1 FROM chunks c WHERE c.embedding_id = e.id)))"
    " AND (:batch IS NULL OR EXISTS (SELECT 1 FROM lines l WHERE l.embedding_id = e.id AND l.batch_id = :batch))"
    " AND (:embedding IS NULL OR e.id = :embedding)"
    " AND (:source IS NULL AND :document IS NULL OR EXISTS (SELECT 1 FROM chunks c"
    "  JOIN versions v ON v.id = c.version_id WHERE c.embedding_id = e.id"
    "  AND (:source IS NULL OR v.source_id = :source) AND (:document IS NULL OR v.document_id = :document)))"
    " AND (:code IS NULL OR (SELECT l.detail = :code OR substr(l.detail, 1, length(:code) + 1) = :code || ':'"
    "  FROM lines l WHERE l.embedding_id = e.id ORDER BY l.batch_id DESC LIMIT 1))"
)


def stuck(connection: Connection, which: Stuck) -> list[tuple[int, int]]:
    """(id, stored state) of embeddings that only `retry` moves on."""
    values = {
        "failed": which.failed,
        "batch": which.batch_id,
        "source": which.source_id,
        "document": which.document_id,
        "embedding": which.embedding_id,
        "code": which.code,
    }
    return [(int(row[0]), int(row[1])) for row in connection.execute(_STUCK, values)]


# Purpose: as if for the first time.
_WANT_AGAIN = (
    "UPDATE embeddings SET state = 0, attempts = 0, refusals = 0, wanted_at = ? WHERE id = ? AND state = ?"
)


def want_again(tx: Tx, stuck_ones: Sequence[tuple[int, int]], cause: str) -> None:
    """Failed and cancelled embeddings (id, stored state) are wanted again, as if for the first time."""
    tx.raw.executemany(_WANT_AGAIN, [(tx.now, row_id, stored) for row_id, stored in stuck_ones])
    origins = {FAILED: states.Embedding.FAILED, DROPPED: states.Embedding.DROPPED}
    moves.record_each(
        tx,
        "embedding",
        states.Embedding.WANTED,
        cause,
        ((row_id, origins[stored]) for row_id, stored in stuck_ones),
    )


# Purpose: how much each pack holds.
_BY_PACK = text("SELECT pack_id, COUNT(*) FROM embeddings WHERE state = 2 GROUP BY pack_id")


def by_pack(connection: Connection) -> dict[int, int]:
    """Pack -> how many embeddings it holds. Looks at all embeddings."""
    return {pack_id: int(count) for pack_id, count in connection.execute(_BY_PACK)}


# Where an embedding goes that is not held any more: back into the batch that still has it, else in line.
UNHELD = f"CASE WHEN {_ELSEWHERE} THEN {PACKED} ELSE {WANTED} END"
# Purpose: a pack is damaged: what it held is to be claimed or paid again.
_UNHOLD = text(
    f"UPDATE embeddings SET state = {UNHELD}, pack_id = NULL, pack_row = NULL, wanted_at = :now"
    " WHERE pack_id = :pack"
)


def lose_pack(tx: Tx, pack_id: int, cause: str) -> int:
    """Everything a damaged pack held is wanted again."""
    lost = int(tx.connection.execute(_UNHOLD, {"now": tx.now, "pack": pack_id}).rowcount)
    moves.record(tx, "embedding", 0, states.Embedding.HELD, states.Embedding.WANTED, f"{lost}: {cause}")
    return lost
