"""A job that failed validation: nothing ran and nothing is billed. Find the lines that are to blame.

If the provider names lines, those travel in smaller company next time and the rest goes on as before; it does not say
whether it counts from 0 or 1, so both readings are suspected. If it names none, all are suspected. Each time a line is
suspected its next batch is a tenth of the size, until a bad one is alone, and has failed.

If job after job is refused as a whole and in the same words, it is not a text that is to blame but what all of them
share (a setting, the account): to take them apart would make thousands of jobs for nothing, so they wait for you.

Some providers end a job in the same way for want of room, or because they have no such model. They say whose fault it
was (`Vendor.judge`): then the same lines go again later, all of them.
"""

from __future__ import annotations

from collections.abc import Iterable

from voyage_jobs.core.crash import crash_point
from voyage_jobs.core.states import Attempt, Batch
from voyage_jobs.errors import VendorError
from voyage_jobs.state import (
    batch_lines,
    batches,
    calibration,
    create_calls,
    embeddings,
    ledger,
    provider_files,
    token_limit,
    versions,
)
from voyage_jobs.state.batch_lines import Settled
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.create_calls import AttemptRow
from voyage_jobs.state.outcomes import REFUSED
from voyage_jobs.state.store import Tx
from voyage_jobs.steps import circuits as circuit
from voyage_jobs.steps import encoding
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.ending import park
from voyage_jobs.steps.windows import split_window
from voyage_jobs.vendors.remote import Blame, JobError, RemoteBatch, Verdict

ALL_ALIKE = 8
"""So many jobs in a row that are refused without naming a line, in the same words, are not about their texts."""


def refuse(context: Context, batch: BatchRow, remote: RemoteBatch, attempt: AttemptRow | None = None) -> None:
    """Record the refusal and put its lines back in line; a line that was alone has failed, or is cut in two.

    With `attempt` no job was made: the call was refused at once for want of room.
    """
    reason, verdict = complaints(remote.errors) or "the provider gave no reason", context.vendor.judge(remote)
    with context.store.read() as connection:
        lines = list(batch_lines.lines_of(connection, batch.id))
        alike = batches.refused_in_a_row(connection, batch.id, reason, ALL_ALIKE)
    named = suspects(remote.errors, len(lines))
    all_alike = alike >= ALL_ALIKE and named is None and len(lines) > 1 and verdict.blame is Blame.LINES
    if (all_alike or verdict.blame is Blame.JOB) and batch.cancel_asked_at is None:
        with context.store.write() as tx:  # over: nobody need look whether it goes on after all
            ledger.release(tx, batch.id, batch.tokens_estimated, batch.usd_per_million)  # nothing ran
            batches.note(tx, batch.id, remote_status=remote.status, ended_at=tx.now, tokens_settled=0)
        park(
            context,
            batch,
            reason,
            VendorError(reason, hint=_ALIKE_HINT.format(count=alike)) if alike else None,
        )
        return
    with context.store.write() as tx:
        if attempt is not None:
            create_calls.close_attempt(tx, attempt, Attempt.REFUSED, reason)
        batches.move(
            tx, batch, Batch.REFUSED, reason, reason=reason, remote_status=remote.status, ended_at=tx.now
        )
        _remember_files(tx, batch, remote)
        ledger.release(tx, batch.id, batch.tokens_estimated, batch.usd_per_million)
        if batch.cancel_asked_at is not None:
            embeddings.give_up(tx, batch.id)
        elif verdict.blame is Blame.MODEL:
            embeddings.give_back(tx, batch.id)
            circuit.model_is_refused(context, tx, reason)
        elif verdict.blame is Blame.NOBODY:
            embeddings.give_back(tx, batch.id)
            _had_no_room(context, tx, batch, reason, verdict)
        elif named is None and encoding.is_why(context, tx, batch, reason):
            embeddings.give_back(tx, batch.id)
        elif len(lines) == 1:
            only = Settled(0, lines[0].embedding_id, REFUSED, None, reason, None)
            embeddings.settle(tx, batch.id, None, [only], context.settings.batching.max_attempts)
            if lines[0].vectors > 1:
                split_window(context, tx, lines[0].embedding_id)
        else:
            embeddings.suspect(tx, batch.id, named)
            embeddings.give_back(tx, batch.id)
        versions.recount_batch(tx, batch.id)
    crash_point("poll.committed")
    if verdict.blame is Blame.NOBODY:
        context.log.warning("batch.turned_away", ref=batch.ref, batch_id=remote.id or None, reason=reason)
    else:
        context.log.error("batch.refused", ref=batch.ref, batch_id=remote.id, reason=reason)


def _remember_files(tx: Tx, batch: BatchRow, remote: RemoteBatch) -> None:
    for purpose, file_id in (("output", remote.output_file_id), ("error", remote.error_file_id)):
        if file_id is not None:
            provider_files.remember_file(tx, file_id, batch.id, purpose, None)


def _had_no_room(context: Context, tx: Tx, batch: BatchRow, reason: str, verdict: Verdict) -> None:
    """Learn how much may be in flight. Where that explains the refusal, what fits goes at once; else new jobs wait."""
    batches.note(tx, batch.id, code=batches.NO_ROOM)
    if verdict.most_tokens is not None:
        _, others = batches.in_flight(tx.connection)
        configured = context.settings.batching.max_in_flight_tokens
        share = calibration.billed_share(tx.connection, batch.profile_id)
        ours = round((others + batch.tokens_estimated) * share)
        if token_limit.learn(tx, context.vendor.name, configured, verdict.most_tokens, ours):
            return
    circuit.create_must_wait(context, tx, VendorError(reason, retry_after_s=verdict.wait_s))


_ALIKE_HINT = (
    "The provider refuses the whole job, like the {count} before it: no single text is the cause. Correct"
    " the provider's settings as its message says, then `voyage-jobs retry`: new batches are made. Nothing was billed."
)


def suspects(errors: Iterable[JobError], count: int) -> list[int] | None:
    """The 0-based lines that the errors may mean; None if they name none, or most of them."""
    named = {error.line for error in errors if error.line is not None}
    lines = sorted({line for each in named for line in (each - 1, each) if 0 <= line < count})
    return lines if lines and len(lines) <= max(2, count // 2) else None


def complaints(errors: Iterable[JobError]) -> str:
    """The provider's complaints in one line."""
    said = [f"line {e.line}: {e.message}" if e.line is not None else e.message for e in errors]
    more = f" (and {len(said) - 3} more)" if len(said) > 3 else ""
    return "; ".join(said[:3]) + more
