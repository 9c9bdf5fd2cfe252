"""Batches: what was assembled, where it stands, and what it waits for."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Case, Connection, Select, bindparam, case, exists, func, insert, select, text, update

from voyage_jobs.core import states
from voyage_jobs.core.profile import DEFAULT_VENDOR
from voyage_jobs.state import last_errors, meta, moves
from voyage_jobs.state.dialect import json_field
from voyage_jobs.state.schema import (
    batches,
    is_in,
    lines,
    remote_files,
    transitions,
)
from voyage_jobs.state.statements import Prepared, new_id, plain
from voyage_jobs.state.store import Tx


@dataclass(frozen=True)
class BatchRow:
    """One batch: every column of its row; see schema.py for the meaning."""

    id: int
    ref: str
    state: states.Batch
    profile_id: int
    inputs: int
    tokens_estimated: int
    usd_per_million: float | None
    request_params: str
    created_at: int
    spool_bytes: int | None
    spool_sha256: str | None
    input_file_id: str | None
    remote_id: str | None
    remote_status: str | None
    output_file_id: str | None
    error_file_id: str | None
    submitted_at: int | None
    remote_created_at: int | None
    deadline_at: int | None
    remote_total: int | None
    remote_completed: int | None
    remote_failed: int | None
    due_at: int
    failures: int
    ended_at: int | None
    collected_at: int | None
    tokens_settled: int | None
    reason: str | None
    hint: str | None
    cancel_asked_at: int | None
    code: str | None
    error: str | None
    failing_since: int | None
    mode: states.Mode = states.Mode.BATCH
    order_ref: str | None = None
    asked_by: str | None = None
    document_id: int | None = None
    fresh_documents: int | None = None

    @property
    def is_fresh(self) -> bool:
        """Whether it is of the fresh lane: small changes that are sent at once."""
        return self.fresh_documents is not None

    @property
    def is_sync(self) -> bool:
        """Whether it is sent as one request that is answered at once."""
        return self.mode is states.Mode.SYNC


# What a batch is parked for, where the steps act on it (`code`).
NOT_FETCHED = "not_fetched"  # its results are paid, and cannot be had
UNUSABLE = "unusable"  # its results are paid, and cannot be read: nothing more is sent for its profile
NO_ROOM = "no_room"  # refused because too much was in flight: its texts go again as they are
SEND_REFUSED = "send_refused"  # the provider refused its upload or its job
REFUSED_ALIKE = "refused_alike"  # all its lines were refused in the same words
MODEL_REFUSED = "model_refused"  # the provider has no such model: nothing is sent for it

_COLUMNS = [field.name for field in fields(BatchRow)]
_BATCH = select(*(batches.c[name] for name in _COLUMNS))
_IS_OPEN = ~is_in(batches, states.Batch.CLOSED)


def _all(connection: Connection, query: Select[Any] | Prepared, **values: object) -> list[BatchRow]:
    if isinstance(query, Prepared):
        rows: Iterable[Any] = query.rows(connection, **values)
    else:
        rows = plain(connection, query, values)
    found = (dict(zip(_COLUMNS, row, strict=True)) for row in rows)
    return [
        BatchRow(**{**row, "state": states.Batch(row["state"]), "mode": states.Mode(row["mode"])})
        for row in found
    ]


@dataclass(frozen=True)
class Order:
    """What an operator asks for at once: its own id, who gave it, and the document that it is about."""

    ref: str
    who: str
    document_id: int
    source_id: int
    """The source of the document: it pays."""


def create(
    tx: Tx,
    ref: str,
    profile_id: int,
    inputs: int,
    tokens: int,
    price: float | None,
    params: str,
    mode: states.Mode = states.Mode.BATCH,
    order: Order | None = None,
    fresh_documents: int | None = None,
) -> int:
    """A new batch in state `packed`. `price` is USD per million tokens, `params` its request_params as JSON; with
    `fresh_documents` it is of the fresh lane, and counts for so many.
    """
    ordered: dict[str, object] = {}
    cause = f"{inputs} inputs" + (", sent at once" if mode is states.Mode.SYNC else "")
    if order is not None:
        ordered = {"order_ref": order.ref, "asked_by": order.who, "document_id": order.document_id}
        cause += f", asked for by {order.who}"
    if fresh_documents is not None:
        cause += ", to be fresh"
    row = insert(batches).values(
        ref=ref,
        state=str(states.Batch.PACKED),
        profile_id=profile_id,
        inputs=inputs,
        tokens_estimated=tokens,
        usd_per_million=price,
        request_params=params,
        created_at=tx.now,
        mode=str(mode),
        fresh_documents=fresh_documents,
        **ordered,
    )
    batch_id = new_id(tx.connection, row)
    moves.record(tx, "batch", batch_id, None, states.Batch.PACKED, cause, batch_id)
    return batch_id


_WELL: dict[str, object] = {"failures": 0, "code": None, "error": None, "failing_since": None}


def move(tx: Tx, batch: BatchRow, target: states.Batch, cause: str, **values: object) -> None:
    """Move a batch on from the state it was read in. Back-off is forgotten: the new state starts afresh."""
    states.check_batch(batch.mode, batch.state, target)
    fresh: dict[str, object] = {"due_at": 0, "hint": None, **_WELL, **values}
    moves.move(tx, batches, batch.id, batch.state, target, cause, batch_id=batch.id, **fresh)
    if target is states.Batch.PARKED:
        last_errors.count(tx, last_errors.PARKED)


def note(tx: Tx, batch_id: int, **values: object) -> None:
    """Set columns that are not the state."""
    tx.connection.execute(update(batches).where(batches.c.id == batch_id).values(**values))


def well(tx: Tx, batch_id: int, **values: object) -> None:
    """Set columns that are not the state, and forget the failures: the last call about this batch succeeded."""
    note(tx, batch_id, hint=_unless_parked(None), **_WELL, **values)


def _unless_parked(hint: str | None) -> Case[str | None]:
    """The next step after a call; one that is parked keeps what it was parked with."""
    return case((is_in(batches, states.Batch.PARKED), batches.c.hint), else_=hint)


def failures_of(batch: BatchRow, policy: str) -> int:
    """How often in a row a batch has failed in the way that this policy is for."""
    return batch.failures if batch.code == policy else 0


def put_off(
    tx: Tx, batch: BatchRow, policy: str, failures: int, due_at: int, error: str, hint: str | None
) -> None:
    """A call about this batch failed: it waits until `due_at`, with the error and the next step on record."""
    since = batch.failing_since if batch.code == policy else None
    values: dict[str, object] = {"due_at": due_at, "failures": failures, "code": policy, "error": error}
    values |= {"failing_since": tx.now if since is None else since, "hint": _unless_parked(hint)}
    note(tx, batch.id, **values)


def remark(tx: Tx, batch: BatchRow, cause: str) -> None:
    """Put on record what happened to a batch without moving it, wherever it is by now."""
    state = get(tx.connection, batch.id).state
    moves.record(tx, "batch", batch.id, state, state, cause, batch.id)


DUPLICATE = "a second job for the same batch: "


def note_duplicate(tx: Tx, batch: BatchRow, remote_id: str) -> bool:
    """Put a second job on record, once. Returns whether it is news."""
    cause = f"{DUPLICATE}{remote_id}"
    known = select(func.count()).where(transitions.c.batch_id == batch.id, transitions.c.cause == cause)
    if tx.connection.execute(known).scalar_one():
        return False
    remark(tx, batch, cause)
    return True


def count_duplicates(connection: Connection) -> int:
    """How many second jobs were ever seen."""
    where = transitions.c.cause.startswith(DUPLICATE, autoescape=True)
    return int(
        connection.execute(select(func.count()).where(transitions.c.kind == "batch", where)).scalar_one()
    )


_BY_ID = Prepared(_BATCH.where(batches.c.id == bindparam("id")))


def get(connection: Connection, batch_id: int) -> BatchRow:
    """One batch by its row id."""
    (found,) = _all(connection, _BY_ID, id=batch_id)
    return found


# Purpose: how long the latest batches took at one provider, but for those that were refused or cancelled there.
_TOOK = Prepared(
    "SELECT (b.ended_at - b.submitted_at) / 1000000.0 FROM batches b JOIN profiles f ON f.id = b.profile_id"
    " WHERE b.ended_at > b.submitted_at AND b.collected_at IS NOT NULL"
    "  AND COALESCE(b.remote_status, '') NOT LIKE 'cancel%'"
    f"  AND COALESCE({json_field('f.body', 'vendor')}, '{DEFAULT_VENDOR}') = :provider"
    " ORDER BY b.id DESC LIMIT :most"
)


def durations_s(connection: Connection, provider: str, most: int) -> list[float]:
    """From submission to its end, in seconds, of the latest batches that are over at a provider (its type); shortest
    first. How long another provider's jobs took says nothing of these."""
    return sorted(row[0] for row in _TOOK.rows(connection, provider=provider, most=most))


