"""Embeddings: what is wanted, and what became of each line that asked for one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    bindparam,
    exists,
    func,
    or_,
    select,
    text,
    update,
)

from voyage_jobs.core.states import Embedding
from voyage_jobs.core.usage import MOST_LINE_TOKENS
from voyage_jobs.state import batches, moves, segment_rows
from voyage_jobs.state.backlog import OTHER, REQUEST, WantedEmbedding, is_first
from voyage_jobs.state.batch_lines import Settled, add_lines, note_outcomes
from voyage_jobs.state.dialect import least
from voyage_jobs.state.outcomes import (
    CANCELLED,
    MALFORMED,
    MISSING,
    OPEN,
    REFUSED,
    RETURNED,
    SUCCESS,
    TRANSIENT,
)
from voyage_jobs.state.schema import (
    DROPPED,
    EMBEDDING_CODES,
    FAILED,
    WANTED,
    chunks,
    embeddings,
    is_in,
    lines,
    texts,
    versions,
)
from voyage_jobs.state.statements import RAW, Prepared, many, plain, slices
from voyage_jobs.state.store import Tx

# Whether a batch still has an embedding, once the lines of the batch at hand are not open any more. Two may have it
# where an operator wanted at once what was in flight.
_ELSEWHERE = exists().where(lines.c.embedding_id == embeddings.c.id, lines.c.outcome == OPEN)


def ids_of(connection: Connection, keys: Sequence[bytes]) -> dict[bytes, int]:
    """Key -> id of those of these embeddings that were ever wanted."""
    found = (row for part in slices(keys) for row in RAW["embeddings by key"].rows(connection, *part))
    return {key: row_id for row_id, key, _ in found}


def holds_any(connection: Connection, keys: Iterable[bytes]) -> bool:
    """Whether the vector of any of these embeddings is in a segment."""
    held = is_in(embeddings, Embedding.HELD)
    return any(
        connection.execute(select(exists().where(embeddings.c.key.in_(part), held))).scalar_one()
        for part in slices(sorted(keys))
    )


_UNNEEDED = ~exists().where(chunks.c.embedding_id == embeddings.c.id)


def _is_there(*where: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists(select(embeddings.c.id).where(*where, _UNNEEDED))


# Purpose: is there something that nobody asks for any more and no other step will drop: what has failed, or waits under
# a profile that is not active? (Two ranges, so that the index finds them.)
_FORGOTTEN = Prepared(
    select(
        or_(
            _is_there(is_in(embeddings, Embedding.FAILED)),
            _is_there(is_in(embeddings, Embedding.WANTED), embeddings.c.profile_id < bindparam("profile")),
            _is_there(is_in(embeddings, Embedding.WANTED), embeddings.c.profile_id > bindparam("profile")),
        )
    )
)


def any_forgotten(connection: Connection, profile_id: int) -> bool:
    """Whether an embedding that failed, or waits under another profile, is pointed to by no chunk."""
    return bool(_FORGOTTEN.value(connection, profile=profile_id))


def drop_unneeded(tx: Tx) -> int:
    """Drop wanted and failed embeddings that no chunk points to: their text changed before it was sent."""
    # State by state, since each has an index of its own: what is held, which is most, is not looked at.
    dropped = sum(
        moves.move_set(tx, embeddings, _UNNEEDED, origin, Embedding.DROPPED)
        for origin in (Embedding.WANTED, Embedding.FAILED)
    )
    if dropped:
        cause = f"{dropped} that nothing needs any more"
        moves.record(tx, "embedding", 0, Embedding.WANTED, Embedding.DROPPED, cause)
    return dropped


@dataclass(frozen=True)
class TextPlace:
    """Where the text of one chunk stands."""

    version_id: int
    start: int
    end: int
    section: int


# Purpose: where the texts of one embedding stand, in the oldest version that still has its text, else in the oldest.
_PLACES = (
    select(*(chunks.c[name] for name in ("slot", "version_id", "start", "end", "section")))
    .where(
        chunks.c.embedding_id == bindparam("id"),
        chunks.c.version_id
        == select(OTHER.c.version_id)
        .outerjoin(texts, texts.c.version_id == OTHER.c.version_id)
        .where(OTHER.c.embedding_id == bindparam("id"))
        .order_by(texts.c.version_id.is_(None), OTHER.c.version_id)
        .limit(1)
        .scalar_subquery(),
    )
    .order_by(chunks.c.slot, chunks.c.ordinal.desc())
)


def places(connection: Connection, embedding_id: int, vectors: int) -> list[TextPlace]:
    """The places of the `vectors` texts of one embedding, in slot order; empty if no chunk needs it."""
    found = connection.execute(_PLACES, {"id": embedding_id})
    # The last of a slot is the first place in the text, where a version has the same text twice.
    by_slot = {slot: TextPlace(*place) for slot, *place in found}
    return list(by_slot.values()) if len(by_slot) == vectors else []


# Purpose: the lines of an input file to be written, each with the place of (the first of) its text.
_TO_WRITE = (
    REQUEST.join(lines, lines.c.embedding_id == embeddings.c.id)
    .where(lines.c.batch_id == bindparam("batch"), is_first())
    .order_by(lines.c.line)
)


def to_write(connection: Connection, batch_id: int) -> Iterator[WantedEmbedding]:
    """The embeddings of a batch in the order of its lines; one that no chunk needs any more is left out."""
    for row in plain(connection, _TO_WRITE, {"batch": batch_id}):
        yield WantedEmbedding(*row)


def take(
    tx: Tx, batch_id: int, embedding_ids: Sequence[int], *, source_id: int | None = None, in_flight: int = 0
) -> None:
    """Wanted embeddings are assembled: they become the lines of a batch, in this order; see `add_lines`.

    `in_flight` is how many of them are in another batch, too, because an operator wants it so.
    """
    add_lines(tx, batch_id, embedding_ids, source_id)
    changed = moves.move_set(tx, embeddings, in_batch(batch_id), Embedding.WANTED, Embedding.PACKED)
    if changed + in_flight != len(embedding_ids):
        raise moves.StaleMoveError(
            f"{len(embedding_ids)} embeddings were to be packed, {changed} were still wanted"
        )


def take_back(tx: Tx, batch_id: int) -> None:
    """The lines of a batch are at the provider already: what is not held waits for them, whatever became of it here."""
    mine = in_batch(batch_id)
    moves.move_set(tx, embeddings, mine, (Embedding.FAILED, Embedding.DROPPED), Embedding.WANTED)
    moves.move_set(tx, embeddings, mine, Embedding.WANTED, Embedding.PACKED)


def in_batch(batch_id: int, *where: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether an embedding is asked for by a line (such as `where` says) of a batch."""
    return embeddings.c.id.in_(select(lines.c.embedding_id).where(lines.c.batch_id == batch_id, *where))


