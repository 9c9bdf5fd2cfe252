"""reconcile: a create call was sent and nobody knows whether it had an effect. Find out before doing anything else.

The list of jobs is read to its end (its order is not documented) and searched for our mark: the `ref` in the
metadata, or else the input file, which belongs to this batch alone. Found: adopt it. Not found: the job may still
show up, so wait out the quarantine, which is longer than the call could have been on its way, look again, and only
then allow another attempt. Whether the quarantine is over is asked *before* the list is read.
"""

from __future__ import annotations

from voyage_jobs.clock import US
from voyage_jobs.crash import crash_point
from voyage_jobs.errors import VendorError
from voyage_jobs.states import Attempt, Batch
from voyage_jobs.steps import lanes as lane
from voyage_jobs.steps.context import Context
from voyage_jobs.store import batches, lanes
from voyage_jobs.store.batches import AttemptRow, BatchRow
from voyage_jobs.voyage import models
from voyage_jobs.voyage.models import WINDOW_S
from voyage_jobs.voyage.wire import Phase, RemoteBatch

METADATA_REF = models.METADATA_REF
MOST_LOST_ATTEMPTS = 3
LOOK_AGAIN_S = 60.0
LOOK_FOR_LATE_S = 600.0
VENDOR_CLOCK_S = 2.0  # its `Date` counts whole seconds, at both ends of the wait
_PARKED_HINT = (
    "Look for jobs at the vendor with this ref in their metadata. If there is none, `voyage-jobs retry` sends the lines"
    " in a new batch; if one shows up it is adopted by itself."
)


def reconcile(context: Context, batch: BatchRow) -> bool:
    """Settle the open attempt of a batch in state `creating`, if that can be done now."""
    if not lane.is_open(context, lanes.VENDOR):
        return False
    with context.store.read() as connection:
        attempt = batches.attempts_of(connection, batch.id)[-1]
    try:
        left_s = _seconds_left(context, attempt)
        matches = find_jobs(context, batch)
    except VendorError as exc:
        lane.trouble(context, exc)
        return True
    crash_point("reconcile.listed")
    lane.fine(context)
    if matches:
        adopt(context, batch, attempt, matches[0], "found at the vendor")
        cancel_duplicates(context, batch, matches[1:])
        return True
    if left_s > 0:
        return _look_again(context, batch, attempt, left_s)
    _give_up_attempt(context, batch, attempt)
    return True


def look_for_late_job(context: Context, batch: BatchRow) -> bool:
    """See now and then whether the job of a parked batch shows up after all, if a create call of it was ever lost."""
    with context.store.read() as connection:
        attempts = batches.attempts_of(connection, batch.id)
    lost = [attempt for attempt in attempts if attempt.state is Attempt.LOST]
    if not lost or batch.remote_id is not None or not lane.is_open(context, lanes.VENDOR):
        return False
    try:
        matches = find_jobs(context, batch)
    except VendorError as exc:
        lane.trouble(context, exc)
        return True
    lane.fine(context)
    if matches:
        adopt(context, batch, lost[-1], matches[0], "showed up late")
        cancel_duplicates(context, batch, matches[1:])
    else:
        with context.store.write() as tx:
            batches.note(tx, batch.id, due_at=tx.now + int(LOOK_FOR_LATE_S * US))
    return True


def vendor_now_us(context: Context) -> int | None:
    """The vendor's time, asked for if no late answer told it; None if it does not tell. Raises VendorError."""
    known = context.client.vendor_now_us()
    return context.client.probe() if known is None else known


def find_jobs(context: Context, batch: BatchRow) -> list[RemoteBatch]:
    """Jobs at the vendor that carry this batch's mark and belong to no other batch; the one to keep comes first."""
    found = [remote for remote in context.client.list_batches() if is_ours(batch, remote)]
    with context.store.read() as connection:
        owners = [batches.by_remote_id(connection, remote.id) for remote in found]
    free = [
        remote for remote, owner in zip(found, owners, strict=True) if owner is None or owner.id == batch.id
    ]
    dead = (Phase.CANCELLED, Phase.FAILED)
    return sorted(free, key=lambda remote: (remote.phase in dead, remote.created_at_us or 0, remote.id))


