"""A `state.db` of one's own, and rows in it, for the tests of the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import select

from voyage_jobs.core import states
from voyage_jobs.core.clock import VirtualClock
from voyage_jobs.core.profile import EMBEDDINGS, Profile
from voyage_jobs.state import batches, sources
from voyage_jobs.state.schema import transitions
from voyage_jobs.state.store import Store, Tx

PROFILE = Profile(EMBEDDINGS, "voyage-4", 8, "float", "document")
REFUSED_BY_OPERATOR = {"reason": "r", "hint": "h"}
# What a batch must have on record to be in a state at all.
NEEDS: dict[states.Batch, dict[str, Any]] = {
    states.Batch.UPLOADED: {"input_file_id": "file-1"},
    states.Batch.CREATING: {"input_file_id": "file-1"},
    states.Batch.RUNNING: {"input_file_id": "file-1", "remote_id": "batch-1"},
    states.Batch.ENDED: {"remote_id": "batch-1"},
    states.Batch.PARKED: REFUSED_BY_OPERATOR,
}


def opened(folder: Path, clock: VirtualClock | None = None) -> Store:
    """A store in this folder."""
    return Store.open(folder / "state.db", clock or VirtualClock())


def new_batch(tx: Tx, ref: str = "0123456789abcdef0123") -> batches.BatchRow:
    """A packed batch without lines."""
    profile_id = sources.profile_id(tx, PROFILE)
    return batches.get(tx.connection, batches.create(tx, ref, profile_id, 1, 10, None, "{}"))


def history(store: Store, kind: str) -> list[tuple[str | None, str, str]]:
    """(origin, target, cause) of every recorded move of a kind."""
    t = transitions.c
    with store.read() as connection:
        rows = connection.execute(select(t.origin, t.target, t.cause).where(t.kind == kind).order_by(t.id))
        return [tuple(row) for row in rows]