def find(connection: Connection, word: str) -> list[BatchRow]:
    """Batches whose ref begins with `word`, or whose id at the provider is `word`."""
    where = batches.c.ref.startswith(word, autoescape=True) | (batches.c.remote_id == word)
    return _all(connection, _BATCH.where(where).order_by(batches.c.id))


def _in_state(*wanted: states.Batch) -> Select[Any]:
    return _BATCH.where(is_in(batches, *wanted), _IS_OPEN).order_by(batches.c.id)


@functools.cache
def _prepared(*wanted: states.Batch) -> Prepared:
    """Asked several times a turn: one constant for each set of states."""
    return Prepared(_in_state(*wanted))


def in_state(connection: Connection, *wanted: states.Batch) -> list[BatchRow]:
    """Batches in any of these states, oldest first."""
    return _all(connection, _prepared(*wanted))


def with_lines_of(connection: Connection, source_id: int, among: Iterable[states.Batch]) -> list[BatchRow]:
    """Batches in some states with at least one line on the bill of a source, oldest first."""
    mine = exists().where(lines.c.batch_id == batches.c.id, lines.c.source_id == source_id)
    return _all(connection, _in_state(*among).where(mine))


_CANCELLED_FOR = "cancelled_for.{}"  # in meta: the sources for whose sake a batch was cancelled


