"""`trace`: what happened to one thing, when, and how long it took in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from voyage_jobs.clock import US, Clock, moment, now_us
from voyage_jobs.config.settings import Settings
from voyage_jobs.report import history
from voyage_jobs.report.find import ChunkRef, EmbeddingRef, Meaning, find
from voyage_jobs.state import batches, story
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.documents import DocumentRow
from voyage_jobs.state.door import open_state
from voyage_jobs.state.story import View
from voyage_jobs.states import UNFINISHED, Batch

_LIVE = ("waiting", "ready", "published")


@dataclass(frozen=True)
class Event:
    """One thing that happened. Times are microseconds UTC; `after_us` is since the event before, None at the first."""

    at: int
    after_us: int | None
    since_start_us: int
    what: str


@dataclass(frozen=True)
class Trace:
    """A timeline. `under_way`: whether more is to come."""

    kind: str
    ref: str
    summary: str
    next: str | None
    under_way: bool
    events: Sequence[Event]

    @property
    def elapsed_us(self) -> int:
        """From the first event to the last."""
        return self.events[-1].since_start_us if self.events else 0

    @property
    def longest(self) -> tuple[Event, Event] | None:
        """The two events with most time in between."""
        pairs = list(pairwise(self.events))
        return max(pairs, key=lambda pair: pair[1].at - pair[0].at, default=None)

    def as_dict(self, now: int) -> dict[str, Any]:
        """For `--json`; durations in seconds."""
        longest = self.longest
        return {
            "as_of": _precise(now),
            "kind": self.kind,
            "ref": self.ref,
            "summary": self.summary,
            "next": self.next,
            "under_way": self.under_way,
            "elapsed_s": self.elapsed_us / US,
            "longest": longest
            and {
                "from": longest[0].what,
                "to": longest[1].what,
                "seconds": (longest[1].at - longest[0].at) / US,
            },
            "events": [
                {
                    "at": _precise(each.at),
                    "after_s": None if each.after_us is None else each.after_us / US,
                    "since_start_s": each.since_start_us / US,
                    "what": each.what,
                }
                for each in self.events
            ],
        }


def trace(settings: Settings, clock: Clock, word: str, source: str | None = None) -> tuple[Trace, int]:
    """The timeline of what `word` means, and the moment of the look (microseconds UTC).

    Raises `ConfigError` if it means nothing, or more than one thing; `StateError` if there is no state.
    """
    with open_state(settings).read() as connection:
        meaning = find(connection, settings, word, source)
        told = history.tell(connection, settings, meaning)
        ids = _batches_of(connection, meaning)
        moves = [] if isinstance(meaning, BatchRow) else _moves(connection, ids)
        # Told more fully by the moves of the batch itself.
        own = [event for event in told.timeline() if not event[1].startswith(("batch ", "create call "))]
        under_way = _under_way(connection, meaning, ids)
    events = line_up([*own, *moves])
    return Trace(told.kind, told.ref, told.summary, told.hint, under_way, events), now_us(clock)


def line_up(events: Sequence[tuple[int, str]]) -> list[Event]:
    """(microseconds, words) in the order of time, with the time between. What is told twice is told once."""
    ordered = sorted(dict.fromkeys(events), key=lambda event: event[0])
    lined: list[Event] = []
    for at, what in ordered:
        before = lined[-1].at if lined else None
        lined.append(Event(at, None if before is None else at - before, at - ordered[0][0], what))
    return lined


def _batches_of(connection: View, meaning: Meaning) -> list[int]:
    """The batches that carried it."""
    if isinstance(meaning, BatchRow):
        return [meaning.id]
    if isinstance(meaning, EmbeddingRef):
        return [line.batch_id for line in story.lines_for(connection, meaning.embedding.id)]
    document = meaning.document if isinstance(meaning, ChunkRef) else meaning
    if not isinstance(document, DocumentRow):
        return []
    live = [each for each in story.versions_of(connection, document.id) if each.state in _LIVE]
    if not isinstance(meaning, ChunkRef):
        return sorted({b for version in live for b in story.batches_of(connection, version.id)})
    chunks = [c for version in live for c in story.chunks_of(connection, version.id)]
    keys = {c.key for c in chunks if c.ordinal == meaning.ordinal}
    known = [found for key in keys if (found := story.embedding(connection, key)) is not None]
    return sorted({line.batch_id for found in known for line in story.lines_for(connection, found.id)})


def _moves(connection: View, batch_ids: Sequence[int]) -> list[tuple[int, str]]:
    """Every move of these batches, with their refs and jobs."""
    told = []
    for batch_id in batch_ids:
        row = batches.get(connection, batch_id)
        for move in story.moves_of(connection, "batch", [batch_id]):
            cause = f" ({move.cause})" if move.cause else ""
            what = cause[2:-1] if move.origin == move.target else f"{move.target}{cause}"
            told.append((move.at, f"batch {row.ref}: {what}"))
    return told


def _under_way(connection: View, meaning: Meaning, batch_ids: Sequence[int]) -> bool:
    if any(batches.get(connection, each).state in (*UNFINISHED, Batch.PARKED) for each in batch_ids):
        return True
    document = meaning.document if isinstance(meaning, ChunkRef) else meaning
    if not isinstance(document, DocumentRow):
        return False
    return any(each.state in ("waiting", "ready") for each in story.versions_of(connection, document.id))


def _precise(at: int) -> str:
    """RFC 3339 UTC with milliseconds."""
    return moment(at).isoformat(timespec="milliseconds").replace("+00:00", "Z")
