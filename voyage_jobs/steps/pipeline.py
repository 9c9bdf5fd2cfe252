"""The steps in their order, one turn at a time: what the daemon, `sync` and the tests all run.

A turn gives every step that is due one bounded go. Troubles that a step can live with (the provider's, a full disk) are
noted where `status` looks and the other steps go on; anything else ends the process, whose restart is the best-tested
path there is.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from voyage_jobs.config.source_sections import SourceSettings
from voyage_jobs.core.clock import US, now_us
from voyage_jobs.core.states import BEFORE_THE_JOB, Batch
from voyage_jobs.errors import DiskFullError, TableAwayError
from voyage_jobs.state import backlog, batches, circuits, meta, notices, setback, sources
from voyage_jobs.state.pauses import Pauses
from voyage_jobs.state.sources import SourceRow
from voyage_jobs.steps import acts, step_errors
from voyage_jobs.steps import circuits as circuit
from voyage_jobs.steps.assemble import assemble, waits_until
from voyage_jobs.steps.collect import collect
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.disk import look_again, note_full
from voyage_jobs.steps.fresh import assemble_fresh
from voyage_jobs.steps.pausing import resting
from voyage_jobs.steps.poll import poll
from voyage_jobs.steps.publish import publish
from voyage_jobs.steps.recount import recount
from voyage_jobs.steps.recover_remote import claim_if_lost
from voyage_jobs.steps.retained_texts import keep_texts
from voyage_jobs.steps.scan import Scan, ScanResult
from voyage_jobs.steps.shown import note_rows
from voyage_jobs.steps.submit import submit
from voyage_jobs.steps.switch import switch_if_complete
from voyage_jobs.steps.texts import NotHad
from voyage_jobs.steps.tidy import TEND_INTERVAL_S, is_new, rest, tend, tidy

if TYPE_CHECKING:
    from voyage_jobs.notify.notifier import Notifier

HEARTBEAT_S = 10.0
LONGEST_IDLE_S = 15.0  # requests from the command line are looked for at least this often
SHORTEST_IDLE_S = 0.05
REST_AFTER_S = 10.0  # so long nothing was done: what the work left in memory is let go


@dataclass
class Pipeline:
    """`eager`: send what there is without lingering (`sync`). `most_inputs`: how much may still be assembled, or None.

    `scan_once`: scan each source once, and again only where that is asked for, so that `sync` comes to an end.
    """

    context: Context
    eager: bool = False
    most_inputs: int | None = None
    scan_once: bool = False
    only: frozenset[str] | None = None
    """The steps that are taken, by their names; None: all."""
    scans: dict[str, ScanResult] = field(default_factory=dict)
    """The result of the last complete scan of each source."""
    on_begin: Callable[[str], None] = lambda _source: None
    """Told of every scan that begins."""
    on_sweep: Callable[[ScanResult], None] = lambda _result: None
    """Told what a scan that was not made for a hint has found."""
    notifier: Notifier | None = None
    """Tells people what has happened, between the steps."""
    _running: tuple[Scan, Iterator[None]] | None = None
    _hints: dict[str, float] = field(default_factory=dict)
    """Sources that have changed, and from when on (monotonic) a scan for it is worth it."""
    _beat_at: float = -HEARTBEAT_S
    _tend_at: float = 0.0
    _published: bool = False
    """Whether the table has changed since its last upkeep."""
    _worked_at: float | None = None
    """When a step did something last, until its memory was let go (monotonic)."""
    _claimed_for: int | None = None

    def __post_init__(self) -> None:
        told = self.context.progress

        def progress(what: str, done: int, total: int | None) -> None:
            told(what, done, total)
            if self.context.pace is not None:
                self.context.pace.sign(_line(what, done, total))
            self.beat(what)

        self.context.progress = progress  # a long step is alive as long as it gets on

    def turn(self) -> bool:
        """Give every step one go. True if any of them did something, so that another turn is worth it at once."""
        self._tell()
        did = False
        circuit.begin_turn(self.context)
        for name, step in self._steps():
            if self.only is not None and name not in self.only:
                continue
            if self.context.stopping.is_set():
                return False
            with self.what_passes_noted():
                self._begin(name)
                self.beat(name)
                with (
                    step_errors.fatal_ones_noted(self.context, name),
                    self.context.observer.step(name) as look,
                ):
                    look.did = step()
                did |= look.did
        if did:
            self._worked_at = self.context.clock.mono()
        else:
            self._when_idle()
        return did

    @contextlib.contextmanager
    def what_passes_noted(self) -> Iterator[None]:
        """A full disk and object storage that is away are noted where `status` looks, and end nothing."""
        try:
            yield
        except DiskFullError as exc:
            note_full(self.context, exc)
        except TableAwayError as exc:
            circuit.table_is_away(self.context, exc)

    def _tell(self) -> None:
        if self.notifier is None:
            return
        try:
            self.notifier.turn()
        except DiskFullError as exc:
            note_full(self.context, exc)

    def _steps(self) -> tuple[tuple[str, Callable[[], bool]], ...]:
        context = self.context
        return (
            ("requests", lambda: acts.carry_out(context)),
            # What is paid comes first: nothing that is on its way out may keep it waiting.
            ("poll", lambda: poll(context)),
            ("collect", lambda: collect(context)),
            ("publish", self._publish),
            ("scan", self._scan),
            ("recount", lambda: recount(context)),
            ("assemble", self._assemble),
            ("submit", lambda: submit(context)),
            ("tidy", lambda: tidy(context)),
        )

    def beat(self, step: str) -> None:
        """Tell the world that this process is alive, now and then."""
        now = self.context.clock.mono()
        if now - self._beat_at >= HEARTBEAT_S:
            self._beat_at = now
            with self.context.store.write() as tx:
                meta.beat(tx, step)

    def _begin(self, step: str) -> None:
        if self.context.pace is not None:
            self.context.pace.begin(step)

    # --- scanning ---

    def _scan(self) -> bool:
        """Go on with the scan at hand, or begin one that is due."""
        rest = resting(self.context)
        if self._running is not None:
            scan = self._running[0]  # if for other vectors, what it read before is to be read again
            if rest.rests(scan.row.name) or scan.profile_id != self.context.profile_id:
                self.drop_scan()
        if self._running is None:
            self._running = self._next_scan(rest)
            if self._running is None:
                return False
        scan, progress = self._running
        try:
            next(progress)
        except StopIteration:
            self._running = None
            self.context.memory(NotHad).now.clear()
            if scan.result is not None:
                self._scanned(scan.result)
        return True

    def _scanned(self, result: ScanResult) -> None:
        self.scans[result.source] = result
        if not result.hinted:
            self.on_sweep(result)
        elif result.later:
            again = self.context.clock.mono() + self.context.settings.watch.settle_s
            self._hints.setdefault(result.source, again)

    def hint(self, source: str) -> None:
        """The source has changed: scan it at the next opportunity, whenever its next periodic scan is due.

        If a scan of it is running, another follows: that one may have passed the place already.
        """
        self._hints[source] = self.context.clock.mono()

    @property
    def scanning(self) -> str | None:
        """The source that is being scanned at the moment."""
        return self._running[0].row.name if self._running else None

    def drop_scan(self) -> None:
        """Forget the scan at hand: the settings it was begun with are gone. What it recorded stays, and so does the
        hint that it was made for."""
        if self._running is not None and self._running[0].hinted:
            self.hint(self._running[0].row.name)
        self._running = None

    def _next_scan(self, rest: Pauses) -> tuple[Scan, Iterator[None]] | None:
        rows = self._may_scan(rest)
        for row, settings in self._due(rows):
            return self._begin_scan(row, settings, hinted=False)
        mono = self.context.clock.mono()
        for row, settings in rows:
            if self._hints.get(row.name, mono + 1) <= mono:
                return self._begin_scan(row, settings, hinted=True)
        return None

    def _may_scan(self, rest: Pauses) -> list[tuple[SourceRow, SourceSettings]]:
        with self.context.store.read() as connection:
            known = sources.all_sources(connection)
        rows = [row for row in known if row.configured and not rest.rests(row.name)]
        found = ((row, self.context.source_settings(row.name)) for row in rows)
        return [(row, settings) for row, settings in found if settings is not None]

    def _due(
        self, rows: Sequence[tuple[SourceRow, SourceSettings]]
    ) -> Iterator[tuple[SourceRow, SourceSettings]]:
        """Those of the sources whose periodic scan is due."""
        now = now_us(self.context.clock)
        for row, settings in rows:
            again = self.scan_once and row.name in self.scans
            if row.scan_due_at <= (0 if again else now):
                yield row, settings

    def _more_coming(self) -> bool:
        """Whether a scan that runs, or is due, may bring more to send."""
        if self._running is not None:
            return True
        return any(True for _ in self._due(self._may_scan(resting(self.context))))

    def _begin_scan(
        self, row: SourceRow, settings: SourceSettings, *, hinted: bool
    ) -> tuple[Scan, Iterator[None]]:
        """Whatever was hinted at before it begins, this scan finds."""
        if hinted or self._hints.get(row.name, math.inf) <= self.context.clock.mono():
            self._hints.pop(row.name, None)
        self.on_begin(row.name)
        scan = Scan(self.context, row, settings, hinted=hinted)
        return scan, scan.run()

    def _publish(self) -> bool:
        """At most one commit of the table a turn; texts are taken back from it when it shows all there is."""
        if not (self._may_pass(circuits.DISK) and self._may_pass(circuits.TABLE)):
            return False
        did = switch_if_complete(self.context) or publish(self.context)
        if did:
            self._published = True
            note_rows(self.context)
            circuit.fine(self.context, circuits.TABLE)
        return did or keep_texts(self.context)

    # --- assembling ---

    def _assemble(self) -> bool:
        if self.most_inputs == 0 or not self._may_pass(circuits.DISK):
            return False
        with self.context.store.read() as connection:
            due = setback.is_claim_due(connection)
        if due or self._claimed_for != self.context.profile_id:
            if not claim_if_lost(self.context, scanned=self._all_scanned()):
                return False
            self._claimed_for = self.context.profile_id
        if not self.context.may_send:
            return False
        most, scanning = self.most_inputs, self.scanning
        did = assemble_fresh(self.context, scanning=scanning, most_inputs=most) or assemble(
            self.context, eager=self.eager, most_inputs=most, more_coming=self._more_coming()
        )
        if did and self.most_inputs is not None:
            with self.context.store.read() as connection:
                self.most_inputs -= batches.newest(connection, 1)[0].inputs
        return did

    def _all_scanned(self) -> bool:
        return all(
            source.name in self.scans and self.scans[source.name].profile_id == self.context.profile_id
            for source in self.context.settings.sources
        )

    def _may_pass(self, name: str) -> bool:
        with self.context.store.read() as connection:
            closed = circuits.tripped(connection).get(name)
        return closed is None or closed.until_at <= now_us(self.context.clock)

    # --- idling ---

    def _when_idle(self) -> None:
        now = self.context.clock.mono()
        with self.what_passes_noted():
            look_again(self.context)
            # `sync` ends soon: what it has published is indexed now, or not before the next one.
            if now >= self._tend_at or (self.eager and self._published) or is_new(self.context):
                self._tend_at, self._published = now + TEND_INTERVAL_S, False
                self._begin("tend")
                tend(self.context, ends_soon=self.eager)
                self._worked_at = None
            elif self._worked_at is not None and now - self._worked_at >= REST_AFTER_S:
                self._worked_at = None
                rest(self.context)

    def tend_soon(self) -> None:
        """Look after the table and the state at the next idle moment."""
        self._tend_at = 0.0

    def idle_s(self) -> float:
        """How long nothing will be due, in seconds: the time to wait when a turn did nothing."""
        now = now_us(self.context.clock)
        with self.context.store.read() as connection:
            due = [row.scan_due_at for row in sources.all_sources(connection) if row.configured]
            waiting = (*BEFORE_THE_JOB, Batch.CREATING, Batch.RUNNING, Batch.ENDED)
            closed = circuits.tripped(connection)
            floor = max(
                (each.until_at for each in closed.values() if each.name == circuits.VENDOR), default=0
            )
            due += [max(batch.due_at, floor) for batch in batches.in_state(connection, *waiting)]
            unsent = backlog.measure(connection, self.context.profile_id)
        until = waits_until(self.context, unsent, eager=self.eager, more_coming=self._more_coming())
        if until is not None:
            due.append(until)
        mono = self.context.clock.mono()
        due += [now + int((at - mono) * US) for at in self._hints.values()]
        soonest = min((at for at in due if at > now), default=now + int(LONGEST_IDLE_S * US))
        idle_s = (soonest - now) / US
        if self.notifier is not None:
            idle_s = min(idle_s, self.notifier.due_s())
        return min(LONGEST_IDLE_S, max(SHORTEST_IDLE_S, idle_s))

    def clock_was_set_back(self) -> None:
        """Everything that waits for a time of day is looked at now: the time may be hours away again."""
        with self.context.store.write() as tx:
            batches.due_no_later(tx, tx.now)
            sources.due_no_later(tx, tx.now)
            circuits.due_no_later(tx, tx.now)
            notices.due_no_later(tx, tx.now)


def _line(what: str, done: int, total: int | None) -> str:
    """A sign of progress as a line for people."""
    return f"{what[:1].upper()}{what[1:]}: {done:,}" + ("" if total is None else f" of {total:,}")
