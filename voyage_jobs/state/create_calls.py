"""Create calls: one row for each, written before it is sent."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, fields

from sqlalchemy import Connection, func, insert, select

from voyage_jobs.core import states
from voyage_jobs.state import moves
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.schema import (
    attempts,
)
from voyage_jobs.state.statements import new_id
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
