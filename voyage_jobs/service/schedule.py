"""The coarse jobs of the daemon, fired by APScheduler: each only leaves a note, the main loop does the work.

The scheduler's threads never touch the state, so there is one writer. Its jobs live in memory and are made from the
settings: what is due stands in the state, and a note that is lost with the process is only a look that comes later.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from datetime import UTC
from typing import Any, NamedTuple, Protocol

from voyage_jobs.config.settings import Settings

LOOK_S = 10.0
UPKEEP_S = 900.0


class Note(NamedTuple):
    """What is due: `scan` of a source, `upkeep` of table and state, or a `look` at clock and heartbeat; or a `hint`
    that a source has changed."""

    what: str
    source: str = ""


class Notes:
    """A mailbox from the scheduler's threads to the main loop; `wake` is set with every note."""

    def __init__(self, wake: threading.Event) -> None:
        self._wake = wake
        self._notes: queue.SimpleQueue[Note] = queue.SimpleQueue()

    def leave(self, note: Note) -> None:
        """From any thread."""
        self._notes.put(note)
        self._wake.set()

    def take(self) -> Iterator[Note]:
        """Everything that was left, each note once however often it was left."""
        seen: set[Note] = set()
        while not self._notes.empty():
            seen.add(self._notes.get())
        yield from sorted(seen)


class Schedule(Protocol):
    """Fires the coarse jobs."""

    def arm(self, settings: Settings) -> None:
        """Make the jobs again: at the start, after a reload, and when the clock was set back."""

    def close(self) -> None:
        """Fire no more."""


class ApSchedule:
    """`Schedule` by APScheduler: in memory, one thread, missed firings made up for once."""

    def __init__(self, notes: Notes) -> None:
        from apscheduler.schedulers.background import BackgroundScheduler

        self._notes = notes
        self._scheduler: Any = BackgroundScheduler(
            timezone=UTC,
            executors={"default": {"type": "threadpool", "max_workers": 1}},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        self._scheduler.start()

    def arm(self, settings: Settings) -> None:
        """Replace all jobs; their times count from now, whatever the clock said before."""
        self._scheduler.remove_all_jobs()
        for source in settings.sources:
            self._every(source.scan_interval_s, Note("scan", source.name))
        self._every(UPKEEP_S, Note("upkeep"))
        self._every(LOOK_S, Note("look"))

    def close(self) -> None:
        """Stop the threads; a job that runs at this moment is waited for."""
        self._scheduler.shutdown(wait=True)

    def _every(self, seconds: float, note: Note) -> None:
        self._scheduler.add_job(self._notes.leave, "interval", (note,), seconds=seconds)
