"""The shape of every history: how things stand, the next command, the facts, and what happened when."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from voyage_jobs.core.clock import US, moment
from voyage_jobs.core.states import Batch, Embedding
from voyage_jobs.diagnosis.snapshot import OPEN
from voyage_jobs.state import batches, history
from voyage_jobs.state.history import Move, View

STANDS = {
    Embedding.WANTED: "waits to be sent",
    Embedding.PACKED: "is in a batch that is not sent yet",
    Embedding.SUBMITTED: "is at the provider",
    Embedding.HELD: "has its vector",
    Embedding.FAILED: "has failed",
    Embedding.DROPPED: "was cancelled",
}
"""Where an embedding is, after "it"."""


@dataclass(frozen=True)
class Event:
    """One thing that happened. Times are microseconds UTC; `after_us` is since the event before, None at the first."""

    at: int
    after_us: int | None
    since_start_us: int
    what: str


Moment = tuple[int, int, str]
"""When something happened (microseconds UTC), its place among what happened at once, and a sentence about it."""


@dataclass
class History:
    """One thing's history; `parts` are lists of rows, by what they are.

    `under_way`: whether more is to come. `as_of`: when it was read, microseconds UTC.
    """

    kind: str
    ref: str
    summary: str
    next: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    moments: list[Moment] = field(default_factory=list)
    parts: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    under_way: bool = False
    as_of: int = 0

    def add_batches(self, connection: View, batch_ids: Iterable[int]) -> None:
        """Every move of the batches that carried it, told with their refs."""
        for batch_id in batch_ids:
            batch = batches.get(connection, batch_id)
            moves = history.moves_of(connection, "batch", [batch_id])
            self.moments += [(move.at, move.id, f"batch {batch.ref}: {batch_move(move)}") for move in moves]
            self.under_way |= batch.state in OPEN

    @property
    def events(self) -> list[Event]:
        """What happened, in the order of time."""
        lined: list[Event] = []
        for at, _, what in sorted(set(self.moments)):
            first, before = (lined[0].at, lined[-1].at) if lined else (at, None)
            lined.append(Event(at, None if before is None else at - before, at - first, what))
        return lined

    def as_dict(self) -> dict[str, Any]:
        """For `--json`; durations in seconds. `hint` is an older name of `next`."""
        events = self.events
        waited = max(pairwise(events), key=lambda pair: pair[1].at - pair[0].at, default=None)
        return {
            "as_of": _precise(self.as_of),
            "kind": self.kind,
            "ref": self.ref,
            "summary": self.summary,
            "next": self.next,
            "hint": self.next,
            "under_way": self.under_way,
            "elapsed_s": events[-1].since_start_us / US if events else 0,
            "longest": waited
            and {
                "from": waited[0].what,
                "to": waited[1].what,
                "seconds": (waited[1].at - waited[0].at) / US,
            },
            "facts": self.facts,
            "events": [
                {
                    "at": _precise(each.at),
                    "after_s": None if each.after_us is None else each.after_us / US,
                    "since_start_s": each.since_start_us / US,
                    "what": each.what,
                }
                for each in events
            ],
            **self.parts,
        }


def batch_move(move: Move) -> str:
    """One move of a batch."""
    if move.origin == move.target:
        return move.cause
    state = "assembled" if move.target == Batch.PACKED else move.target  # the word of older releases
    return f"{state} ({move.cause})" if move.cause else state


def _precise(at: int) -> str:
    """RFC 3339 UTC with milliseconds."""
    return moment(at).isoformat(timespec="milliseconds").replace("+00:00", "Z")
