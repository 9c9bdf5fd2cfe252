"""Work that is begun ahead of its turn and comes back in its turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from enum import Enum
from typing import Generic, TypeVar

from voyage_jobs.engine.waiting import Steps, Waiting, wait

_T = TypeVar("_T")


class Pause(Enum):
    """Why there is nothing to take at present, so that something else can be done."""

    ASKED = "asked"  # the works themselves gave way
    WAITING = "waiting"  # others are busy


class _Work(Generic[_T]):
    """One of the works. `result` is there once it is `done`."""

    result: _T

    def __init__(self, steps: Steps[_T]) -> None:
        self.steps = steps
        self.done = False
        self.waits_for: Waiting = None

    def go_on(self) -> None:
        try:
            self.waits_for = next(self.steps)
        except StopIteration as end:
            self.result = end.value
            self.done = True


def in_order(works: Iterator[Steps[_T] | None], at_once: int, most: int) -> Iterator[_T | Pause]:
    """What these come to, in their order. At most `at_once` are being worked at, and `most` begun and not yet taken.

    Yields a `Pause` where the works have None, and when nothing has come for a moment. Given up, it gives up what it
    has begun.
    """
    window: deque[_Work[_T]] = deque()
    more = True
    try:
        while more or window:
            while more and len(window) < most:
                steps = next(works, works)
                if steps is works:
                    more = False
                elif steps is None:
                    yield Pause.ASKED
                else:
                    window.append(_Work(steps))  # type: ignore[arg-type]
            busy = _go_on(window, at_once)
            if window and window[0].done:
                yield window.popleft().result
            elif window and not wait(busy):
                yield Pause.WAITING
    finally:
        for each in window:
            each.steps.close()


def _go_on(window: deque[_Work[_T]], at_once: int) -> list[Waiting]:
    """Go on with the first that are not done; for what they wait."""
    busy: list[Waiting] = []
    for each in window:
        if not each.done:
            each.go_on()
        if not each.done:
            busy.append(each.waits_for)
        if len(busy) == at_once:
            break
    return busy
