"""A run without consequences: scan, recount and assemble at work on a throw-away copy of the state.

Nothing outside that copy is written, no lock is taken, and whoever tries to call the provider meets `NoVendor`. What
only time or an operator keeps back (pauses, waits after failures, a full provider, batches that are parked) is taken
for over: a plan is of all that is to be sent. Budgets and `--max-inputs` hold.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn, cast

from voyage_jobs.config.profile import profile_of
from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import Clock, now_us
from voyage_jobs.core.profile import Profile
from voyage_jobs.core.states import BEFORE_THE_JOB
from voyage_jobs.diagnosis.rooms import Room
from voyage_jobs.diagnosis.rooms import rooms as all_rooms
from voyage_jobs.errors import TableAwayError
from voyage_jobs.planning.input_files import InputFiles
from voyage_jobs.segments import SegmentStore
from voyage_jobs.state import batches, embeddings, pauses, plan_state, rebuild, sources
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.door import open_state
from voyage_jobs.state.missing import Vanished
from voyage_jobs.state.pauses import Pauses
from voyage_jobs.state.plan_state import Since
from voyage_jobs.state.sources import SourceRow
from voyage_jobs.steps import budget
from voyage_jobs.steps.active import Active
from voyage_jobs.steps.assemble import assemble
from voyage_jobs.steps.context import Context, Progress, encoded
from voyage_jobs.steps.ending import abandon
from voyage_jobs.steps.fresh import assemble_fresh
from voyage_jobs.steps.owner import demand_not_of_another
from voyage_jobs.steps.recount import recount
from voyage_jobs.steps.recover_segments import adopt_segments
from voyage_jobs.steps.recovery import lose_missing_segments
from voyage_jobs.steps.reprofile import BEGIN, reprofile, take_up_profile
from voyage_jobs.steps.scan import Scan
from voyage_jobs.steps.splitting import take_up_rules
from voyage_jobs.steps.submit import input_lines
from voyage_jobs.steps.synchronous import foresee_interrupted
from voyage_jobs.table import LanceDoor

_EVERYTHING = 1 << 62
OnSkip = Callable[[str, str, str], None]


class NoVendor:
    """Stands where the provider's client is, and refuses every call."""

    def __getattr__(self, name: str) -> NoReturn:
        raise RuntimeError(f"A plan calls nobody, and {name!r} was asked for.")


class NoLog:
    """Takes what the steps say, and tells nobody: none of it happens."""

    def __getattr__(self, level: str) -> Callable[..., None]:
        return lambda *_args, **_fields: None


