"""The state of things in one line, for whoever looks at the process: cheap enough to be asked at every wait."""

from __future__ import annotations

from voyage_jobs.plural import counted
from voyage_jobs.state import batches, embeddings, lanes, sources
from voyage_jobs.states import UNFINISHED, Batch
from voyage_jobs.steps.context import Context


def one_line(context: Context) -> str:
    """What is under way and what hinders it: `2 batches (1,900 texts) under way; frozen: docs`."""
    with context.store.read() as connection:
        under_way = batches.in_state(connection, *UNFINISHED)
        parked = batches.in_state(connection, Batch.PARKED)
        closed = lanes.closed(connection)
        waiting = embeddings.backlog(connection, context.profile_id).embeddings
        frozen = [row.name for row in sources.all_sources(connection) if row.frozen_reason is not None]
    parts = [f"{lane.code}: {lane.message}" for lane in closed.values()]
    if parked:
        parts.append(f"{counted(len(parked), 'parked batch')}")
    if frozen:
        parts.append(f"frozen: {', '.join(frozen)}")
    if under_way:
        texts = sum(batch.inputs for batch in under_way)
        parts.append(f"{counted(len(under_way), 'batch')} ({counted(texts, 'text')}) under way")
    if waiting:
        parts.append(f"{counted(waiting, 'text')} to be sent")
    return "; ".join(parts) or "Idle: nothing waits"
