"""The health check's pulse: `start` at the beginning, then success or failure at intervals and at every turn of fate.

A service that hears no success for longer than it was told to expect raises the alarm itself; that is what tells of a
machine that is gone. Nothing here is noted in the state: the next beat says all that the lost one would have said.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from voyage_jobs.core import retry
from voyage_jobs.notify.delivery import Delivered, Delivery
from voyage_jobs.notify.events import Fact
from voyage_jobs.notify.sinks import PingSink
from voyage_jobs.steps.context import Context

_WORDS = 20  # facts named in one beat


class Heartbeat:
    """Beats where the settings name an address."""

    def __init__(self, context: Context, delivery: Delivery) -> None:
        self._context = context
        self._delivery = delivery
        self._started = False
        self._next_at = -math.inf
        self._seen: bytes | None = None
        self._sent: bytes | None = None
        self._ended = False
        self.under_way = 0

    def see(self, last_errors: Sequence[Fact]) -> None:
        """What is wrong at the moment. Once the process is at its end, how it ended is all there is to say."""
        if self._ended:
            return
        if last_errors:
            words = "; ".join(f"{fact.event}: {fact.message}" for fact in last_errors[:_WORDS])
            self._seen = b"fail\n" + words.encode("utf-8", "backslashreplace")
        else:
            self._seen = b"success\nvoyage-jobs is well"

    def end(self, *, good: bool, words: str) -> None:
        """The last beat of a process that comes to its end by itself."""
        self._seen = (b"success\n" if good else b"fail\n") + words.encode("utf-8", "backslashreplace")
        self._sent, self._ended = None, True

    def due_s(self) -> float:
        """How long until the next beat."""
        if not self._context.settings.notify.ping:
            return math.inf
        return max(0.0, self._next_at - self._context.clock.mono())

    def turn(self) -> None:
        """Beat if it is time, or if what there is to say has turned."""
        wanted = self._context.settings.notify
        if not wanted.ping or self._seen is None or self.under_way:
            return
        if not self._started:
            self._started = True
            self._beat(b"start\nvoyage-jobs has started")
            return
        now = self._context.clock.mono()
        if now >= self._next_at or _kind(self._seen) != _kind(self._sent):
            self._next_at = now + wanted.ping_interval_s
            self._sent = self._seen
            self._beat(self._seen)

    def delivered(self, each: Delivered) -> None:
        """What came of a beat. One that was lost is made up for soon, or by the next."""
        self.under_way -= 1
        if each.error is not None:
            retry_at = self._context.clock.mono() + retry.wait_s("ping", 1, self._context.clock)
            self._next_at = min(self._next_at, retry_at)
            self._context.log.warning("ping.failed", error=each.error)

    def _beat(self, body: bytes) -> None:
        self.under_way += 1
        wanted = self._context.settings.notify
        self._delivery.hand(PingSink(wanted.ping, wanted.timeout_s), "ping", body)


def _kind(body: bytes | None) -> bytes:
    return (body or b"").partition(b"\n")[0]