@dataclass
class Rehearsal:
    """A context to rehearse in. `in_force`, `paused` and the `rooms` of budgets are those before the change."""

    context: Context
    since: Since
    active: Profile | None
    paused: Pauses
    rooms: list[Room]
    rows: list[SourceRow]
    """The configured sources as they were before they were scanned."""
    most_inputs: int | None = None
    """How many inputs may still be assembled; None: any number."""

    def run(self, files: InputFiles, on_skip: OnSkip) -> Iterator[Scanned]:
        """Scan source after source and assemble, in the order in which `sync` does.

        `files` hears of every batch, `on_skip` (source, path, reason) of every file that is not taken.
        """
        self.context.on_line = files.line
        for at, row in enumerate(self.rows):
            yield self._scan(row, on_skip)
            if at == 0:
                self._send_older(files)
            while self._assemble(files, more_coming=at + 1 < len(self.rows)):
                pass
        while self._assemble(files) or self._wait():
            pass
        files.drop()
        with self.context.store.write() as tx:
            embeddings.drop_unneeded(tx)

    def _scan(self, row: SourceRow, on_skip: OnSkip) -> Scanned:
        settings = self.context.source_settings(row.name)
        assert settings is not None  # noqa: S101 - for the type checker: only configured sources are in `rows`
        skipped: Counter[str] = Counter()

        def note(path: str, reason: str) -> None:
            skipped[reason] += 1
            on_skip(row.name, path, reason)

        scan = Scan(self.context, row, settings, on_skip=note)
        for _ in scan.run():
            pass
        return Scanned(row, scan, skipped)

    def _send_older(self, files: InputFiles) -> None:
        """Send what an earlier run assembled, as far as it would be sent."""
        context = self.context
        for batch in self._packed():
            if batch.profile_id == context.profile_id and batch.cancel_asked_at is None:
                try:
                    with contextlib.closing(input_lines(context, batch)) as lines:
                        for line in lines:
                            files.line(line)
                except LookupError:
                    files.drop()
                    abandon(context, batch, "its texts changed before it was written")
                    continue
                files.take(batch)
            self._send(batch)

    def _assemble(self, files: InputFiles, *, more_coming: bool = False) -> bool:
        """Assemble one batch if there is something to send and room for it, and send it."""
        while recount(self.context):
            pass
        if self.most_inputs is not None and self.most_inputs <= 0:
            return False
        most = self.most_inputs
        did = assemble_fresh(self.context, most_inputs=most) or assemble(
            self.context, eager=True, most_inputs=most, more_coming=more_coming
        )
        for batch in self._packed():
            files.take(batch)
            self._send(batch)
            if self.most_inputs is not None:
                self.most_inputs -= batch.inputs
        return did

    def _wait(self) -> bool:
        """Let time pass until a job is over. False if there is none."""
        with self.context.store.write() as tx:
            return plan_state.end_oldest_job(tx)

    def _packed(self) -> list[BatchRow]:
        with self.context.store.read() as connection:
            return batches.in_state(connection, *BEFORE_THE_JOB)

    def _send(self, batch: BatchRow) -> None:
        with self.context.store.write() as tx:
            plan_state.sent(tx, batch.id)


@dataclass(frozen=True)
class Scanned:
    """A source that was scanned to its end, and how many of its files were skipped, by reason."""

    row: SourceRow
    scan: Scan
    skipped: Counter[str]

    @property
    def gone(self) -> Iterator[tuple[str, Vanished]]:
        """What is not at its place any more, each with what became of it: moved, kept, vanished."""
        for each in self.scan.gone:
            if each.moved_to is not None:
                yield "moved", each
            elif each.is_a_loss:
                yield "kept" if self.scan.settings.keep else "vanished", each


@contextlib.contextmanager
def rehearsal(
    settings: Settings, clock: Clock, progress: Progress, most_inputs: int | None = None
) -> Iterator[Rehearsal]:
    """Open a copy of the state of these settings, or an empty one where there is none yet, and get it ready.

    Raises StateError for a state that cannot be read, DiskFullError where there is no room for the copy, ConfigError
    for a table that belongs to another data folder.
    """

    def copied(done: int, total: int) -> None:
        progress("copying the state", done, total)

    with open_state(settings).throw_away(clock, copied) as store:
        context = Context(
            loaded=settings,
            active=Active.of(settings, cast(Any, NoVendor()), profile_of(settings)),
            clock=clock,
            store=store,
            segments=SegmentStore(settings.paths.vectors),
            log=NoLog(),
            table_door=LanceDoor(settings.lancedb.uri, settings.lancedb.table, profile_of(settings)),
            progress=progress,
            free_bytes=lambda: _EVERYTHING,
            rehearsal=True,
        )
        with contextlib.suppress(TableAwayError):  # a plan needs no table
            demand_not_of_another(context)
        with store.read() as connection:
            active = rebuild.active(connection)
            paused = pauses.now(connection, now_us(clock))
        _take_up(context)
        take_up_rules(context)
        with store.write() as tx:
            sources.configure(tx, [(source.name, encoded(source.path)) for source in settings.sources])
            for what in paused.by_what:
                pauses.end(tx, what)
        adopt_segments(context)
        lose_missing_segments(context)
        foresee_interrupted(context)
        with store.write() as tx:
            since = plan_state.begin(tx, context.profile_id)
            rows = [row for row in sources.all_sources(tx.connection) if row.configured]
        budget.begin_run(context)
        with store.read() as connection:
            rooms = list(all_rooms(connection, context.settings, context.price, now_us(clock)))
        yield Rehearsal(context, since, active, paused, rooms, rows, most_inputs)


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
