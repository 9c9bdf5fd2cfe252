"""`documents`: which documents there are, the state of each, and why some are skipped."""

from __future__ import annotations

from typing import Any

from voyage_jobs.config.provider import vendor_of
from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import Clock, iso, now_us
from voyage_jobs.errors import ConfigError
from voyage_jobs.report.standing import groups
from voyage_jobs.report.why_file import skipped
from voyage_jobs.report.why_way import at_rest
from voyage_jobs.sources import names
from voyage_jobs.state import history, listing, scan_notes, sources
from voyage_jobs.state.documents import KEPT
from voyage_jobs.state.door import open_state
from voyage_jobs.state.history import View
from voyage_jobs.state.listing import Listed


def documents(
    settings: Settings, clock: Clock, *, source: str | None, state: str | None, limit: int
) -> dict[str, Any]:
    """Up to `limit` documents, by source and path, in the shape that docs/status.md promises.

    Raises `StateError`, and `ConfigError` for a source that nobody knows.
    """
    with open_state(settings).read() as connection:
        rows = {row.name: row for row in sources.all_sources(connection)}
        if source is not None and source not in rows:
            known = sorted({*rows, *(each.name for each in settings.sources)})
            if source not in known:
                raise ConfigError(f"There is no source {source}.", hint=f"There are: {', '.join(known)}.")
        found = listing.documents(connection, source, state, limit + 1)
        on_the_way = {each.version_id for each in found if each.state == "waiting"}
        resting = on_the_way & listing.at_rest(connection) if on_the_way else frozenset()
        listed = [
            {**_as_dict(each), **(_rests(connection, settings, each) if each.version_id in resting else {})}
            for each in found[:limit]
        ]
        notes = scan_notes.by_source(connection)
        passed_over = {
            name: dict(notes[row.id].passed_over)
            for name, row in rows.items()
            if row.id in notes and (source is None or name == source) and row.configured
        }
    return {
        "as_of": iso(now_us(clock)),
        "documents": listed,
        "more": len(found) > limit,
        "passed_over": passed_over,
    }


def _rests(connection: View, settings: Settings, row: Listed) -> dict[str, str]:
    """What keeps a version of which nothing is on its way."""
    assert row.version_id is not None  # noqa: S101 - for the type checker: the caller has looked
    grouped = groups(history.chunks_of(connection, row.version_id))
    waits = [wait for each in grouped if (wait := at_rest(each, vendor_of(settings).title)) is not None]
    return {"why": "; ".join(wait.text.removesuffix(".") for wait in waits), "next": waits[0].next}


def _as_dict(row: Listed) -> dict[str, Any]:
    words, next_ = None, None
    if row.state == "skipped":
        why = skipped(row.reason or "", row.detail, row.source)
        words, next_ = why.text, why.next
    elif row.state == "missing":
        words = "it is gone from its source; it stays in the table" + (
            "" if row.reason == KEPT else " until its grace period is over"
        )
    return {
        "source": row.source,
        "path": names.display(row.path),
        "state": row.state,
        "reason": row.reason if row.state == "skipped" else None,
        "why": words,
        "next": next_,
        "chunks": row.chunks,
        "failed_chunks": row.failed_chunks,
        "published_at": iso(row.published_at),
        "missing_since": iso(row.missing_at),
    }
