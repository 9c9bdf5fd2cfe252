"""All checks in their order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import Clock
from voyage_jobs.maintenance.doctor.check import Check
from voyage_jobs.maintenance.doctor.data import check_data, check_library
from voyage_jobs.maintenance.doctor.readers import check_readers
from voyage_jobs.maintenance.doctor.secrets import check_secret_files
from voyage_jobs.maintenance.doctor.settings import check_settings
from voyage_jobs.maintenance.doctor.surroundings import check_surroundings
from voyage_jobs.maintenance.doctor.vendor import check_vendor
from voyage_jobs.maintenance.served import settings_of_table
from voyage_jobs.service import worker

if TYPE_CHECKING:
    import httpx


def examine(
    settings: Settings, clock: Clock, *, probe: bool, transport: httpx.BaseTransport | None = None
) -> Iterator[Check]:
    """Look at everything; `probe` allows the one call to the provider. Creates and changes nothing."""
    yield from check_settings(settings)
    yield from check_secret_files(settings)
    yield check_library()
    yield from check_readers()
    yield from check_surroundings(settings)
    yield from check_data(settings, clock, worker.lance_door(settings_of_table(settings)))
    if probe:
        yield from check_vendor(settings, clock, transport)
