"""A job of which no line brought a vector: what its lines share is to blame, as far as can be told, and no text.

For a passing reason (5xx, 429) new jobs wait, longer each time, and the first such jobs in a row count no attempt: an
outage must not use up all of them at once. Later ones do, so that texts which always fail come to an end. A single line
tells least: it waits, and counts. Where the lines speak of the account or the model, nothing is counted, and one job an
hour is tried. Refused in the same words, many lines are not refused for their texts: they wait for an operator.
"""

from __future__ import annotations

from collections.abc import Sequence

from voyage_jobs.state import batches
from voyage_jobs.state.batch_lines import Settled
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.outcomes import REFUSED, TRANSIENT
from voyage_jobs.state.store import Tx
from voyage_jobs.steps import circuits as circuit
from voyage_jobs.steps.context import Context
from voyage_jobs.vendors.result_block import EXPIRED

REASON = "none of its texts came through, for a passing reason"
UNCOUNTED = 8
"""So many such jobs in a row count no attempt."""
MANY = 10
"""So many lines that are all refused in the same words are not refused for their texts."""


def for_now(batch: BatchRow, settled: Sequence[Settled]) -> bool:
    """Whether no line of a job came through, for a passing reason. That its window is over took a day already."""
    return (
        not batch.is_sync
        and batch.cancel_asked_at is None
        and bool(settled)
        and all(each.outcome == TRANSIENT and not (each.detail or "").startswith(EXPIRED) for each in settled)
    )


def wait(context: Context, tx: Tx, batch: BatchRow, settled: Sequence[Settled], *, of_account: bool) -> bool:
    """Have new jobs wait after such a job. Whether its texts are spared an attempt."""
    message = settled[0].detail or REASON
    if of_account:
        circuit.model_is_refused(context, tx, message)
        return True
    before = batches.came_out_in_a_row(tx.connection, batch.profile_id, REASON, UNCOUNTED)
    circuit.no_text_came_through(context, tx, before + 1, message)
    return len(settled) > 1 and before < UNCOUNTED


def for_good(batch: BatchRow, settled: Sequence[Settled], vectors: int) -> bool:
    """Whether many lines of a job, each of one vector, were all refused in the same words."""
    return (
        batch.cancel_asked_at is None
        and MANY <= len(settled) == vectors
        and all(each.outcome == REFUSED and each.detail == settled[0].detail for each in settled)
    )
