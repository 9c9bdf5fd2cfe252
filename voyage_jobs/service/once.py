"""One `sync` from lock to leave: the worker, its request poller and its traces are put together here for every caller.

The command line and the Python API both call `sync_once`. It installs no signal handlers and configures no logs:
whoever calls it has done so, or wants none.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import Clock
from voyage_jobs.core.observe import together
from voyage_jobs.errors import VoyageJobsError
from voyage_jobs.planning.check import demand_unchanged
from voyage_jobs.planning.file import Plan
from voyage_jobs.planning.folders import demand_folders
from voyage_jobs.service.request_poller import RequestPoller
from voyage_jobs.service.signals import Signals
from voyage_jobs.service.sync import Outcome, Sync
from voyage_jobs.service.worker import working
from voyage_jobs.state import meta
from voyage_jobs.state.door import open_state
from voyage_jobs.state.open_work import OpenWork
from voyage_jobs.steps.context import Context, Progress, no_progress
from voyage_jobs.telemetry.tracing import tracing

if TYPE_CHECKING:
    import httpx


def sync_once(
    settings: Settings,
    clock: Clock,
    log: Any,
    signals: Signals,
    *,
    plan: Plan | None = None,
    wait: bool = True,
    most_inputs: int | None = None,
    max_usd: float | None = None,
    max_tokens: int | None = None,
    timeout_s: float | None = None,
    progress: Progress = no_progress,
    watch: Callable[[OpenWork], None] | None = None,
    transport: httpx.BaseTransport | None = None,
) -> Outcome:
    """Take the lock, do what there is to do, let go. The limits are those of `Sync`; with `plan` exactly that is sent.

    Raises ConfigError for a source that is not there and never was, LockedError, StateError, and what the steps cannot
    live with. `transport` stands in for the network in tests.
    """
    demand_folders(settings)
    with (
        tracing(settings, clock) as observers,
        working(
            settings,
            clock,
            log,
            mode="sync",
            transport=transport,
            progress=progress,
            observer=together(observers),
        ) as context,
    ):
        if plan is not None:
            demand_unchanged(plan, context)
            context.only = frozenset(plan.keys)
        with RequestPoller(open_state(settings), signals.wake), _no_death_by_hand(context):
            return Sync(
                context,
                signals,
                wait=wait,
                most_inputs=most_inputs,
                max_usd=max_usd,
                max_tokens=max_tokens,
                timeout_s=timeout_s,
                watch=watch,
            ).run()


@contextlib.contextmanager
def _no_death_by_hand(context: Context) -> Iterator[None]:
    """What ends at once because somebody wants it to takes its leave, so that nobody hears of a process that died."""
    try:
        yield
    except KeyboardInterrupt:
        with contextlib.suppress(VoyageJobsError), context.store.write() as tx:
            meta.leave(tx)
        raise
