"""`sync`: take turns until everything is done that can be done, and say what is left and why.

It ends when every source was scanned once to its end, nothing is under way, nothing waits that could be sent, and the
table shows what is ready. What only a person or time can move on does not keep it from doing the rest first.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from voyage_jobs.clock import US, iso, now_us
from voyage_jobs.clockwatch import ClockWatch
from voyage_jobs.notify.courier import Courier
from voyage_jobs.notify.teller import Teller
from voyage_jobs.plural import counted
from voyage_jobs.signals import Signals
from voyage_jobs.state import embeddings, lanes
from voyage_jobs.state.batches import SEND_REFUSED, UNUSABLE, BatchRow
from voyage_jobs.state.lanes import Lane
from voyage_jobs.state.rebuild import progress
from voyage_jobs.state.remaining import Remaining, Work, count_stuck, mark, remaining, work_since
from voyage_jobs.states import BEFORE_THE_JOB, Batch
from voyage_jobs.steps import budget
from voyage_jobs.steps import lanes as lane
from voyage_jobs.steps import rebuild_words as words
from voyage_jobs.steps.budget import Room
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.pausing import resting
from voyage_jobs.steps.pipeline import Pipeline

REFUSALS = ("auth", "quota")
FOR_A_PERSON = frozenset(
    {"parked", "frozen", "profile_changed", "reprofile_blocked", "unusable_results", SEND_REFUSED}
)
"""Codes of problems that only an operator can end."""
_GOES_ON = "The next `voyage-jobs sync` or `voyage-jobs run` goes on with it."
_DELIVERY_S = 2.0
_GIVES_UP = 8
"""So many failures in a row of a batch that is on its way out: `sync` does not wait for it any longer."""
_SOON_S = 60.0
_WORTH_TELLING = 3  # failures in a row
_SLACK_S = 1.0  # beyond --timeout, for a call that is about to be answered
_REFS = 5  # refs named in one message


class Ending(enum.Enum):
    """How a `sync` came to its end."""

    DONE = "done"
    UNFINISHED = "unfinished"  # work remains, or something failed
    REFUSED = "refused"  # the vendor refuses the key or the account
    PERSON = "person"  # a person must decide
    STOPPED = "stopped"  # a signal asked to stop


@dataclass(frozen=True)
class Problem:
    """Something that is not done: a short code, the facts, and what to do about it."""

    code: str
    message: str
    hint: str


@dataclass(frozen=True)
class Outcome:
    """What a `sync` did, what is left, and how it ended. `elapsed_s` is monotonic time."""

    ending: Ending
    work: Work
    problems: list[Problem]
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
        watch: Callable[[Remaining], None] | None = None,
    ) -> None:
        self._context = context
        self._signals = signals
        self._wait = wait
        self._max_usd, self._max_tokens = max_usd, max_tokens
        self._limited = most_inputs is not None
        self._courier = Courier(lambda: None)
        self._teller = Teller(context, self._courier)
        self._pipeline = Pipeline(
            context, eager=True, most_inputs=most_inputs, scan_once=True, teller=self._teller
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
        lane.try_again(context)
        budget.begin_run(context, self._max_usd, self._max_tokens)
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
        problems = list(self._problems(rest, over))
        ending = _ending(over, problems)
        self._tell(ending, problems)
        elapsed_s = context.clock.mono() - self._began
        return Outcome(ending, work, problems, rest.open_batches, elapsed_s)

    def _tell(self, ending: Ending, problems: list[Problem]) -> None:
        """The last word to whoever is to be told; what cannot be delivered in time stays noted for the next process."""
        words = "; ".join(f"{problem.code}: {problem.hint}" for problem in problems)
        self._teller.pulse.end(good=ending is Ending.DONE, words=words or f"sync: {ending.value}")
        self._teller.finish(self._context.settings.notify.timeout_s + _DELIVERY_S)
        self._courier.close()

    # --- when to end ---

    def _over(self, did: bool) -> str | None:
        """Why it is over, or None if it goes on."""
        if self._signals.stopping.is_set():
            return "stopped"
        if _refusal(self._closed_lanes()) is not None:
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

    def _say_what_is_waited_for(self, rest: Remaining) -> None:
        """A circuit that is open may stay so for an hour: say so once, and until when."""
        waits = {each.name: each.until_at for each in rest.lanes.values() if self._is_closed(rest, each.name)}
        for name in waits.keys() - self._said.keys():
            each = rest.lanes[name]
            self._context.log.info("sync.waits", code=each.code, until=iso(each.until_at), error=each.message)
        self._said = waits

    def _can_move(self, rest: Remaining) -> bool:
        """Whether time alone will bring something that this run is to wait for."""
        waits_to_send = rest.claiming or self._context.jobs_awaited
        if self._unscanned() or (waits_to_send and not rest.pauses.by_what):
            return True
        if not self._wait:
            return self._sending_soon(rest)
        if lanes.DISK in rest.lanes and (rest.wanted or rest.ready or rest.retiring):
            return True
        if _moving(rest):
            return True
        return _fails_on(rest) and self._is_outage(rest)

    def _is_outage(self, rest: Remaining) -> bool:
        """Whether the provider answers nobody: that is waited for, however often a batch fails meanwhile.

        If it is just over, what it kept back has its try first.
        """
        if self._is_closed(rest, lanes.VENDOR):
            return True
        return not lane.api_answers(self._context) or lanes.VENDOR in rest.lanes

    def _sending_soon(self, rest: Remaining) -> bool:
        """Without waiting for jobs: whether a batch is on its way to the vendor and only a moment is missing."""
        held_up = self._is_closed(rest, lanes.CREATE)
        soon = now_us(self._context.clock) + int(_SOON_S * US)
        return any(
            batch.state in BEFORE_THE_JOB
            and batch.due_at <= soon
            and not (held_up and batch.state is Batch.UPLOADED)
            for batch in _moving(rest)
        )

    def _is_closed(self, rest: Remaining, name: str) -> bool:
        return name in rest.lanes and rest.lanes[name].until_at > now_us(self._context.clock)

    def _unscanned(self) -> bool:
        rest = resting(self._context)
        wanted = {each.name for each in self._context.settings.sources if not rest.rests(each.name)}
        return self._pipeline.scanning is not None or bool(wanted - self._pipeline.scans.keys())

    def _pause_s(self) -> float:
        idle_s = self._pipeline.idle_s()
        if self._deadline is None:
            return idle_s
        return max(0.0, min(idle_s, self._deadline - self._context.clock.mono()))

    def _closed_lanes(self) -> dict[str, Lane]:
        with self._context.store.read() as connection:
            return lanes.closed(connection)

    def _rest(self) -> Remaining:
        with self._context.store.read() as connection:
            return remaining(connection, self._context.profile_id, now_us(self._context.clock))

    # --- what is left ---

    def _problems(self, rest: Remaining, over: str) -> Iterator[Problem]:
        refusal = _refusal(rest.lanes)
        if refusal is not None:
            yield refusal
        yield from _for_a_person(rest)
        yield from _paused(rest)
        yield from self._other_vectors(over)
        yield from self._stuck()
        yield from self._in_trouble(rest)
        yield from _failing(rest.open_batches)
        if rest.open_batches:
            yield _in_flight(rest.open_batches)
        if over == "timeout":
            yield Problem("timeout", "The time given by --timeout is over.", _GOES_ON)
        may_send = self._context.may_send and not rest.pauses.by_what
        if over == "quiet" and rest.wanted and may_send:
            yield self._unsent(rest)
        held_back = self._context.build is not None  # until the new table is complete
        if over == "quiet" and rest.ready and not held_back and lanes.DISK not in rest.lanes:
            yield Problem(
                "text_missing",
                f"{counted(rest.ready, 'document')} cannot be shown: vectors are here, files changed or gone.",
                "Nothing to do: the next scan that finds the files reads them again.",
            )

    def _other_vectors(self, over: str) -> Iterator[Problem]:
        """The configuration asks for other vectors, or a table with other vectors is not complete yet."""
        context = self._context
        if not context.may_send:
            yield Problem("profile_changed", *words.changed(context.asked, context.profile, context.build))
        if context.build is None:
            return
        with context.store.read() as connection:
            found = progress(connection, context.profile_id)
        if over == "quiet" and found.blocked and not context.build.leave_out:
            yield Problem("reprofile_blocked", words.blocked(found), words.BLOCKED_HINT)
        else:
            yield Problem("reprofiling", words.building(context.build, found), _GOES_ON)

    def _stuck(self) -> Iterator[Problem]:
        with self._context.store.read() as connection:
            failed, cancelled = count_stuck(connection)
        if failed:
            message = f"{counted(failed, 'embedding')} failed."
            yield Problem(
                "failed", message, "`voyage-jobs status` says why, `voyage-jobs retry` tries them again."
            )
        if cancelled:
            message = f"Cancelled and still needed: {counted(cancelled, 'embedding')}."
            yield Problem("cancelled", message, "`voyage-jobs retry` wants them again.")

    def _in_trouble(self, rest: Remaining) -> Iterator[Problem]:
        busy = bool(rest.open_batches or rest.wanted or rest.ready or rest.retiring)
        for each in rest.lanes.values():
            if each.code not in REFUSALS and busy:
                yield Problem(each.code, each.message, each.hint or _GOES_ON)

    def _unsent(self, rest: Remaining) -> Problem:
        """Why embeddings are wanted and were not sent."""
        waiting = f"{counted(rest.wanted, 'embedding')} still to be sent"
        if self._limited and (self._pipeline.most_inputs or 0) <= 0:
            return Problem(
                "max_inputs", f"{waiting}: --max-inputs is reached.", "`voyage-jobs sync` sends the rest."
            )
        tight = self._tightest()
        if tight is not None:
            key = budget.setting_of(tight)
            if tight.anew_at is None:
                return Problem("budget", f"{waiting}: {key} is reached, the limit of one run.", _GOES_ON)
            return Problem(
                "budget",
                f"{waiting}: {key} is reached until {iso(tight.anew_at)}.",
                f"Raise {key}, or let it go on then: `voyage-jobs sync` or `voyage-jobs run`.",
            )
        stopped = _sending_stopped(rest, waiting, self._context.vendor.title)
        if stopped is not None:
            return stopped
        if self._context.only is not None:
            return Problem(
                "not_planned", f"{waiting} that are not in the plan.", "`voyage-jobs sync` sends the rest."
            )
        if rest.open_batches:
            return Problem("in_flight_full", f"{waiting} until batches under way make room.", _GOES_ON)
        return Problem(
            "text_missing",
            f"{waiting}, but their files have changed or gone.",
            "Nothing to do: the next scan that finds the files reads them again.",
        )

    def _tightest(self) -> Room | None:
        """The limit that keeps back most of what waits, if any does."""
        context = self._context
        with context.store.read() as connection:
            waiting = embeddings.waiting_by_source(connection, context.profile_id)
            found = list(budget.rooms(connection, context.settings, context.price, now_us(context.clock)))
        total = sum(waiting.values())
        kept = [
            (total if room.source_id is None else waiting.get(room.source_id, 0)) - max(0, room.tokens)
            for room in found
        ]
        tight = max(zip(kept, found, strict=True), key=lambda each: each[0], default=None)
        return None if tight is None or tight[0] <= 0 else tight[1]


def _refusal(closed: dict[str, Lane]) -> Problem | None:
    vendor = closed.get(lanes.VENDOR)
    if vendor is None or vendor.code not in REFUSALS:
        return None
    return Problem(
        vendor.code, vendor.message, vendor.hint or "Nothing was lost. Mend it, then run it again."
    )


def _for_a_person(rest: Remaining) -> Iterator[Problem]:
    for batch in rest.parked:
        message = f"Batch {batch.ref} with {counted(batch.inputs, 'text')} is parked: {batch.reason}"
        yield Problem("parked", message, batch.hint or "`voyage-jobs retry`")
    for source in rest.frozen:
        yield Problem(
            "frozen",
            f"Source {source.name} is frozen: {source.frozen_reason}. Nothing of it is deleted.",
            f"If that is meant: `voyage-jobs confirm-deletes {source.name}`.",
        )


def _failing(open_batches: list[BatchRow]) -> Iterator[Problem]:
    """Batches that fail alone, while the others go on."""
    for batch in open_batches:
        if batch.code is not None and batch.failures >= _WORTH_TELLING:
            message = f"Batch {batch.ref} with {counted(batch.inputs, 'text')} failed {batch.failures} times in a row"
            yield Problem("failing", f"{message}: {batch.error}", f"It is tried again. {_GOES_ON}")


def _sending_stopped(rest: Remaining, waiting: str, provider: str) -> Problem | None:
    """Sending as a whole has stopped: the provider refuses every batch, or its answers cannot be read."""
    unusable = next((batch for batch in rest.parked if batch.code == UNUSABLE), None)
    if unusable is not None:
        message = (
            f"{waiting}: the results of batch {unusable.ref} cannot be used, and the next would be no better."
        )
        return Problem("unusable_results", message, unusable.hint or "`voyage-jobs retry`")
    create = rest.lanes.get(lanes.CREATE)
    if create is not None and create.code == SEND_REFUSED:
        message = f"{waiting}: {provider} refuses one batch after another: {create.message}"
        return Problem(SEND_REFUSED, message, create.hint or _GOES_ON)
    return None


def _is_stopped(rest: Remaining) -> bool:
    """Whether only an operator lets anything be sent."""
    create = rest.lanes.get(lanes.CREATE)
    refused = create is not None and create.code == SEND_REFUSED
    unusable = any(batch.code == UNUSABLE for batch in rest.parked)
    return rest.pauses.all_sending or refused or unusable


def _fails_on(rest: Remaining) -> bool:
    """Whether a batch on its way out has failed so often that it is not waited for while others come through."""
    return not _is_stopped(rest) and any(
        batch.state in BEFORE_THE_JOB and batch.failures >= _GIVES_UP for batch in rest.open_batches
    )


def _moving(rest: Remaining) -> list[BatchRow]:
    """Open batches that time moves on within reason."""
    if _is_stopped(rest):
        return [batch for batch in rest.open_batches if batch.state not in BEFORE_THE_JOB]
    return [
        batch
        for batch in rest.open_batches
        if batch.state not in BEFORE_THE_JOB or batch.failures < _GIVES_UP
    ]


def _paused(rest: Remaining) -> Iterator[Problem]:
    for pause in rest.pauses.by_what.values():
        yield Problem("paused", str(pause), f"`{pause.ended_by}` lets it go on.")


def _in_flight(open_batches: list[BatchRow]) -> Problem:
    inputs = sum(batch.inputs for batch in open_batches)
    message = f"Under way: {counted(len(open_batches), 'batch')} with {counted(inputs, 'input')}: {refs(open_batches)}."
    return Problem("in_flight", message, f"Nothing is lost. {_GOES_ON}")


def refs(open_batches: list[BatchRow]) -> str:
    """Their refs, the first few."""
    named = ", ".join(batch.ref for batch in open_batches[:_REFS])
    return named + (f" and {len(open_batches) - _REFS} more" if len(open_batches) > _REFS else "")


def _ending(over: str, problems: list[Problem]) -> Ending:
    codes = {problem.code for problem in problems}
    if over == "stopped":
        return Ending.STOPPED
    if codes & set(REFUSALS):
        return Ending.REFUSED
    if codes & FOR_A_PERSON:
        return Ending.PERSON
    return Ending.UNFINISHED if problems else Ending.DONE


def deadline_s(open_batches: list[BatchRow], now: int) -> float | None:
    """Seconds until the first of these batches is over by the vendor's promise; None if none runs yet."""
    deadlines = [batch.deadline_at for batch in open_batches if batch.deadline_at is not None]
    return (min(deadlines) - now) / US if deadlines else None