def give_back(tx: Tx, batch_id: int) -> int:
    """Everything of this batch that is still packed is wanted again: nothing was sent, or nothing was done."""
    still = (lines.c.batch_id == batch_id) & (lines.c.outcome == OPEN)
    tx.connection.execute(update(lines).where(still).values(outcome=RETURNED))
    mine = in_batch(batch_id) & ~_ELSEWHERE
    return moves.move_set(tx, embeddings, mine, Embedding.PACKED, Embedding.WANTED)


def suspect(tx: Tx, batch_id: int, suspects: Sequence[int] | None) -> None:
    """After a failed validation: the named lines, or all of them, will travel in smaller company."""
    named = () if suspects is None else (lines.c.line.in_(suspects),)
    one_more = update(embeddings).values(refusals=embeddings.c.refusals + 1)
    tx.connection.execute(one_more.where(in_batch(batch_id, *named)))


_THIS = embeddings.c.id == bindparam("of_id")
_LEFT = _THIS & ~_ELSEWHERE


def settle(tx: Tx, batch_id: int, pack_id: int | None, settled: Sequence[Settled], max_attempts: int) -> None:
    """Record how lines ended, and move their embeddings: held, wanted again, or failed."""
    note_outcomes(tx, batch_id, settled)
    hold(tx, pack_id, [(s.pack_row, s.embedding_id) for s in settled if s.outcome == SUCCESS])
    again = [(s.embedding_id,) for s in settled if s.outcome in (TRANSIENT, MISSING, MALFORMED)]
    refused = [(s.embedding_id,) for s in settled if s.outcome == REFUSED]
    one_more = {"attempts": embeddings.c.attempts + 1}
    stays = (
        update(embeddings).where(_THIS, is_in(embeddings, Embedding.SUBMITTED), _ELSEWHERE).values(one_more)
    )
    many(tx.connection, stays, ("of_id",), again + refused)
    for rows, where, target in (
        (again, _LEFT & (embeddings.c.attempts + 1 >= max_attempts), Embedding.FAILED),
        (again, _LEFT, Embedding.WANTED),  # those that the line above has left
        (refused, _LEFT, Embedding.FAILED),
    ):
        moves.move_each(tx, embeddings, where, Embedding.SUBMITTED, target, ("of_id",), rows, **one_more)


NOT_HELD = (Embedding.WANTED, Embedding.SUBMITTED, Embedding.FAILED, Embedding.DROPPED)


def hold(tx: Tx, pack_id: int | None, places_: Sequence[tuple[int | None, int]]) -> None:
    """The vectors of these embeddings are in a segment: (first row, embedding). What another holds stays there."""
    there: dict[str, Any] = {"pack_id": bindparam("new_pack"), "pack_row": bindparam("new_row")}
    names = ("new_pack", "new_row", "of_id")
    rows = [(pack_id, row, embedding_id) for row, embedding_id in places_]
    moved = moves.move_each(tx, embeddings, _THIS, NOT_HELD, Embedding.HELD, names, rows, **there)
    if moved < len(rows):  # a segment that is written again has other rows
        of_segment = embeddings.c.pack_id == bindparam("new_pack")
        rewritten = update(embeddings).where(of_segment, _THIS).values(pack_row=bindparam("new_row"))
        many(tx.connection, rewritten, names, rows)


