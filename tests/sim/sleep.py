"""A machine that sleeps between the record of an attempt and its call, and a network that notices a late call."""

from __future__ import annotations

import random

import httpx

from voyage_jobs.core.clock import VirtualClock
from voyage_jobs.simulator import Simulator
from voyage_jobs.simulator.transport import SimulatorTransport

from .faults import QUARANTINE_S
from .story import Violation

ATTEMPTS = ("attempt.committed", "sync.attempt.committed")
"""The crash points after which what is paid for is sent next."""
_PAID = ("/v1/batches", "/v1/embeddings", "/v1/contextualizedembeddings")
_FOR_S = (10.0, QUARANTINE_S / 2, 2 * QUARANTINE_S, 13 * 3600.0)


class Sleeper:
    """Puts the machine to sleep after some attempts. It has chance of its own, so that older seeds live as they did."""

    def __init__(self, clock: VirtualClock, seed: int, share: float) -> None:
        self.noted_at: float | None = None
        """When the newest attempt was recorded, in seconds of `uptime`."""
        self._clock, self._share = clock, share
        self._rng = random.Random(f"sleep {seed}")

    def passes(self, point: str, *, awake: bool) -> float:
        """A crash point: for how many seconds the machine slept there, unless it is to stay awake."""
        if point not in ATTEMPTS:
            return 0.0
        self.noted_at = self._clock.uptime()
        if awake or self._rng.random() >= self._share:
            return 0.0
        seconds = self._rng.choice(_FOR_S)
        self._clock.suspend(seconds)
        return seconds


class WatchedTransport(SimulatorTransport):
    """Takes a call that is paid for only while its attempt is younger than a third of the quarantine."""

    def __init__(self, simulator: Simulator, clock: VirtualClock, sleeper: Sleeper) -> None:
        super().__init__(simulator)
        self._clock, self._sleeper = clock, sleeper

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """One exchange."""
        if request.method == "POST" and request.url.path in _PAID:
            assert self._sleeper.noted_at is not None, "a call that is paid for, and no attempt"
            age_s = self._clock.uptime() - self._sleeper.noted_at
            if age_s > QUARANTINE_S / 3:
                raise Violation(f"an attempt was sent {age_s:.0f} s after it was recorded")
        return super().handle_request(request)
