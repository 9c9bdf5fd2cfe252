"""When calls wait, for how long, and who is told: one thing that fails waits alone, a shared cause stops all.

**Items.** A batch whose call failed is put off (`put_off`): its own count, its own wait by the policy of what failed
(`retry.POLICIES`), and everybody else goes on.

**Shared circuits.** `vendor` stops every call, `create` stops new jobs. They open only for a shared cause: when two
different items fail alike with no success in between, when the answer is about the account (key, quota, rate limit,
in-flight limit), or when one batch after another is refused. After the wait each step may make one call in a turn,
on the item that has failed least, so that a sick item cannot keep the circuit open: the first success closes it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from voyage_jobs.core import retry
from voyage_jobs.core.clock import US, now_us
from voyage_jobs.errors import (
    AuthError,
    BadAnswerError,
    InterceptedError,
    NotSentError,
    QuotaError,
    RateLimitedError,
    RefusedError,
    TableAwayError,
    VendorError,
)
from voyage_jobs.state import batches, circuits
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.store import Tx
from voyage_jobs.steps import step_errors
from voyage_jobs.steps.context import Context

OUTAGE = 5
"""A circuit that was found open so often in a row was an outage: when it closes, every batch is tried again at once."""
NO_ROOM = "in_flight_limit"
"""The code of a circuit that waits for room for another job."""
PLAIN_QUESTION = "a plain question"
ENGINE = "the engine"
ALIKE = 2
"""So many different items that fail alike, with no success in between, are a shared cause."""

_CODES: tuple[tuple[type[VendorError], str], ...] = (
    (AuthError, "auth"),
    (QuotaError, "quota"),
    (RateLimitedError, "rate_limited"),
    (NotSentError, "unreachable"),
    (BadAnswerError, "bad_answer"),
    (InterceptedError, "intercepted"),
)


def code_of(error: VendorError) -> str:
    """A short word for the kind of error."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), "unavailable")


# --- one item ---


def is_about_the_account(error: VendorError) -> bool:
    """Whether every call would have met this: the key, the account's means, its rate."""
    return isinstance(error, AuthError | QuotaError | RateLimitedError)


def put_off(context: Context, tx: Tx, batch: BatchRow, policy: str, error: VendorError) -> int:
    """This batch failed: it waits by its policy, alone. Returns its failures in a row under this policy.

    What is about the account is not counted against the batch: the shared circuit waits, and the batch goes when that
    may be tried.
    """
    if is_about_the_account(error):
        return batches.failures_of(batch, policy)
    return wait_alone(context, tx, batch, policy, error)


def wait_alone(context: Context, tx: Tx, batch: BatchRow, policy: str, error: VendorError) -> int:
    """The same, whatever the cause: for a batch whose trouble is that of no other call."""
    failures = batches.failures_of(batch, policy) + 1
    wait_s = max(retry.wait_s(policy, failures, context.clock), error.retry_after_s or 0.0)
    batches.put_off(tx, batch, policy, failures, tx.now + int(wait_s * US), error.message, error.hint)
    context.observer.put_off(policy)
    context.log.warning(
        "batch.deferred",
        ref=batch.ref,
        code=policy,
        failures=failures,
        wait_s=round(wait_s, 1),
        error=error.message,
    )
    return failures


@dataclass
class Failures:
    """What this process remembers of calls that failed."""

    alike: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    """(Circuit, kind of error) -> the items that failed so since the last success."""
    resting: dict[str, tuple[int, float]] = field(default_factory=dict)
    """Item without a row of its own -> its failures in a row, and until when (monotonic) it waits."""
    probing: set[str] = field(default_factory=set)
    """The circuits that are probed in this turn."""
    no_job_before: float = float("-inf")
    """Until when (monotonic) the provider has asked not to be asked for another job."""


def rests(context: Context, item: str) -> bool:
    """Whether something that has no row of its own, a list for example, waits after a failure."""
    _, until = context.memory(Failures).resting.get(item, (0, float("-inf")))
    return context.clock.mono() < until


def tries(context: Context, item: str) -> int:
    """How often in a row something without a row of its own has failed."""
    return context.memory(Failures).resting.get(item, (0, 0.0))[0]


def end_rest(context: Context, item: str) -> None:
    """It has come through: it waits no more."""
    context.memory(Failures).resting.pop(item, None)


def let_rest(context: Context, item: str, policy: str) -> None:
    """The same for such a thing: it failed, and waits by its policy, as long as this process lives."""
    failures = tries(context, item) + 1
    until = context.clock.mono() + retry.wait_s(policy, failures, context.clock)
    context.memory(Failures).resting[item] = (failures, until)


def healthiest_first(found: list[BatchRow]) -> list[BatchRow]:
    """What has failed least comes first: one call may be all that can be made. Of what is well the fresh lane does."""
    return sorted(found, key=lambda batch: (batch.failures, not batch.is_fresh, batch.due_at, batch.id))


# --- shared circuits ---