def give_up(tx: Tx, batch_id: int) -> int:
    """An operator cancelled this batch: what is not answered is not asked for again until `retry`.

    If it was cancelled for the sake of some sources, the lines of others are wanted again.
    """
    only = batches.cancelled_sources(tx.connection, batch_id)
    where = [lines.c.batch_id == batch_id, lines.c.outcome.in_((OPEN, MISSING, TRANSIENT, MALFORMED))]
    if only is not None:
        where.append(lines.c.source_id.in_(only))
    tx.connection.execute(update(lines).where(*where).values(outcome=CANCELLED))
    given_up = in_batch(batch_id, lines.c.outcome == CANCELLED) & ~_ELSEWHERE
    origins = (Embedding.WANTED, Embedding.PACKED)
    dropped = moves.move_set(tx, embeddings, given_up, origins, Embedding.DROPPED)
    if only is not None:
        give_back(tx, batch_id)
    return dropped


def _for_it_alone(source_id: int) -> ColumnElement[bool]:
    """Whether an embedding is needed by one source and by no other."""
    needing = exists().where(chunks.c.embedding_id == embeddings.c.id, versions.c.id == chunks.c.version_id)
    return needing.where(versions.c.source_id == source_id) & ~needing.where(
        versions.c.source_id != source_id
    )


def give_up_waiting(tx: Tx, source_id: int, cause: str) -> int:
    """What waits to be sent for this source alone is not asked for until `retry`. Returns how many."""
    dropped = moves.move_set(tx, embeddings, _for_it_alone(source_id), Embedding.WANTED, Embedding.DROPPED)
    if dropped:
        moves.record(tx, "embedding", 0, Embedding.WANTED, Embedding.DROPPED, cause)
    return dropped


def count_waiting_for(connection: Connection, source_id: int) -> int:
    """How much waits to be sent for this source alone."""
    where = is_in(embeddings, Embedding.WANTED) & _for_it_alone(source_id)
    return int(connection.execute(select(func.count()).select_from(embeddings).where(where)).scalar_one())


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
    f"SELECT e.id, e.state FROM embeddings e WHERE (e.state = {FAILED}"
    f"  OR (NOT :failed AND e.state = {DROPPED} AND EXISTS (SELECT 1 FROM chunks c WHERE c.embedding_id = e.id)))"
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


def want_again(tx: Tx, stuck_ones: Sequence[tuple[int, int]], cause: str) -> None:
    """Failed and cancelled embeddings (id, stored state) are wanted again, as if for the first time."""
    words = {code: state for state, code in EMBEDDING_CODES.items()}
    moved = [(row_id, words[stored]) for row_id, stored in stuck_ones]
    want(tx, (row_id for row_id, _ in moved))
    moves.record_each(tx, "embedding", Embedding.WANTED, cause, moved)


def want(tx: Tx, ids: Iterable[int]) -> None:
    """Embeddings that have failed, or that nothing needed for a while, are wanted as if for the first time."""
    origins = (Embedding.FAILED, Embedding.DROPPED)
    fresh = {"attempts": 0, "refusals": 0, "wanted_at": tx.now}
    rows = ((row_id,) for row_id in ids)
    moves.move_each(tx, embeddings, _THIS, origins, Embedding.WANTED, ("of_id",), rows, **fresh)


SUM_OF_CHUNKS = (
    "COALESCE((SELECT SUM(slot_tokens) FROM (SELECT MIN(c.tokens) AS slot_tokens FROM chunks c"
    " WHERE c.embedding_id = embeddings.id GROUP BY c.slot) AS each_slot), 1)"
)
"""The tokens of an embedding by its chunks, each once; 1 where no chunk needs it. SQL."""
# Purpose: what came out of a segment was never counted, and is to be paid now.
_COUNT = text(
    f"UPDATE embeddings SET tokens = {least(str(MOST_LINE_TOKENS), SUM_OF_CHUNKS)}"
    f" WHERE state = {WANTED} AND tokens = 0"
)


def unhold(tx: Tx, where: ColumnElement[bool]) -> int:
    """Vectors are lost: their embeddings go back into the batch that still has them, else in line. Returns how many."""
    gone = {"pack_id": None, "pack_row": None, "wanted_at": tx.now}
    moved = sum(
        moves.move_set(tx, embeddings, where & which, Embedding.HELD, target, **gone)
        for which, target in ((_ELSEWHERE, Embedding.PACKED), (~_ELSEWHERE, Embedding.WANTED))
    )
    tx.connection.execute(_COUNT)
    return moved


def lose_segment(tx: Tx, pack_id: int, cause: str) -> int:
    """Everything a damaged segment held is wanted again. It leaves the record: if it comes back, it is taken in."""
    lost = unhold(tx, embeddings.c.pack_id == pack_id)
    segment_rows.forget(tx, pack_id)
    if lost:
        moves.record(tx, "embedding", 0, Embedding.HELD, Embedding.WANTED, f"{lost}: {cause}")
    return lost
