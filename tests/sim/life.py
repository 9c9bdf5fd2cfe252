"""One life: a folder that changes, a worker that dies, a provider that fails; then peace, and what comes of it."""

from __future__ import annotations

import contextlib
import math
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from tests.world import Post
from voyage_jobs.config.key import key_of
from voyage_jobs.config.settings import Settings
from voyage_jobs.core import crash, durable
from voyage_jobs.core.clock import US, VirtualClock, now_us
from voyage_jobs.core.states import BEFORE_THE_JOB, UNFINISHED, Batch
from voyage_jobs.diagnosis.blocker import ASSEMBLE, SUBMIT
from voyage_jobs.diagnosis.causes import is_kept_back
from voyage_jobs.diagnosis.snapshot import gate
from voyage_jobs.errors import EpochLostError, VoyageJobsError
from voyage_jobs.notify.notifier import Notifier
from voyage_jobs.service.worker import working
from voyage_jobs.simulator import Ledger, Simulator
from voyage_jobs.simulator.fault_catalog import CATALOG
from voyage_jobs.simulator.transport import SimulatorTransport
from voyage_jobs.state import (
    backlog,
    batches,
    circuits,
    embeddings,
    meta,
    missing,
    pauses,
    provider_files,
    publications,
    record_files,
    sources,
)
from voyage_jobs.state.batches import UNUSABLE
from voyage_jobs.state.door import open_state
from voyage_jobs.state.engine import sqlite_module
from voyage_jobs.steps import acts
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.pipeline import Pipeline
from voyage_jobs.steps.texts import Texts
from voyage_jobs.vendors.registry import by_type

from . import faults
from .checks import DIMENSIONS, Checker
from .folders import NAMES, RECORDS, SOURCES, Folders
from .memory_table import MemoryDoor
from .power import Power
from .providers import PROVIDERS, of_seed
from .reading import isolated
from .sleep import Sleeper, WatchedTransport
from .speed import empty_state, fast_stores, scratch
from .story import SUSPENDED, UNTOUCHED, Death, Log, Plan, Tally, Violation

if TYPE_CHECKING:
    from sqlalchemy import Connection

KEY = "pa-simulated"
GRACE_S = 60.0
MOST_TURNS = 200
DAY_S = 86_400.0
HOUR_S = 3600
YEAR_S = 365 * DAY_S
IDLE_S = 1800.0
PEACE_S = 3600.0
LONGEST_WAIT_S = 7200.0
PATIENCE = 20
CONVALESCENCE_S = 900.0
MOST_LOOKED_AT = 10_000
MOST_IDLE_TURNS = 24
"""Six hours in which nothing moves: longer than any wait of something that is well."""


_RECORDS = {"id": "id", "text": "{text}"}
FRESH_LIMITS = {"daily_tokens": 250, "daily_usd": 0.01, "daily_documents": 6, "max_documents": 3}
_OLDER = 0.15  # of the starts find the table as a release with an older format left it


# Points that few lives pass, and faults that lead there.
_LEADS_TO = dict.fromkeys(("cancel.committed", "reconcile.committed"), frozenset({"request_lost"}))
_SELDOM = (
    "abandon.committed",
    "cancel.committed",
    "cancel.sent",
    "promise.begun",
    "promise.deferred",
    "previous.released",
    "reconcile.committed",
    "reprofile.committed",
    "retire.committed",
    "retire.table.done",
    "switch.committed",
    "switch.intent.committed",
    "switch.kept",
    "switch.table.done",
    "switch.table.synced",
    "switch_back.committed",
    "switch_back.intent.committed",
    "switch_back.table.done",
    "sync.answered",
    "sync.attempt.committed",
    "sync.committed",
    "sync.spooled",
)


_UNDELETABLE = "SELECT id FROM documents WHERE state IN ('missing', 'gone') ORDER BY id"


