"""Having an act of `steps.acts` carried out: here if nobody is at work, else by the process that holds the lock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voyage_jobs.config.settings import Settings
from voyage_jobs.core import lock
from voyage_jobs.core.clock import Clock
from voyage_jobs.core.states import Batch
from voyage_jobs.errors import ConfigError, LockedError, NeedsOperatorError, VoyageJobsError
from voyage_jobs.service.worker import working
from voyage_jobs.state import batches, meta
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.door import open_state
from voyage_jobs.steps import acts
from voyage_jobs.steps.budget import begin_run
from voyage_jobs.steps.context import Context, Progress, no_progress
from voyage_jobs.steps.poll import poll
from voyage_jobs.vendors.base import Vendor
from voyage_jobs.vendors.remote import STOPPED

if TYPE_CHECKING:
    import httpx

PATIENCE_S = 20.0
_LOOK_S = 0.2
_ERRORS: dict[object, type[VoyageJobsError]] = {2: ConfigError, 6: NeedsOperatorError}


@dataclass(frozen=True)
class Reply:
    """What came of it: `answer` is None while the process at work has not come to it; `here` if it was done here."""

    answer: dict[str, object] | None
    here: bool


@dataclass(frozen=True)
class Leisure:
    """How an act that takes its time is carried out and waited for.

    Done here, it tells `progress` and ends early when `stopping` is set. Done elsewhere, `waits` is called at every
    look for the answer; it says whether to wait no longer.
    """

    progress: Progress
    stopping: threading.Event
    waits: Callable[[], bool]


def ask(
    settings: Settings,
    clock: Clock,
    log: Any,
    command: str,
    arguments: Mapping[str, object],
    who: str,
    *,
    transport: httpx.BaseTransport | None = None,
    at_leisure: Leisure | None = None,
) -> Reply:
    """Carry out `command`, or have it carried out. Raises what the act raises, wherever it was done.

    An act that takes its time comes with a `Leisure`: its answer is then waited for however long it takes.
    """
    progress = no_progress if at_leisure is None else at_leisure.progress
    try:
        with working(settings, clock, log, mode="act", transport=transport, progress=progress) as context:
            if at_leisure is not None:
                context.stopping = at_leisure.stopping
                begin_run(context)
            answer = acts.perform(context, command, arguments, who)
            with context.store.write() as tx:
                meta.answer(tx, meta.ask(tx, who, command, arguments), answer)
            _cancel_at_provider(context, answer)
            return Reply(answer, here=True)
    except LockedError:
        state = open_state(settings)
        with state.beside(clock) as tx:
            request_id = meta.ask(tx, who, command, arguments)
    until = clock.mono() + PATIENCE_S
    while clock.mono() < until or at_leisure is not None:
        with state.read() as connection:
            given = meta.result_of(connection, request_id)
        if given is not None:
            _raise_its_error(given)
            return Reply(given, here=False)
        if lock.holder(settings.paths.lock) is None:
            _do_what_was_left(settings, clock, log, transport)
        if at_leisure is not None and at_leisure.waits():
            break
        clock.wait(_LOOK_S)
    return Reply(None, here=False)


def _cancel_at_provider(context: Context, answer: dict[str, object]) -> None:
    """A cancellation is passed on at once where there is a key; if not, the next `sync` or `run` does it."""
    if answer.get("state") != "cancelling" or not context.settings.api_key.available():
        return
    poll(context)
    under_way = answer.get("under_way") or [answer.get("ref")]
    refs = under_way if isinstance(under_way, list) else []
    with context.store.read() as connection:
        informed = [_knows(batches.by_ref(connection, str(ref)), context.vendor) for ref in refs]
    if all(informed):
        answer["told_vendor"] = True


def _knows(batch: BatchRow | None, vendor: Vendor) -> bool:
    """Whether the provider knows that a batch is to be cancelled, or it is over."""
    return batch is not None and (
        batch.state is not Batch.RUNNING or vendor.phase(batch.remote_status or "") in STOPPED
    )


def _do_what_was_left(
    settings: Settings, clock: Clock, log: Any, transport: httpx.BaseTransport | None
) -> None:
    """The process at work has ended without coming to it."""
    try:
        with working(settings, clock, log, mode="act", transport=transport) as context:
            acts.carry_out(context)
    except LockedError:
        return  # another one came, and will come to it


def _raise_its_error(answer: Mapping[str, object]) -> None:
    if "error" in answer:
        hint = answer.get("hint")
        kind = _ERRORS.get(answer.get("exit_code"), VoyageJobsError)
        raise kind(str(answer["error"]), hint=str(hint) if hint else None)
