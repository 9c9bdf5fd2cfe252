"""Everything that `status` looks at, read in one transaction: one moment, whatever the daemon does meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from voyage_jobs import lock
from voyage_jobs import table as published
from voyage_jobs.clock import US, Clock, now_us
from voyage_jobs.config.prices import batch_price
from voyage_jobs.config.settings import Settings
from voyage_jobs.errors import ConfigError
from voyage_jobs.report import rebuild
from voyage_jobs.report.batches import OPEN
from voyage_jobs.report.eta import HISTORY
from voyage_jobs.report.rebuild import Vectors
from voyage_jobs.state import (
    batches,
    counts,
    ledger,
    notes,
    notices,
    publications,
    setback,
    sources,
    tally,
    troubles,
)
from voyage_jobs.state import lanes as lane_store
from voyage_jobs.state import pauses as pause_store
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.counts import Counted
from voyage_jobs.state.door import open_state
from voyage_jobs.state.lanes import Lane
from voyage_jobs.state.ledger import Totals
from voyage_jobs.state.notes import Here
from voyage_jobs.state.notices import Untold
from voyage_jobs.state.pauses import Pauses
from voyage_jobs.state.setback import SetBack
from voyage_jobs.state.sources import SourceRow
from voyage_jobs.state.tally import SourceTally, Waiting
from voyage_jobs.state.troubles import Counters, Trouble
from voyage_jobs.states import Batch
from voyage_jobs.steps import budget
from voyage_jobs.steps.budget import Room

_REASONS = 3
UNTOLD_FAILURES = 3
UNTOLD_S = 86_400.0


@dataclass(frozen=True)
class Facts:
    """One moment of the state. Times are microseconds UTC; `since` tells when each open batch came into its state."""

    now: int
    holder: int | None
    here: Here | None
    page_problem: str | None
    vectors: Vectors
    price: float | None
    sources: Sequence[SourceRow]
    tallies: Mapping[int, SourceTally]
    waiting: Waiting
    batches_by_state: Mapping[str, int]
    open: Sequence[BatchRow]
    refused: Sequence[BatchRow]
    since: Mapping[int, int]
    lanes: Sequence[Lane]
    totals: Totals
    rooms: Sequence[Room]
    duplicates: int
    failure_reasons: Sequence[str]
    ready_since: int | None
    counted: Counted
    table_version: int | None
    table_exists: bool | None
    older_format: str | None
    """The format of the table, while it is being brought to the present one."""
    watching: Mapping[str, Mapping[str, object]]
    """By source, how its watching goes; empty where no daemon runs."""
    pauses: Pauses
    """What a person has told to rest."""
    took: Sequence[float]
    """Seconds that the latest jobs took at the vendor, shortest first."""
    troubles: Sequence[Trouble]
    counters: Counters
    daemon_died: bool
    """Whether the last `run` is not there and did not take leave."""
    unclosed: Sequence[tuple[str, str, int]]
    """Batches that are over and not closed: ref, state, since when."""
    leaving_since: int | None
    """Since when the first version that is to leave the table waits for that."""
    missing_since: Mapping[int, int]
    """By source, since when its first missing document is missing."""
    asked_since: int | None
    """Since when the oldest request on the command line waits to be carried out."""
    oldest: Mapping[int, str]
    """By source, the path of the document whose change has waited for longest."""
    untold: Sequence[Untold]
    """Sinks of notifications that do not take them."""
    set_back: SetBack | None = None
    """What was found, in the last week, by a state that is older than what it led to."""
    claiming: bool = False
    """Whether jobs at Voyage are to be claimed before anything is sent."""
    unchecked_since: int | None = None
    """Since when texts are sent although the list of jobs cannot be read."""

    def chunks(self, place: str) -> int:
        """How many chunks are in one place, over all sources."""
        return sum(each.chunks[place] for each in self.tallies.values())

    @property
    def over_budget(self) -> bool:
        """Whether a limit keeps back what waits to be sent."""
        return any(self.is_tight(room) for room in self.rooms)

    def is_tight(self, room: Room) -> bool:
        """Whether a limit keeps back what waits to be sent: of everything, or of a source."""
        if room.anew_at is None and self.holder is None:
            return False  # the run is over, and its limit with it
        tally = None if room.source_id is None else self.tallies.get(room.source_id)
        waiting = (
            self.waiting.embeddings if room.source_id is None else tally.chunks["waiting"] if tally else 0
        )
        return bool(waiting) and room.tokens < max(1, self.waiting.first_tokens or 0)

    @property
    def cancelled(self) -> int:
        """Chunks that a person cancelled."""
        return sum(each.cancelled for each in self.tallies.values())

    @property
    def work_remains(self) -> bool:
        """Whether anything is on its way to the table, or ought to be."""
        on_the_way = any(self.chunks(place) for place in ("waiting", "packed", "submitted", "held"))
        return bool(self.open) or on_the_way or self.vectors.build is not None


def gather(settings: Settings, clock: Clock) -> Facts:
    """Read everything. Raises `StateError` if there is no state, or none that can be read."""
    now = now_us(clock)
    store = open_state(settings)
    with store.read() as connection:
        tallies = tally.by_source(connection)
        open_batches = batches.in_state(connection, *OPEN)
        failed = any(each.chunks["failed"] for each in tallies.values())
        vectors = rebuild.look(connection, settings, now)
        working = rebuild.working_settings(settings, vectors)
        price = batch_price(working)
        rooms = budget.rooms(connection, working, price, now)
        return Facts(
            now=now,
            holder=lock.holder(settings.paths.lock),
            here=notes.who(connection),
            page_problem=notes.get(connection, notes.PAGE),
            vectors=vectors,
            price=price,
            sources=sources.all_sources(connection),
            tallies=tallies,
            waiting=tally.waiting(connection),
            batches_by_state=tally.batches_by_state(connection),
            open=open_batches,
            refused=batches.in_state(connection, Batch.REFUSED),
            since=tally.in_state_since(connection, [batch.id for batch in open_batches]),
            lanes=list(lane_store.closed(connection).values()),
            totals=ledger.totals(connection),
            rooms=list(rooms),
            duplicates=batches.count_duplicates(connection),
            failure_reasons=tally.failure_reasons(connection, _REASONS) if failed else [],
            ready_since=tally.ready_since(connection),
            counted=counts.counted(connection),
            table_version=publications.last_table_version(connection),
            table_exists=_table_exists(settings),
            set_back=setback.recent(connection, now),
            claiming=setback.is_claim_due(connection),
            unchecked_since=setback.unchecked_since(connection),
            older_format=notes.get(connection, notes.FORMAT),
            untold=notices.untold(connection, UNTOLD_FAILURES, now - int(UNTOLD_S * US)),
            watching=notes.watching(connection, lock.holder(settings.paths.lock)),
            pauses=pause_store.now(connection, now),
            took=batches.durations_s(connection, HISTORY),
            troubles=troubles.recent(connection, now),
            counters=troubles.counted(connection),
            daemon_died=notes.get(connection, notes.DAEMON) is not None,
            unclosed=tally.unclosed(connection),
            leaving_since=tally.leaving_since(connection),
            missing_since=tally.missing_since(connection),
            asked_since=tally.asked_since(connection),
            oldest=tally.paths(connection, {k: t.oldest_document for k, t in tallies.items()}),
        )


def _table_exists(settings: Settings) -> bool | None:
    try:
        return published.exists(settings.lancedb.uri, settings.lancedb.table)
    except (OSError, ConfigError):
        return None
