"""One moment of the state, read in one transaction: as much of it as is asked for.

`Gate` is what a step needs to know to go on: cheap enough for every turn. `Moment` adds what decides when something
that waits moves on, cheap whatever the state holds. `Facts` is everything that `status` looks at.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from voyage_jobs import table as published
from voyage_jobs.config.prices import batch_price, sync_price
from voyage_jobs.config.profile import profile_of, with_profile
from voyage_jobs.config.provider import vendor_of
from voyage_jobs.config.settings import Settings
from voyage_jobs.config.source_sections import SourceSettings
from voyage_jobs.core import durable, generation, lock
from voyage_jobs.core.clock import US, Clock, now_us
from voyage_jobs.core.plural import room
from voyage_jobs.core.profile import Profile
from voyage_jobs.core.states import BEFORE_THE_JOB, UNFINISHED, Batch
from voyage_jobs.diagnosis import gathering, rebuild
from voyage_jobs.diagnosis.rebuild import Vectors
from voyage_jobs.diagnosis.rooms import Room, fresh_rooms
from voyage_jobs.diagnosis.rooms import rooms as every_room
from voyage_jobs.diagnosis.table_rows import Account, TableRows
from voyage_jobs.errors import ConfigError, TableAwayError
from voyage_jobs.state import (
    backlog,
    batches,
    calibration,
    counts,
    fresh,
    last_errors,
    ledger,
    meta,
    notices,
    plan_state,
    publications,
    record_files,
    scan_notes,
    setback,
    sources,
    stats,
    table_indexes,
    token_limit,
)
from voyage_jobs.state import circuits as circuit_store
from voyage_jobs.state import pauses as pause_store
from voyage_jobs.state import rebuild as builds
from voyage_jobs.state.batches import UNUSABLE, BatchRow
from voyage_jobs.state.circuits import Circuit
from voyage_jobs.state.counts import Counted
from voyage_jobs.state.door import open_state
from voyage_jobs.state.fresh import Freshness
from voyage_jobs.state.last_errors import Counters, LastError
from voyage_jobs.state.ledger import Totals
from voyage_jobs.state.meta import Here
from voyage_jobs.state.notices import Untold
from voyage_jobs.state.pauses import Pauses
from voyage_jobs.state.rebuild import Build, Progress
from voyage_jobs.state.record_files import RecordFile
from voyage_jobs.state.scan_notes import ScanNotes
from voyage_jobs.state.setback import SetBack
from voyage_jobs.state.sources import SourceRow
from voyage_jobs.state.stats import SourceStats, Waiting
from voyage_jobs.state.table_indexes import Indexes
from voyage_jobs.vendors.base import Vendor

if TYPE_CHECKING:
    from voyage_jobs.steps.context import Context

OPEN = (*UNFINISHED, Batch.PARKED)
"""States of batches that somebody still waits for."""
UNSENT = (*BEFORE_THE_JOB, Batch.CREATING, Batch.PARKED)
"""Those of them by which it is decided whether another may be sent."""
HISTORY = 100  # batches by which it is told how long jobs take, the latest
_REASONS = 3
_NOTHING = 1 << 20  # bytes: where no more are free, nothing can be relied upon to be written
UNTOLD_FAILURES = 3
UNTOLD_S = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What a step asks before it goes on. `now` in microseconds UTC.

    `settings` are those that are worked under: of the active profile, whatever the configuration asks for.
    """

    now: int
    settings: Settings
    asked: Profile
    active: Profile | None
    build: Build | None
    profile_id: int
    circuits: Mapping[str, Circuit]
    open: Sequence[BatchRow]
    """Unfinished and parked batches; for a step that sends only those that are not known to have a job."""
    in_flight: tuple[int, int]
    most_tokens: int
    """The tokens that may be in flight: as configured, or fewer if the provider takes no more."""
    billed_share: float = 1.0
    """How much of estimated tokens the provider counts, by what it billed."""
    pauses: Pauses
    claiming: bool
    """Whether jobs at the provider are to be claimed, or compared, before anything is sent."""
    recounting: bool

    @property
    def vendor(self) -> Vendor:
        """The provider that is worked with, without asking it anything."""
        return vendor_of(self.settings)

    @property
    def most_estimated(self) -> int:
        """The tokens that may be in flight, as they are counted here."""
        return int(self.most_tokens / self.billed_share)

    @property
    def provider(self) -> str:
        """What messages call the provider."""
        return self.vendor.title

    def keeps_all_back(self, batch: BatchRow) -> bool:
        """Whether this batch keeps everything of the active profile from being sent: its results were unusable."""
        return batch.state is Batch.PARKED and batch.code == UNUSABLE and batch.profile_id == self.profile_id


