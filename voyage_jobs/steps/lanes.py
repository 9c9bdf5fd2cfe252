"""When the vendor is in trouble, or we are: which calls wait, for how long, and who is told.

The whole vendor lane closes on a refused key, a lost network or an overload, with waits that double up to a cap; the
first call after the wait is the probe, and its success opens the lane again without anybody's help. Only creating jobs
waits when the vendor says that too much is in flight.
"""

from __future__ import annotations

from voyage_jobs.clock import US, jittered, now_us
from voyage_jobs.errors import (
    AuthError,
    BadAnswerError,
    NotSentError,
    QuotaError,
    RateLimitedError,
    VendorError,
)
from voyage_jobs.steps import mishaps
from voyage_jobs.steps.context import Context
from voyage_jobs.store import lanes
from voyage_jobs.store.store import Tx

FIRST_WAIT_S = 2.0
LONGEST_WAIT_S = 300.0
REFUSED_FIRST_WAIT_S = 60.0

_CODES: tuple[tuple[type[VendorError], str], ...] = (
    (AuthError, "auth"),
    (QuotaError, "quota"),
    (RateLimitedError, "rate_limited"),
    (NotSentError, "unreachable"),
    (BadAnswerError, "bad_answer"),
)


def code_of(error: VendorError) -> str:
    """A short word for the kind of trouble."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), "unavailable")


def backoff_s(
    context: Context, failures: int, first_s: float = FIRST_WAIT_S, cap_s: float = LONGEST_WAIT_S
) -> float:
    """The wait after so many failures in a row: doubling, capped, with jitter."""
    return min(cap_s, jittered(context.clock, first_s * 2 ** min(failures, 30)))


def is_open(context: Context, *names: str) -> bool:
    """Whether calls of these lanes may be made now (a lane whose wait is over may be tried)."""
    now = now_us(context.clock)
    with context.store.read() as connection:
        closed = lanes.closed(connection)
    return all(name not in closed or closed[name].until_at <= now for name in names)


def trouble(context: Context, error: VendorError) -> None:
    """A call failed in a way that says nothing about the batch at hand: close the vendor lane for a while."""
    with context.store.write() as tx:
        trouble_in(context, tx, error)


def trouble_in(context: Context, tx: Tx, error: VendorError) -> None:
    """The same inside an open transaction."""
    before = lanes.closed(tx.connection).get(lanes.VENDOR)
    failures = before.failures + 1 if before else 1
    refused = isinstance(error, AuthError | QuotaError)
    wait_s = backoff_s(context, failures - 1, REFUSED_FIRST_WAIT_S if refused else FIRST_WAIT_S)
    wait_s = max(wait_s, error.retry_after_s or 0.0)
    code = code_of(error)
    lanes.close(tx, lanes.VENDOR, tx.now + int(wait_s * US), failures, code, error.message, error.hint)
    mishaps.note(context, tx, context.step, code, error.message, error.hint)
    context.observer.put_off(code)
    log = context.log.error if refused else context.log.warning
    log("vendor.closed", code=code, failures=failures, wait_s=round(wait_s, 1), error=error.message)


def create_must_wait(context: Context, tx: Tx, error: VendorError) -> None:
    """The vendor will not take another job now: the rest goes on, new jobs wait."""
    before = lanes.closed(tx.connection).get(lanes.CREATE)
    failures = before.failures + 1 if before else 1
    wait_s = max(context.settings.voyage.create_retry_s, error.retry_after_s or 0.0)
    lanes.close(
        tx,
        lanes.CREATE,
        tx.now + int(wait_s * US),
        failures,
        "in_flight_limit",
        error.message,
        "Nothing to do: jobs that end make room. Lower batching.max_in_flight_* if others share the account.",
    )
    context.observer.put_off("in_flight_limit")
    context.log.warning("create.waits", wait_s=round(wait_s), error=error.message)


def fine(context: Context, name: str = lanes.VENDOR) -> None:
    """A call succeeded: open the lane again if it was closed."""
    mishaps.over(context, context.step if name == lanes.VENDOR else name)
    with context.store.read() as connection:
        known = name in lanes.closed(connection)
    if known:
        with context.store.write() as tx:
            lanes.reopen(tx, name)
        context.log.info("lane.open", lane=name)


def try_again(context: Context) -> None:
    """Somebody started us, or changed the settings: what was refused, unreachable or full before may be mended."""
    with context.store.write() as tx:
        lanes.reopen(tx, lanes.VENDOR)
        lanes.reopen(tx, lanes.DISK)
