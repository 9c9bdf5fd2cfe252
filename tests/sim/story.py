"""What a life is to be, what it came to, and how it is told."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from voyage_jobs.core.clock import VirtualClock

SUSPENDED = "suspended before a call"
"""An act of the machine: it slept between the record of an attempt and its call."""
UNTOUCHED = "start with an untouched table"
"""A process began, and did not look into its table."""


class Death(BaseException):
    """The process is gone at this instruction; nothing in it may catch this."""


class Violation(AssertionError):
    """A promise was broken."""


@dataclass
class Plan:
    """What a life is about. `only` names the fault kinds; None draws them. The rest are chances per act."""

    only: frozenset[str] | None = None
    crashes: float = 1.0
    acts: tuple[int, int] = (5, 11)
    dies_at: str | None = None
    """The crash point at which it surely dies, if it comes by; None draws one."""
    often: tuple[str, ...] = ()
    """Acts that are ten times as likely as usual."""
    sleeps: float = 0.05
    """Chance that the machine sleeps between an attempt and its call."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Overrides of sections of the settings."""
    vendor: str = "voyage"
    """The type of its provider, or `all`: by the seed."""


@dataclass
class Tally:
    """What struck, over any number of lives."""

    faults: Counter[str] = field(default_factory=Counter)
    passed: Counter[str] = field(default_factory=Counter)
    died: Counter[str] = field(default_factory=Counter)
    acts: Counter[str] = field(default_factory=Counter)
    turns: int = 0

    def add(self, other: Tally) -> None:
        """Add another tally to this one."""
        for name in ("faults", "passed", "died", "acts"):
            getattr(self, name).update(getattr(other, name))
        self.turns += other.turns


class Log:
    """The last events, for the story of a life that failed."""

    def __init__(self, clock: VirtualClock, keep: int, who: str = "") -> None:
        self._clock = clock
        self._who = who
        self.events: deque[str] = deque(maxlen=keep)

    def say(self, event: str, **fields: Any) -> None:
        """Note an event."""
        told = " ".join(f"{key}={value}" for key, value in fields.items())
        self.events.append(f"{self._clock.mono():10.1f}  {self._who}{event} {told}")

    def __getattr__(self, level: str) -> Callable[..., None]:
        return self.say

    def debug(self, event: str, **fields: Any) -> None:
        """Not worth telling."""
