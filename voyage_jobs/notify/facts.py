"""Which facts hold at this moment: the reasons in `diagnosis` that are worth a message, and what waits for too long.

Asks only for what is open or in trouble, so that it costs little.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from voyage_jobs.core.clock import US
from voyage_jobs.core.plural import counted
from voyage_jobs.diagnosis.blocker import Blocker, sentence
from voyage_jobs.diagnosis.causes import blockers
from voyage_jobs.diagnosis.snapshot import moment_of
from voyage_jobs.notify.events import Fact
from voyage_jobs.state import notices
from voyage_jobs.state.open_work import Work
from voyage_jobs.steps.context import Context

EVENT_OF = {
    "auth": "refused",
    "quota": "refused",
    "parked": "parked",
    "unusable_results": "parked",
    "frozen": "frozen",
    "not_configured": "frozen",
    "failed": "failed",
    "budget_reached": "budget",
}
"""The event by which each code is told."""
OTHER = "problem"
"""Any other problem that keeps work back: for the health check alone; nobody can choose it among the events."""


def last_errors(context: Context, connection: Any) -> Iterator[Fact]:
    """Everything that is wrong."""
    moment = replace(moment_of(context, connection), failed=notices.count_failed(connection))
    found = (each for each in blockers(moment) if each.code in EVENT_OF or each.severity == "problem")
    yield from map(_fact, found)
    yield from _stale(connection, context.settings.notify.stale_s, moment.now)


def _fact(blocker: Blocker) -> Fact:
    """Without the words of the error, which may quote a text."""
    event = EVENT_OF.get(blocker.code, OTHER)
    return Fact(
        event,
        blocker.code if event in ("refused", OTHER) else blocker.subject or blocker.code,
        sentence(blocker.text),
        blocker.next,
        size=blocker.numbers.get("embeddings"),
        ref=blocker.subject if event == "parked" else None,
        source=blocker.source if event == "frozen" else None,
        numbers=blocker.numbers,
    )


def _stale(connection: Any, stale_s: float | None, now: int) -> Iterator[Fact]:
    if stale_s is None:
        return
    for name, oldest, documents in notices.unpublished_since(connection):
        age_s = (now - oldest) / US
        if age_s > stale_s:
            yield Fact(
                "stale",
                name,
                f"{documents:,} changed documents of source {name} wait for the table, the oldest for"
                f" {age_s / 3600:.1f} hours.",
                "`voyage-jobs status` shows what they wait for.",
                source=name,
                numbers={"documents": documents, "oldest_s": round(age_s)},
            )


def finished(work: Work) -> Fact:
    """What was done since the work began."""
    return Fact(
        "finished",
        "work",
        f"Done: {counted(work.documents_published, 'document')} published, {work.documents_removed:,} removed,"
        f" {counted(work.batches_collected, 'batch')} collected.",
        "Nothing to do.",
        numbers={
            "documents_published": work.documents_published,
            "documents_removed": work.documents_removed,
            "chunks_published": work.chunks_published,
            "batches_collected": work.batches_collected,
            "tokens_settled": work.settled_tokens,
            "usd_settled": work.settled_usd,
        },
    )
