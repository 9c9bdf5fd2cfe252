"""Generators that wait for somebody else, and say for whom: what they yield is a descriptor that becomes readable."""

from __future__ import annotations

import select
from collections.abc import Generator, Sequence
from typing import TypeAlias, TypeVar

_T = TypeVar("_T")
Waiting: TypeAlias = int | None
"""A descriptor that becomes readable when it is worth to go on; None: nobody can tell."""
Steps: TypeAlias = Generator[Waiting, None, _T]
MOMENT_S = 0.5
"""How long whoever waits is kept at most before it may do something else."""


def wait(awaited: Sequence[Waiting]) -> bool:
    """Wait a moment for any of these; whether one has something to go on with. At once where one cannot tell."""
    told = [each for each in awaited if each is not None]
    if len(told) < len(awaited):
        return False
    poll = select.poll()
    for each in told:
        poll.register(each, select.POLLIN)
    return bool(poll.poll(MOMENT_S * 1000))


def finished(steps: Steps[_T]) -> _T:
    """What a generator returns, once it has been through all its steps."""
    while True:
        try:
            wait([next(steps)])
        except StopIteration as end:
            found: _T = end.value
            return found
