"""`retry`: what only an operator moves on is wanted again: failed and cancelled embeddings, batches that are parked."""

from __future__ import annotations

from collections.abc import Mapping

from voyage_jobs.core.states import Batch
from voyage_jobs.state import batches, circuits, embeddings, ledger, versions
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.embeddings import Stuck
from voyage_jobs.state.store import Tx
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.naming import batch_called, source_called


def retry(context: Context, arguments: Mapping[str, object], who: str) -> dict[str, object]:
    """Want again what failed, was cancelled or is parked: everything, or what the arguments narrow it down to.

    `ref` (a batch), `document_id`, `embedding_id`, `source` (a name), `code` (the word a failure begins with), and
    `failed` (failures alone: neither what was cancelled nor what is parked). Without any, waits are over as well.
    """
    cause = f"retry by {who}"
    with context.store.write() as tx:
        chosen, which = _chosen(tx, arguments)
        for batch in chosen:
            _unpark(tx, batch, cause)
        stuck = embeddings.stuck(tx.connection, which)
        embeddings.want_again(tx, stuck, cause)
        versions.publish_again(tx, [embedding_id for embedding_id, _ in stuck], cause)
        for name in (circuits.VENDOR, circuits.CREATE, circuits.DISK, circuits.TABLE, circuits.FRESH):
            circuits.reset(tx, name)
    return {"batches": len(chosen), "embeddings": len(stuck)}


def _chosen(tx: Tx, arguments: Mapping[str, object]) -> tuple[list[BatchRow], Stuck]:
    """The parked batches that are meant, and which embeddings."""
    code = arguments.get("code")
    failed = bool(arguments.get("failed")) or code is not None
    parked = batches.in_state(tx.connection, Batch.PARKED)
    batch_id = source_id = None
    if arguments.get("ref"):
        batch_id = batch_called(tx.connection, arguments["ref"]).id
        parked = [batch for batch in parked if batch.id == batch_id]
    if arguments.get("source"):
        source_id = source_called(tx.connection, arguments["source"]).id
        mine = {each.id for each in batches.with_lines_of(tx.connection, source_id, [Batch.PARKED])}
        parked = [batch for batch in parked if batch.id in mine]
    one = _number(arguments, "document_id"), _number(arguments, "embedding_id")
    which = Stuck(batch_id, source_id, *one, code=None if code is None else str(code), failed=failed)
    return ([] if failed or one != (None, None) else parked), which


def _number(arguments: Mapping[str, object], name: str) -> int | None:
    value = arguments.get(name)
    return value if isinstance(value, int) else None


def _unpark(tx: Tx, batch: BatchRow, cause: str) -> None:
    batches.move(tx, batch, Batch.CANCELLED, cause)
    ledger.write_off(tx, batch)
    embeddings.give_back(tx, batch.id)
