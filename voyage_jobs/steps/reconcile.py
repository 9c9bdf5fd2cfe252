"""reconcile: a create call was sent and nobody knows whether it had an effect. Find out before doing anything else.

The list of jobs is read to its end (its order is not documented) and searched for our mark: the `ref` in the
metadata, or else the input file, which belongs to this batch alone. Found: adopt it. Not found: the job may still
show up, so wait out the quarantine, which is longer than the call could have been on its way, look again, and only
then allow another attempt. Whether the quarantine is over is asked *before* the list is read. Where a repeated create
call gives the job of the first, there is nothing to wait for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from voyage_jobs.core import retry
from voyage_jobs.core.clock import US
from voyage_jobs.core.crash import crash_point
from voyage_jobs.core.states import Attempt, Batch
from voyage_jobs.errors import RefusedError, VendorError
from voyage_jobs.state import batches, create_calls, ledger
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.create_calls import AttemptRow
from voyage_jobs.steps import circuits as circuit
from voyage_jobs.steps.context import Context
from voyage_jobs.vendors.remote import LIVING, METADATA_REF, Phase, RemoteBatch, ref_of

LIST = "the list of jobs"
"""What fails when the list cannot be read: one item, whichever batch is looked for."""
CREATED_SLACK_S = 3_600.0
VENDOR_CLOCK_S = 2.0  # its `Date` counts whole seconds, at both ends of the wait
_PARKED_HINT = (
    "Its create call got no answer, and the list of jobs, which would tell, cannot be read. Look at the provider's"
    " page for a job with this ref in its metadata. If there is none, `voyage-jobs retry` sends the lines in a"
    " new batch (if there is one, they are paid twice); a job that shows up in the list later is adopted automatically."
)


@dataclass
class Sent:
    """Create calls that this process sent."""

    at: dict[int, float] = field(default_factory=dict)
    """Attempt -> monotonic time at which it was sent, while its outcome is open."""


def reconcile(context: Context, batch: BatchRow, calls: circuit.Calls) -> bool:
    """Settle the open attempt of a batch in state `creating`, if that can be done now."""
    if not calls.more():
        return False
    with context.store.read() as connection:
        attempt = create_calls.attempts_of(connection, batch.id)[-1]
    try:
        left_s = _seconds_left(context, attempt)
        matches = find_jobs(context, batch)
    except VendorError as exc:
        _list_failed(context, batch, exc)
        return True
    crash_point("reconcile.listed")
    circuit.fine(context)
    if matches:
        adopt(context, batch, attempt, matches[0], "found at the provider")
        cancel_duplicates(context, batch, matches[1:])
        return True
    if left_s > 0:
        return _look_again(context, batch, attempt, left_s)
    _give_up_attempt(context, batch, attempt)
    return True


def _list_failed(context: Context, batch: BatchRow, error: VendorError) -> None:
    """Without the whole list there is no sure *no*: wait. After a week an operator has to look."""
    with context.store.write() as tx:
        failures = circuit.put_off(context, tx, batch, "reconcile", error)
        circuit.failed_in(context, tx, LIST, error)
        if retry.is_over("reconcile", failures):
            attempt = create_calls.attempts_of(tx.connection, batch.id)[-1]
            create_calls.close_attempt(tx, attempt, Attempt.LOST, "the list of jobs could not be read")
            reason = f"the list of jobs could not be read to its end in {failures} tries: {error.message}"
            values = {"code": ledger.MAY_HAVE_RUN, "reason": reason, "hint": _PARKED_HINT}
            batches.move(tx, batch, Batch.PARKED, reason, **values)
            context.log.error("batch.parked", ref=batch.ref, reason=reason)


def look_for_late_job(context: Context, batch: BatchRow, calls: circuit.Calls) -> bool:
    """See now and then whether the job of a parked batch shows up after all, if a create call of it was ever lost."""
    if batch.remote_id is not None:
        return False
    with context.store.read() as connection:
        attempts = create_calls.attempts_of(connection, batch.id)
    lost = [attempt for attempt in attempts if attempt.state is Attempt.LOST]
    if not lost or not calls.more():
        return False
    try:
        matches = find_jobs(context, batch)
    except VendorError as exc:
        circuit.failed(context, LIST, exc)
        matches = []
    else:
        circuit.fine(context)
    if matches:
        adopt(context, batch, lost[-1], matches[0], "showed up late")
        cancel_duplicates(context, batch, matches[1:])
        return True
    with context.store.write() as tx:
        batches.note(tx, batch.id, due_at=tx.now + int(retry.wait_s("late_job", 1, context.clock) * US))
    return True


def vendor_now_us(context: Context) -> int | None:
    """The provider's time, asked for if no late answer told it; None if it does not tell. Raises VendorError."""
    known = context.client.vendor_now_us()
    return context.client.probe() if known is None else known