@dataclass(frozen=True)
class Text:
    """A text that waits to be sent: its tokens, whose money it costs, how often its batch was refused."""

    tokens: int
    source_id: int | None
    refusals: int = 0
    ahead: int = 0
    """How many texts are sent before it."""


@dataclass(frozen=True)
class Run:
    """A `sync` that has come to its end: whether nothing moved any more, or its time was over, and its own limits."""

    quiet: bool = False
    timed_out: bool = False
    most_inputs_reached: bool = False
    planned: bool = False


@dataclass(frozen=True, kw_only=True)
class Moment(Gate):
    """What decides when something moves on. `took`: seconds that past jobs took, shortest first."""

    holder: int | None
    here: Here | None
    sources: Sequence[SourceRow]
    waiting: Waiting
    waiting_by_source: Mapping[int, int]
    """Tokens that wait, by source, where a source has a limit of its own."""
    rooms: Sequence[Room]
    took: Sequence[float]
    failed: int = 0
    cancelled: int = 0
    """What only `retry` moves on, in `noun`s."""
    noun: str = "embedding"
    progress: Progress | None = None
    """How far a build is, where that was looked at."""
    fresh_rooms: Sequence[Room] = ()
    """The day's allowance of the fresh lane, where a source promises to be fresh."""
    scan_notes: Mapping[int, ScanNotes] = field(default_factory=dict)
    """By source, what its last scan could not see or read whole."""
    record_files: Mapping[int, Sequence[RecordFile]] = field(default_factory=dict)
    """By source, files of records of which something is to be told."""
    asking: Text | None = None
    """The text that somebody asks about; None: whatever waits."""
    run: Run | None = None

    @property
    def build_is_blocked(self) -> bool:
        """Whether a build has all that it can get, and waits for your decision on the rest."""
        found = self.build is not None and self.progress is not None and self.progress.blocked
        return found and not (self.build and self.build.leave_out)

    @property
    def build_is_held(self) -> bool:
        """Whether a build has everything, and waits because you want to look before the switch."""
        if self.build is None or self.progress is None or not self.build.hold:
            return False
        return self.progress.complete(leave_out=self.build.leave_out)

    @property
    def next_tokens(self) -> int:
        """The tokens of the text that is asked about, or of the first that waits; at least one."""
        return max(1, (self.asking.tokens if self.asking else self.waiting.first_tokens) or 0)

    @property
    def eager(self) -> bool:
        """Whether a `sync` is at work, or was the last to be."""
        return self.here is not None and self.here.mode == "sync"

    @property
    def more_coming(self) -> bool:
        """Whether a scan that runs, or is due, may bring more to send. A `sync` scans each source once."""
        due_at = 0 if self.eager else self.now
        return self.holder is not None and any(
            row.configured and row.scan_due_at <= due_at and not self.pauses.rests(row.name)
            for row in self.sources
        )

    @property
    def batch_waits_until(self) -> int | None:
        """Until when (microseconds) the next batch is put off, if it does not fill up before; None: it may be made."""
        waiting, batching = self.waiting, self.settings.batching
        if waiting.oldest_at is None or waiting.embeddings >= batching.max_inputs:
            return None
        return gathering.waits_until(
            batching,
            waiting,
            self.now,
            self.in_flight[0],
            eager=self.eager,
            more_coming=self.more_coming,
            since=self.here.started_at if self.here else 0,
        )

    def is_tight(self, room: Room) -> bool:
        """Whether a limit keeps back what waits to be sent, or the text that is asked about."""
        if room.anew_at is None and self.holder is None:
            return False  # the run is over, and its limit with it
        if self.asking is not None:
            return room.source_id in (None, self.asking.source_id) and room.tokens < max(
                1, self.asking.tokens
            )
        tokens = self.tokens_kept_by(room)
        if self.run is not None and self.run.quiet:
            return tokens > max(0, room.tokens)  # all that fits has gone
        return bool(tokens) and room.tokens < self.next_tokens

    def tokens_kept_by(self, room: Room) -> int:
        """How much waits of what a limit is about."""
        if room.source_id is None:
            return self.waiting.tokens
        return self.waiting_by_source.get(room.source_id, 0)

    def source_name(self, source_id: int | None) -> str | None:
        """The name of a source by its row."""
        return next((row.name for row in self.sources if row.id == source_id), None)


