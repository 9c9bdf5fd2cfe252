"""What decides when something that waits moves on, read in one go: cheap, whatever the state holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from voyage_jobs import lock
from voyage_jobs.config.prices import batch_price
from voyage_jobs.config.profile import profile_of, with_profile
from voyage_jobs.config.provider import vendor_of
from voyage_jobs.config.settings import Settings
from voyage_jobs.report.eta import HISTORY
from voyage_jobs.state import batches, counts, lanes, notes, pauses, rebuild, setback, sources, tally
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.lanes import Lane
from voyage_jobs.state.notes import Here
from voyage_jobs.state.pauses import Pause, Pauses
from voyage_jobs.state.story import View
from voyage_jobs.state.tally import Waiting
from voyage_jobs.states import BEFORE_THE_JOB, Batch
from voyage_jobs.steps import budget
from voyage_jobs.steps.budget import Room
from voyage_jobs.vendors.base import Vendor


@dataclass(frozen=True)
class Moment:
    """One moment. `now` in microseconds UTC; `took` are seconds that past jobs took, shortest first."""

    now: int
    holder: int | None
    here: Here | None
    other_profile: bool
    lanes: Mapping[str, Lane]
    parked: Sequence[BatchRow]
    unsent: Sequence[BatchRow]
    """Batches on their way to the vendor: while there is one, no other is made."""
    in_flight: tuple[int, int]
    waiting: Waiting
    rooms: Sequence[Room]
    took: Sequence[float]
    pauses: Pauses
    claiming: bool
    recounting: bool
    source_names: Mapping[int, str]
    vendor: Vendor
    building: bool = False
    """Whether a table for other vectors is being built: nothing is published before it is complete."""

    @property
    def provider(self) -> str:
        """What messages call the provider."""
        return self.vendor.title

    def pause(self, source_id: int | None = None) -> Pause | None:
        """What keeps a source, or everything, from being sent."""
        names = [pauses.EVERYTHING, pauses.SENDING]
        if source_id is not None and source_id in self.source_names:
            names.append(pauses.about(self.source_names[source_id]))
        return next((self.pauses.by_what[name] for name in names if name in self.pauses.by_what), None)

    def closed(self, name: str) -> Lane | None:
        """The lane, if it is closed now."""
        found = self.lanes.get(name)
        return found if found is not None and found.until_at > self.now else None


def gather(connection: View, settings: Settings, now: int) -> Moment:
    """Read it."""
    in_force = rebuild.in_force(connection)
    working = settings if in_force is None else with_profile(settings, in_force)
    return Moment(
        now=now,
        holder=lock.holder(settings.paths.lock),
        here=notes.who(connection),
        other_profile=in_force is not None and in_force != profile_of(settings),
        lanes=lanes.closed(connection),
        parked=batches.in_state(connection, Batch.PARKED),
        unsent=batches.in_state(connection, *BEFORE_THE_JOB),
        in_flight=batches.in_flight(connection),
        waiting=tally.waiting(connection),
        rooms=list(budget.rooms(connection, settings, batch_price(working), now)),
        took=batches.durations_s(connection, HISTORY),
        pauses=pauses.now(connection, now),
        claiming=setback.is_claim_due(connection) or setback.unread(connection) is not None,
        recounting=counts.counted(connection).recount_after is not None,
        vendor=vendor_of(working),
        source_names={row.id: row.name for row in sources.all_sources(connection)},
        building=rebuild.build(connection) is not None,
    )
