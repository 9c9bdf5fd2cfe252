"""What a `state.db` that was lost, or is older than the world, learns again: vectors in packs, lines of jobs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, func, select

from voyage_jobs import states
from voyage_jobs.state import batches as batch_rows
from voyage_jobs.state import embeddings as embedding_rows
from voyage_jobs.state import ledger, moves
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.schema import batches
from voyage_jobs.state.store import Tx
from voyage_jobs.states import Batch

# Purpose: the vectors of this key are in this pack, from this row on; what is held already stays where it is.
_HOLD = (
    "INSERT INTO embeddings (key, profile_id, state, vectors, tokens, wanted_at, pack_id, pack_row)"
    " VALUES (?, ?, 2, ?, 0, ?, ?, ?) ON CONFLICT (key) DO UPDATE"
    " SET state = 2, pack_id = excluded.pack_id, pack_row = excluded.pack_row WHERE state != 2"
)
# Purpose: a job at the vendor has been asked for this key.
_TAKE = (
    "INSERT INTO embeddings (key, profile_id, state, vectors, tokens, wanted_at) VALUES (?, ?, 1, ?, ?, ?)"
    " ON CONFLICT (key) DO UPDATE SET state = CASE WHEN state = 2 THEN 2 ELSE 1 END"
)
# Purpose: lines of a batch whose vectors are in its pack.
_ANSWERED = (
    f"UPDATE lines SET outcome = {embedding_rows.SUCCESS} WHERE batch_id = ? AND outcome = {embedding_rows.OPEN}"
    " AND embedding_id IN (SELECT id FROM embeddings WHERE pack_id = ?)"
)
_LINE = "INSERT INTO lines (batch_id, line, embedding_id) SELECT ?, ?, id FROM embeddings WHERE key = ?"
_SLICE = 500  # parameters per look-up

# The way of a batch to the vendor, state by state.
_TO_THE_JOB = (Batch.PACKED, Batch.SPOOLED, Batch.UPLOADING, Batch.UPLOADED, Batch.CREATING, Batch.RUNNING)


@dataclass(frozen=True)
class PackedEmbedding:
    """An embedding found in a pack: its key, how many vectors, and the row of the first."""

    key: bytes
    vectors: int
    row: int


@dataclass(frozen=True)
class JobLine:
    """A line of a job found at the vendor: the key it asks for, how many vectors, estimated tokens."""

    key: bytes
    vectors: int
    tokens: int


def has_batches(connection: Connection) -> bool:
    """Whether this state ever sent anything; one that did not may be new, or a replacement for one that was lost."""
    packed = connection.execute(select(func.max(batches.c.id))).scalar()
    return packed is not None


def count_held(connection: Connection) -> tuple[int, int]:
    """(packs on record, embeddings held in them)."""
    held = "SELECT (SELECT COUNT(*) FROM packs), (SELECT COUNT(*) FROM embeddings WHERE state = 2)"
    row = connection.exec_driver_sql(held).one()
    return int(row[0]), int(row[1])


def hold(tx: Tx, pack_id: int, profile_id: int, found: Sequence[PackedEmbedding]) -> None:
    """These vectors are here: nothing of them is to be paid again."""
    rows = [(each.key, profile_id, each.vectors, tx.now, pack_id, each.row) for each in found]
    if rows:
        tx.connection.exec_driver_sql(_HOLD, rows)


def note_found_pack(tx: Tx, name: str, count: int) -> None:
    """Put the adoption of a pack on record."""
    moves.record(tx, "embedding", 0, None, states.Embedding.HELD, f"{count} found in pack {name}")


def close_by_pack(tx: Tx, batch: BatchRow, pack_id: int, tokens: int) -> None:
    """The pack of an open batch is here already (this state is older than the pack): the batch is over.

    `tokens` are what the pack says was billed for the batch. What became of lines that the pack does not hold is not
    known any more: they are wanted again, or given up if the batch was cancelled.
    """
    cause = "its pack is here already"
    if batch.state is Batch.CREATING:
        for attempt in batch_rows.attempts_of(tx.connection, batch.id):
            if attempt.state is states.Attempt.OPEN:
                batch_rows.close_attempt(tx, attempt, states.Attempt.CREATED, cause)
    sent_at_once = batch.is_sync and batch.state is Batch.CREATING
    way = (Batch.ENDED, Batch.COLLECTED) if sent_at_once else _PATHS_TO_THE_END[batch.state]
    _walk(tx, batch, way, cause)
    tx.connection.exec_driver_sql(_ANSWERED, (batch.id, pack_id))
    if batch.cancel_asked_at is not None:
        embedding_rows.give_up(tx, batch.id)
    embedding_rows.give_back(tx, batch.id)
    ledger.release(tx, batch.id, batch.tokens_estimated, batch.usd_per_million)
    if tokens and batch.tokens_settled is None:
        ledger.settle(tx, batch.id, tokens, batch.usd_per_million)
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
    known = 0
    for at in range(0, len(keys), _SLICE):
        part = tuple(keys[at : at + _SLICE])
        marks = ",".join("?" * len(part))
        sql = f"SELECT COUNT(*) FROM embeddings WHERE key IN ({marks})"
        known += int(connection.exec_driver_sql(sql, part).scalar_one())
    return known


# Purpose: open batches with lines that ask for these keys.
_ASKED = (
    "SELECT DISTINCT l.batch_id FROM embeddings e JOIN lines l ON l.embedding_id = e.id"
    " WHERE e.key IN ({marks}) AND l.outcome = 0"
)
# Purpose: is there a line in a batch whose embedding does not wait for it?
_OUTDATED = (
    "SELECT EXISTS (SELECT 1 FROM lines l JOIN embeddings e ON e.id = l.embedding_id"
    " WHERE l.batch_id = ? AND e.state != 1)"
)


def asked_in(connection: Connection, keys: Sequence[bytes]) -> list[BatchRow]:
    """The open batches that ask for any of these keys."""
    ids: set[int] = set()
    for at in range(0, len(keys), _SLICE):
        part = tuple(keys[at : at + _SLICE])
        sql = _ASKED.format(marks=",".join("?" * len(part)))
        ids.update(connection.exec_driver_sql(sql, part).scalars())
    return [batch_rows.get(connection, batch_id) for batch_id in sorted(ids)]


def is_outdated(connection: Connection, batch: BatchRow) -> bool:
    """Whether a batch asks for something that is held already, or that nobody wants from it."""
    return bool(connection.exec_driver_sql(_OUTDATED, (batch.id,)).scalar_one())


def add_job(
    tx: Tx, ref: str, profile_id: int, lines: Sequence[JobLine], price: float | None, params: str
) -> BatchRow:
    """A batch in state `packed` for a job of ours that this state does not know, with its lines and reservation."""
    tokens = sum(line.tokens for line in lines)
    inputs = sum(line.vectors for line in lines)
    batch_id = batch_rows.create(tx, ref, profile_id, inputs, tokens, price, params)
    tx.connection.exec_driver_sql(
        _TAKE, [(line.key, profile_id, line.vectors, line.tokens, tx.now) for line in lines]
    )
    tx.connection.exec_driver_sql(_LINE, [(batch_id, at, line.key) for at, line in enumerate(lines)])
    embedding_rows.attribute(tx, batch_id)
    ledger.reserve(tx, batch_id, tokens, price)
    return batch_rows.get(tx.connection, batch_id)


def to_running(tx: Tx, batch: BatchRow, cause: str, **facts: object) -> None:
    """Bring a batch to `running`, by the moves it would have made; `facts` are what the vendor says of its job.

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
