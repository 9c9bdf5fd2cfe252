"""`run`: the daemon. Start, loop, stop; the work itself stands in `steps`.

    start   take the lock, bring the state up to date, make sense of what the last process left  (worker.working)
    loop    take a turn of all steps; when nothing is due, wait for a note, a signal or the next due time
    stop    finish the step at hand, say what is in flight at the provider, let go

It may be killed at any instruction instead of being stopped: the next start is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import Clock
from voyage_jobs.core.observe import NOBODY, Observer
from voyage_jobs.core.pace import Pace
from voyage_jobs.core.states import UNFINISHED
from voyage_jobs.diagnosis.batch_conditions import refs
from voyage_jobs.engine.engine import engine_of
from voyage_jobs.errors import ConfigError, DiskFullError
from voyage_jobs.notify.delivery import Delivery
from voyage_jobs.notify.notifier import Notifier
from voyage_jobs.planning.folders import demand_apart
from voyage_jobs.report.one_line import one_line
from voyage_jobs.service.clockwatch import ClockWatch
from voyage_jobs.service.reload import apply, needs_restart
from voyage_jobs.service.request_poller import RequestPoller
from voyage_jobs.service.schedule import ApSchedule, Notes, Schedule
from voyage_jobs.service.signals import Signals
from voyage_jobs.service.systemd import Manager, SystemdNotifier
from voyage_jobs.service.watching.watchers import HINT, MakeWatching, Watchers, Watching
from voyage_jobs.service.worker import working
from voyage_jobs.state import batches, meta, sources
from voyage_jobs.state.door import open_state
from voyage_jobs.steps import circuits as circuit
from voyage_jobs.steps.budget import begin_run
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.disk import note_full
from voyage_jobs.steps.pipeline import Pipeline
from voyage_jobs.steps.reading import sources_in_force
from voyage_jobs.steps.scan import ScanResult
from voyage_jobs.telemetry.logs import log_repeats

if TYPE_CHECKING:
    import httpx


def run(
    settings: Settings,
    clock: Clock,
    log: Any,
    signals: Signals,
    *,
    reload: Callable[[], Settings],
    accept: Callable[[Settings], None] = lambda _settings: None,
    schedule: Callable[[Notes], Schedule] = ApSchedule,
    watching: MakeWatching = Watchers,
    transport: httpx.BaseTransport | None = None,
    manager: Manager | None = None,
    observer: Observer = NOBODY,
    page: Page | None = None,
) -> None:
    """Keep the table in step until `signals.stopping` is set.

    `reload` reads the configuration again, for SIGHUP; `accept` hears which new settings are active then. Raises
    LockedError, ConfigError, StateError at the start, and whatever no step can live with. `schedule`, `watching` and
    `transport` stand in for time, the kernel's events and the network in tests. `manager` is the service manager that
    started this process, if one did; `observer` looks on; `page` is served beside the work, if it is.
    """
    demand_apart(settings)
    names = [source.name for source in settings.sources]
    log.info("daemon.starting", data_dir=str(settings.data_dir), sources=names)
    pace = Pace(clock)
    with (
        SystemdNotifier(manager or Manager(), clock, pace, log, signals.stopping) as notifier,
        working(
            settings, clock, log, mode="run", transport=transport, pace=pace, observer=observer
        ) as context,
        RequestPoller(open_state(settings), signals.wake),
    ):
        context.stopping = signals.stopping
        left = Notes(signals.wake)
        planned = schedule(left)
        watched = watching(left, clock, log)
        delivery = Delivery(signals.wake.set)
        pipeline = Pipeline(context, notifier=Notifier(context, delivery))
        try:
            circuit.try_again(context)
            begin_run(context)
            planned.arm(settings)
            watched.arm(_in_force(context, settings))
            log.info("daemon.started", epoch=context.store.epoch, profile=context.profile.model)
            notifier.ready()
            if page is not None:
                page.ready()
            Daemon(context, pipeline, signals, left, planned, watched, reload, accept, notifier, page).loop()
        except Exception as exc:
            log.error("daemon.failed", error=f"{type(exc).__name__}: {exc}")  # noqa: TRY400 - the caller tells the rest
            raise
        finally:
            pace.begin("stop")
            notifier.stopping()
            planned.close()
            watched.close()
            delivery.close()
        say_what_is_under_way(context)


@dataclass(frozen=True)
class Page:
    """What the daemon tells the page (that it has recovered; new settings), and asks it (why it is not served)."""

    ready: Callable[[], None]
    problem: Callable[[], str | None]
    take_up: Callable[[Settings], None]


@dataclass
class Daemon:
    """The loop and what it listens to."""

    context: Context
    pipeline: Pipeline
    signals: Signals
    notes: Notes
    schedule: Schedule
    watching: Watching
    reload: Callable[[], Settings]
    accept: Callable[[Settings], None]
    notifier: SystemdNotifier | None = None
    page: Page | None = None
    _page_problem: str | None = ""  # as it was last noted; at first it is not known what stands there
    _set_back: bool = False  # the clock was, and what waits for a time of day is still to be looked at

    def loop(self) -> None:
        """Turn after turn, until asked to stop."""
        watch = ClockWatch(self.context.clock)
        self.pipeline.on_begin = self.watching.scan_begins
        self.pipeline.on_sweep = self.heed_sweep
        wake = self.signals.wake
        while not self.signals.stopping.is_set():
            wake.clear()
            if self.signals.hangup.is_set():
                self.signals.hangup.clear()
                self.heed_hangup()
            log_repeats()
            self.heed_notes()
            self.heed_watching()
            self.heed_page()
            self.heed_clock(watch.stepped_s())
            if not self.pipeline.turn() and not self.signals.stopping.is_set():
                if self.context.pace is not None:
                    self.context.pace.begin("idle", one_line(self.context))
                self.context.clock.wait(self.pipeline.idle_s(), wake)

    def heed_hangup(self) -> None:
        """Take new settings; a service manager hears when that begins and that it is over, however it ended."""
        if self.context.pace is not None:
            self.context.pace.begin("reload")
        if self.notifier is not None:
            self.notifier.reloading()
        self.take_new_settings()
        if self.notifier is not None:
            self.notifier.ready()

    def heed_notes(self) -> None:
        """Mark in the state what the scheduler says is due. A source whose scan is running is not scanned twice."""
        for note in self.notes.take():
            if note.what == "upkeep":
                self.pipeline.tend_soon()
            elif note.what == HINT:
                self.pipeline.hint(note.source)
            elif note.what == "scan" and note.source != self.pipeline.scanning:
                with self.pipeline.what_passes_noted(), self.context.store.write() as tx:
                    sources.scan_soon(tx, note.source)

    def heed_watching(self) -> None:
        """Write down how the watching goes, where `status` looks for it."""
        report = self.watching.report()
        if report is not None:
            with self.pipeline.what_passes_noted(), self.context.store.write() as tx:
                meta.put(tx, meta.WATCHING, report)

    def heed_sweep(self, found: ScanResult) -> None:
        """Tell the watching what changed in a source. It is not to hear of what only this program reads otherwise."""
        self.watching.scan_found(found.source, 0 if found.rereading else found.changed)

    def heed_page(self) -> None:
        """Note where `status` looks whether the page can be served. Only this thread writes to the state."""
        problem = None if self.page is None else self.page.problem()
        if problem == self._page_problem:
            return
        with self.pipeline.what_passes_noted():
            with self.context.store.write() as tx:
                if problem is None:
                    meta.forget(tx, meta.PAGE)
                else:
                    meta.put(tx, meta.PAGE, problem)
            self._page_problem = problem

    def heed_clock(self, stepped_s: float) -> None:
        """Times of day that things wait for mean nothing after the clock was set back."""
        if stepped_s:
            self.context.log.warning("clock.stepped", seconds=round(stepped_s, 1))
        self._set_back |= stepped_s < 0
        if self._set_back:
            with self.pipeline.what_passes_noted():
                self.pipeline.clock_was_set_back()
                self.schedule.arm(self.context.settings)
                self._set_back = False

    def take_new_settings(self) -> None:
        """Read the configuration again and work by it, or say why not and go on as before."""
        log = self.context.log
        try:
            fresh = self.reload()
            demand_apart(fresh)
            engine_of(fresh.engine.kind, fresh.engine.processes, fresh.engine.address)  # may not be installed
        except ConfigError as exc:
            log.error("config.refused", error=exc.message, hint="The old settings stay active.")  # noqa: TRY400
            return
        fixed = needs_restart(self.context.loaded, fresh)
        if fixed:
            hint = "The old settings stay active; restart voyage-jobs to take up the new ones."
            log.error(
                "config.refused", error=f"cannot be changed while running: {', '.join(fixed)}", hint=hint
            )
            return
        self.pipeline.drop_scan()
        try:
            apply(self.context, fresh)
        except DiskFullError as exc:
            note_full(self.context, exc)
            self.signals.hangup.set()  # they are in force when there is room to note them
            return
        self.schedule.arm(fresh)
        self.watching.arm(_in_force(self.context, fresh))
        self.accept(fresh)
        if self.page is not None:
            self.page.take_up(fresh)
        log.info("config.reloaded", sources=[source.name for source in fresh.sources])


def say_what_is_under_way(context: Context) -> None:
    """The last line of a daemon that was asked to stop."""
    with context.store.read() as connection:
        waiting = batches.in_state(connection, *UNFINISHED)
    if not waiting:
        context.log.info("daemon.stopped", in_flight=0, message="Nothing is in flight at the provider.")
        return
    context.log.info(
        "daemon.stopped",
        in_flight=len(waiting),
        inputs=sum(batch.inputs for batch in waiting),
        refs=refs(waiting),
        message="Nothing is lost: the provider keeps working, and `voyage-jobs run` or `sync` continues from here.",
    )


def _in_force(context: Context, settings: Settings) -> Settings:
    """The settings of sources as scans go by them, for those who watch."""
    with context.store.read() as connection:
        return sources_in_force(connection, settings)
