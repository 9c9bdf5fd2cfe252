"""Lanes: kinds of vendor calls that are closed for a while, and why. Kept in the database so that `status` can tell.

`vendor` closes everything (wrong key, no network, overload); `create` closes only new jobs (the in-flight limit,
creates that fail alike, refusals); `disk` what is written; `table` what is published; `fresh` what is sent at once.
steps/circuits.py decides when.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from sqlalchemy import Connection, delete, select, text, update

from voyage_jobs.state.schema import circuits
from voyage_jobs.state.statements import Prepared
from voyage_jobs.state.store import Tx

VENDOR = "vendor"
CREATE = "create"
DISK = "disk"
TABLE = "table"
FRESH = "fresh"


@dataclass(frozen=True)
class Circuit:
    """A open circuit: until when (microseconds UTC), since when, after how many failures in a row, and why."""

    name: str
    until_at: int
    failures: int
    since_at: int
    code: str
    message: str
    hint: str | None


# Purpose: close a circuit, or keep it closed for longer; `since_at` is when the trouble began.
_CLOSE = text(
    "INSERT INTO lanes (name, until_at, failures, since_at, code, message, hint)"
    " VALUES (:name, :until, :failures, :now, :code, :message, :hint)"
    " ON CONFLICT (name) DO UPDATE SET until_at = excluded.until_at, failures = excluded.failures,"
    " code = excluded.code, message = excluded.message, hint = excluded.hint"
)


def trip(tx: Tx, name: str, until_at: int, failures: int, code: str, message: str, hint: str | None) -> None:
    """Close a circuit until a time."""
    tx.connection.execute(
        _CLOSE,
        {
            "name": name,
            "until": until_at,
            "failures": failures,
            "now": tx.now,
            "code": code,
            "message": message,
            "hint": hint,
        },
    )


def reset(tx: Tx, name: str) -> None:
    """The trouble is over."""
    tx.connection.execute(delete(circuits).where(circuits.c.name == name))


def due_no_later(tx: Tx, latest: int) -> None:
    """Let no lane stay closed beyond a time (after the clock was set back)."""
    tx.connection.execute(update(circuits).where(circuits.c.until_at > latest).values(until_at=latest))


def due_now(tx: Tx, name: str) -> None:
    """Let another try be made through a circuit at once: what opened it may be over."""
    where = (circuits.c.name == name) & (circuits.c.until_at > tx.now)
    tx.connection.execute(update(circuits).where(where).values(until_at=tx.now))


# Purpose: every shared circuit that is open. Asked many times a turn.
_CLOSED = Prepared(select(*(circuits.c[field.name] for field in fields(Circuit))))


def tripped(connection: Connection) -> dict[str, Circuit]:
    """Every lane in trouble, by name (one whose time is over is due for another try)."""
    return {row[0]: Circuit(*row) for row in _CLOSED.rows(connection)}
