"""When something that is being written to has come to rest. Pure: times are given, in monotonic seconds."""

from __future__ import annotations


class Settling:
    """Changes that come one after the other are one matter: it is ripe when nothing was heard for `settle_s`.

    A folder that never rests (a log that is written to all day) is ripe every `longest_s`.
    """

    def __init__(self, settle_s: float, longest_s: float) -> None:
        self._settle_s = settle_s
        self._longest_s = max(settle_s, longest_s)
        self._first: float | None = None
        self._last = 0.0

    def heard(self, now: float) -> None:
        """Something changed."""
        if self._first is None:
            self._first = now
        self._last = now

    def left_s(self, now: float) -> float | None:
        """How long until it is ripe; None if nothing was heard."""
        if self._first is None:
            return None
        return max(0.0, min(self._last + self._settle_s, self._first + self._longest_s) - now)

    def take(self, now: float) -> bool:
        """Whether it is ripe; if so, it begins again."""
        if self.left_s(now) != 0.0:
            return False
        self._first = None
        return True