class Life:
    """Lives one seed. `run()` raises `Violation` with the story if a promise is broken."""

    simulator = Simulator

    def __init__(self, seed: int, base: Path, plan: Plan | None = None, keep: int = 120) -> None:
        self.seed = seed
        self.plan = plan or Plan()
        self.provider = PROVIDERS[of_seed(self.plan.vendor, seed)]
        self.rng = random.Random(seed)
        self.base = base
        self.tally = Tally()
        self.clock = self._new_clock()
        self.log = Log(self.clock, keep)
        self._target = self.plan.dies_at or self._draw_target()
        self._target_left = 1 if self.plan.dies_at or self._target in _SELDOM else self.rng.randint(1, 2)
        self.sim = self._vendor()
        self.sleeper = Sleeper(self.clock, seed, self.plan.sleeps)
        self.door = MemoryDoor(self._passing)
        self.power = Power()
        names = (*NAMES, *RECORDS) if self._has_records else NAMES
        self.folders = Folders(base / "sources", self.clock, self.rng, names)
        self.data_dir = base / "data"
        self.data_dir.mkdir()
        (self.data_dir / "state.db").write_bytes(empty_state())
        self.max_chars = 200
        self.dimension = DIMENSIONS[0]
        self.keep_previous_s = self.rng.choice((0.0, 7 * DAY_S, 7 * DAY_S))
        self.leaving_out = False
        """Whether an operator has accepted that the next switch leaves something out."""
        self.going_back = False
        """Whether the next replacement of the table may be the rollback, which shows nothing that came since."""
        self.formats = random.Random(~seed)  # of its own, so that older seeds live as they did
        self.configured = set(SOURCES)
        self.keeping: set[str] = set()
        self.kind = self.provider.kind(seed)
        self.checker = Checker(self)
        self.context: Context | None = None
        self.pipeline: Pipeline | None = None
        self._worker: contextlib.AbstractContextManager[Context] | None = None
        self._deaths_left = self.rng.randint(1, 6)
        self._death_rate = self.rng.choice((0.02, 0.06, 0.2)) * self.plan.crashes
        self.at_rest = False
        self.at_peace = False
        self._waited = 0
        self.posts: list[Post] = []

    @property
    def _has_records(self) -> bool:
        return self.seed % 7 == 6

    @property
    def _is_fresh(self) -> bool:
        """Whether its sources promise to be fresh."""
        return self.seed % 4 == 1

    def _draw_target(self) -> str:
        """The crash point at which this life dies for sure, if it comes by."""
        return self.rng.choice(_SELDOM if self.rng.random() < 0.5 else sorted(crash.POINTS))

    def _new_clock(self) -> VirtualClock:
        return VirtualClock(seed=self.seed)

    @property
    def ledger(self) -> Ledger:
        """What the provider billed for what this life bought."""
        return self.sim.ledger

    def _transport(self) -> SimulatorTransport:
        return WatchedTransport(self.sim, self.clock, self.sleeper)

    def _vendor(self) -> Simulator:
        drawn = faults.draw(self.rng, self.plan.only, _LEADS_TO.get(self._target, frozenset()))
        folder = self.base / "vendor"
        folder.mkdir()
        return self.simulator(
            self.clock,
            api_key=KEY,
            seed=self.seed,
            batch_seconds=self.rng.choice((5.0, 60.0, 600.0, 600.0, 7200.0)),
            faults=faults.script(drawn, self.seed),
            options=self.provider.readings(self.rng),
            storage_dir=folder,
        )

    # --- the whole life ---

    def run(self) -> None:
        """Live."""
        try:
            with self._surroundings():
                for _ in range(self.rng.randint(2, 6)):
                    self.folders.act()
                for _ in range(self.rng.randint(*self.plan.acts)):
                    self.stretch()
                self._others_get_through()
                self._find_peace()
        except Violation:
            raise
        except Exception as exc:
            raise Violation(f"{type(exc).__name__}: {exc}") from exc
        finally:
            self.tally.faults.update(self.sim.faults.fired)

    def stretch(self) -> None:
        """One act, a few turns, and some time."""
        self._act()
        for _ in range(self.rng.randint(1, 6)):
            if not self._turn():
                break
        self._let_time_pass()

    @contextlib.contextmanager
    def _surroundings(self) -> Iterator[None]:
        with surroundings(self.seed, self.power):
            crash.arm(self._passing)
            try:
                yield
            finally:
                crash.arm(None)
                self._drop()

    # --- one act ---

    def _act(self) -> None:
        choices: list[tuple[int, str, Callable[[], None]]] = [
            (30, "edit", self._edit),
            (3, "stop", self._stop),
            (2, "kill", self._kill),
            (2, "power loss", self._lose_power),
            (2, "long sleep", self._sleep_long),
            (2, "clock step", self._step_clock),
            (4, "cancel", self._cancel),
            (2, "retry", self._retry),
            (2, "pause", self._pause),
            (2, "resume", self._resume),
            (3, "undelete", self._undelete),
            (1, "takeover", self._take_over),
            (1, "reconfigure", self._reconfigure),
            (3, "expedite", self._expedite),
            (2, "reprofile", self._reprofile),
            (2, "set back", self._set_back),
        ]
        often = {*self.plan.often, self._target.partition(".")[0]}  # the act that leads there, if one does
        if self._target.startswith(("switch", "abandon.", "previous.")):
            often.add("reprofile")
            if self._goes_back():
                self.keep_previous_s = 7 * DAY_S
        weights = [weight * (10 if name in often else 1) for weight, name, _ in choices]
        _, name, act = self.rng.choices(choices, weights)[0]
        self.tally.acts[name] += 1
        act()

    def _edit(self) -> None:
        for _ in range(self.rng.randint(1, 4)):
            what = self.folders.act()
            self.tally.acts[what.split()[0]] += 1
            self.log.say("USER", does=what)

    def _stop(self) -> None:
        self.log.say("STOP")
        self._drop(orderly=True)

    def _kill(self) -> None:
        self.log.say("KILL")
        self._drop()

    def _lose_power(self) -> None:
        self.log.say("POWER LOSS")
        self._drop()
        paths = [self.data_dir / "spool", self.data_dir / "vectors"]
        cut = self.power.lose(*paths)
        lost = self.door.lose_power(torn=self.rng.random() < 0.5)
        if lost:
            self.checker.forget_kept()
        self.log.say("POWER LOST", cut=cut, table=lost)

    def _sleep_long(self) -> None:
        """The daemon is down, or the machine asleep, for more than a job's window."""
        if self.rng.random() < 0.5:
            self._stop()
        self.clock.advance(self.provider.sleep_s)

    def _step_clock(self) -> None:
        seconds = self.rng.choice((1.0, 3600.0, YEAR_S)) * self.rng.choice((1, -1))
        self.log.say("CLOCK", steps=seconds)
        if self.rng.random() < 0.3:
            self._drop()
        self.clock.step(seconds)
        if seconds < 0 and self.pipeline is not None:
            self.pipeline.clock_was_set_back()

    def _cancel(self) -> None:
        context = self._working()
        if context is None:
            return
        with context.store.read() as connection:
            open_ = batches.in_state(connection, *UNFINISHED)
        doubtful = [batch for batch in open_ if batch.state is Batch.CREATING]
        if self.rng.random() < 0.3:
            source = self.rng.choice(SOURCES)
            self.log.say("CANCEL", source=source)
            self._perform(context, "cancel", source=source)
        elif open_:
            batch = self.rng.choice(doubtful or open_)
            self.log.say("CANCEL", ref=batch.ref, state=batch.state)
            self._perform(context, "cancel", ref=batch.ref)

    def _retry(self) -> None:
        context = self._working()
        if context is not None:
            narrowed = self.rng.choice(({}, {}, {"failed": True}, {"source": self.rng.choice(SOURCES)}))
            self.log.say("RETRY", **narrowed)
            self._perform(context, "retry", **narrowed)

    def _pause(self) -> None:
        context = self._working()
        if context is not None:
            what = self.rng.choice(({}, {"sending": True}, {"source": self.rng.choice(SOURCES)}))
            ends = {"for_s": 3600} if self.rng.random() < 0.5 else {}
            self.log.say("PAUSE", **what, **ends)
            self._perform(context, "pause", **what, **ends)

    def _resume(self) -> None:
        context = self._working()
        if context is not None:
            self.log.say("RESUME")
            self._perform(context, "resume")

    def _expedite(self) -> None:
        """Somebody wants a document now; now and then one that travels in a batch already."""
        context = self._working()
        if context is None or not self.folders.texts:
            return
        source, path = self.rng.choice(sorted(self.folders.texts))
        insists = self.rng.random() < 0.3
        self.log.say("EXPEDITE", source=source, path=path, insists=insists)
        order = {"order": self.clock.token(), "asked_at": now_us(self.clock), "also_in_flight": insists}
        if self.rng.random() < 0.5:
            self._perform(context, "expedite", source=source, path=path, **order)
            return
        arguments = {"source": source, "path": path, **order}
        with open_state(context.settings).beside(self.clock) as tx:
            meta.ask(tx, "the simulation", "expedite", arguments)

    def _undelete(self) -> None:
        """Keep all that is missing from a source, or one document, wherever it has gone."""
        context = self._working()
        if context is None:
            return
        with context.store.read() as connection:
            known = list(connection.exec_driver_sql(_UNDELETABLE).scalars())
        what: dict[str, object] = {"source": self.rng.choice(SOURCES)}
        if known and self.rng.random() < 0.7:
            what = {"document_id": self.rng.choice(known)}
        self.log.say("UNDELETE", **what)
        self._perform(context, "undelete", **what)

    def _perform(self, context: Context, command: str, **arguments: object) -> bool:
        """Whether it was done."""
        try:
            acts.perform(context, command, arguments, "the simulation")
        except VoyageJobsError as exc:
            self.log.say("REFUSED", command=command, error=exc.message)
        except Death:
            self._die()
        else:
            return True
        return False

    def _reconfigure(self) -> None:
        """Stop, change the configuration, and start with it."""
        self._drop(orderly=self.rng.random() < 0.5)
        what = self.rng.random()
        if what < 0.4:
            self.max_chars = 600 - self.max_chars
        elif what < 0.6:
            self.keeping ^= {self.rng.choice(SOURCES)}
        else:
            self.configured = (
                set(SOURCES) if len(self.configured) < len(SOURCES) else {self.rng.choice(SOURCES)}
            )
        self.log.say(
            "RECONFIGURE", max_chars=self.max_chars, sources=self.configured, keep=self.keeping or "nothing"
        )

    def _set_back(self) -> None:
        """Work on for a while, then put an older copy back: of the state alone, or of the whole data folder."""
        context = self._working()
        if context is None or context.build is not None:
            return
        if any(rule.fault == "job_deleted" for rule in self.sim.faults.rules):
            return  # what no list shows any more cannot be claimed
        kept = self.base / "kept"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(self.data_dir, kept)
        since, segments = self._what_is_nowhere_else(), self._segments()
        for _ in range(self.rng.randint(1, 3)):
            self._edit()
            self._pass_time(self.rng.randint(1, 20))
        if since != self._what_is_nowhere_else():
            return
        self._drop(orderly=self.rng.random() < 0.5)
        whole = (
            segments == self._segments() and self.rng.random() < 0.7
        )  # what was collected would be lost with it
        self.log.say("SET BACK", whole=whole, segments=len(self._segments() - segments))
        self.tally.acts["set back whole" if whole else "set back state"] += 1
        self._put_back(kept, whole=whole)
        self.door.drop()
        self.checker.forget_state()
        self.clock.advance(faults.QUARANTINE_S + faults.TIMEOUT_S)  # by then every job is in the list

    def _put_back(self, kept: Path, *, whole: bool) -> None:
        if whole:
            shutil.rmtree(self.data_dir)
            shutil.copytree(kept, self.data_dir)
            for path in self.data_dir.rglob("*"):
                durable.sync_file(path)
            return
        for path in self.data_dir.glob("state.db*"):
            path.unlink()
        for path in kept.glob("state.db*"):
            shutil.copy(path, self.data_dir)

    def _what_is_nowhere_else(self) -> tuple[object, ...]:
        """Synchronous calls and changes of the table's vectors: what only the state knows."""
        table = self.door.table
        calls = (self.sim.calls["embeddings"], self.sim.calls["contextualized_embeddings"])
        return (*calls, self.ledger.sync_tokens, table and table.replaced, table and table.profile)

    def _segments(self) -> set[str]:
        """The names of all segments."""
        return {path.name for path in (self.data_dir / "vectors").rglob("*.arrow")}

    def _reprofile(self) -> None:
        """Ask for other vectors, and build them, give that up, or go back; then let some time pass over it."""
        if self.rng.random() < 0.9:
            self._pass_time(40, lambda: self.door.table is not None)
        context = self._working()
        if context is None or (self.door.table is None and self.rng.random() < 0.9):
            return  # there is nothing to keep showing
        if context.build is None and self.rng.random() < 0.8:
            self._ask_for_other_vectors()
            self._change_vectors("begin")
            patience = 40 if self._goes_back() else self.rng.choice((0, 3, 40, 40))
            self._pass_time(patience, lambda: not self._is_building())
        context = self._working()
        if context is None:
            return
        if context.build is None:
            what = (
                "switch_back"
                if self._goes_back()
                else self.rng.choice(("switch_back", "switch_back", "nothing"))
            )
        else:
            what = (
                "accept_failures"
                if self._goes_back()
                else self.rng.choice(("abandon", "accept_failures", "nothing"))
            )
        self._change_vectors(what)
        if self.rng.random() < 0.8:
            context = self._working()
            if context is not None and not context.may_send:
                self._ask_for_other_vectors()  # an operator sets the configuration back
        self._pass_time(self.rng.randint(0, 25))

    def _goes_back(self) -> bool:
        """Whether this life is to die on the rollback, to which a whole change has to lead first."""
        return self._target.startswith("switch_back.")

    def _ask_for_other_vectors(self) -> None:
        self.dimension = sum(DIMENSIONS) - self.dimension
        self._drop(orderly=self.rng.random() < 0.5)

    def _change_vectors(self, what: str) -> None:
        context = self._working()
        if context is None or what == "nothing":
            return
        self.log.say("REPROFILE", do=what, asked=context.asked.dimension, active=context.profile.dimension)
        done = self._perform(context, "reprofile", do=what, target=context.asked.to_json())
        self.leaving_out |= done and what == "accept_failures"
        self.going_back |= what == "switch_back"  # it may also die, and go back at the next start

    def _is_building(self) -> bool:
        return self.context is None or self.context.build is not None

    def _pass_time(self, turns: int, enough: Callable[[], bool] = lambda: False) -> None:
        idle = 0
        for _ in range(turns):
            if enough():
                return
            idle = 0 if self._turn() else idle + 1
            if idle:
                self.clock.advance(min(idle * IDLE_S / 2, LONGEST_WAIT_S))

    def _take_over(self) -> None:
        """A second instance that the lock did not stop: the first must not do anything any more."""
        zombie, old = self.pipeline, self._worker
        if zombie is None or old is None:
            return
        self.log.say("TAKEOVER")
        self.pipeline = self.context = self._worker = None
        with mock.patch("voyage_jobs.core.lock.held", return_value=contextlib.nullcontext()):
            self._start()
        with contextlib.closing(sqlite_module().connect(self.data_dir / "state.db")) as watching:
            before = watching.execute("PRAGMA data_version").fetchone()
            with contextlib.suppress(EpochLostError, Death):
                for _ in range(3):
                    zombie.turn()
            after = watching.execute("PRAGMA data_version").fetchone()
        self._leave(old)
        if before != after:
            raise Violation("an instance that was superseded went on writing")

    # --- the worker ---

    def _working(self) -> Context | None:
        if self.context is None:
            self._start()
        return self.context

    def _start(self) -> None:
        if self.door.table is not None and not self.at_rest and self.formats.random() < _OLDER:
            self.door.table.be_older()
            self.log.say("OLDER FORMAT", rows=self.door.table.rows())
        worker = working(
            self.settings(self.dimension),
            self.clock,
            self.log,
            mode="run",
            transport=self._transport(),
            table_door=self.door,
        )
        self._worker, looks = worker, self.door.looks
        try:
            self.context = worker.__enter__()
        except Death:
            self._worker = None
            self.log.say("DIED at the start")
            return
        if self.door.table is not None and self.door.looks == looks:
            self.tally.acts[UNTOUCHED] += 1
        # A death takes with it what was delivered and not noted, as that of threads does.
        self.post = Post(lambda _sink: "odd" if not self.at_peace and self.rng.random() < 0.2 else None)
        self.posts.append(self.post)
        notifier = Notifier(self.context, self.post)  # type: ignore[arg-type]
        self.pipeline = Pipeline(self.context, eager=self.rng.random() < 0.5, notifier=notifier)
        self.checker.note_rebuilds()

    def settings(self, dimension: int) -> Settings:
        """The settings as they are now, asking for so many numbers."""
        name = self.provider.name
        sections: dict[str, Any] = {
            "provider": {"type": name},
            name.replace("-", "_"): self.provider.section(self.kind, dimension),
            "splitting": {"max_chars": self.max_chars},
            "engine": {"kind": ("local", "processes")[self.seed % 2], "processes": 2 + self.seed % 3},
            "batching": {"max_inputs": 4 + self.seed % 5, "min_inputs": 3, "linger_s": 60},
            "polling": {"interval_s": 60, "max_interval_s": IDLE_S},
            "disk": {"min_free_bytes": 0},
            "notify": {"command": ["tell"]},
            "lancedb": {"keep_previous_s": self.keep_previous_s},
            "fresh": FRESH_LIMITS,
        }
        for name, values in self.plan.settings.items():
            sections[name] = {**sections.get(name, {}), **values}
        listed = [
            {
                "name": source,
                "path": str(self.folders.root(source)),
                "delete_grace_s": GRACE_S,
                "keep": source in self.keeping,
                "scan_interval_s": 300,
                **({"fresh_within_s": 60} if self._is_fresh else {}),
            }
            for source in sorted(self.configured)
        ]
        if self._has_records:
            patterns = ["*.md", "*.txt", "*.jsonl"]
            listed = [{**each, "include": patterns, "records": _RECORDS} for each in listed]
        settings = Settings(data_dir=self.data_dir, sources=listed, **sections)
        variable = by_type(name).traits.key_variable
        return settings.attach(origin=None, warnings=(), api_key=key_of(name, {variable: KEY}))

    def _turn(self) -> bool:
        """One turn of the pipeline, and everything that must hold after it."""
        if self._working() is None or self.pipeline is None:
            return True
        self.tally.turns += 1
        did = True
        try:
            did = self.pipeline.turn()
        except Death:
            self._die()
        self.checker.after_turn()
        return did

    def _passing(self, point: str) -> None:
        """A crash point: die here, now and then."""
        self.tally.passed[point] += 1
        if slept_s := self.sleeper.passes(point, awake=self.at_peace):
            self.tally.acts[SUSPENDED] += 1
            self.log.say("SLEEPS", at=point, seconds=slept_s)
        if self.at_rest or not self.plan.crashes:
            return
        # The more often a life comes by, the less likely it dies there: points late on the way get their share.
        fatal = self._deaths_left > 0 and self.rng.random() * self.tally.passed[point] < self._death_rate
        if point == self._target and self._target_left:
            self._target_left -= 1
            fatal |= self._target_left == 0
        if fatal:
            self._deaths_left -= 1
            self.tally.died[point] += 1
            self.log.say("DIES", at=point)
            raise Death(point)

    def _die(self) -> None:
        self._drop()
        if self.rng.random() < 0.3:
            self._lose_power()

    def _drop(self, *, orderly: bool = False) -> None:
        worker, self._worker, self.context, self.pipeline = self._worker, None, None, None
        if worker is not None:
            self._leave(worker, orderly=orderly)

    @staticmethod
    def _leave(worker: contextlib.AbstractContextManager[Context], *, orderly: bool = False) -> None:
        """Close what the process had open, without letting it do anything else unless it ends in order."""
        if orderly:
            worker.__exit__(None, None, None)
            return
        with contextlib.suppress(Death):
            worker.__exit__(Death, Death(), None)

    # --- time ---

    def _let_time_pass(self) -> None:
        choices = (0.0, 5.0, 60.0, 300.0, 1000.0, 3600.0)
        self.clock.advance(self.rng.choices(choices, (2, 2, 4, 6, 4, 3))[0])

    # --- the sick and the others ---

    def _others_get_through(self) -> None:
        """Only what is sick stays sick; whoever is not must get on, within a bounded number of turns."""
        if self.rng.random() < 0.5:
            return
        self.log.say("CONVALESCENCE")
        rules = self.sim.faults.rules
        self.sim.faults.rules = tuple(rule for rule in rules if CATALOG[rule.fault].scope == "item")
        deaths, self._deaths_left, self._target_left = self._deaths_left, 0, 0
        context = self._working()
        assert context is not None
        self._perform(context, "resume")
        before, idle = 0, 0
        for _ in range(MOST_TURNS):
            if self._turn():
                continue
            context = self._working()
            assert context is not None
            self.sim.settle()
            with context.store.read() as connection:
                waiting = healthy_and_waiting(context, connection, self.sim.jobs._open, self.sim.now_us())
                moves = connection.exec_driver_sql(
                    "SELECT COALESCE(MAX(id), 0) FROM transitions"
                ).scalar_one()
            if waiting is None:
                break
            idle = idle + 1 if moves == before else 0
            before = moves
            if idle > MOST_IDLE_TURNS:
                raise Violation(f"nothing moves for {idle} turns, and {waiting} could")
            self.clock.advance(CONVALESCENCE_S)
        self._deaths_left = deaths

    # --- the end ---

    def _find_peace(self) -> None:
        """Faults stop, folders come back, an operator answers; then everything must become right."""
        self.sim.faults.rules = ()
        self.at_peace = True
        self.folders.mount_all()
        self._drop()
        self.configured, self.keeping = set(SOURCES), set()
        self.log.say("PEACE")
        for _ in range(MOST_TURNS):
            if self._turn():
                continue
            self._answer_for_the_operator()
            if self._is_quiet() and self.checker.table_is_right():
                break
            self.clock.advance(PEACE_S)
        else:
            raise Violation(f"not at rest after {MOST_TURNS} turns: {self.checker.what_is_wrong()}")
        self.checker.at_the_end()
        self._nothing_more_happens()

    def _answer_for_the_operator(self) -> None:
        context = self._working()
        assert context is not None
        if not context.may_send:
            self._settle_on_a_profile(context)
            return
        with context.store.read() as connection:
            rows = sources.all_sources(connection)
            frozen = [
                row
                for row in rows
                if row.frozen_reason
                or missing.count_kept(connection, row.id)
                or record_files.count_frozen(connection, row.id)
            ]
            parked = batches.in_state(connection, Batch.PARKED)
            stuck = embeddings.stuck(connection, embeddings.Stuck())
            resting = pauses.now(connection, now_us(context.clock)).by_what
        for row in frozen:
            if row.confirmed_at is None:
                self._perform(context, "confirm", source=row.name)
        gone = [batch for batch in parked if batch.remote_id is not None and batch.code != UNUSABLE]
        self._waited = self._waited + 1 if gone else 0
        if gone and self._waited < PATIENCE:
            return  # it resumes by itself: to retry it would mean to pay again
        if parked or stuck:
            self._perform(context, "retry")
        if resting:
            self._perform(context, "resume")

    def _settle_on_a_profile(self, context: Context) -> None:
        """The configuration and the work disagree: one of them gives in."""
        if context.build is None and self.rng.random() < 0.5:
            self._perform(context, "reprofile", do="begin", target=context.asked.to_json())
        else:
            self.dimension = context.profile.dimension
            self._drop(orderly=True)

    def _is_quiet(self) -> bool:
        if self.context is None or self.context.build is not None:
            return False
        with self.context.store.read() as connection:
            open_ = batches.in_state(connection, *(state for state in Batch if state != "closed"))
            if open_ or publications.ready(connection, 0, 1) or publications.retiring(connection, 1):
                return False
            known = sources.all_sources(connection)
            if any(row.frozen_reason or record_files.count_frozen(connection, row.id) for row in known):
                return False
            now = now_us(self.clock)
            if any(circuit.until_at > now for circuit in circuits.tripped(connection).values()):
                return False  # faults have ended, the last wait for one has not
            if (
                provider_files.deletable_files(connection, self.context.profile.vendor, sys.maxsize, 1)
                or pauses.now(connection, now).by_what
            ):
                return False
            return backlog.measure(connection, self.context.profile_id).embeddings == 0

    def _nothing_more_happens(self) -> None:
        """Another start and another scan of everything find nothing to do and send nothing."""
        assert self.door.table is not None or not self.folders.texts
        self.at_rest = True
        before = (self.sim.calls.copy(), self.door.table and self.door.table.version())
        self._drop(orderly=True)
        for _ in range(8):
            if not self._turn():
                self.clock.advance(PEACE_S)
        after = (self.sim.calls.copy(), self.door.table and self.door.table.version())
        if before != after:
            raise Violation(f"something happened at rest: {before} became {after}")
        assert self.context is not None
        with self.context.store.read() as connection:
            self.checker.check_told(connection)