def begin_turn(context: Context) -> None:
    """A circuit whose wait is over is probed in this turn, by one call of each step."""
    now = now_us(context.clock)
    with context.store.read() as connection:
        context.memory(Failures).probing = {
            each.name for each in circuits.tripped(connection).values() if each.until_at <= now
        }


def calls_allowed(context: Context, *names: str) -> int:
    """How many calls a step may make now: none, one (a probe), or as many as it likes."""
    now = now_us(context.clock)
    with context.store.read() as connection:
        closed = circuits.tripped(connection)
    shut = [closed[name] for name in names if name in closed]
    if not shut:
        return sys.maxsize
    return int(all(each.until_at <= now or each.name in context.memory(Failures).probing for each in shut))


class Calls:
    """The calls that one step may make in one turn: `more` is asked before each item."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._probed: set[tuple[str, ...]] = set()

    def more(self, *names: str) -> bool:
        """Whether another call may be made through these circuits (`vendor` if none is named)."""
        names = names or (circuits.VENDOR,)
        allowed = calls_allowed(self._context, *names)
        if allowed == 1:  # a circuit is probed: a first success closes it, and the rest may go
            allowed = int(names not in self._probed)
            self._probed.add(names)
        return allowed > 0


def may_pass(context: Context, *names: str) -> bool:
    """Whether calls through these circuits may be made now."""
    return calls_allowed(context, *names) > 0


def failed(context: Context, item: str, error: VendorError, name: str = circuits.VENDOR) -> None:
    """A call about `item` failed: see whether the cause is shared."""
    with context.store.write() as tx:
        failed_in(context, tx, item, error, name)


def failed_in(context: Context, tx: Tx, item: str, error: VendorError, name: str = circuits.VENDOR) -> None:
    """The same inside an open transaction."""
    if isinstance(error, AuthError | QuotaError):
        _open(context, tx, circuits.VENDOR, "account", error)
    elif isinstance(error, RateLimitedError):
        _open(context, tx, circuits.VENDOR, "voyage", error)
    elif isinstance(error, RefusedError):
        return  # about this item, in the API's own words
    elif name in circuits.tripped(tx.connection):
        _open(context, tx, name, _POLICY_OF[name], error)
    else:
        alike = context.memory(Failures).alike.setdefault((name, code_of(error)), set())
        alike.add(item)
        if len(alike) >= ALIKE:
            _open(context, tx, name, _POLICY_OF[name], error)


_POLICY_OF = {circuits.VENDOR: "voyage", circuits.CREATE: "create"}


def _open(context: Context, tx: Tx, name: str, policy: str, error: VendorError) -> None:
    before = circuits.tripped(tx.connection).get(name)
    if before is not None and before.until_at > tx.now:
        return  # another step of this turn has found out already
    failures = before.failures + 1 if before else 1
    wait_s = max(retry.wait_s(policy, failures, context.clock), error.retry_after_s or 0.0)
    code = code_of(error)
    circuits.trip(tx, name, tx.now + int(wait_s * US), failures, code, error.message, error.hint)
    step_errors.note(context, tx, step_errors.step_now(context), code, error.message, error.hint)
    context.observer.put_off(code)
    log = context.log.error if policy == "account" else context.log.warning
    log(
        "circuit.opened",
        circuit=name,
        code=code,
        failures=failures,
        wait_s=round(wait_s, 1),
        error=error.message,
    )


def create_must_wait(context: Context, tx: Tx, error: VendorError) -> None:
    """The provider takes no other job now: the rest goes on, new jobs wait."""
    asked_s = error.retry_after_s or 0.0
    wait_s = max(context.settings.section.create_retry_s, asked_s)
    context.memory(Failures).no_job_before = context.clock.mono() + asked_s
    hint = (
        "Nothing to do: jobs that end make room. Lower batching.max_in_flight_* if others share the account."
    )
    _stop_creating(context, tx, wait_s, NO_ROOM, error.message, hint)


def job_has_ended(context: Context, tx: Tx) -> None:
    """A job of ours has left: where there was no room for another, one is tried now, not when the wait is over."""
    found = circuits.tripped(tx.connection).get(circuits.CREATE)
    asked = context.memory(Failures).no_job_before > context.clock.mono()
    if found is not None and found.code == NO_ROOM and not asked:
        circuits.due_now(tx, circuits.CREATE)


def no_text_came_through(context: Context, tx: Tx, failures: int, message: str) -> None:
    """So many jobs in a row brought no vector, for a passing reason: new ones wait, longer each time."""
    wait_s = retry.wait_s("create", failures, context.clock)
    _stop_creating(context, tx, wait_s, "unavailable", message, None, failures)


def sending_is_refused(context: Context, tx: Tx, error: VendorError) -> None:
    """The provider refuses one batch after another: no other is sent until one of them goes through."""
    wait_s = retry.wait_s("create_refused", 1, context.clock)
    _stop_creating(context, tx, wait_s, batches.SEND_REFUSED, error.message, _REFUSED_HINT)


def model_is_refused(context: Context, tx: Tx, message: str) -> None:
    """The provider has no such model: nothing is sent for it until a try goes through, or the settings are others."""
    wait_s = retry.wait_s("create_refused", 1, context.clock)
    hint = _MODEL_HINT.format(section=context.settings.section_name)
    _stop_creating(context, tx, wait_s, batches.MODEL_REFUSED, message, hint)


def job_was_made(context: Context) -> None:
    """A job was created: what kept new ones back is over.

    But for a model that is refused, where the provider may say so after a job was made: this one is the try, and
    nothing else is sent until it is known to be sound (`model_is_known`).
    """
    if not model_is_unknown(context):
        fine(context, circuits.CREATE)
        return
    with context.store.write() as tx:
        found = circuits.tripped(tx.connection)[circuits.CREATE]
        until = tx.now + int(retry.wait_s("create_refused", 1, context.clock) * US)
        circuits.trip(tx, circuits.CREATE, until, found.failures, found.code, found.message, found.hint)


def model_is_known(context: Context) -> None:
    """The provider has embedded something by the model: it is not refused any more."""
    if model_is_unknown(context):
        fine(context, circuits.CREATE)


def model_is_unknown(context: Context) -> bool:
    """Whether nothing is sent because the provider has no such model."""
    with context.store.read() as connection:
        found = circuits.tripped(connection).get(circuits.CREATE)
    return found is not None and found.code == batches.MODEL_REFUSED


_REFUSED_HINT = (
    "Correct the provider's settings as this message says, then `voyage-jobs retry`. One batch is tried every hour;"
    " jobs that run are collected meanwhile."
)
_MODEL_HINT = (
    "Correct {section}.model, then restart or reload, or `voyage-jobs retry` if it was the account. One batch is tried"
    " every hour, which costs nothing; jobs that run are collected meanwhile."
)


def _stop_creating(
    context: Context,
    tx: Tx,
    wait_s: float,
    code: str,
    message: str,
    hint: str | None,
    failures: int | None = None,
) -> None:
    if failures is None:
        before = circuits.tripped(tx.connection).get(circuits.CREATE)
        failures = before.failures + 1 if before else 1
    circuits.trip(tx, circuits.CREATE, tx.now + int(wait_s * US), failures, code, message, hint)
    context.observer.put_off(code)
    context.log.warning("create.deferred", code=code, wait_s=round(wait_s), error=message)


def stop(
    context: Context, name: str, code: str, message: str, hint: str | None, *, least_s: float = 0.0
) -> float:
    """What a kind of work needs is not to be had: it waits, by the policy of that name and at least `least_s`, and
    `status` says so. Returns the wait in seconds."""
    with context.store.read() as connection:
        before = circuits.tripped(connection).get(name)
    failures = before.failures + 1 if before else 1
    wait_s = max(least_s, retry.wait_s(name, failures, context.clock))
    with context.store.write() as tx:
        circuits.trip(tx, name, tx.now + int(wait_s * US), failures, code, message, hint)
        step_errors.note(context, tx, name, code, message, hint)
    context.observer.put_off(code)
    return wait_s


def table_is_away(context: Context, error: TableAwayError) -> None:
    """Object storage that cannot be used: publishing waits, and all else continues."""
    wait_s = stop(context, circuits.TABLE, "table_away", error.message, error.hint)
    context.log.error("table.away", error=error.message, wait_s=round(wait_s))


def fine(context: Context, name: str = circuits.VENDOR) -> None:
    """A call succeeded: the cause, if there was one, is over."""
    step_errors.over(context, step_errors.step_now(context) if name == circuits.VENDOR else name)
    alike = context.memory(Failures).alike
    for key in [key for key in alike if key[0] == name]:
        del alike[key]
    with context.store.read() as connection:
        was = circuits.tripped(connection).get(name)
    if was is not None:
        with context.store.write() as tx:
            circuits.reset(tx, name)
            if was.failures >= OUTAGE:
                batches.due_again(tx)
        context.log.info("circuit.closed", circuit=name)


def api_answers(context: Context) -> bool:
    """Whether the provider answers a plain question: then what goes on failing is the fault of the item, not an outage.

    Where it does not, that is a second thing that fails: if it fails alike, the cause is a shared one.
    """
    try:
        context.client.probe()
    except VendorError as exc:
        failed(context, PLAIN_QUESTION, exc)
        return False
    fine(context)
    return True


def forget_all(context: Context) -> None:
    """Another provider is worked with: what kept calls or new jobs back is not known of it."""
    try_again(context)
    with context.store.write() as tx:
        circuits.reset(tx, circuits.CREATE)


def try_again(context: Context) -> None:
    """Somebody started us, or changed the settings: what was refused, unreachable or full before may be mended."""
    with context.store.write() as tx:
        circuits.reset(tx, circuits.VENDOR)
        circuits.reset(tx, circuits.DISK)
        circuits.reset(tx, circuits.FRESH)
        found = circuits.tripped(tx.connection).get(circuits.CREATE)
        if found is not None and found.code == batches.MODEL_REFUSED:
            circuits.reset(tx, circuits.CREATE)
        circuits.reset(tx, circuits.TABLE)
