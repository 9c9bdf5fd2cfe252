"""Batches as plain data, for `status` and `batches`."""

from __future__ import annotations

from typing import Any

from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import Clock, iso, now_us
from voyage_jobs.diagnosis.snapshot import OPEN
from voyage_jobs.state import batches, ledger
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.door import open_state


def batch_as_dict(batch: BatchRow) -> dict[str, Any]:
    """One batch. Times are RFC 3339 UTC; `completed` and `failed` are the provider's words as of the last poll."""
    billed = batch.tokens_settled if batch.tokens_settled is not None else batch.tokens_estimated
    return {
        "ref": batch.ref,
        "batch_id": batch.remote_id,
        "mode": str(batch.mode),
        "lane": "fresh" if batch.is_fresh else str(batch.mode),
        "asked_for_by": batch.asked_by,
        "state": str(batch.state),
        "remote_status": batch.remote_status,
        "inputs": batch.inputs,
        "completed": batch.remote_completed,
        "failed": batch.remote_failed,
        "submitted_at": iso(batch.submitted_at),
        "deadline_at": iso(batch.deadline_at),
        "created_at": iso(batch.created_at),
        "ended_at": iso(batch.ended_at),
        "collected_at": iso(batch.collected_at),
        "tokens_estimated": batch.tokens_estimated,
        "tokens_settled": batch.tokens_settled,
        "cost_usd": ledger.usd(billed, batch.usd_per_million),
        "reason": batch.reason,
        "hint": batch.hint,
        "cancel_asked_at": iso(batch.cancel_asked_at),
        "code": batch.code,
        "error": batch.error if batch.failures else None,
        "failures": batch.failures,
        "failing_since": iso(batch.failing_since),
        "next_try_at": iso(batch.due_at) if batch.failures else None,
    }


def listing(settings: Settings, clock: Clock, *, everything: bool, limit: int) -> dict[str, Any]:
    """Open batches, oldest first; with `everything` all of them, newest first. Raises `StateError`."""
    with open_state(settings).read() as connection:
        newest = batches.newest(connection, limit + 1) if everything else None
        rows = newest or batches.in_state(connection, *OPEN)
    return {
        "as_of": iso(now_us(clock)),
        "batches": [batch_as_dict(row) for row in rows[:limit]],
        "more": len(rows) > limit,
    }
