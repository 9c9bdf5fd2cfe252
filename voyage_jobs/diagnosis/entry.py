"""How a reason is entered into the list: a function of a snapshot, marked with the code that it yields, rarely several.

The mark also says what all its blockers have in common. The order of the entries is that of the answer to `why`: what
only you move on comes first, then what nobody is at work on, then what time brings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from voyage_jobs.diagnosis.blocker import Blocker
from voyage_jobs.diagnosis.snapshot import Gate

Blockers = Iterator[Blocker]
Say = Callable[..., Blocker]
"""Makes a blocker of its text, its next step, and what differs from one to the other."""
Find = Callable[[Any, Say], Blockers]


@dataclass(frozen=True)
class Cause:
    """An entry. `needs`: the snapshot that it looks at; `same`: fields that all its blockers have in common."""

    codes: tuple[str, ...]
    needs: type[Gate]
    find: Find
    same: Mapping[str, Any]

    def blockers(self, snapshot: Gate) -> Blockers:
        """What it finds; nothing in a snapshot that knows too little."""
        if isinstance(snapshot, self.needs):
            yield from self.find(snapshot, partial(Blocker, code=self.codes[0], **self.same))


def entered_in(causes: list[Cause]) -> Callable[..., Callable[[Find], Find]]:
    """The mark for the entries of one list."""

    def cause(
        *codes: str, needs: type[Gate] = Gate, stops: tuple[str, ...] = (), **same: object
    ) -> Callable[[Find], Find]:
        def enter(find: Find) -> Find:
            causes.append(Cause(codes, needs, find, {"stops": frozenset(stops), **same}))
            return find

        return enter

    return cause