def cancel_for_all(tx: Tx, batch_id: int) -> None:
    """Everything in a batch is cancelled, whatever was asked for before."""
    meta.forget(tx, _CANCELLED_FOR.format(batch_id))


def cancel_for(tx: Tx, batch: BatchRow, source_id: int) -> None:
    """A batch is cancelled for the sake of one more source, unless all of it is already."""
    before = cancelled_sources(tx.connection, batch.id)
    if before is None and batch.cancel_asked_at is not None:
        return
    ids = sorted({*(before or ()), source_id})
    meta.put(tx, _CANCELLED_FOR.format(batch.id), ",".join(map(str, ids)))


def cancelled_sources(connection: Connection, batch_id: int) -> tuple[int, ...] | None:
    """The sources for whose sake a batch was cancelled; None if it was for all that is in it."""
    noted = meta.get(connection, _CANCELLED_FOR.format(batch_id))
    return None if noted is None else tuple(map(int, noted.split(",")))


def newest(connection: Connection, most: int) -> list[BatchRow]:
    """The latest batches, newest first."""
    return _all(connection, _BATCH.order_by(batches.c.id.desc()).limit(most))


# Purpose: how the latest jobs ended.
_LATEST_ENDS = text(
    "SELECT reason FROM batches WHERE ended_at IS NOT NULL AND ended_at >= submitted_at AND id != :but"
    " ORDER BY ended_at DESC, id DESC LIMIT :most"
)


