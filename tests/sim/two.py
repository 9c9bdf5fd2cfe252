"""Two daemons with one account: states, folders, tables and machines of their own, one key, one provider that fails.

Each lives as `life.py` has it, for many hours, with every act and fault that there is. They take turns, and one may
have a turn while the other stands at a crash point. Neither may stop, fetch or delete what the other made, and each is
billed for itself.
"""

from __future__ import annotations

import contextlib
import random
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import orjson

from voyage_jobs.core import crash
from voyage_jobs.core.clock import VirtualClock
from voyage_jobs.report.cost import cost
from voyage_jobs.simulator import Ledger, Simulator
from voyage_jobs.simulator.messages import ApiError, Request, Response
from voyage_jobs.simulator.routes import Route, find_route
from voyage_jobs.vendors.remote import METADATA_REF

from .life import HOUR_S, Life, surroundings
from .providers import of_seed
from .sleep import WatchedTransport
from .speed import scratch
from .story import Log, Plan, Tally, Violation

EXACT = "bill equal to the token"
BOUNDED = "bill equal but for what is on record as unknown"
TOOK = "fetched, stopped or deleted"
BETWEEN = "turn while the other stood at a crash point"
_INTERRUPTS = 0.02
_TEMPTED_EVERY_S = 8 * HOUR_S
_NAMES = ("one", "two")
_WHO = "x-of"


class Machine(VirtualClock):
    """The clock of one of several machines: time passes alike on all; each is set, and sleeps, by itself."""

    def __init__(self, world: VirtualClock, seed: int) -> None:
        super().__init__(start=0.0, seed=seed)
        self._world = world

    def wall(self) -> float:
        """Virtual seconds since 1970 UTC, as this machine has them."""
        return self._world.wall() + self._wall

    def mono(self) -> float:
        """Virtual seconds that only grow."""
        return self._world.mono()

    def uptime(self) -> float:
        """Virtual seconds that only grow, with those for which this machine slept."""
        return self._world.mono() + self._slept

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass on all machines."""
        self._world.advance(seconds)


class Books(Ledger):
    """The provider's ledger, with the part of each customer."""

    def __init__(self, maker_of: Any) -> None:
        super().__init__()
        self.parts = {name: Ledger() for name in _NAMES}
        self.caller = ""
        """Who makes the call that is being carried out."""
        self._maker_of = maker_of

    def bill(self, purchase: str, batch_id: str, units: Any, *, spoilt: bool = False) -> None:
        """A request of a batch was completed."""
        bought = list(units)
        super().bill(purchase, batch_id, bought, spoilt=spoilt)
        self.parts[self._maker_of(batch_id)].bill(purchase, batch_id, bought, spoilt=spoilt)

    def bill_sync(self, purchase: str, units: Any, *, spoilt: bool = False) -> None:
        """A synchronous request was answered."""
        bought = list(units)
        super().bill_sync(purchase, bought, spoilt=spoilt)
        self.parts[self.caller].bill_sync(purchase, bought, spoilt=spoilt)


