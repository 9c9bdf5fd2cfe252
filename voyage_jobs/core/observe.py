"""Who looks on while work is done: metrics and traces. The work knows only this door, and goes on without anybody.

A step or a call is a block: `with observer.step("poll") as step:`. What is known at its end is left on the object that
the block gets. An observer must not raise and must not keep anybody waiting.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

NOT_SENT = "not_sent"  # known not to have left this machine
LOST = "lost"  # sent, and its answer never came whole

_ref: ContextVar[str | None] = ContextVar("voyage_jobs_ref", default=None)


@dataclass
class Step:
    """One go of one step. `did`: whether there was anything to do."""

    name: str
    did: bool = False


@dataclass
class Call:
    """One call to the provider. `code` is the HTTP status, `NOT_SENT` or `LOST`."""

    method: str
    endpoint: str
    code: str = LOST


class Observer(Protocol):
    """Hears of steps, vendor calls, tries that are put off, and lines that came back."""

    def step(self, name: str) -> contextlib.AbstractContextManager[Step]:
        """A go of a step, for as long as the block takes."""

    def call(self, method: str, endpoint: str) -> contextlib.AbstractContextManager[Call]:
        """A call to the provider: `endpoint` is its path with ids left out, such as `/batches/{id}`."""

    def put_off(self, reason: str) -> None:
        """Something failed in a way that passes, and will be tried again; `reason` is a short stable word."""

    def lines(self, outcome: str, count: int) -> None:
        """So many lines of a batch came back with an outcome."""


class Nobody:
    """Looks on and does nothing."""

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Nothing is kept."""
        yield Step(name)

    @contextlib.contextmanager
    def call(self, method: str, endpoint: str) -> Iterator[Call]:
        """Nothing is kept."""
        yield Call(method, endpoint)

    def put_off(self, reason: str) -> None:
        """Nothing is kept."""

    def lines(self, outcome: str, count: int) -> None:
        """Nothing is kept."""


NOBODY = Nobody()


class Several:
    """Passes everything on to each of some observers."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """All of them hear the same end."""
        step = Step(name)
        with contextlib.ExitStack() as stack:
            theirs = [stack.enter_context(each.step(name)) for each in self._observers]
            try:
                yield step
            finally:
                for each in theirs:
                    each.did = step.did

    @contextlib.contextmanager
    def call(self, method: str, endpoint: str) -> Iterator[Call]:
        """All of them hear the same end."""
        call = Call(method, endpoint)
        with contextlib.ExitStack() as stack:
            theirs = [stack.enter_context(each.call(method, endpoint)) for each in self._observers]
            try:
                yield call
            finally:
                for each in theirs:
                    each.code = call.code

    def put_off(self, reason: str) -> None:
        """Each hears it."""
        for each in self._observers:
            each.put_off(reason)

    def lines(self, outcome: str, count: int) -> None:
        """Each hears it."""
        for each in self._observers:
            each.lines(outcome, count)


def together(observers: Sequence[Observer]) -> Observer:
    """One observer in place of some."""
    if not observers:
        return NOBODY
    return observers[0] if len(observers) == 1 else Several(observers)


@contextlib.contextmanager
def about(ref: str) -> Iterator[None]:
    """What happens in the block concerns the batch of this ref."""
    token = _ref.set(ref)
    try:
        yield
    finally:
        _ref.reset(token)


def current_ref() -> str | None:
    """The batch that work is about at the moment, if it is about one."""
    return _ref.get()
