"""The only place that asks for the time or for chance.

Stored times are UTC wall time in integer microseconds (`now_us`); durations inside a process are monotonic
(`mono`). Tests and the simulator use `VirtualClock`, under which a twelve-hour window costs nothing.
"""

from __future__ import annotations

import random
import re
import secrets
import threading
import time
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

US = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_US = -62_135_596_800 * US  # 0001-01-01, the first moment that a datetime can hold
_LAST_US = 253_402_300_799 * US  # the last second of the year 9999


class Clock(Protocol):
    """Time and chance. All methods are cheap; `wait` is the only one that blocks."""

    def wall(self) -> float:
        """Seconds since 1970 UTC; may jump in either direction."""

    def mono(self) -> float:
        """Seconds that only grow; no meaning across processes."""

    def uptime(self) -> float:
        """Seconds that only grow, with those for which the machine slept."""

    def wait(self, seconds: float, wake: threading.Event | None = None) -> bool:
        """Wait up to `seconds`; True if `wake` was set (it is left set)."""

    def random(self) -> float:
        """A number in [0, 1)."""

    def token(self) -> str:
        """A new identifier of 20 lower-case hex digits that nobody else has."""


def now_us(clock: Clock) -> int:
    """The wall time in integer microseconds since 1970 UTC."""
    return int(clock.wall() * US)


def moment(us: int) -> datetime:
    """A time in microseconds as a UTC datetime: the one way in which a stored time becomes something to show.

    Never raises: a state may hold any 64-bit integer, and what a datetime cannot hold becomes the first or the last
    moment that it can, which is plainly no real time and still is valid RFC 3339.
    """
    return _EPOCH + timedelta(microseconds=min(max(us, _FIRST_US), _LAST_US))


def iso(us: int | None) -> str | None:
    """RFC 3339 UTC text of any time in microseconds, to the second; None for None."""
    return None if us is None else f"{moment(us).replace(microsecond=0, tzinfo=None).isoformat()}Z"


def jittered(clock: Clock, seconds: float, share: float = 0.2) -> float:
    """`seconds` moved at random by up to `share` of itself in either direction."""
    return seconds * (1 + share * (2 * clock.random() - 1))


# Linux has a clock of its own for that; what others call monotonic there goes on while they sleep.
_WITH_SLEEP = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    """The machine's own clock and randomness."""

    def wall(self) -> float:
        """Seconds since 1970 UTC."""
        return time.time()

    def mono(self) -> float:
        """Seconds that only grow."""
        return time.monotonic()

    def uptime(self) -> float:
        """Seconds that only grow, with those for which the machine slept."""
        return time.clock_gettime(_WITH_SLEEP)

    def wait(self, seconds: float, wake: threading.Event | None = None) -> bool:
        """Wait up to `seconds`; True if `wake` was set."""
        if wake is None:
            time.sleep(max(0.0, seconds))
            return False
        return wake.wait(max(0.0, seconds))

    def random(self) -> float:
        """A number in [0, 1)."""
        return random.random()  # noqa: S311 - jitter, not a secret

    def token(self) -> str:
        """A new identifier of 20 hex digits."""
        return secrets.token_hex(10)


class VirtualClock:
    """A clock that only moves when told to, or when somebody waits on it. Seeded, hence repeatable."""

    def __init__(self, start: float = 1_780_000_000.0, seed: int = 0) -> None:
        self._wall = start
        self._mono = 0.0
        self._slept = 0.0
        self._random = random.Random(seed)  # noqa: S311 - repeatable by design

    def wall(self) -> float:
        """Virtual seconds since 1970 UTC."""
        return self._wall

    def mono(self) -> float:
        """Virtual seconds that only grow."""
        return self._mono

    def uptime(self) -> float:
        """Virtual seconds that only grow, with those of `suspend`."""
        return self._mono + self._slept

    def wait(self, seconds: float, wake: threading.Event | None = None) -> bool:
        """Move both clocks on by `seconds` at once, unless `wake` is set already."""
        if wake is not None and wake.is_set():
            return True
        self.advance(max(0.0, seconds))
        return False

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass on both clocks."""
        self._wall += seconds
        self._mono += seconds

    def step(self, seconds: float) -> None:
        """Set the wall clock forward or back without any time passing (NTP, an operator)."""
        self._wall += seconds

    def suspend(self, seconds: float) -> None:
        """Let the machine sleep for `seconds`: a monotonic clock stands still, as that of Linux does."""
        self._wall += seconds
        self._slept += seconds

    def random(self) -> float:
        """A repeatable number in [0, 1)."""
        return self._random.random()

    def token(self) -> str:
        """A repeatable identifier of 20 hex digits."""
        return f"{self._random.getrandbits(80):020x}"


def day_or_span(text: str, clock: Clock) -> datetime:
    """The moment that people mean by a day (2026-03-01) or a span back from now (30d), in UTC. Raises ValueError."""
    span = re.fullmatch(r"([0-9]{1,5})d", text)
    if span:
        return datetime.fromtimestamp(clock.wall(), UTC) - timedelta(days=int(span[1]))
    day = date.fromisoformat(text)
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
