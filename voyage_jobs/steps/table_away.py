"""Object storage that cannot be used: publishing waits, visibly, and all else continues."""

from __future__ import annotations

from voyage_jobs.core import retry
from voyage_jobs.core.clock import US
from voyage_jobs.errors import TableAwayError
from voyage_jobs.state import circuits
from voyage_jobs.steps import step_errors
from voyage_jobs.steps.circuits import fine
from voyage_jobs.steps.context import Context

CODE = "table_away"


def pause(context: Context, error: TableAwayError) -> None:
    """Note that the table cannot be reached; it is tried again after growing waits."""
    with context.store.read() as connection:
        before = circuits.tripped(connection).get(circuits.TABLE)
    failures = before.failures + 1 if before else 1
    wait_s = retry.wait_s("table", failures, context.clock)
    with context.store.write() as tx:
        until = tx.now + int(wait_s * US)
        circuits.trip(tx, circuits.TABLE, until, failures, CODE, error.message, error.hint)
        step_errors.note(context, tx, circuits.TABLE, CODE, error.message, error.hint)
    context.observer.put_off(CODE)
    context.log.error("table.away", error=error.message, wait_s=round(wait_s))


def reached(context: Context) -> None:
    """The table was published to, or looked at: nothing keeps it back."""
    fine(context, circuits.TABLE)