def list_jobs(context: Context) -> Iterator[RemoteBatch]:
    """Every job in the provider's list, to its end. Entries that cannot be ours are passed over, and counted."""
    before = context.client.skipped_entries
    marks = None if context.vendor.traits.lists_metadata else _marks_of_files(context)
    for remote in context.client.list_batches():
        yield remote if marks is None else replace(remote, metadata=marks.get(remote.input_file_id, {}))
    skipped = context.client.skipped_entries - before
    if skipped:
        context.log.info("list.entries_skipped", entries=skipped)


def _marks_of_files(context: Context) -> dict[str | None, dict[str, str]]:
    """What the names of our input files say of the jobs that were made of them, by file id."""
    refs = ((file.id, ref_of(file)) for file in context.client.list_files())
    return {file_id: {METADATA_REF: ref} for file_id, ref in refs if ref is not None}


def find_jobs(context: Context, batch: BatchRow) -> list[RemoteBatch]:
    """Jobs at the provider that carry this batch's mark and belong to no other batch; the one to keep comes first."""
    found = [remote for remote in jobs_looked_at(context) if is_ours(batch, remote)]
    with context.store.read() as connection:
        owners = [batches.by_remote_id(connection, remote.id) for remote in found]
    free = [
        remote for remote, owner in zip(found, owners, strict=True) if owner is None or owner.id == batch.id
    ]
    dead = (Phase.CANCELLED, Phase.FAILED)
    return sorted(free, key=lambda remote: (remote.phase in dead, remote.created_at_us or 0, remote.id))


def jobs_looked_at(context: Context) -> Iterator[RemoteBatch]:
    """The same, with every job whose entry shows nothing but its id asked for by that: it might be ours."""
    listed = (_looked_at(context, remote) for remote in list_jobs(context))
    return (remote for remote in listed if remote is not None)


def _looked_at(context: Context, remote: RemoteBatch) -> RemoteBatch | None:
    """The job itself where the list shows nothing of it but its id; None if there is no such job.

    One that cannot be looked at raises: it might be ours, and *no* would not be sure.
    """
    if not remote.is_bare or remote.metadata or remote.input_file_id is not None:
        return remote
    with context.store.read() as connection:
        if batches.by_remote_id(connection, remote.id) is not None:
            return None  # it belongs to a batch already
    try:
        return context.client.get_batch(remote.id)
    except RefusedError:
        return None


def is_ours(batch: BatchRow, remote: RemoteBatch) -> bool:
    """Whether a job is one that this batch asked for."""
    if remote.metadata.get(METADATA_REF) is not None:
        return remote.metadata[METADATA_REF] == batch.ref
    return remote.input_file_id is not None and remote.input_file_id == batch.input_file_id


def _seconds_left(context: Context, attempt: AttemptRow) -> float:
    """Of the quarantine: by this process's monotonic clock if it sent the call, else by the provider's clock alone.

    Our wall clock has no say: it may have been set since the call, in either direction. Where the provider's clock does
    not tell, the quarantine begins again with this process's first look.
    """
    if context.vendor.traits.idempotent_create:
        return 0.0
    quarantine_s = context.settings.section.quarantine_s
    sent = context.memory(Sent).at.get(attempt.id)
    if sent is not None:
        return quarantine_s - (context.clock.mono() - sent)
    there = vendor_now_us(context) if attempt.vendor_sent_at is not None else None
    if there is None or attempt.vendor_sent_at is None:
        context.memory(Sent).at[attempt.id] = context.clock.mono()
        return quarantine_s
    return quarantine_s + VENDOR_CLOCK_S - (there - attempt.vendor_sent_at) / US


