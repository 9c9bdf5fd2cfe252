"""`documents`: which documents there are, the state of each, and why some are skipped."""

from __future__ import annotations

from typing import Any

from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import Clock, iso, now_us
from voyage_jobs.core.plural import counted
from voyage_jobs.errors import ConfigError
from voyage_jobs.report.why_file import skipped
from voyage_jobs.sources import names
from voyage_jobs.state import listing, scan_notes, sources
from voyage_jobs.state.documents import KEPT
from voyage_jobs.state.door import open_state
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
        waiting = [
            each.version_id
            for each in found[:limit]
            if each.state == "waiting" and each.version_id is not None
        ]
        resting = listing.at_rest(connection, waiting)
        listed = [_as_dict(each, resting.get(each.version_id or 0)) for each in found[:limit]]
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


def _rests(failed: int, cancelled: int) -> tuple[str, str]:
    """Why nothing of a version is on its way, and what to do."""
    parts = [f"{counted(failed, 'chunk')} failed"] if failed else []
    if cancelled:
        was = "was" if cancelled == 1 else "were"
        parts.append(f"{counted(cancelled, 'chunk')} {was} in a batch that an operator cancelled")
    return "; ".join(parts), "`voyage-jobs why` says more of it, `voyage-jobs retry` sends it again."


def _as_dict(row: Listed, resting: tuple[int, int] | None) -> dict[str, Any]:
    words, next_ = (None, None) if resting is None else _rests(*resting)
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
