"""What every story has: a sentence about how things stand, the next command, the facts, and what happened when."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from voyage_jobs import states
from voyage_jobs.clock import iso
from voyage_jobs.state import batches, story
from voyage_jobs.state.embeddings import OUTCOME_WORDS
from voyage_jobs.state.story import LineStory, Move, View
from voyage_jobs.states import Embedding


@dataclass
class Story:
    """One thing's story. `events` are (microseconds, sentence); `parts` are lists of rows, by what they are."""

    kind: str
    ref: str
    summary: str
    hint: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    events: list[tuple[int, str]] = field(default_factory=list)
    parts: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`; events in the order of time."""
        return {
            "kind": self.kind,
            "ref": self.ref,
            "summary": self.summary,
            "hint": self.hint,
            "facts": self.facts,
            "events": [{"at": iso(at), "what": what} for at, what in self.timeline()],
            **self.parts,
        }

    def timeline(self) -> list[tuple[int, str]]:
        """The events in the order of time; those of one moment in the order they were told."""
        return sorted(self.events, key=lambda event: event[0])


# Embeddings in the words of a person.
STANDS = {
    Embedding.WANTED: "waits to be sent",
    Embedding.PACKED: "is packed into a batch",
    Embedding.SUBMITTED: "is at Voyage",
    Embedding.HELD: "has its vector",
    Embedding.FAILED: "has failed",
    Embedding.DROPPED: "was cancelled",
}


def line_as_dict(line: LineStory) -> dict[str, Any]:
    """A line of a batch; `line` counts from 0 as in the input file."""
    return {
        "batch": line.ref,
        "batch_state": str(line.batch_state),
        "line": line.line,
        "outcome": OUTCOME_WORDS[line.outcome],
        "detail": line.detail,
        "tokens": line.tokens,
    }


# What of a batch is worth telling in the story of something that travelled in it.
_TOLD = frozenset(str(state) for state in states.Batch) - {
    "spooled",
    "uploading",
    "uploaded",
    "creating",
    "closed",
}


def batch_events(connection: View, batch_ids: Iterable[int]) -> list[tuple[int, str]]:
    """What happened to these batches, in short, told with their refs."""
    told = []
    for batch_id in batch_ids:
        ref = batches.get(connection, batch_id).ref
        moves = story.moves_of(connection, "batch", [batch_id])
        told += [(move.at, f"batch {ref}: {batch_move(move)}") for move in moves if move.target in _TOLD]
    return told


def batch_move(move: Move) -> str:
    """One move of a batch."""
    same = move.origin == move.target
    return move.cause if same else f"{move.target} ({move.cause})" if move.cause else move.target
