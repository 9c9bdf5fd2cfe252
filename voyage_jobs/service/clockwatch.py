"""Noticing that somebody set the clock: wall time and monotonic time no longer pass together."""

from __future__ import annotations

from voyage_jobs.core.clock import Clock

STEP_S = 5.0


class ClockWatch:
    """Compares the two clocks at each look."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset = clock.wall() - clock.mono()

    def stepped_s(self) -> float:
        """By how many seconds the wall clock was set since the last look: negative is back, 0.0 is not at all.

        Less than `STEP_S` is drift, and is let pass. A machine that slept shows as a step forward.
        """
        offset = self._clock.wall() - self._clock.mono()
        step = offset - self._offset
        self._offset = offset
        return step if abs(step) > STEP_S else 0.0