class Account(Simulator):
    """A provider that knows which of its customers made a job or a file, and who asks for what another made."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.ledger = self.books = Books(self._maker_of)
        self.jobs._runner._ledger = self.books
        self.makers: dict[str, str] = {}
        """Refs of jobs and names of input files: whose they are."""
        self.trespasses: list[str] = []
        self.takes: dict[str, int] = dict.fromkeys(_NAMES, 0)

    def handle(self, request: Request) -> Response:
        """Answer one request."""
        with contextlib.suppress(ApiError):
            self._look_at(find_route(request.method, request.path), request)
        return super().handle(request)

    def _perform(self, route: Route, request: Request, now: int, hit: Any = None) -> Response:
        self.books.caller = request.headers[_WHO]
        return super()._perform(route, request, now, hit)

    def _look_at(self, route: Route, request: Request) -> None:
        who = request.headers[_WHO]
        match route.operation:
            case "upload_file":
                named = re.search(rb'filename="([^"]+)"', request.body.read())
                assert named is not None
                self.makers[named[1].decode()] = who
            case "create_batch":
                self.makers[orjson.loads(request.body.read())["metadata"][METADATA_REF]] = who
            case "cancel_batch":
                self._take(who, route, self._maker_of(route.ident))
            case "delete_file" | "file_content":
                self._take(who, route, self._owner_of(route.ident))
            case "bulk_delete_files":
                for each in orjson.loads(request.body.read())["file_ids"]:
                    self._take(who, route, self._owner_of(each))

    def _take(self, who: str, route: Route, maker: str) -> None:
        self.takes[who] += 1
        if maker not in (who, ""):
            self.trespasses.append(f"{who} asks for {route.operation} of {route.ident}, which {maker} made")

    def _maker_of(self, job: str) -> str:
        batch = self.jobs._batches.get(job)
        return "" if batch is None else self.makers[(batch.metadata or {})[METADATA_REF]]

    def _owner_of(self, file_id: str) -> str:
        file = self.files.find(file_id)
        if file is None:
            return ""  # it has gone already
        if file.job is None:
            return self.makers[file.filename]
        return self._maker_of(list(self.jobs._batches)[file.job.number - 1])


class Transport(WatchedTransport):
    """Says who calls."""

    def __init__(self, tenant: Tenant) -> None:
        super().__init__(tenant.sim, tenant.clock, tenant.sleeper)
        self._name = tenant.name

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """One exchange."""
        request.headers[_WHO] = self._name
        return super().handle_request(request)


class Tenant(Life):
    """One of the two: a life whose provider, and whose time, are those of both."""

    simulator = Account

    def __init__(self, pair: Pair, name: str, seed: int) -> None:
        self.pair, self.name = pair, name
        base = pair.base / name
        base.mkdir()
        super().__init__(seed, base, pair.plan)
        self.log = Log(self.clock, pair.keep, f"{name}: ")
        self.log.events = pair.events

    def _new_clock(self) -> VirtualClock:
        return Machine(self.pair.world, self.seed)

    def _vendor(self) -> Simulator:
        return self.pair.account or super()._vendor()

    @property
    def ledger(self) -> Ledger:
        """What the provider billed for what this one bought."""
        assert isinstance(self.sim, Account)
        return self.sim.books.parts[self.name]

    def _transport(self) -> Transport:
        return Transport(self)

    def _passing(self, point: str) -> None:
        self.pair.interrupt(self)
        super()._passing(point)

    def _sleep_long(self) -> None:
        """This one is down, or asleep, for more than a job's window; the other works on."""
        if self.rng.random() < 0.5:
            self._stop()
        self.pair.go_on_without(self, self.provider.sleep_s)

    def tempt(self) -> None:
        """Draw anew where it is to die."""
        self._target, self._target_left = self._draw_target(), 1
        self._deaths_left = self.rng.randint(1, 6)

    def come_to_rest(self) -> None:
        """Find peace, whatever the other has left at the provider."""
        self._find_peace()

    def compare_the_bill(self) -> None:
        """What `cost` says is this one's part of the ledger."""
        self.checker.check_money()
        total = cost(self.settings(self.dimension), self.clock, "batch", 0)["total"]
        billed = sum(self.ledger.export()["tokens"].values())
        self.tally.acts[EXACT if total["paid_tokens"] == billed else BOUNDED] += 1
        self.log.say("BILL", paid=total["paid_tokens"], billed=billed)


