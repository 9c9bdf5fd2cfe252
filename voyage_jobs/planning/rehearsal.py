"""A run without consequences: scan, recount and pack at work on a throw-away copy of the state.

Nothing outside that copy is written, no lock is taken, and whoever tries to call Voyage meets `NoVendor`. What only
time or an operator keeps back (pauses, waits after failures, a full provider, batches that are parked) is taken for
over: a plan is of all that is to be sent. Budgets and `--max-inputs` hold.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn, cast

from voyage_jobs.clock import Clock, now_us
from voyage_jobs.config.profile import profile_of
from voyage_jobs.config.settings import Settings
from voyage_jobs.profile import Profile
from voyage_jobs.segments import PackStore
from voyage_jobs.state import batches, embeddings, foresight, pauses, rebuild, sources
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.foresight import Since
from voyage_jobs.state.pauses import Pauses
from voyage_jobs.state.sources import SourceRow
from voyage_jobs.state.throwaway import throw_away
from voyage_jobs.states import BEFORE_THE_JOB
from voyage_jobs.steps import budget
from voyage_jobs.steps.context import Context, Progress, encoded
from voyage_jobs.steps.pack import pack
from voyage_jobs.steps.recount import recount
from voyage_jobs.steps.recover_packs import adopt_packs
from voyage_jobs.steps.recovery import lose_missing_packs
from voyage_jobs.steps.reprofile import BEGIN, reprofile, take_up_profile
from voyage_jobs.steps.scan import Scan
from voyage_jobs.steps.submit import abandon
from voyage_jobs.table import LanceDoor

_EVERYTHING = 1 << 62


class NoVendor:
    """Stands where the client of Voyage is and refuses every call."""

    def __getattr__(self, name: str) -> NoReturn:
        raise RuntimeError(f"A plan calls nobody, and {name!r} was asked for.")


class NoLog:
    """Takes what the steps say, and tells nobody: none of it happens."""

    def __getattr__(self, level: str) -> Callable[..., None]:
        return lambda *_args, **_fields: None


@dataclass
class Rehearsal:
    """A context to rehearse in. What was so before: the profile `in_force`, `paused`, and the frozen sources."""

    context: Context
    since: Since
    in_force: Profile | None
    paused: Pauses
    rows: list[SourceRow] = field(default_factory=list)
    """The configured sources as they were before they were scanned."""

    def scan(
        self, on_skip: Callable[[str, str, str], None]
    ) -> Iterator[tuple[SourceRow, Scan, Counter[str]]]:
        """Scan every source to its end: with it comes what was skipped, by reason. `on_skip`: source, path, reason."""
        for row in self.rows:
            settings = self.context.source_settings(row.name)
            if settings is None:
                continue
            skipped: Counter[str] = Counter()

            def note(path: str, reason: str, row: SourceRow = row, skipped: Counter[str] = skipped) -> None:
                skipped[reason] += 1
                on_skip(row.name, path, reason)

            scan = Scan(self.context, row, settings, on_skip=note)
            for _ in scan.run():
                pass
            yield row, scan, skipped

    def settle(self, take: Callable[[BatchRow], None]) -> None:
        """After the scans: recount where that is due, drop what nothing needs, send what an earlier run packed."""
        while recount(self.context):
            pass
        with self.context.store.write() as tx:
            embeddings.drop_unneeded(tx)
        self._send(take)
        budget.begin_run(self.context)

    def pack(self, most_inputs: int | None, take: Callable[[BatchRow], None]) -> None:
        """Pack batch after batch, as `sync` does with this --max-inputs; `take` hears of each."""
        context = self.context
        while most_inputs is None or most_inputs > 0:
            if pack(context, eager=True, most_inputs=most_inputs):
                inputs = self._send(take)
                most_inputs = None if most_inputs is None else most_inputs - inputs
                continue
            with (
                context.store.write() as tx
            ):  # as many jobs as may be are at work, or nothing else is to be sent
                if not foresight.jobs_are_over(tx):
                    return

    def _send(self, take: Callable[[BatchRow], None]) -> int:
        """Send what is packed, as far as it would be sent; how many inputs that is."""
        context, inputs = self.context, 0
        with context.store.read() as connection:
            packed = batches.in_state(connection, *BEFORE_THE_JOB)
        for batch in packed:
            if batch.profile_id == context.profile_id and batch.cancel_asked_at is None:
                try:
                    take(batch)
                    inputs += batch.inputs
                except LookupError:
                    abandon(context, batch, "its texts changed before it was written", by_person=False)
                    continue
            with context.store.write() as tx:
                foresight.sent(tx, batch.id)
        return inputs


@contextlib.contextmanager
def rehearsal(settings: Settings, clock: Clock, progress: Progress) -> Iterator[Rehearsal]:
    """Open a copy of the state of these settings, or an empty one where there is none yet, and get it ready.

    Raises StateError for a state that cannot be read, DiskFullError where there is no room for the copy.
    """
    path = settings.paths.state_db

    def copied(done: int, total: int) -> None:
        progress("copying the state", done, total)

    with throw_away(path if path.exists() else None, clock, copied) as store:
        context = Context(
            settings=settings,
            clock=clock,
            store=store,
            client=cast(Any, NoVendor()),
            packs=PackStore(settings.paths.vectors),
            log=NoLog(),
            table_door=LanceDoor(settings.lancedb.uri, settings.lancedb.table, profile_of(settings)),
            progress=progress,
            free_bytes=lambda: _EVERYTHING,
            rehearsal=True,
        )
        with store.read() as connection:
            in_force = rebuild.in_force(connection)
            paused = pauses.now(connection, now_us(clock))
        _take_up(context)
        with store.write() as tx:
            sources.configure(tx, [(source.name, encoded(source.path)) for source in settings.sources])
            for what in paused.by_what:
                pauses.end(tx, what)
        adopt_packs(context)
        lose_missing_packs(context)
        with store.write() as tx:
            since = foresight.begin(tx, context.profile_id)
            rows = [row for row in sources.all_sources(tx.connection) if row.configured]
        yield Rehearsal(context, since, in_force, paused, rows)


def _take_up(context: Context) -> None:
    """Work under the profile that the configuration asks for, as after `reprofile` where that is another one."""
    with context.store.read() as connection:
        build = rebuild.build(connection)
    if build is not None and build.target != context.asked:
        with context.store.write() as tx:
            rebuild.forget_build(tx)
            rebuild.read_again(tx, everything=False)
    take_up_profile(context)
    if not context.may_send:
        reprofile(context, {"do": BEGIN, "target": context.asked.to_json()}, "plan")
