"""Putting a worker together: lock, state, segments, client, table, recovery; and taking it apart in good order."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from voyage_jobs.config.profile import profile_of
from voyage_jobs.config.provider import connect
from voyage_jobs.config.settings import Settings
from voyage_jobs.core import lock, private
from voyage_jobs.core.clock import Clock
from voyage_jobs.core.memory import keep_large_blocks_apart
from voyage_jobs.core.observe import NOBODY, Observer
from voyage_jobs.core.pace import Pace
from voyage_jobs.errors import DiskFullError, VoyageJobsError
from voyage_jobs.segments import SegmentStore
from voyage_jobs.state import meta
from voyage_jobs.state.door import Writer, open_state
from voyage_jobs.steps.active import Active
from voyage_jobs.steps.context import Context, Progress, no_progress
from voyage_jobs.steps.recovery import recover
from voyage_jobs.table import LanceDoor, TableDoor
from voyage_jobs.vendors.base import Client

if TYPE_CHECKING:
    import httpx

# Before anything loads pyarrow: its default allocator keeps twice the memory over thousands of small publications.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")


@contextlib.contextmanager
def working(
    settings: Settings,
    clock: Clock,
    log: Any,
    *,
    mode: str,
    transport: httpx.BaseTransport | None = None,
    progress: Progress = no_progress,
    table_door: TableDoor | None = None,
    pace: Pace | None = None,
    observer: Observer = NOBODY,
    take_over: bool = False,
) -> Iterator[Context]:
    """A recovered context, for as long as the lock is held. `mode` is run, sync or act.

    Raises `LockedError`, `ConfigError`, `StateError`. `transport` stands in for the network and
    `table_door` for the table in tests; `pace` hears which step is at work, `observer` looks on.
    `take_over`: have the table even if it belongs to another data folder, which is an error otherwise.
    """
    keep_large_blocks_apart()
    with lock.held(settings.paths.lock, clock):
        _keep_others_out(settings, log)
        store = open_state(settings).writer(clock)
        try:
            with contextlib.ExitStack() as open_clients:
                reach = _Reach(open_clients, clock, transport, observer)
                context = Context(
                    loaded=settings,
                    active=Active.of(settings, reach(settings), profile_of(settings)),
                    clock=clock,
                    store=store,
                    reach=reach,
                    segments=SegmentStore(settings.paths.vectors),
                    log=log,
                    table_door=table_door or lance_door(settings),
                    progress=progress,
                    pace=pace,
                    observer=observer,
                )
                try:
                    recover(context, mode, take_over=take_over)
                    yield context
                except VoyageJobsError:
                    # This cannot be done, and the operator hears why: no crash. A daemon is missed all the same.
                    if mode != "run":
                        with contextlib.suppress(VoyageJobsError):
                            _take_leave(store)
                    raise
                with contextlib.suppress(DiskFullError):  # it ends well all the same, which cannot be noted
                    _take_leave(store)
        finally:
            store.close()


class _Reach:
    """The clients of one process, one for each provider: the one that is worked with may be another than the
    configuration names, and is reached by its own address and key."""

    def __init__(
        self,
        open_clients: contextlib.ExitStack,
        clock: Clock,
        transport: httpx.BaseTransport | None,
        observer: Observer,
    ) -> None:
        self._open, self._known = open_clients, dict[str, Client]()
        self._how = (clock, transport, observer)

    def __call__(self, settings: Settings) -> Client:
        kind = settings.provider.type
        if kind not in self._known:
            self._known[kind] = self._open.enter_context(connect(settings, *self._how))
        return self._known[kind]


def _take_leave(store: Writer) -> None:
    with store.write() as tx:
        meta.leave(tx)


def _keep_others_out(settings: Settings, log: Any) -> None:
    """A data folder that others may open, made by hand or by an older version, holds texts of documents."""
    done = private.tighten(settings.data_dir, settings.paths.ours)
    if done.closed:
        log.warning("data_dir.closed", data_dir=str(settings.data_dir), entries=done.closed)
    if done.left_open is not None:
        log.warning("data_dir.left_open", data_dir=str(settings.data_dir), reason=done.left_open)


def lance_door(settings: Settings) -> LanceDoor:
    """The way to the table that the settings name."""
    return LanceDoor(settings.lancedb.uri, settings.lancedb.table, profile_of(settings))
