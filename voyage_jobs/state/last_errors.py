"""The last error of each step, kept after it is over so that `status` can tell, and counters that never go down.

One row a step, so it is bounded whatever happens; a row that is over is shown for a week.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select, text, update

from voyage_jobs.core.clock import US
from voyage_jobs.core.redact import redact
from voyage_jobs.state.ledger import BILLED
from voyage_jobs.state.schema import counters, last_errors
from voyage_jobs.state.store import Tx

PROCESS = "process"  # the step of a death: nobody knows at which it was
START = "start"  # before the first step
FATAL = "failed_step"  # the code of an error that no step can live with: the process ended
SHOWN_S = 7 * 86_400
MOST_CHARS = 500

STARTS, DEATHS, ERRORS, PARKED = "starts", "deaths", "errors", "parked"


@dataclass(frozen=True)
class LastError:
    """The last error of a step: how often in a row, since when, last when, and when it was over (None: it is not)."""

    step: str
    code: str
    message: str
    hint: str | None
    times: int
    first_at: int
    last_at: int
    over_at: int | None


_THE_SAME = "troubles.over_at IS NULL AND troubles.code = excluded.code"
# Purpose: note an error: one more of the same, or another one in place of the last.
_NOTE = text(
    "INSERT INTO troubles (step, code, message, hint, times, first_at, last_at)"
    " VALUES (:step, :code, :message, :hint, 1, :now, :now) ON CONFLICT (step) DO UPDATE SET"
    f" times = CASE WHEN {_THE_SAME} THEN troubles.times + 1 ELSE 1 END,"
    f" first_at = CASE WHEN {_THE_SAME} THEN troubles.first_at ELSE excluded.first_at END,"
    " code = excluded.code, message = excluded.message, hint = excluded.hint, last_at = excluded.last_at,"
    " over_at = NULL"
)


def note(tx: Tx, step: str, code: str, message: str, hint: str | None = None) -> None:
    """A step met an error. The message is cut, and secrets in it are masked."""
    values = {"step": step, "code": code, "message": _short(message), "hint": hint and _short(hint)}
    tx.connection.execute(_NOTE, {**values, "now": tx.now})
    count(tx, ERRORS)


def _short(message: str) -> str:
    """Its first line: what follows may quote statements and texts."""
    first = redact(message).partition("\n")[0]
    return first if len(first) <= MOST_CHARS else first[: MOST_CHARS - 3] + "..."


def over(tx: Tx, step: str) -> None:
    """The step has come through since."""
    where = (last_errors.c.step == step) & last_errors.c.over_at.is_(None)
    tx.connection.execute(update(last_errors).where(where).values(over_at=tx.now))


def lasting(connection: Connection) -> dict[str, str]:
    """Step -> code of the errors that are not over."""
    rows = connection.execute(
        select(last_errors.c.step, last_errors.c.code).where(last_errors.c.over_at.is_(None))
    )
    return {row.step: row.code for row in rows}


def recent(connection: Connection, now: int) -> list[LastError]:
    """Errors that last, then those that were over in the last week; latest first."""
    since = now - SHOWN_S * US
    where = last_errors.c.over_at.is_(None) | (last_errors.c.over_at >= since)
    query = (
        select(last_errors)
        .where(where)
        .order_by(last_errors.c.over_at.is_not(None), last_errors.c.last_at.desc())
    )
    return [LastError(**row) for row in connection.execute(query).mappings()]


# Purpose: count one more.
_COUNT = text(
    "INSERT INTO counters (name, value) VALUES (:name, 1) ON CONFLICT (name) DO UPDATE SET value = counters.value + 1"
)


def count(tx: Tx, name: str) -> None:
    """One more of something."""
    tx.connection.execute(_COUNT, {"name": name})


@dataclass(frozen=True)
class Counters:
    """What ever happened in this data folder. `published_*` count what is published again, too."""

    starts: int
    deaths: int
    errors: int
    batches_sent: int
    inputs_sent: int
    batches_parked: int
    tokens_billed: int
    publications: int
    documents_published: int
    chunks_published: int
    documents_removed: int


# Purpose: sums over rows that are never taken back.
_SENT = text(
    "SELECT COUNT(*) AS batches, COALESCE(SUM(inputs), 0) AS inputs FROM batches"
    " WHERE COALESCE(submitted_at, collected_at) IS NOT NULL"
)
_BILLED = text(f"SELECT COALESCE(SUM(tokens), 0) FROM spend WHERE kind IN {BILLED}")
_SHOWN = text(
    "SELECT kind, COUNT(*) AS times, SUM(documents) AS documents, SUM(rows) AS chunks FROM publications"
    " WHERE rows IS NOT NULL GROUP BY kind"
)


def counted(connection: Connection) -> Counters:
    """Every counter."""
    named = {row.name: int(row.value) for row in connection.execute(select(counters))}
    sent = connection.execute(_SENT).one()
    shown = {row.kind: row for row in connection.execute(_SHOWN)}
    flips, removals = shown.get("flip"), shown.get("delete")
    return Counters(
        starts=named.get(STARTS, 0),
        deaths=named.get(DEATHS, 0),
        errors=named.get(ERRORS, 0),
        batches_sent=int(sent.batches),
        inputs_sent=int(sent.inputs),
        batches_parked=named.get(PARKED, 0),
        tokens_billed=int(connection.execute(_BILLED).scalar_one()),
        publications=sum(int(row.times) for row in shown.values()),
        documents_published=int(flips.documents) if flips else 0,
        chunks_published=int(flips.chunks) if flips else 0,
        documents_removed=int(removals.documents) if removals else 0,
    )