@contextlib.contextmanager
def surroundings(seed: int, power: Power) -> Iterator[None]:
    """What is otherwise in a simulation than in earnest."""
    with (
        fast_stores(),
        isolated(seed),
        power.watched(),
        mock.patch("voyage_jobs.steps.pipeline.LONGEST_IDLE_S", IDLE_S),
        mock.patch("voyage_jobs.steps.losses.PAGE", 2),
        mock.patch("voyage_jobs.core.lock.file_system_of", return_value=None),
        # Whoever gives up on a list that fails may pay twice; here it comes back, however the clock is set.
        mock.patch("voyage_jobs.steps.known_jobs.PATIENCE_S", math.inf),
        mock.patch("voyage_jobs.steps.known_jobs.CLAIM_PATIENCE_S", math.inf),
    ):
        yield


def healthy_and_waiting(
    context: Context, connection: Connection, running: Container[str], there_us: int
) -> str | None:
    """Something that nothing is wrong with, and that waits; None if there is nothing. `running` are the jobs that the
    provider has not finished, and `there_us` is its time: by our clock, which may be a year ahead, all may be late."""
    now = now_us(context.clock)
    if circuits.CREATE in circuits.tripped(connection) or pauses.now(connection, now).by_what:
        return None
    known = gate(context, connection)
    rests = is_kept_back(known, SUBMIT) or any(known.keeps_all_back(each) for each in known.open)
    for batch in batches.in_state(connection, *UNFINISHED):
        if rests and batch.state in BEFORE_THE_JOB:
            continue
        in_time = min(now, there_us) < (batch.deadline_at or 0) + HOUR_S * US
        at_work = batch.state is Batch.RUNNING and (in_time or batch.remote_id in running)
        if not batch.failures and not at_work and batch.profile_id == context.profile_id:
            return f"batch {batch.ref} ({batch.state})"
    blocked = context.build is not None or is_kept_back(known, ASSEMBLE)
    if not blocked and any(_can_be_sent(context, connection)):
        return "what is to be sent"
    return None


def _can_be_sent(context: Context, connection: Connection) -> Iterator[bool]:
    """Of what waits: whether its text can be had. While a folder is away, that of a text tried again cannot."""
    texts = Texts(connection)
    for refusals in backlog.measure(connection, context.profile_id).refusals:
        for wanted in backlog.wanted(connection, context.profile_id, refusals, MOST_LOOKED_AT, frozenset()):
            yield texts.of_embedding(wanted) is not None


def live(seed: int, plan: Plan | None = None, *, story: bool = False) -> Tally:
    """Live one seed in a folder of its own. Raises `Violation`, with one line that repeats it."""
    base = Path(tempfile.mkdtemp(prefix=f"life-{seed}-", dir=scratch()))
    life = Life(seed, base, plan, keep=100_000 if story else 150)
    try:
        life.run()
    except Violation as exc:
        told = "\n".join(life.log.events)
        whose = "" if life.provider.name == "voyage" else f" --vendor {life.provider.name}"
        raise Violation(f"{told}\n{exc}\nrepeat: python -m tests.sim --seed {seed}{whose}") from exc
    finally:
        if story:
            print("\n".join(life.log.events))
        shutil.rmtree(base, ignore_errors=True)
    return life.tally
