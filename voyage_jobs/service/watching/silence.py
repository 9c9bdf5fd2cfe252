"""Noticing a watch that hears nothing: a periodic scan finds changes that it ought to have told of.

That happens where the kernel is not told either: a folder that another host or a virtual machine's host writes to,
files that are written through memory mappings. Pure: times are given, in monotonic seconds.
"""

from __future__ import annotations

from typing import NamedTuple

# A change just before a scan may still be on its way through the watch.
GRACE_S = 15.0


class _Ears(NamedTuple):
    """The counters of a watch at one moment."""

    setups: int
    heard: int


class _Suspicion(NamedTuple):
    ears: _Ears
    until: float


class Silence:
    """Told of every scan of the watched sources, with the counters of their watches."""

    def __init__(self) -> None:
        self._at_begin: dict[str, _Ears] = {}
        self._before: dict[str, _Ears] = {}
        self._suspected: dict[str, _Suspicion] = {}
        self.silent: set[str] = set()
        """Sources whose watch hears nothing, until it does."""

    def scan_begins(self, source: str, setups: int, heard: int) -> None:
        """What changes from now on, this scan may miss."""
        if source in self._at_begin:
            self._before[source] = self._at_begin[source]
        self._at_begin[source] = _Ears(setups, heard)

    def scan_found(self, source: str, changed: int, now: float) -> None:
        """A periodic scan came to its end. Nothing heard since the one before it began, and yet `changed`: odd."""
        before = self._before.get(source)
        if changed and before is not None and before == self._at_begin[source]:
            self._suspected.setdefault(source, _Suspicion(before, now + GRACE_S))

    def look(self, source: str, setups: int, heard: int, now: float) -> bool:
        """Whether the watch is found to be silent just now."""
        ears, suspicion = _Ears(setups, heard), self._suspected.get(source)
        known = self._at_begin.get(source)
        if known is not None and known.heard != heard:
            self.silent.discard(source)
        if suspicion is None:
            return False
        if suspicion.ears != ears:
            del self._suspected[source]
            return False
        if now < suspicion.until:
            return False
        del self._suspected[source]
        new = source not in self.silent
        self.silent.add(source)
        return new

    def forget(self, source: str) -> None:
        """It is not watched any more, or in another way."""
        for known in (self._at_begin, self._before, self._suspected):
            known.pop(source, None)
        self.silent.discard(source)
