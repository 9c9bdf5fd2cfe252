"""Whether the work at hand gets on: every step has a deadline, and a sign of progress sets it again.

A watchdog that is fed by a timer only proves that timers run. Here it is fed as long as the step at hand is within its
own deadline: how long it may go without a sign, which is well above what it takes on a slow disk and a slow line, and
far below forever. Written by the main thread, read by the one that speaks to the service manager.
"""

from __future__ import annotations

from typing import NamedTuple

from voyage_jobs.core.clock import Clock

_MINUTE_S = 60.0
_HOUR_S = 3600.0

DEADLINES_S: dict[str, float] = {
    "start": 4 * _HOUR_S,  # migrations of a large state, and reading the table's key columns
    "idle": 5 * _MINUTE_S,  # a wait lasts seconds; what is asked of the state between two waits, too
    "reload": 10 * _MINUTE_S,
    "requests": _HOUR_S,  # `recover` reads segments and the provider's lists to their end
    "scan": 30 * _MINUTE_S,  # one slice of files, from a network folder that hangs
    "recount": 15 * _MINUTE_S,
    "assemble": 15 * _MINUTE_S,
    "submit": _HOUR_S,  # one upload of 50 MB at 15 kB/s
    "poll": 30 * _MINUTE_S,  # a list of jobs, page by page, each waited for as long as `voyage.timeout_s`
    "collect": 30 * _MINUTE_S,  # one transaction over 100,000 lines
    "publish": _HOUR_S,  # one table commit of 50,000 rows, synced and read back
    "tidy": 30 * _MINUTE_S,
    "tend": 4 * _HOUR_S,  # building the index over millions of rows, once
    "stop": 10 * _MINUTE_S,
}
"""How long each step may go without a sign of progress, in seconds."""


class At(NamedTuple):
    """The step at work, what it tells of itself, and its last sign (monotonic seconds)."""

    step: str
    told: str
    sign_at: float


class Pace:
    """The step at hand. One assignment is one sign, so that a reader in another thread sees a whole one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._at = At("start", "", clock.mono())

    @property
    def at(self) -> At:
        """What was last told."""
        return self._at

    def begin(self, step: str, told: str = "") -> None:
        """Another step begins. `told` is a line for people."""
        if step not in DEADLINES_S:
            raise AssertionError(f"step {step!r} has no deadline")
        self._at = At(step, told, self._clock.mono())

    def sign(self, told: str) -> None:
        """The step at hand gets on."""
        self._at = At(self._at.step, told, self._clock.mono())

    def overdue_s(self) -> float:
        """By how many seconds the step at hand is past its deadline; 0.0 as long as it is within."""
        at = self._at
        return max(0.0, self._clock.mono() - at.sign_at - DEADLINES_S[at.step])

    def within(self) -> bool:
        """Whether the step at hand is within its own deadline."""
        return self.overdue_s() == 0.0
