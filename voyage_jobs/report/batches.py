"""Batches as plain data, for `status` and `batches`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import Clock, iso, now_us
from voyage_jobs.diagnosis.snapshot import OPEN
from voyage_jobs.errors import StateError
from voyage_jobs.state import batches, ledger
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.door import At, open_state

DOCUMENTS, QUERIES = "documents", "queries"


def batch_as_dict(batch: BatchRow, asks_for: str = DOCUMENTS) -> dict[str, Any]:
    """One batch. Times are RFC 3339 UTC; `completed` and `failed` are the provider's words as of the last poll."""
    billed = batch.tokens_settled if batch.tokens_settled is not None else batch.tokens_estimated
    return {
        "ref": batch.ref,
        "batch_id": batch.remote_id,
        "mode": str(batch.mode),
        "lane": "fresh" if batch.is_fresh else str(batch.mode),
        "asked_for_by": batch.asked_by,
        "asks_for": asks_for,
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


def listing(
    settings: Settings, clock: Clock, *, everything: bool, limit: int, of_queries: Iterable[At] = ()
) -> dict[str, Any]:
    """Open batches, oldest first; with `everything` all of them, newest first. Raises `StateError`.

    `of_queries`: the states of jobs of queries, whose batches are listed among those of the documents.
    """
    found = [(row, DOCUMENTS) for row in _rows(settings, everything=everything, limit=limit)]
    for at in of_queries:
        with contextlib.suppress(StateError):
            found += [(row, QUERIES) for row in _rows(at, everything=everything, limit=limit)]
    found.sort(key=lambda each: each[0].created_at, reverse=everything)
    return {
        "as_of": iso(now_us(clock)),
        "batches": [batch_as_dict(row, asks_for) for row, asks_for in found[:limit]],
        "more": len(found) > limit,
    }


def _rows(where: Settings | At, *, everything: bool, limit: int) -> list[BatchRow]:
    with open_state(where).read() as connection:
        if everything:
            return batches.newest(connection, limit + 1)
        return batches.in_state(connection, *OPEN)
