"""The same thing again and again is told once, then counted: what keeps a log readable while something is wrong for
hours.

A line that says nothing new within an interval is held back; the next one that is let through, or the summary at the
end of the interval, says in `held_back` how many were. What makes two lines the same:

- `debug` and `info`: every field is the same (a scan that again found nothing).
- `warning` and above: the event and what it is about (`ref`, `source`, `path`, `code` ...) are the same; how often it
  was tried, how long it waits and the exact words may differ. And of one event no more than `MOST_OF_A_KIND` lines in
  an interval, whatever they are about.
- What answers an operator (`config.reloaded`, `config.refused`) is no repetition: each time was asked for.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from voyage_jobs.core.clock import Clock

MOST_OF_A_KIND = 100
_MOST_KNOWN = 1_000
_QUIET_LEVELS = ("debug", "info")
_ANSWERS = ("config.reloaded", "config.refused")
_ABOUT = (
    "ref",
    "source",
    "path",
    "name",
    "code",
    "circuit",
    "segment",
    "kind",
    "batch_id",
    "file_id",
    "sink",
    "step",
    "what",
    "client",
    "logger",
    "message",
)


@dataclass
class _Entry:
    """One thing that was told: since when (monotonic), how many lines of it, how many were held back, and the last."""

    since: float
    lines: int = 0
    held: int = 0
    last: tuple[str, dict[str, Any]] | None = None
    known: Hashable = field(default=None)


class Repeats:
    """Decides which lines are let through. Thread-safe."""

    def __init__(self, clock: Clock, interval_s: float) -> None:
        self._clock = clock
        self._interval_s = interval_s
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()

    def passes(self, level: str, event: MutableMapping[str, Any]) -> bool:
        """Whether the line is to be written; `held_back` is added to it if others like it were held back before."""
        if not self._interval_s or event.get("event") in _ANSWERS:
            return True
        now = self._clock.mono()
        with self._lock:
            if level in _QUIET_LEVELS:
                return self._allowed(_same(level, event), 1, level, event, now)
            kind = (level, event.get("event"))
            # The kind is asked second: a line that is held back as a repeat is not one more of its kind.
            return self._allowed(_about(level, event), 1, level, event, now) and self._allowed(
                kind, MOST_OF_A_KIND, level, event, now
            )

    def _allowed(
        self, known: Hashable, most: int, level: str, event: MutableMapping[str, Any], now: float
    ) -> bool:
        entry = self._entries.get(known)
        if entry is None or now - entry.since >= self._interval_s:
            if entry is not None and entry.held:
                event["held_back"] = entry.held + event.get("held_back", 0)
            self._entries[known] = entry = _Entry(now, known=known)
            self._entries.move_to_end(known)
            self._forget()
        if entry.lines < most:
            entry.lines += 1
            return True
        entry.held += 1 + event.pop("held_back", 0)  # what this line would have told of others, too
        entry.last = (level, dict(event))
        return False

    def _forget(self) -> None:
        """The oldest go first; those that hold something back stay until it is told."""
        for known in list(self._entries)[: max(0, len(self._entries) - _MOST_KNOWN)]:
            if not self._entries[known].held:
                del self._entries[known]

    def summaries(self, *, all_of_them: bool = False) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """(level, last line with `held_back`) of what was held back in intervals that are over, or at all."""
        now = self._clock.mono()
        with self._lock:
            over = [
                entry
                for entry in self._entries.values()
                if entry.held and (all_of_them or now - entry.since >= self._interval_s)
            ]
            for entry in over:
                del self._entries[entry.known]
        for entry in over:
            if entry.last is not None:
                level, event = entry.last
                yield level, {**event, "held_back": entry.held}


def _same(level: str, event: Mapping[str, Any]) -> Hashable:
    return (level, *sorted((key, str(value)) for key, value in event.items()))


def _about(level: str, event: Mapping[str, Any]) -> Hashable:
    return (level, event.get("event"), "about", *(str(event.get(key)) for key in _ABOUT))