@dataclass(frozen=True, kw_only=True)
class Facts(Moment):
    """Everything. `since` tells when each open batch came into its state."""

    page_problem: str | None
    vectors: Vectors
    price: float | None
    source_stats: Mapping[int, SourceStats]
    batches_by_state: Mapping[str, int]
    refused: Sequence[BatchRow]
    since: Mapping[int, int]
    totals: Totals
    duplicates: int
    failure_reasons: Sequence[str]
    ready_since: int | None
    counted: Counted
    table_version: int | None
    table_exists: bool | None
    table_rows: TableRows | None
    """How many rows the table has, and should have; None if that is not known."""
    indexes: Indexes | None
    """The table's indexes as the last upkeep left them."""
    older_format: str | None
    """The format of the table, while it is being brought to the present one."""
    watching: Mapping[str, Mapping[str, object]]
    """By source, how its watching goes; empty where no daemon runs."""
    last_errors: Sequence[LastError]
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
    behind: str | None = None
    """Why the next start will find the state older than what was done with it."""
    freshness: Mapping[int, Freshness] = field(default_factory=dict)
    """How fresh the sources were in the last day that promise to be."""
    billed_by_lane: Mapping[str, int] = field(default_factory=dict)
    """Tokens that were billed, by how they were sent."""
    unchecked_since: int | None = None
    """Since when texts are sent although the list of jobs cannot be read."""

    def chunks(self, place: str) -> int:
        """How many chunks are in one place, over all sources."""
        return sum(each.chunks[place] for each in self.source_stats.values())

    @property
    def table_name(self) -> str:
        """The table and where it is."""
        return f"{self.settings.lancedb.table} in {self.settings.lancedb.uri}"

    @property
    def work_remains(self) -> bool:
        """Whether anything is on its way to the table, or ought to be."""
        on_the_way = any(self.chunks(place) for place in ("waiting", "packed", "submitted", "held"))
        return bool(self.open) or on_the_way or self.build is not None


def gate(context: Context, connection: Any, unsent: list[BatchRow] | None = None) -> Gate:
    """What a step that sends asks. `unsent` are the batches in one of those states, if they are at hand."""
    now = now_us(context.clock)
    found = batches.in_state(connection, *UNSENT) if unsent is None else unsent
    return Gate(
        now=now,
        settings=context.settings,
        asked=context.asked,
        active=context.profile,
        build=context.build,
        profile_id=context.profile_id,
        **_of_gate(connection, context.settings, now, found, context.profile_id),
    )


def _of_gate(
    connection: Any, settings: Settings, now: int, found: list[BatchRow], profile_id: int
) -> dict[str, Any]:
    configured = settings.batching.max_in_flight_tokens
    return {
        "circuits": circuit_store.tripped(connection),
        "open": found,
        "in_flight": batches.in_flight(connection),
        "billed_share": calibration.billed_share(connection, profile_id),
        "most_tokens": token_limit.most(connection, settings.provider.type, configured, now),
        "pauses": pause_store.now(connection, now),
        "claiming": setback.is_claim_due(connection) or setback.unread(connection) is not None,
        "recounting": counts.counted(connection).recount_after is not None,
    }


def moment_of(context: Context, connection: Any) -> Moment:
    """A moment, as the process that works here sees it."""
    found = moment(connection, context.settings, now_us(context.clock))
    return replace(found, asked=context.asked, holder=os.getpid())


def moment(connection: Any, settings: Settings, now: int) -> Moment:
    """A moment. `settings` are those of the configuration."""
    active = builds.active(connection)
    working = settings if active is None else with_profile(settings, active)
    profile_id = None if active is None else plan_state.profile_row(connection, active.fingerprint)
    rooms = list(every_room(connection, working, batch_price(working), now))
    by_source = any(room.source_id is not None for room in rooms)
    return Moment(
        now=now,
        settings=working,
        asked=profile_of(settings),
        active=active,
        build=builds.build(connection),
        profile_id=profile_id or 0,
        **_of_gate(connection, working, now, batches.in_state(connection, *OPEN), profile_id or 0),
        holder=lock.holder(settings.paths.lock),
        here=meta.who(connection),
        sources=sources.with_what_they_may_lose(connection),
        waiting=stats.waiting(connection),
        waiting_by_source=backlog.by_source(connection, profile_id or 0) if by_source else {},
        rooms=rooms,
        fresh_rooms=_fresh_rooms(connection, working, now),
        took=batches.durations_s(connection, working.provider.type, HISTORY),
        scan_notes=scan_notes.by_source(connection),
        record_files=record_files.noted(connection),
    )


