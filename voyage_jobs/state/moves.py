"""Making moves: the row changes only if it is where we think it is, and the move is on record, in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import ColumnElement, Table, and_, insert, literal, select, update

from voyage_jobs import states
from voyage_jobs.errors import StateError
from voyage_jobs.state.schema import transitions
from voyage_jobs.state.store import Tx


class StaleMoveError(StateError):
    """A row was not in the state it was expected in."""


def move(
    tx: Tx,
    table: Table,
    row_id: int,
    origin: states.State,
    target: states.State,
    cause: str,
    *,
    batch_id: int | None = None,
    **values: object,
) -> None:
    """Move one row from `origin` to `target`, set `values` with it, record it.

    Raises `IllegalMoveError` if the table of moves forbids it, `StaleMoveError` if the row is elsewhere.
    """
    states.check(origin, target)
    statement = (
        update(table)
        .where(table.c.id == row_id, table.c.state == str(origin))
        .values(state=str(target), **values)
    )
    if tx.connection.execute(statement).rowcount != 1:
        raise StaleMoveError(f"{table.name} {row_id} is no longer {origin}; {target} ({cause}) was not done")
    record(tx, states.kind_of(target), row_id, origin, target, cause, batch_id)


def move_where(
    tx: Tx,
    table: Table,
    where: ColumnElement[bool],
    origin: states.State,
    target: states.State,
    cause: str,
    *,
    batch_id: int | None = None,
    **values: object,
) -> int:
    """Move every row that is in `origin` and fits `where`; each is recorded. Returns how many moved."""
    states.check(origin, target)
    chosen = and_(where, table.c.state == str(origin))
    rows = select(
        literal(states.kind_of(target)),
        table.c.id,
        literal(str(origin)),
        literal(str(target)),
        literal(tx.now),
        literal(tx.epoch),
        literal(batch_id),
        literal(cause),
    ).where(chosen)
    columns = ["kind", "subject", "origin", "target", "at", "epoch", "batch_id", "cause"]
    moved = tx.connection.execute(insert(transitions).from_select(columns, rows)).rowcount
    if moved:
        tx.connection.execute(update(table).where(chosen).values(state=str(target), **values))
    return moved


# Purpose: many things come into being at once.
_BIRTH = "INSERT INTO transitions (kind, subject, target, at, epoch, cause) VALUES (?, ?, ?, ?, ?, ?)"


def record_births(tx: Tx, kind: str, born: Iterable[tuple[int, states.State, str]]) -> None:
    """Write one row of history for each (id, first state, cause)."""
    tx.raw.executemany(
        _BIRTH, ((kind, row_id, str(target), tx.now, tx.epoch, cause) for row_id, target, cause in born)
    )


# Purpose: many things move for one cause.
_EACH = (
    "INSERT INTO transitions (kind, subject, origin, target, at, epoch, cause) VALUES (?, ?, ?, ?, ?, ?, ?)"
)


def record_each(
    tx: Tx, kind: str, target: states.State, cause: str, moved: Iterable[tuple[int, states.State]]
) -> None:
    """Write one row of history for each (id, state it comes from)."""
    tx.raw.executemany(
        _EACH, ((kind, row_id, str(origin), str(target), tx.now, tx.epoch, cause) for row_id, origin in moved)
    )


def record(
    tx: Tx,
    kind: str,
    subject: int,
    origin: states.State | None,
    target: states.State,
    cause: str,
    batch_id: int | None = None,
) -> None:
    """Write one row of history."""
    row: Mapping[str, object] = {
        "kind": kind,
        "subject": subject,
        "origin": None if origin is None else str(origin),
        "target": str(target),
        "at": tx.now,
        "epoch": tx.epoch,
        "batch_id": batch_id,
        "cause": cause,
    }
    tx.connection.execute(insert(transitions).values(row))