class Pair:
    """Two lives with one account. `run()` raises `Violation` if a promise is broken."""

    def __init__(self, seed: int, base: Path, plan: Plan, keep: int) -> None:
        self.base, self.plan, self.keep = base, plan, keep
        self.rng = random.Random(f"two {seed}")
        self.world = VirtualClock(seed=seed)
        self.account: Account | None = None
        self.events = Log(self.world, keep).events
        self._interrupted = self._at_peace = False
        self._away: Tenant | None = None
        self._broken: Violation | None = None
        first = Tenant(self, _NAMES[0], 2 * seed)
        assert isinstance(first.sim, Account)
        self.account = first.sim
        second = Tenant(self, _NAMES[1], 2 * seed + 1)
        second.power = first.power
        if self.rng.random() < 0.5:
            second.folders._paragraphs = first.folders._paragraphs  # both have the same texts
        self.lives = (first, second)
        self.seed = seed

    def run(self, hours: float) -> None:
        """Live for so many hours; then faults stop, and everything must be right for both."""
        try:
            with surroundings(self.seed, self.lives[0].power):
                try:
                    self._live(hours * HOUR_S)
                    self._find_peace()
                finally:
                    for life in self.lives:
                        with _at_work(life):
                            life._drop()
        except Violation:
            raise
        except Exception as exc:
            raise Violation(f"{type(exc).__name__}: {exc}") from exc
        finally:
            assert self.account is not None
            self.lives[0].tally.faults.update(self.account.faults.fired)

    def go_on_without(self, life: Tenant, seconds: float) -> None:
        """Let the other live on alone for so long; where it is away itself, time passes."""
        if self._away is not None:
            self.world.advance(seconds)
            return
        self._away, until = life, self.world.mono() + seconds
        with _at_work(self._other(life)):
            while self.world.mono() < until:
                self._other(life).stretch()
        self._away = None

    def _other(self, life: Tenant) -> Tenant:
        return self.lives[life is self.lives[0]]

    def interrupt(self, life: Tenant) -> None:
        """One stands at a crash point: the other may have a turn meanwhile."""
        if self._interrupted or self._away or self._at_peace or self.rng.random() >= _INTERRUPTS:
            return
        other = self._other(life)
        self._interrupted = True
        try:
            with _at_work(other):
                other.tally.acts[BETWEEN] += 1
                other._turn()
        except Violation as exc:
            self._broken = exc  # whoever was interrupted might take it for an error of its own
        finally:
            self._interrupted = False

    def _live(self, seconds: float) -> None:
        tempted_at = 0.0
        for life in self.lives:
            for _ in range(self.rng.randint(2, 6)):
                life.folders.act()
        while self.world.mono() < seconds:
            if self.world.mono() > tempted_at + _TEMPTED_EVERY_S:
                tempted_at = self.world.mono()
                for life in self.lives:
                    life.tempt()
            life = self.rng.choice(self.lives)
            with _at_work(life):
                life.stretch()
            self._look()

    def _find_peace(self) -> None:
        self._at_peace = True
        for life in self.lives:
            with _at_work(life):
                life.come_to_rest()
            self._look()
        for life in self.lives:
            with _at_work(life):
                life.compare_the_bill()
            life.tally.acts[TOOK] = self.account.takes[life.name] if self.account else 0

    def _look(self) -> None:
        assert self.account is not None
        if self._broken is not None:
            raise self._broken
        if self.account.trespasses:
            raise Violation(self.account.trespasses[0])


@contextlib.contextmanager
def _at_work(life: Tenant) -> Iterator[None]:
    """Whose crash points are passed."""
    before = crash._hook
    crash.arm(life._passing)
    try:
        yield
    finally:
        crash.arm(before)


def live_as_two(seed: int, hours: float, plan: Plan | None = None, *, story: bool = False) -> Tally:
    """Live one pair in a folder of its own. Raises `Violation`, with one line that repeats it."""
    plan = plan or Plan()
    base = Path(tempfile.mkdtemp(prefix=f"two-{seed}-", dir=scratch()))
    pair = Pair(seed, base, replace(plan, vendor=of_seed(plan.vendor, seed)), 1_000_000 if story else 200)
    try:
        pair.run(hours)
    except Violation as exc:
        whose = "" if plan.vendor == "voyage" else f" --vendor {plan.vendor}"
        repeat = f"repeat: python -m tests.sim --two {hours:g} --seed {seed}{whose}"
        told = "\n".join(pair.events)
        raise Violation(f"{told}\n{exc}\n{repeat}") from exc
    finally:
        if story:
            print("\n".join(pair.events))
        shutil.rmtree(base, ignore_errors=True)
    tally = Tally()
    for life in pair.lives:
        tally.add(life.tally)
    return tally
