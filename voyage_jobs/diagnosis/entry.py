"""How a reason is entered into the list: a function of a snapshot, marked with the codes that it may yield.

What it needs to know is the type of its argument. The order of the entries is that of the answer to `why`: what only
you move on comes first, then what nobody is at work on, then what time brings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from voyage_jobs.diagnosis.blocker import Blocker
from voyage_jobs.diagnosis.snapshot import Gate

Blockers = Iterator[Blocker]
Find = Callable[[Any], Blockers]


@dataclass(frozen=True)
class Cause:
    """An entry. `needs`: the snapshot that it looks at."""

    codes: tuple[str, ...]
    needs: type[Gate]
    find: Find


def entered_in(causes: list[Cause]) -> Callable[..., Callable[[Find], Find]]:
    """The mark for the entries of one list."""

    def cause(*codes: str, needs: type[Gate] = Gate) -> Callable[[Find], Find]:
        def enter(find: Find) -> Find:
            causes.append(Cause(codes, needs, find))
            return find

        return enter

    return cause
