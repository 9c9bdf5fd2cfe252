"""Making moves: a row changes only if it is where we think it is, and only as `states.py` allows.

No other module updates a column `state`: a test reads them all. What moves for itself (`move`, `move_where`) is put on
record row by row; embeddings move in sets of 100,000, of which the history of their batch or pack tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Table, Update, insert, literal, literal_column, select, update

from voyage_jobs.core import states
from voyage_jobs.errors import StateError
from voyage_jobs.state.schema import is_in, stored, transitions
from voyage_jobs.state.statements import many, same
from voyage_jobs.state.store import Tx

Origins = states.State | tuple[states.State, ...]


class StaleMoveError(StateError):
    """A row was not in the state it was expected in."""


def _change(
    table: Table,
    where: ColumnElement[bool],
    origins: Origins,
    target: states.State,
    values: Mapping[str, object],
) -> Update:
    """The statement of a move. Raises `IllegalMoveError` if the table of moves forbids it."""
    origins = origins if isinstance(origins, tuple) else (origins,)
    for origin in origins:
        states.check(origin, target)
    return _set(table, is_in(table, *origins) & where, target, values)


def _set(
    table: Table, where: ColumnElement[bool], target: states.State, values: Mapping[str, object]
) -> Update:
    """The one statement that changes a state."""
    return update(table).where(where).values(state=literal_column(repr(stored(target))), **values)


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
    if move_set(tx, table, table.c.id == row_id, origin, target, **values) != 1:
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
    change = _change(table, where, origin, target, values)
    facts = _history(tx, states.kind_of(target), table.c.id, origin, target, cause, batch_id)
    columns = [fact if isinstance(fact, ColumnElement) else literal(fact) for fact in facts.values()]
    chosen = select(*columns).where(is_in(table, origin), where)
    moved = tx.connection.execute(insert(transitions).from_select(list(facts), chosen)).rowcount
    if moved:
        tx.connection.execute(change)
    return moved


def move_set(
    tx: Tx,
    table: Table,
    where: ColumnElement[bool],
    origins: Origins,
    target: states.State,
    **values: object,
) -> int:
    """Move every row that is in one of `origins` and fits `where`, by one statement and without a record of its own.

    Returns how many moved.
    """
    return int(tx.connection.execute(_change(table, where, origins, target, values)).rowcount)


def move_each(
    tx: Tx,
    table: Table,
    where: ColumnElement[bool],
    origins: Origins,
    target: states.State,
    names: Sequence[str],
    rows: Iterable[tuple[Any, ...]],
    **values: object,
) -> int:
    """The same once for each row of values: `names` are those of the `bindparam`s in `where` and `values`."""
    return many(tx.connection, _change(table, where, origins, target, values), names, rows)


def pretend(tx: Tx, table: Table, where: ColumnElement[bool], target: states.State, **values: object) -> int:
    """Set a state to which no move led: in a throw-away copy, where a plan takes for done what may be done.

    Returns how many rows were set.
    """
    return int(tx.connection.execute(_set(table, where, target, values)).rowcount)


def record_births(tx: Tx, table: Table, first: int, last: int, cause: ColumnElement[str] | str) -> None:
    """Write one row of history for each row of a range of ids that has just come into being."""
    facts = {
        "kind": same(table.name.removesuffix("s")),
        "subject": table.c.id,
        "target": table.c.state,
        "at": same(tx.now),
        "epoch": same(tx.epoch),
        "cause": same(cause) if isinstance(cause, str) else cause,
    }
    born = select(*facts.values()).where(table.c.id.between(first, last)).order_by(table.c.id)
    tx.connection.execute(insert(transitions).from_select(list(facts), born))


def record_each(
    tx: Tx, kind: str, target: states.State, cause: str, moved: Iterable[tuple[int, states.State]]
) -> None:
    """Write one row of history for each (id, state it comes from)."""
    facts = _history(tx, kind, None, None, target, cause, None)
    rows = (tuple({**facts, "subject": row_id, "origin": str(origin)}.values()) for row_id, origin in moved)
    many(tx.connection, insert(transitions), list(facts), rows)


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
    row = _history(tx, kind, subject, origin, target, cause, batch_id)
    tx.connection.execute(insert(transitions), row)


def _history(
    tx: Tx,
    kind: str,
    subject: object,
    origin: states.State | None,
    target: states.State,
    cause: str,
    batch_id: int | None,
) -> dict[str, Any]:
    return {
        "kind": kind,
        "subject": subject,
        "origin": None if origin is None else str(origin),
        "target": str(target),
        "at": tx.now,
        "epoch": tx.epoch,
        "batch_id": batch_id,
        "cause": cause,
    }
