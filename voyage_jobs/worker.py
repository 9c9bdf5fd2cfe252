"""Putting a worker together: lock, state, packs, client, table, recovery; and taking it apart in good order."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voyage_jobs import lock
from voyage_jobs.clock import Clock
from voyage_jobs.config.settings import Settings
from voyage_jobs.steps.context import Context, Progress, no_progress, profile_of
from voyage_jobs.steps.recovery import recover
from voyage_jobs.store import notes
from voyage_jobs.store.store import Store
from voyage_jobs.vectors import PackStore
from voyage_jobs.voyage.client import VoyageClient

if TYPE_CHECKING:
    import httpx

    from voyage_jobs.profile import Profile
    from voyage_jobs.table import PublishedTable


@contextlib.contextmanager
def working(
    settings: Settings,
    clock: Clock,
    log: Any,
    *,
    mode: str,
    transport: httpx.BaseTransport | None = None,
    progress: Progress = no_progress,
) -> Iterator[Context]:
    """A recovered context, for as long as the lock is held. `mode` is run, sync or act.

    Raises `LockedError`, `ConfigError`, `StateError`. `transport` stands in for the network in tests.
    """
    with lock.held(settings.paths.lock, clock):
        store = Store.open(settings.paths.state_db, clock)
        try:
            with _client(settings, clock, transport) as client:
                context = Context(
                    settings=settings,
                    clock=clock,
                    store=store,
                    client=client,
                    packs=PackStore(settings.paths.vectors),
                    log=log,
                    open_table=table_opener(settings, profile_of(settings)),
                    progress=progress,
                )
                recover(context, mode)
                yield context
                with store.write() as tx:
                    notes.leave(tx)
        finally:
            store.close()


def _client(settings: Settings, clock: Clock, transport: httpx.BaseTransport | None) -> VoyageClient:
    return VoyageClient(
        settings.voyage.base_url,
        settings.api_key,
        clock=clock,
        timeout_s=settings.voyage.timeout_s,
        transport=transport,
    )


def table_opener(settings: Settings, profile: Profile) -> Callable[[], PublishedTable]:
    """A door to the table that opens it once, at first use, since loading LanceDB takes seconds."""
    kept: list[PublishedTable] = []

    def open_table() -> PublishedTable:
        if not kept:
            from voyage_jobs.table import PublishedTable

            if "://" not in settings.lancedb.uri:
                Path(settings.lancedb.uri).mkdir(parents=True, exist_ok=True)
            kept.append(
                PublishedTable.open(settings.lancedb.uri, settings.lancedb.table, profile, create=True)
            )
        return kept[0]

    return open_table
