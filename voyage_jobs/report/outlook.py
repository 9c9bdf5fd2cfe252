"""When what is on its way will be in the table, by how long jobs took here; None, with a reason, if unknown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from voyage_jobs.core.clock import iso
from voyage_jobs.core.states import BEFORE_THE_JOB, Batch
from voyage_jobs.diagnosis.blocker import ASSEMBLE, SUBMIT, Blocker, keeping
from voyage_jobs.diagnosis.snapshot import Facts
from voyage_jobs.report import eta
from voyage_jobs.report.eta import Expected
from voyage_jobs.state.batches import BatchRow


def of_batch(facts: Facts, batch: BatchRow) -> Expected:
    """When an open batch will be over."""
    if batch.state is Batch.PARKED or facts.holder is None:
        return Expected()
    if batch.state is Batch.ENDED:
        return Expected(facts.now, facts.now)
    if batch.state is Batch.RUNNING:
        return eta.of_job(facts.took, batch.submitted_at, facts.now)
    return eta.of_next(facts.took, facts.now)


def outlook(facts: Facts, found: Sequence[Blocker]) -> dict[str, Any]:
    """Everything, for `status --json`."""
    unknown = unknown_because(facts, found)
    each = [of_batch(facts, batch) for batch in facts.open]
    if facts.waiting.embeddings:
        each.append(_waiting(facts))
    expected = Expected() if unknown is not None else eta.of_all(each or [Expected(facts.now, facts.now)])
    if unknown is None and expected.likely_at is None:
        unknown = "longer_than_ever"
    return {
        "jobs_known": len(facts.took),
        "median_s": eta.quantile(facts.took, 0.5),
        "p90_s": eta.quantile(facts.took, 0.9),
        "likely_at": iso(expected.likely_at),
        "late_at": iso(expected.late_at),
        "unknown_because": unknown,
    }


def unknown_because(facts: Facts, found: Sequence[Blocker]) -> str | None:
    """Why nothing can be said, as a code; None if something can."""
    if not facts.work_remains:
        return "nothing_waits"
    if facts.holder is None:
        return "daemon_not_running"
    if facts.open and all(batch.state is Batch.PARKED for batch in facts.open):
        return "parked"
    unsent = facts.waiting.embeddings or any(batch.state in BEFORE_THE_JOB for batch in facts.open)
    steps = {"poll", "collect", *((ASSEMBLE, SUBMIT) if unsent else ())}
    held = next((each for each in keeping(found, *steps) if each.severity != "wait" and not each.batch), None)
    if held is not None:
        return held.code
    return None if facts.took or not (facts.open or facts.waiting.embeddings) else "no_history"


def _waiting(facts: Facts) -> Expected:
    """What is not sent yet goes in as many batches as it needs, in waves of as many as may be in flight."""
    batching = facts.settings.batching
    count = -(-facts.waiting.embeddings // batching.max_inputs)
    waves = -(-count // batching.max_in_flight_batches)
    start = facts.now
    start = max(start, facts.batch_waits_until or 0)
    return eta.of_next(facts.took, start, waves)
