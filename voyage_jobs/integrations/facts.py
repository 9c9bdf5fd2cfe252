"""What frameworks are told of a hit beside its text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voyage_jobs.api.results import Hit

_PLAIN = ("source", "path", "title", "ordinal", "start", "end", "chunk_id", "place", "page", "url", "score")


def facts_of(hit: Hit) -> dict[str, Any]:
    """Plain values, so that a framework can write them as JSON; what the document says of itself in `front_matter`."""
    return {
        **{name: getattr(hit, name) for name in _PLAIN},
        "section": list(hit.section),
        "modified_at": hit.modified_at.isoformat(timespec="seconds"),
        "front_matter": dict(hit.metadata),
    }