def is_ours(batch: BatchRow, remote: RemoteBatch) -> bool:
    """Whether a job is one that this batch asked for."""
    if remote.metadata.get(METADATA_REF) is not None:
        return remote.metadata[METADATA_REF] == batch.ref
    return remote.input_file_id is not None and remote.input_file_id == batch.input_file_id


def _seconds_left(context: Context, attempt: AttemptRow) -> float:
    """Of the quarantine: by this process's monotonic clock if it sent the call, else by the vendor's clock alone.

    Our wall clock has no say: it may have been set since the call, in either direction. Where the vendor's clock does
    not tell, the quarantine begins anew with this process's first look.
    """
    quarantine_s = context.settings.voyage.quarantine_s
    sent = context.attempts_here.get(attempt.id)
    if sent is not None:
        return quarantine_s - (context.clock.mono() - sent)
    there = vendor_now_us(context) if attempt.vendor_sent_at is not None else None
    if there is None or attempt.vendor_sent_at is None:
        context.attempts_here[attempt.id] = context.clock.mono()
        return quarantine_s
    return quarantine_s + VENDOR_CLOCK_S - (there - attempt.vendor_sent_at) / US


def _look_again(context: Context, batch: BatchRow, attempt: AttemptRow, left_s: float) -> bool:
    with context.store.write() as tx:
        batches.note(tx, batch.id, due_at=tx.now + int(min(max(left_s, 1.0), LOOK_AGAIN_S) * US))
    context.observer.put_off("quarantined")
    context.log.info("create.quarantined", ref=batch.ref, attempt=attempt.number, seconds_left=round(left_s))
    return True


def _give_up_attempt(context: Context, batch: BatchRow, attempt: AttemptRow) -> None:
    """The list does not show a job after the quarantine: there is none. Another attempt may be made."""
    with context.store.write() as tx:
        batches.close_attempt(tx, attempt, Attempt.LOST, "no job was found after the quarantine")
        lost = [a for a in batches.attempts_of(tx.connection, batch.id) if a.state is Attempt.LOST]
        if len(lost) >= MOST_LOST_ATTEMPTS:
            reason = f"{len(lost)} create calls got no answer and no job was found"
            batches.move(tx, batch, Batch.PARKED, reason, reason=reason, hint=_PARKED_HINT)
        else:
            batches.move(tx, batch, Batch.UPLOADED, "no job was found after the quarantine")
    crash_point("reconcile.committed")
    context.attempts_here.pop(attempt.id, None)
    context.log.warning("create.lost", ref=batch.ref, attempt=attempt.number)


def adopt(context: Context, batch: BatchRow, attempt: AttemptRow, remote: RemoteBatch, cause: str) -> None:
    """The vendor has a job for this batch: take it on."""
    interval_us = int(context.settings.polling.interval_s * US)
    with context.store.write() as tx:
        batches.close_attempt(tx, attempt, Attempt.CREATED, f"job {remote.id}")
        created = remote.created_at_us or tx.now
        batches.move(
            tx,
            batch,
            Batch.RUNNING,
            f"job {remote.id} {cause}",
            remote_id=remote.id,
            remote_status=remote.status,
            submitted_at=attempt.sent_at,
            remote_created_at=created,
            deadline_at=created + WINDOW_S * US,
            due_at=tx.now + (0 if cause != "created" else min(interval_us, 5 * US)),
            reason=None,
            hint=None,
        )
    crash_point("create.committed")
    context.attempts_here.pop(attempt.id, None)
    context.log.info("batch.submitted", ref=batch.ref, batch_id=remote.id, cause=cause, inputs=batch.inputs)


def cancel_duplicates(context: Context, batch: BatchRow, others: list[RemoteBatch]) -> None:
    """More than one job for one batch: the one we keep is paid for, the others are stopped."""
    for remote in others:
        context.log.error("batch.duplicate", ref=batch.ref, batch_id=remote.id)
        with context.store.write() as tx:
            batches.note_duplicate(tx, batch, remote.id)
        if remote.phase not in (Phase.OPEN, Phase.UNKNOWN):
            continue
        try:
            context.client.cancel_batch(remote.id)
        except VendorError as exc:
            context.log.warning(
                "batch.duplicate_not_cancelled", ref=batch.ref, batch_id=remote.id, error=exc.message
            )
