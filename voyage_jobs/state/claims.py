"""What a `state.db` that was lost, or is older than the world, learns again: vectors in segments, lines of jobs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, exists, func, select, text, update

from voyage_jobs.core import states
from voyage_jobs.core.states import Batch
from voyage_jobs.state import batch_lines, create_calls, ledger, moves, outcomes
from voyage_jobs.state import batches as batch_rows
from voyage_jobs.state import embeddings as embedding_rows
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.schema import WANTED, batches, embeddings, is_in, lines, segments
from voyage_jobs.state.statements import slices
from voyage_jobs.state.store import Tx

# The way of a batch to the provider, state by state.
_TO_THE_JOB = (Batch.PACKED, Batch.SPOOLED, Batch.UPLOADING, Batch.UPLOADED, Batch.CREATING, Batch.RUNNING)


@dataclass(frozen=True)
class StoredEmbedding:
    """An embedding found in a segment: its key, how many vectors, and the row of the first."""

    key: bytes
    vectors: int
    row: int


@dataclass(frozen=True)
class JobLine:
    """A line of a job found at the provider: the key it asks for, how many vectors, estimated tokens."""

    key: bytes
    vectors: int
    tokens: int


def has_batches(connection: Connection) -> bool:
    """Whether this state ever sent anything; one that did not may be new, or a replacement for one that was lost."""
    packed = connection.execute(select(func.max(batches.c.id))).scalar()
    return packed is not None


def count_held(connection: Connection) -> tuple[int, int]:
    """(segments on record, embeddings held in them)."""
    held = select(func.count()).select_from(embeddings).where(is_in(embeddings, states.Embedding.HELD))
    return connection.execute(select(func.count(segments.c.id))).scalar_one(), connection.execute(
        held
    ).scalar_one()


def hold(tx: Tx, pack_id: int, profile_id: int, found: Sequence[StoredEmbedding]) -> None:
    """These vectors are here: nothing of them is to be paid again."""
    ids = _embeddings(tx, profile_id, [(each.key, each.vectors, 0) for each in found])
    embedding_rows.hold(tx, pack_id, [(each.row, ids[each.key]) for each in found])


# Purpose: embeddings that were wanted by a state that was lost.
_KNOWN = text(
    "INSERT INTO embeddings (key, profile_id, state, vectors, tokens, wanted_at)"
    f" VALUES (:key, :profile, {WANTED}, :vectors, :tokens, :now) ON CONFLICT (key) DO NOTHING"
)


def _embeddings(tx: Tx, profile_id: int, found: Sequence[tuple[bytes, int, int]]) -> dict[bytes, int]:
    """The embeddings with these (key, vectors, tokens), made as wanted where they are not known: key -> id."""
    now = {"profile": profile_id, "now": tx.now}
    rows = [{"key": key, "vectors": vectors, "tokens": tokens, **now} for key, vectors, tokens in found]
    if rows:
        tx.connection.execute(_KNOWN, rows)
    return embedding_rows.ids_of(tx.connection, [key for key, _, _ in found])


def note_found_segment(tx: Tx, name: str, count: int) -> None:
    """Put the adoption of a segment on record."""
    moves.record(tx, "embedding", 0, None, states.Embedding.HELD, f"{count} found in segment {name}")


def close_by_segment(tx: Tx, batch: BatchRow, pack_id: int, tokens: int, assumed: int) -> None:
    """The segment of an open batch is here already (this state is older than the segment): the batch is over.

    `tokens` are what the segment says was billed for the batch, `assumed` those of them that no answer reported. What
    became of lines that the segment does not hold is not known any more: they are wanted again, or given up if the
    batch was cancelled.
    """
    cause = "its segment is here already"
    if batch.state is Batch.CREATING:
        for attempt in create_calls.attempts_of(tx.connection, batch.id):
            if attempt.state is states.Attempt.OPEN:
                create_calls.close_attempt(tx, attempt, states.Attempt.CREATED, cause)
    sent_at_once = batch.is_sync and batch.state is Batch.CREATING
    way = (Batch.ENDED, Batch.COLLECTED) if sent_at_once else _PATHS_TO_THE_END[batch.state]
    _walk(tx, batch, way, cause)
    answered = lines.c.embedding_id.in_(select(embeddings.c.id).where(embeddings.c.pack_id == pack_id))
    still = (lines.c.batch_id == batch.id) & (lines.c.outcome == outcomes.OPEN)
    tx.connection.execute(update(lines).where(still, answered).values(outcome=outcomes.SUCCESS))
    if batch.cancel_asked_at is not None:
        embedding_rows.give_up(tx, batch.id)
    embedding_rows.give_back(tx, batch.id)
    ledger.release(tx, batch.id, batch.tokens_estimated, batch.usd_per_million)
    if tokens and batch.tokens_settled is None:
        ledger.settle(tx, batch.id, tokens, batch.usd_per_million, assumed)
        batch_rows.note(tx, batch.id, tokens_settled=tokens)


# Each through legal moves only; nothing is known of the job of a batch that this state never sent.
_PATHS_TO_THE_END: dict[Batch, tuple[Batch, ...]] = {
    Batch.PACKED: (Batch.CANCELLED,),
    Batch.SPOOLED: (Batch.CANCELLED,),
    Batch.UPLOADING: (Batch.CANCELLED,),
    Batch.UPLOADED: (Batch.CANCELLED,),
    Batch.CREATING: (Batch.UPLOADED, Batch.CANCELLED),
    Batch.RUNNING: (Batch.ENDED, Batch.COLLECTED),
    Batch.ENDED: (Batch.COLLECTED,),
    Batch.PARKED: (Batch.CANCELLED,),
}


def count_known(connection: Connection, keys: Sequence[bytes]) -> int:
    """How many of these keys were ever wanted here."""
    return len(embedding_rows.ids_of(connection, keys))


def profiles_of(connection: Connection, keys: Sequence[bytes]) -> set[int]:
    """The profiles under which any of these keys was wanted here."""
    found: set[int] = set()
    for part in slices(keys):
        asked = select(embeddings.c.profile_id).where(embeddings.c.key.in_(part)).distinct()
        found.update(connection.execute(asked).scalars())
    return found


def asked_in(connection: Connection, keys: Sequence[bytes]) -> list[BatchRow]:
    """The open batches that ask for any of these keys."""
    ids: set[int] = set()
    for part in slices(keys):
        asked = select(lines.c.batch_id).join(embeddings, embeddings.c.id == lines.c.embedding_id)
        asked = asked.where(embeddings.c.key.in_(part), lines.c.outcome == outcomes.OPEN)
        ids.update(connection.execute(asked).scalars())
    return [batch_rows.get(connection, batch_id) for batch_id in sorted(ids)]


def is_outdated(connection: Connection, batch: BatchRow) -> bool:
    """Whether a batch asks for something that is held already, or that nobody wants from it."""
    packed = is_in(embeddings, states.Embedding.PACKED)
    other = exists().where(lines.c.batch_id == batch.id, embeddings.c.id == lines.c.embedding_id, ~packed)
    return bool(connection.execute(select(other)).scalar_one())


def add_job(
    tx: Tx, ref: str, profile_id: int, asked: Sequence[JobLine], price: float | None, params: str
) -> BatchRow:
    """A batch in state `packed` for a job of ours that this state does not know, with its lines and reservation."""
    tokens = sum(line.tokens for line in asked)
    inputs = sum(line.vectors for line in asked)
    batch_id = batch_rows.create(tx, ref, profile_id, inputs, tokens, price, params)
    ids = _embeddings(tx, profile_id, [(line.key, line.vectors, line.tokens) for line in asked])
    batch_lines.add_lines(tx, batch_id, [ids[line.key] for line in asked])
    embedding_rows.take_back(tx, batch_id)
    ledger.reserve(tx, batch_id, tokens, price)
    return batch_rows.get(tx.connection, batch_id)


def to_running(tx: Tx, batch: BatchRow, cause: str, **facts: object) -> None:
    """Bring a batch to `running`, by the moves it would have made; `facts` are what the provider says of its job.

    `facts` must hold `input_file_id` and `remote_id`.
    """
    path = [Batch.RUNNING]
    if batch.state in _TO_THE_JOB:
        path = list(_TO_THE_JOB[_TO_THE_JOB.index(batch.state) + 1 :])
    batch_rows.note(tx, batch.id, **facts)
    _walk(tx, batch, path, cause)


def _walk(tx: Tx, batch: BatchRow, path: Iterable[Batch], cause: str) -> None:
    for target in path:
        facts: dict[str, object] = {"reason": None, "hint": None} if target is Batch.RUNNING else {}
        batch_rows.move(tx, batch, target, cause, **facts)
        batch = replace(batch, state=target)
