"""`recover`: learn from disk and provider what a lost or older `state.db` does not know. Sends and pays nothing."""

from __future__ import annotations

from voyage_jobs.errors import VoyageJobsError
from voyage_jobs.state import claims, sources
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.recover_remote import OF_ANOTHER, adopt_jobs, note_claim
from voyage_jobs.steps.recover_segments import adopt_segments
from voyage_jobs.steps.scan import Scan


def recover_all(context: Context, *, lost_folder: bool = False) -> dict[str, object]:
    """Take in segments, scan every source, take on jobs. What the provider does not let us see is told, not raised.

    `lost_folder`: an operator says that the folder which sent them is lost, so that its jobs are for this one.
    """
    found_segments = adopt_segments(context)
    scan_all(context)
    with context.store.read() as connection:
        segments, held = claims.count_held(connection)
    answer: dict[str, object] = {
        "packs": segments,
        "embeddings": held,
        "damaged_packs": found_segments.damaged,
        "jobs": [],
        "jobs_left": {},
        "maybe_lost": [],
        "vendor": None,
    }
    try:
        found = adopt_jobs(context, strangers=lost_folder)
    except VoyageJobsError as exc:
        answer["vendor"] = exc.message
    else:
        answer["jobs"], answer["jobs_left"] = found.adopted, found.left
        answer["maybe_lost"] = sorted(ref for ref, why in found.left.items() if why == OF_ANOTHER)
        note_claim(context, found)
    return answer


def scan_all(context: Context) -> None:
    """One whole scan of each source, so that everything that is wanted here is known."""
    with context.store.read() as connection:
        rows = [row for row in sources.all_sources(connection) if row.configured]
    for row in rows:
        settings = context.source_settings(row.name)
        for _ in Scan(context, row, settings).run() if settings is not None else ():
            if context.stopping.is_set():
                return
