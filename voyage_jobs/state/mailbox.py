"""Leaving a request in `state.db` for the process that holds the lock.

The one exception to "one writer": a row in `requests`, in a transaction of its own, without taking the epoch, so that
the process at work stays the one that moves states. Two processes that write need an SQLite library with the fix of
the WAL-reset race; with an older one nothing is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from voyage_jobs.clock import Clock, now_us
from voyage_jobs.errors import BusyError, LockedError
from voyage_jobs.state import notes, orders
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.engine import library_is_safe, library_version, writing_engine
from voyage_jobs.state.store import ReadOnlyStore, Tx, told_plainly

NO_EPOCH = 0  # an instance's epoch is at least 1


def leave(path: Path, clock: Clock, who: str, command: str, arguments: Mapping[str, object]) -> int:
    """Leave a request; its number. Raises LockedError where a second writer is not safe or not let in."""
    if not library_is_safe():
        raise LockedError(
            f"Another voyage-jobs is at work, and SQLite {library_version()} does not let two processes write safely.",
            hint="Stop it first, or install the pysqlite3 package, which brings its own SQLite.",
        )
    ReadOnlyStore(path).revision()  # a writing engine would make a file where there is none
    engine = writing_engine(path)
    try:
        with told_plainly(path), engine.begin() as connection:
            return notes.ask(Tx(connection, now_us(clock), NO_EPOCH), who, command, arguments)
    except BusyError:
        raise LockedError(
            "The process at work has been writing for long, and has not taken note.",
            hint="Ask again when its present step is over; `voyage-jobs status` shows what it is at.",
        ) from None
    finally:
        engine.dispose()


def answer_to(path: Path, request_id: int) -> dict[str, object] | None:
    """The answer to a request, or None while there is none."""
    store = ReadOnlyStore(path)
    with store.read() as connection:
        return notes.result_of(connection, request_id)


def batches_of(path: Path, order_ref: str) -> list[BatchRow]:
    """The batches that were made for one order so far."""
    with ReadOnlyStore(path).read() as connection:
        return orders.batches_of(connection, order_ref)


def has_open(path: Path) -> bool:
    """Whether anything was asked for and is not done yet."""
    with ReadOnlyStore(path).read() as connection:
        return notes.any_open(connection)