def _look_again(context: Context, batch: BatchRow, attempt: AttemptRow, left_s: float) -> bool:
    wait_s = min(max(left_s, 1.0), retry.wait_s("quarantine", 1, context.clock))
    with context.store.write() as tx:
        batches.well(tx, batch.id, due_at=tx.now + int(wait_s * US))
    context.observer.put_off("quarantined")
    context.log.info("create.quarantined", ref=batch.ref, attempt=attempt.number, seconds_left=round(left_s))
    return True


def _give_up_attempt(context: Context, batch: BatchRow, attempt: AttemptRow) -> None:
    """The list does not show a job after the quarantine: there is none. Another attempt follows, after growing waits.

    An outage heals by itself: however many answers are lost, each *no* is sure.
    """
    cause = "no job was found after the quarantine"
    with context.store.write() as tx:
        create_calls.close_attempt(tx, attempt, Attempt.LOST, cause)
        lost = create_calls.attempts_in_a_row(tx.connection, batch.id, Attempt.LOST)
        wait_s = retry.wait_s("create_lost", len(lost), context.clock)
        since = lost[-1].sent_at
        values = {"code": "create_lost", "failures": len(lost), "error": cause, "failing_since": since}
        batches.move(tx, batch, Batch.UPLOADED, cause, due_at=tx.now + int(wait_s * US), **values)
    crash_point("reconcile.committed")
    context.memory(Sent).at.pop(attempt.id, None)
    context.log.warning("create.lost", ref=batch.ref, attempt=attempt.number, wait_s=round(wait_s))


def _created_us(remote: RemoteBatch, attempt: AttemptRow, now: int) -> int:
    """When a job was made, by the provider's word where that can be true, else by the call that made it.

    A time before the call or in the future (1970, the year 9999) would make a deadline that is long over, or never.
    """
    sent = attempt.vendor_sent_at or attempt.sent_at
    latest = remote.server_date_us or now
    created = remote.created_at_us
    if created is None or not sent - CREATED_SLACK_S * US <= created <= latest + CREATED_SLACK_S * US:
        return sent
    return created


def end_of_window(context: Context, created_us: int) -> int | None:
    """When a job that was made then is over for sure, in microseconds UTC; None where the provider promises nothing."""
    window_s = context.vendor.limits.window_s
    return None if window_s is None else created_us + int(window_s * US)


def adopt(context: Context, batch: BatchRow, attempt: AttemptRow, remote: RemoteBatch, cause: str) -> None:
    """The provider has a job for this batch: take it on."""
    interval_us = int(context.settings.polling.interval_s * US)
    with context.store.write() as tx:
        create_calls.close_attempt(tx, attempt, Attempt.CREATED, f"job {remote.id}")
        created = _created_us(remote, attempt, tx.now)
        batches.move(
            tx,
            batch,
            Batch.RUNNING,
            f"job {remote.id} {cause}",
            remote_id=remote.id,
            remote_status=remote.status,
            submitted_at=attempt.sent_at,
            remote_created_at=created,
            deadline_at=end_of_window(context, created),
            due_at=tx.now + (0 if cause != "created" else min(interval_us, 5 * US)),
            reason=None,
            hint=None,
        )
    crash_point("create.committed")
    context.memory(Sent).at.pop(attempt.id, None)
    context.log.info("batch.submitted", ref=batch.ref, batch_id=remote.id, cause=cause, inputs=batch.inputs)


def cancel_duplicates(context: Context, batch: BatchRow, others: list[RemoteBatch]) -> None:
    """More than one job for one batch: the one we keep is paid for, the others are stopped."""
    for remote in others:
        context.log.error("batch.duplicate", ref=batch.ref, batch_id=remote.id)
        with context.store.write() as tx:
            batches.note_duplicate(tx, batch, remote.id)
        if remote.phase not in LIVING:
            continue
        try:
            context.client.cancel_batch(remote.id)
        except VendorError as exc:
            context.log.warning(
                "batch.duplicate_not_cancelled", ref=batch.ref, batch_id=remote.id, error=exc.message
            )
