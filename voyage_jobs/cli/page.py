"""The page of a daemon, where the configuration asks for one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voyage_jobs.config import Settings
    from voyage_jobs.core.clock import Clock
    from voyage_jobs.core.observe import Observer
    from voyage_jobs.service.daemon import Page


@contextlib.contextmanager
def page_of(settings: Settings, clock: Clock, log: Any) -> Iterator[tuple[Page | None, list[Observer]]]:
    """The page, and what counts for its metrics; it is served until the block ends. Raises ConfigError."""
    if not settings.server.listen:
        yield None, []
        return
    from voyage_jobs.config.address import Address
    from voyage_jobs.server.door import Door
    from voyage_jobs.server.ready import OwnReadiness
    from voyage_jobs.service.daemon import Page
    from voyage_jobs.telemetry.metrics.recorder import Recorder

    ready, recorder = OwnReadiness(), Recorder(clock)
    address = Address.parse(settings.server.listen)
    with Door(settings, address, clock, log, ready=ready, recorder=recorder) as door:
        yield Page(ready=ready.set, problem=lambda: door.problem, take_up=door.take_up), [recorder]