def gather(settings: Settings, clock: Clock) -> Facts:
    """Read everything. Raises `StateError` if there is no state, or none that can be read."""
    now = now_us(clock)
    with open_state(settings).read() as connection:
        base = moment(connection, settings, now)
        source_stats = stats.by_source(connection)
        vectors = rebuild.look(connection, settings, now)
        known = {each.name: getattr(base, each.name) for each in fields(base)}
        failed = sum(each.chunks["failed"] for each in source_stats.values())
        known["cancelled"] = sum(each.cancelled for each in source_stats.values())
        known["failed"] = failed - known["cancelled"]
        known["progress"], known["noun"] = vectors.progress, "chunk"
        known["circuits"] = _circuits(base)
        account = Account.read(connection)
        return Facts(
            **known,
            page_problem=meta.get(connection, meta.PAGE),
            vectors=vectors,
            price=batch_price(base.settings),
            source_stats=source_stats,
            batches_by_state=stats.batches_by_state(connection),
            refused=batches.in_state(connection, Batch.REFUSED),
            since=stats.in_state_since(connection, [batch.id for batch in base.open]),
            totals=ledger.totals(connection),
            duplicates=batches.count_duplicates(connection),
            failure_reasons=stats.failure_reasons(connection, _REASONS) if failed else [],
            ready_since=stats.ready_since(connection),
            counted=counts.counted(connection),
            table_version=publications.last_table_version(connection),
            table_exists=_table_exists(settings),
            table_rows=account.compare(settings),
            indexes=table_indexes.noted(connection),
            set_back=setback.recent(connection, now),
            behind=behind(connection, settings, base.holder),
            billed_by_lane=ledger.billed_by_lane(connection),
            freshness=_freshness(connection, base.settings, base.sources, now),
            unchecked_since=setback.unchecked_since(connection),
            older_format=meta.get(connection, meta.FORMAT),
            untold=notices.untold(connection, UNTOLD_FAILURES, now - int(UNTOLD_S * US)),
            watching=meta.watching(connection, base.holder),
            last_errors=last_errors.recent(connection, now),
            counters=last_errors.counted(connection),
            daemon_died=meta.get(connection, meta.DAEMON) is not None,
            unclosed=stats.unclosed(connection),
            leaving_since=stats.leaving_since(connection),
            missing_since=stats.missing_since(connection),
            asked_since=stats.asked_since(connection),
            oldest=stats.paths(connection, {k: t.oldest_document for k, t in source_stats.items()}),
        )


def _circuits(base: Moment) -> Mapping[str, Circuit]:
    """The open ones, and that of a disk on which not even that can be noted."""
    disk, folder = base.settings.disk, base.settings.data_dir
    free = durable.known_free_bytes(folder)
    if circuit_store.DISK in base.circuits or free is None or free >= min(_NOTHING, disk.min_free_bytes):
        return base.circuits
    message, hint = f"{room(free)} are free under {folder}.", "Free some space; work resumes by itself."
    full = Circuit(circuit_store.DISK, base.now, 1, base.now, "paused_disk", message, hint)
    return {**base.circuits, circuit_store.DISK: full}


def promises(settings: Settings) -> Mapping[str, SourceSettings]:
    """The sources that promise to be fresh, by name, where anything can be sent at once beside batches."""
    if vendor_of(settings).traits.sync_only:
        return {}
    return {each.name: each for each in settings.sources if each.fresh_within_s is not None}


def _fresh_rooms(connection: Any, settings: Settings, now: int) -> Sequence[Room]:
    if not promises(settings):
        return ()
    return tuple(fresh_rooms(connection, settings, sync_price(settings), now))


def _freshness(
    connection: Any, settings: Settings, rows: Sequence[SourceRow], now: int
) -> dict[int, Freshness]:
    """Of the last day; nothing of a source whose promise has not begun."""
    promised, found = promises(settings), {}
    for row in rows:
        after = fresh.begun_after(connection, row.id) if row.name in promised else None
        if after is not None:
            scan_s = promised[row.name].scan_interval_s
            found[row.id] = fresh.freshness(connection, row.id, after, now - fresh.DAY_US, scan_s)
    return found


def behind(connection: Any, settings: Settings, holder: int | None) -> str | None:
    """Why the next start will find the state older than what was done with it; None where a process works on it."""
    if holder is not None:
        return None
    return setback.unrecognised(connection, generation.read(settings.paths.generation))


def _table_exists(settings: Settings) -> bool | None:
    try:
        return published.exists(settings.lancedb.uri, settings.lancedb.table)
    except (OSError, ConfigError, TableAwayError):
        return None
