"""`sync`: take turns until everything is done that can be done, and say what is left and why.

It ends when every source was scanned once to its end, nothing is in flight, nothing waits that could be sent, and the
table shows what is ready. What only you or time can move on does not keep it from doing the rest first.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, replace

from voyage_jobs.core.clock import US, iso, now_us
from voyage_jobs.core.plural import counted
from voyage_jobs.core.states import BEFORE_THE_JOB, Batch
from voyage_jobs.diagnosis.batch_conditions import text_missing
from voyage_jobs.diagnosis.blocker import FRESH, SENDING, SUBMIT, Blocker, Mover, keeping, worst_first
from voyage_jobs.diagnosis.causes import blockers
from voyage_jobs.diagnosis.circuits import account_refused
from voyage_jobs.diagnosis.snapshot import Moment, Run, gate, moment_of
from voyage_jobs.notify.delivery import Delivery
from voyage_jobs.notify.notifier import Notifier
from voyage_jobs.service.clockwatch import ClockWatch
from voyage_jobs.service.signals import Signals
from voyage_jobs.state import backlog, circuits
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.open_work import OpenWork, Work, count_stuck, mark, open_work, work_since
from voyage_jobs.state.rebuild import progress
from voyage_jobs.steps import budget, known_jobs
from voyage_jobs.steps import circuits as circuit
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.pausing import resting
from voyage_jobs.steps.pipeline import Pipeline
from voyage_jobs.steps.set_back import Jobs

_DELIVERY_S = 2.0
_GIVES_UP = 8
"""So many failures in a row of a batch that is on its way out: `sync` does not wait for it any longer."""
_SOON_S = 60.0
_SLACK_S = 1.0  # beyond --timeout, for a call that is about to be answered


class Ending(enum.Enum):
    """How a `sync` came to its end."""

    DONE = "done"
    UNFINISHED = "unfinished"  # work remains, or something failed
    REFUSED = "refused"  # the provider refuses the key or the account
    OPERATOR = "person"  # you must decide
    STOPPED = "stopped"  # a signal asked to stop


@dataclass(frozen=True)
class Outcome:
    """What a `sync` did, what is left, and how it ended. `elapsed_s` is monotonic time."""

    ending: Ending
    work: Work
    problems: list[Blocker]
    """What is not done, and why; what is refused, then what waits for your decision, comes first."""
    in_flight: list[BatchRow]
    elapsed_s: float


class Sync:
    """One run. `wait=False` sends and collects what it can without waiting for jobs. `timeout_s` bounds it all.

    `max_usd` and `max_tokens` bound what is sent, beside the limits of the configuration.

    `watch` hears what is left to do before every wait.
    """

    def __init__(
        self,
        context: Context,
        signals: Signals,
        *,
        wait: bool = True,
        most_inputs: int | None = None,
        max_usd: float | None = None,
        max_tokens: int | None = None,
        timeout_s: float | None = None,
        watch: Callable[[OpenWork], None] | None = None,
    ) -> None:
        self._context = context
        self._signals = signals
        self._wait = wait
        self._max_usd, self._max_tokens = max_usd, max_tokens
        self._limited = most_inputs is not None
        self._delivery = Delivery(lambda: None)
        self._notifier = Notifier(context, self._delivery)
        self._pipeline = Pipeline(
            context, eager=True, most_inputs=most_inputs, scan_once=True, notifier=self._notifier
        )
        self._watch = watch
        self._said: dict[str, int] = {}
        self._began = context.clock.mono()
        self._deadline = None if timeout_s is None else self._began + timeout_s

    def run(self) -> Outcome:
        """Do what there is to do. Raises what the steps cannot live with."""
        context = self._context
        context.stopping = self._signals.stopping
        if self._deadline is not None:
            context.client.give_up_at = self._deadline + _SLACK_S
        circuit.try_again(context)
        budget.begin_run(context, self._max_usd, self._max_tokens, self._pipeline.most_inputs)
        clock_watch = ClockWatch(context.clock)
        with context.store.read() as connection:
            then = mark(connection)
        while not (over := self._over(did := self._pipeline.turn())):
            if clock_watch.stepped_s() < 0:
                self._pipeline.clock_was_set_back()
            if not did:
                context.clock.wait(self._pause_s(), self._signals.wake)
                self._signals.wake.clear()  # whatever rang is looked at in this turn
        context.client.give_up_at = None
        with context.store.read() as connection:
            work = work_since(connection, then)
        rest = self._rest()
        problems = self._problems(rest, over)
        ending = _ending(over, problems)
        self._tell(ending, problems)
        elapsed_s = context.clock.mono() - self._began
        return Outcome(ending, work, problems, rest.open_batches, elapsed_s)

    def _tell(self, ending: Ending, problems: list[Blocker]) -> None:
        """The last word to whoever is to be told; what cannot be delivered in time stays noted for the next process."""
        words = "; ".join(f"{problem.code}: {problem.next}" for problem in problems)
        self._notifier.heartbeat.end(good=ending is Ending.DONE, words=words or f"sync: {ending.value}")
        self._notifier.finish(self._context.settings.notify.timeout_s + _DELIVERY_S)
        self._delivery.close()

    # --- when to end ---

    def _over(self, did: bool) -> str | None:
        """Why it is over, or None if it is not."""
        if self._signals.stopping.is_set():
            return "stopped"
        with self._context.store.read() as connection:
            open_circuits = circuits.tripped(connection)
        if account_refused(open_circuits.values()) is not None:
            return "refused"
        if self._deadline is not None and self._context.clock.mono() >= self._deadline:
            return "timeout"
        if did:
            return None
        rest = self._rest()
        if not self._can_move(rest):
            return "quiet"
        self._say_what_is_waited_for(rest)
        if self._watch is not None:
            self._watch(rest)
        return None

    def _say_what_is_waited_for(self, rest: OpenWork) -> None:
        """A circuit that is open may stay so for an hour: say so once, and until when."""
        waits = {
            each.name: each.until_at for each in rest.circuits.values() if self._is_closed(rest, each.name)
        }
        for name in waits.keys() - self._said.keys():
            each = rest.circuits[name]
            self._context.log.info(
                "sync.deferred", code=each.code, until=iso(each.until_at), error=each.message
            )
        self._said = waits

    def _can_move(self, rest: OpenWork) -> bool:
        """Whether time alone will bring something that this run is to wait for."""
        awaited = self._context.memory(Jobs).awaited and (
            self._wait or not known_jobs.has_failed(self._context)
        )
        waits_to_send = rest.claiming or awaited
        if self._unscanned() or (waits_to_send and not rest.pauses.by_what):
            return True
        if not self._wait:
            return self._sending_soon(rest)
        if circuits.DISK in rest.circuits and (rest.wanted or rest.ready or rest.retiring):
            return True
        if circuits.TABLE in rest.circuits and (rest.ready or rest.retiring):
            return True
        if self._moving(rest):
            return True
        gives_up = any(
            each.failures >= _GIVES_UP for each in rest.open_batches if each.state in BEFORE_THE_JOB
        )
        return gives_up and not self._is_stopped() and self._is_outage(rest)

    def _is_stopped(self) -> bool:
        """Whether only you let anything be sent."""
        with self._context.store.read() as connection:
            found = blockers(gate(self._context, connection))
        return any(each.moved_by in (Mover.DECISION, Mover.OPERATOR) for each in keeping(found, SUBMIT))

    def _moving(self, rest: OpenWork) -> list[BatchRow]:
        """Open batches that time moves on within reason."""
        at_voyage = [batch for batch in rest.open_batches if batch.state not in BEFORE_THE_JOB]
        unsent = [
            batch
            for batch in rest.open_batches
            if batch.state in BEFORE_THE_JOB and batch.failures < _GIVES_UP
        ]
        return at_voyage if unsent and self._is_stopped() else at_voyage + unsent

    def _is_outage(self, rest: OpenWork) -> bool:
        """Whether the provider answers nobody: that is waited for, however often a batch fails meanwhile.

        If it is just over, what it kept back has its try first.
        """
        if self._is_closed(rest, circuits.VENDOR):
            return True
        return not circuit.api_answers(self._context) or circuits.VENDOR in rest.circuits

    def _sending_soon(self, rest: OpenWork) -> bool:
        """Without waiting for jobs: whether a batch is on its way to the provider and only a moment is missing."""
        held_up = self._is_closed(rest, circuits.CREATE)
        soon = now_us(self._context.clock) + int(_SOON_S * US)
        return any(
            batch.state in BEFORE_THE_JOB
            and batch.due_at <= soon
            and not (held_up and batch.state is Batch.UPLOADED)
            for batch in self._moving(rest)
        )

    def _is_closed(self, rest: OpenWork, name: str) -> bool:
        return name in rest.circuits and rest.circuits[name].until_at > now_us(self._context.clock)

    def _unscanned(self) -> bool:
        rest = resting(self._context)
        wanted = {each.name for each in self._context.settings.sources if not rest.rests(each.name)}
        return self._pipeline.scanning is not None or bool(wanted - self._pipeline.scans.keys())

    def _pause_s(self) -> float:
        idle_s = self._pipeline.idle_s()
        if self._deadline is None:
            return idle_s
        return max(0.0, min(idle_s, self._deadline - self._context.clock.mono()))

    def _rest(self) -> OpenWork:
        with self._context.store.read() as connection:
            return open_work(connection, self._context.profile_id, now_us(self._context.clock))

    # --- what is left ---

    def _problems(self, rest: OpenWork, over: str) -> list[Blocker]:
        """The reasons that keep something back of what is left; of those that are the ordinary course the first."""
        quiet, found = over == "quiet", blockers(self._moment(over))
        busy = bool(rest.open_batches or rest.wanted or rest.ready or rest.retiring)
        left = [each for each in found if _is_left(each, busy=busy)]
        known = [each for each in (*left, *found) if each.stops & SENDING]
        if quiet and rest.wanted and known:
            text = f"{counted(rest.wanted, 'embedding')} still to be sent: {known[0].text}"
            left = [each for each in left if each is not known[0]] + [replace(known[0], text=text)]
        if quiet and rest.ready and not any("publish" in each.stops for each in left):
            what = counted(rest.ready, "document")
            left.append(text_missing(f"{what} cannot be shown: vectors are here, files changed or gone"))
        return worst_first(replace(each, severity="problem") for each in left)

    def _moment(self, over: str) -> Moment:
        context = self._context
        with context.store.read() as connection:
            found = moment_of(context, connection)
            failed, cancelled = count_stuck(connection)
            done = None if context.build is None else progress(connection, context.profile_id)
            waiting = backlog.by_source(connection, context.profile_id)
        return replace(
            found,
            waiting_by_source=waiting,
            failed=failed,
            cancelled=cancelled,
            progress=done,
            run=Run(
                quiet=over == "quiet",
                timed_out=over == "timeout",
                most_inputs_reached=self._limited and (self._pipeline.most_inputs or 0) <= 0,
                planned=context.only is not None,
            ),
        )


def _is_left(each: Blocker, *, busy: bool) -> bool:
    """Whether a `sync` has to tell it: something is kept back by it now, and not only for a moment."""
    if each.severity == "wait" or not each.stops - {FRESH}:
        return False
    if each.circuit and each.moved_by is not Mover.ACCOUNT:
        return busy
    return not (each.batch and each.severity == "info")


def _ending(over: str, problems: list[Blocker]) -> Ending:
    movers = {problem.moved_by for problem in problems}
    if over == "stopped":
        return Ending.STOPPED
    if Mover.ACCOUNT in movers:
        return Ending.REFUSED
    if Mover.DECISION in movers:
        return Ending.OPERATOR
    return Ending.UNFINISHED if problems else Ending.DONE


def deadline_s(open_batches: list[BatchRow], now: int) -> float | None:
    """Seconds until the first of these batches is over by the provider's promise; None if none runs yet."""
    deadlines = [batch.deadline_at for batch in open_batches if batch.deadline_at is not None]
    return (min(deadlines) - now) / US if deadlines else None
