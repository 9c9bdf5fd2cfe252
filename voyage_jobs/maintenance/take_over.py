"""Having the table that another data folder made: it is marked, and all that is published here goes into it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import Clock
from voyage_jobs.service.worker import working
from voyage_jobs.steps.context import Progress, no_progress

if TYPE_CHECKING:
    import httpx


@dataclass(frozen=True)
class TakenOver:
    """Where the table is, and how many rows it has; those of documents that are not known here are among them."""

    table: str
    rows: int


def take_over(
    settings: Settings,
    clock: Clock,
    log: Any,
    *,
    progress: Progress = no_progress,
    transport: httpx.BaseTransport | None = None,
) -> TakenOver:
    """Make the table of these settings that of this data folder. Nothing is deleted; done twice, it does no harm.

    Raises LockedError while a process is at work here, ConfigError for a table of another program.
    """
    with working(
        settings, clock, log, mode="act", progress=progress, transport=transport, take_over=True
    ) as context:
        rows = context.open_table().rows() if context.table_door.exists() else 0
        return TakenOver(context.table_door.place, rows)
