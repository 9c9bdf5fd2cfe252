"""How a batch leaves the way: abandoned before anything was sent, or parked until an operator says how to go on."""

from __future__ import annotations

from voyage_jobs.core.crash import crash_point
from voyage_jobs.core.states import Batch
from voyage_jobs.errors import VendorError
from voyage_jobs.state import batches, embeddings, ledger, meta
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.steps.context import Context

REFUSED_HINT = (
    "Correct the provider's settings as this message says, then `voyage-jobs retry`: a new batch is made. Others are"
    " sent meanwhile."
)

_NO_ADDRESS_HINT = (
    "Is {section}.base_url right? There is nothing at that address, or not this model. Then `voyage-jobs retry`: a new"
    " batch is made. Others are sent meanwhile."
)


def refused_hint(context: Context, error: VendorError) -> str:
    """What to do about a batch that is refused: a 404 says no more than that, whatever is wrong."""
    return (
        _NO_ADDRESS_HINT.format(section=context.settings.section_name)
        if error.status == 404
        else REFUSED_HINT
    )


def abandon(context: Context, batch: BatchRow, cause: str, *, by_operator: bool = False) -> bool:
    """End a batch that has no job: its lines are wanted again, or given up if an operator said so."""
    with context.store.write() as tx:
        if batch.state is Batch.UPLOADING:  # the file may be there already
            meta.put(tx, meta.ORPHANED_FILES, str(tx.now))
        batches.move(tx, batch, Batch.CANCELLED, cause, reason=cause)
        (embeddings.give_up if by_operator else embeddings.give_back)(tx, batch.id)
        ledger.release(tx, batch.id, batch.tokens_estimated, batch.usd_per_million)
    crash_point("cancel.committed")
    context.log.info("batch.cancelled", ref=batch.ref, cause=cause)
    return True


def park(
    context: Context, batch: BatchRow, reason: str, error: VendorError | None = None, **values: object
) -> None:
    """Stop working on one batch until an operator says how to go on; everything else continues."""
    hint = (error.hint if error else None) or REFUSED_HINT
    with context.store.write() as tx:
        batches.move(tx, batch, Batch.PARKED, reason, reason=reason, hint=hint, **values)
    context.log.error("batch.parked", ref=batch.ref, reason=reason)