def refused_in_a_row(connection: Connection, but: int, reason: str, most: int) -> int:
    """How many of the latest jobs that are over, `but` this batch's, failed validation in just these words."""
    ends = connection.execute(_LATEST_ENDS, {"but": but, "most": most}).scalars()
    return _in_a_row(ends, reason)


# Purpose: how the latest jobs of a profile whose results are in came out.
_LATEST_COLLECTED = text(
    "SELECT reason FROM batches WHERE collected_at IS NOT NULL AND submitted_at IS NOT NULL AND profile_id = :profile"
    " ORDER BY collected_at DESC, id DESC LIMIT :most"
)


def came_out_in_a_row(connection: Connection, profile_id: int, reason: str, most: int) -> int:
    """How many of the latest jobs whose results are in came out in just these words."""
    ends = connection.execute(_LATEST_COLLECTED, {"profile": profile_id, "most": most}).scalars()
    return _in_a_row(ends, reason)


def _in_a_row(ends: Iterable[str], reason: str) -> int:
    return sum(1 for _ in itertools.takewhile(lambda said: said == reason, ends))


def by_remote_id(connection: Connection, remote_id: str) -> BatchRow | None:
    """The batch that owns this job, if any."""
    return next(iter(_all(connection, _BATCH.where(batches.c.remote_id == remote_id))), None)


def by_ref(connection: Connection, ref: str) -> BatchRow | None:
    """The batch with this ref, if any."""
    return next(iter(_all(connection, _BATCH.where(batches.c.ref == ref))), None)


def due_no_later(tx: Tx, latest: int) -> None:
    """Let nothing wait beyond a time (after the clock was set back)."""
    where = (batches.c.due_at > latest) & _IS_OPEN
    tx.connection.execute(update(batches).where(where).values(due_at=latest))
    files = (remote_files.c.due_at > latest) & remote_files.c.deleted_at.is_(None)
    tx.connection.execute(update(remote_files).where(files).values(due_at=latest))


def due_again(tx: Tx) -> None:
    """Let no batch that failed wait any longer (what made them fail is over). Those that are parked stay so."""
    moving = batches.c.state.in_([str(word) for word in states.UNFINISHED])
    where = moving & batches.c.error.is_not(None) & (batches.c.due_at > tx.now)
    tx.connection.execute(update(batches).where(where).values(due_at=tx.now))


# Purpose: what is, or may be, at the provider. Asked several times a turn.
_IN_FLIGHT = Prepared(
    select(func.count(), func.coalesce(func.sum(batches.c.tokens_estimated), 0)).where(
        is_in(batches, *states.BEFORE_THE_JOB, *states.AT_THE_VENDOR),
        _IS_OPEN,
        batches.c.mode == str(states.Mode.BATCH),
    )
)


def in_flight(connection: Connection) -> tuple[int, int]:
    """(jobs, estimated tokens) that are, or may be, at the provider or on their way there; none is sent at once."""
    jobs, tokens = _IN_FLIGHT.row(connection)
    return int(jobs), int(tokens)


# Purpose: the batches of a mode that the provider refused to take, since it last took one.
_REFUSED_SINCE = text(
    "SELECT COUNT(*) FROM batches WHERE state = 'parked' AND code = :code AND mode = :mode AND id >"
    " (SELECT COALESCE(MAX(id), 0) FROM batches"
    "  WHERE mode = :mode AND COALESCE(submitted_at, collected_at) IS NOT NULL)"
)


def refused_since_the_last(connection: Connection, mode: states.Mode) -> int:
    """How many batches of this mode the provider refused to take, with no job made, or call answered, in between."""
    return int(connection.execute(_REFUSED_SINCE, {"code": SEND_REFUSED, "mode": str(mode)}).scalar_one())
