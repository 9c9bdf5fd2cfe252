"""`cancel`: stop a batch, or everything of a source. What is answered is kept, and paid; the rest waits for `retry`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from voyage_jobs.core.states import BEFORE_THE_JOB, Batch
from voyage_jobs.errors import ConfigError
from voyage_jobs.state import batch_lines, batches, embeddings, ledger, meta
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.history import View
from voyage_jobs.state.store import Tx
from voyage_jobs.steps import known_jobs
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.naming import batch_called, source_called

_CANCELLABLE = (*BEFORE_THE_JOB, Batch.PARKED, Batch.CREATING, Batch.RUNNING)


def cancel(context: Context, arguments: Mapping[str, object], who: str) -> dict[str, object]:
    """Stop the batch that `ref` names, or all batches with texts of `source`."""
    if arguments.get("source"):
        return _cancel_source(context, str(arguments["source"]), who)
    with context.store.write() as tx:
        batch = batch_called(tx.connection, arguments.get("ref"))
        _demand_cancellable(batch)
        batches.cancel_for_all(tx, batch.id)
        answered = _answered(batch)
        state = _cancel_one(context, tx, batch, who)
        return {"ref": batch.ref, "state": state, "texts": batch.inputs - answered, "answered": answered}


def _cancel_one(context: Context, tx: Tx, batch: BatchRow, who: str) -> str:
    """`cancelled` at once where there is no job, else `cancelling`: the provider is asked at the next poll.

    An older copy of the folder does not remember its newest jobs. Until the list of jobs was read, a batch that seems
    to have none is only marked: given up now, its texts would be bought again beside a job that runs.
    """
    unsure = batch.state in BEFORE_THE_JOB and not known_jobs.are_known(context)
    if unsure or batch.state in (Batch.CREATING, Batch.RUNNING):
        batches.note(tx, batch.id, cancel_asked_at=batch.cancel_asked_at or tx.now, due_at=0)
        batches.remark(tx, batch, f"its cancellation was asked for by {who}")
        return "cancelling"
    if batch.state is Batch.UPLOADING:  # the file may be there already
        meta.put(tx, meta.ORPHANED_FILES, str(tx.now))
    batches.move(tx, batch, Batch.CANCELLED, f"cancelled by {who}")
    ledger.write_off(tx, batch)
    embeddings.give_up(tx, batch.id)
    return "cancelled"


def _cancel_source(context: Context, name: str, who: str) -> dict[str, object]:
    """Texts of other sources that travel in the same batches are sent again by themselves."""
    with context.store.write() as tx:
        source = source_called(tx.connection, name)
        states, texts = {}, 0
        for batch in batches.with_lines_of(tx.connection, source.id, _CANCELLABLE):
            texts += batch_lines.count_lines_for(tx.connection, batch.id, source.id)
            batches.cancel_for(tx, batch, source.id)
            states[batch.ref] = _cancel_one(context, tx, batch, who)
        waiting = embeddings.give_up_waiting(tx, source.id, f"cancelled by {who}")
    under_way = [ref for ref, state in states.items() if state == "cancelling"]
    return {
        "source": source.name,
        "state": "cancelling" if under_way else "cancelled",
        "refs": sorted(states),
        "under_way": sorted(under_way),
        "texts": texts,
        "waiting": waiting,
    }


@dataclass(frozen=True)
class Affected:
    """What a cancellation is about: open batches, their texts without and with an answer, and texts that wait.

    The provider's own count of answers is by batch and of its last look: what is answered of one source in a batch that
    it shares is not known, and counts as unanswered.
    """

    batches: int
    unanswered: int
    answered: int
    waiting: int


def affected(connection: View, arguments: Mapping[str, object]) -> Affected:
    """What `cancel` with these arguments would touch, to ask about beforehand. Raises ConfigError as it would."""
    if arguments.get("source"):
        source = source_called(connection, arguments["source"])
        chosen = batches.with_lines_of(connection, source.id, _CANCELLABLE)
        lines = sum(batch_lines.count_lines_for(connection, batch.id, source.id) for batch in chosen)
        return Affected(len(chosen), lines, 0, embeddings.count_waiting_for(connection, source.id))
    batch = batch_called(connection, arguments.get("ref"))
    _demand_cancellable(batch)
    answered = _answered(batch)
    return Affected(1, batch.inputs - answered, answered, 0)


def _answered(batch: BatchRow) -> int:
    """How many texts of a batch the provider had answered at the last look."""
    return min(batch.inputs, (batch.remote_completed or 0) + (batch.remote_failed or 0))


def _demand_cancellable(batch: BatchRow) -> None:
    if batch.state not in _CANCELLABLE:
        raise ConfigError(
            f"Batch {batch.ref} is {batch.state}: there is nothing to cancel.",
            hint="`voyage-jobs batches` shows open ones.",
        )
