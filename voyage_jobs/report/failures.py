"""What could not be embedded, by the provider's reason, with documents to look at."""

from __future__ import annotations

from typing import Any

from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import Clock, iso, now_us
from voyage_jobs.state import stats as store
from voyage_jobs.state.door import open_state

_LOOKED_AT = 1_000
_REASONS = 20
_DOCUMENTS = 10


def failures(settings: Settings, clock: Clock) -> dict[str, Any]:
    """The first failed chunks, grouped; `complete` is false if there are more than were looked at.

    Raises `StateError`.
    """
    groups: dict[str, dict[str, Any]] = {}
    with open_state(settings).read() as connection:
        total = store.count_failed(connection)
        for chunk in store.failed_chunks(connection, _LOOKED_AT):
            group = groups.setdefault(chunk.reason, {"reason": chunk.reason, "chunks": 0, "documents": []})
            group["chunks"] += 1
            document = {"source": chunk.source, "path": chunk.path}
            if document not in group["documents"] and len(group["documents"]) < _DOCUMENTS:
                group["documents"].append(document)
    ordered = sorted(groups.values(), key=lambda group: -group["chunks"])
    return {
        "as_of": iso(now_us(clock)),
        "failed_embeddings": total,
        "complete": total <= _LOOKED_AT and len(ordered) <= _REASONS,
        "reasons": ordered[:_REASONS],
    }
