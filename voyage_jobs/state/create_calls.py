"""Create calls: one row for each, written before it is sent."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, fields

from sqlalchemy import Connection, bindparam, exists, func, insert, select

from voyage_jobs.core import states
from voyage_jobs.state import moves
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.schema import (
    attempts,
    batches,
    lines,
)
from voyage_jobs.state.statements import Prepared, new_id
from voyage_jobs.state.store import Tx


@dataclass(frozen=True)
class AttemptRow:
    """One create call, or one request of a batch of mode `sync`."""

    id: int
    batch_id: int
    number: int
    state: states.Attempt
    sent_at: int
    vendor_sent_at: int | None
    input_file_id: str | None
    detail: str | None


def open_attempt(tx: Tx, batch: BatchRow, vendor_now: int | None) -> AttemptRow:
    """The last durable act before a create call or request. `vendor_now` is the provider's time of it, if known."""
    number = 1 + int(
        tx.connection.execute(select(func.count()).where(attempts.c.batch_id == batch.id)).scalar_one()
    )
    row = insert(attempts).values(
        batch_id=batch.id,
        number=number,
        state=str(states.Attempt.OPEN),
        sent_at=tx.now,
        vendor_sent_at=vendor_now,
        epoch=tx.epoch,
        input_file_id=batch.input_file_id,
    )
    attempt_id = new_id(tx.connection, row)
    what = "request" if batch.is_sync else "create call"
    moves.record(tx, "attempt", attempt_id, None, states.Attempt.OPEN, f"{what} {number}", batch.id)
    file_id = batch.input_file_id
    return AttemptRow(attempt_id, batch.id, number, states.Attempt.OPEN, tx.now, vendor_now, file_id, None)


def close_attempt(tx: Tx, attempt: AttemptRow, target: states.Attempt, detail: str) -> None:
    """Record how a create call ended."""
    values: dict[str, object] = {"closed_at": tx.now, "detail": detail}
    moves.move(tx, attempts, attempt.id, attempt.state, target, detail, batch_id=attempt.batch_id, **values)


def attempts_of(connection: Connection, batch_id: int) -> list[AttemptRow]:
    """The create calls of a batch, first to last."""
    columns = (attempts.c[field.name] for field in fields(AttemptRow))
    query = select(*columns).where(attempts.c.batch_id == batch_id).order_by(attempts.c.number)
    rows = connection.execute(query).mappings()
    return [AttemptRow(**{**row, "state": states.Attempt(row["state"])}) for row in rows]


def attempts_in_a_row(connection: Connection, batch_id: int, state: states.Attempt) -> list[AttemptRow]:
    """The latest create calls of a batch that all ended in this way, newest first."""
    latest = reversed(attempts_of(connection, batch_id))
    return list(itertools.takewhile(lambda attempt: attempt.state is state, latest))


@dataclass(frozen=True)
class Lost:
    """A call whose answer was lost."""

    id: int
    sent_at: int


# Purpose: the first call about a text whose answer was lost.
_FIRST_LOST = Prepared(
    select(attempts.c.id, attempts.c.sent_at)
    .select_from(lines.join(attempts, attempts.c.batch_id == lines.c.batch_id))
    .where(lines.c.embedding_id == bindparam("embedding"), attempts.c.state == str(states.Attempt.LOST))
    .order_by(attempts.c.id)
    .limit(1)
)


def first_lost(connection: Connection, embedding_id: int) -> Lost | None:
    """The first call that asked for an embedding and whose answer was lost."""
    return next((Lost(*row) for row in _FIRST_LOST.rows(connection, embedding=embedding_id)), None)


# Purpose: was any call of a profile answered since?
_ANSWERED = Prepared(
    select(
        exists(
            select(attempts.c.id)
            .select_from(attempts.join(batches, batches.c.id == attempts.c.batch_id))
            .where(
                attempts.c.id > bindparam("after"),
                attempts.c.state == str(states.Attempt.CREATED),
                batches.c.profile_id == bindparam("profile"),
            )
        )
    )
)


def any_answered(connection: Connection, profile_id: int, after: int) -> bool:
    """Whether a call of a profile was answered after the one with this id."""
    return bool(_ANSWERED.value(connection, profile=profile_id, after=after))


# Purpose: how the latest call of a profile, but for those of one batch, ended.
_BEFORE = Prepared(
    select(attempts.c.state)
    .select_from(attempts.join(batches, batches.c.id == attempts.c.batch_id))
    .where(batches.c.profile_id == bindparam("profile"), attempts.c.batch_id != bindparam("but"))
    .order_by(attempts.c.id.desc())
    .limit(1)
)


def was_answered_before(connection: Connection, batch: BatchRow) -> bool:
    """Whether the latest call of the same profile, but for those of this batch, was answered."""
    found = _BEFORE.rows(connection, profile=batch.profile_id, but=batch.id)
    return any(state == states.Attempt.CREATED for (state,) in found)
