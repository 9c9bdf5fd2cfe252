"""What /readyz answers: whether a process holds the lock, its state is migrated, and recovery is done."""

from __future__ import annotations

import threading

from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import Clock
from voyage_jobs.report.alive import health


class OwnReadiness:
    """Of the process that works here: it says so itself once it has recovered."""

    def __init__(self) -> None:
        self._recovered = threading.Event()

    def set(self) -> None:
        """Lock, migration and recovery are behind us."""
        self._recovered.set()

    def __call__(self) -> tuple[bool, str]:
        """(ready, a sentence)."""
        if self._recovered.is_set():
            return True, "Ready: the lock is held, the state is migrated, recovery is done."
        return False, "Not ready: starting, migrating or recovering."


class OthersReadiness:
    """Of whatever process works here, as seen from outside: by its lock and its heartbeats."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings, self._clock = settings, clock

    def __call__(self) -> tuple[bool, str]:
        """(ready, a sentence)."""
        found = health(self._settings, self._clock)
        return found.alive, found.message
