"""Object storage: can it be reached, and does it keep a second writer out?"""

from __future__ import annotations

from collections.abc import Iterator

from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import Clock
from voyage_jobs.errors import VoyageJobsError
from voyage_jobs.maintenance.doctor.check import Check, bad, good, told
from voyage_jobs.table.engine import table_path
from voyage_jobs.table.objects import Remote

_NAME = "object storage"


def check_object_storage(settings: Settings, clock: Clock) -> Iterator[Check]:
    """Nothing for a local table. Else one object is written beside it, tried to be written again, and removed."""
    if "://" not in settings.lancedb.uri or settings.lancedb.uri.startswith("file://"):
        return
    try:
        place = table_path(settings.lancedb.uri, settings.lancedb.table)
        assert isinstance(place, Remote)  # noqa: S101 - narrows the type
        refuses = place.refuses_a_second_write(f"voyage-jobs-doctor-{clock.token()}")
    except VoyageJobsError as exc:
        yield told(_NAME, exc)
        return
    if refuses:
        yield good(
            _NAME, f"{settings.lancedb.uri} can be listed, written and deleted; a second write is refused"
        )
        return
    yield bad(
        _NAME,
        f"{settings.lancedb.uri} takes a write that must find nothing (If-None-Match: *) over an object that is there:"
        " two commits of the table could overwrite each other",
        "Use a store with conditional writes (S3, R2, GCS, Azure, MinIO and others have them), or a local folder.",
        exit_code=2,
    )
