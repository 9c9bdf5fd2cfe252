"""submit: bring each batch from `packed` to `running`, knowing at every moment what may have happened at the vendor.

The create call has no idempotency key. Therefore: the attempt row is committed before it, it is sent once, and if its
outcome is unknown (timeout, cut connection, 5xx, our own death) the list of jobs is asked before anything else. See
states.py for what each state means when the process dies in it, and reconcile.py for the doubtful case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import orjson

from voyage_jobs.clock import US, now_us
from voyage_jobs.crash import crash_point
from voyage_jobs.errors import (
    BadAnswerError,
    OutcomeUnknownError,
    RateLimitedError,
    RefusedError,
    VendorError,
)
from voyage_jobs.observe import about
from voyage_jobs.states import BEFORE_THE_JOB, Attempt, Batch
from voyage_jobs.steps import known_jobs
from voyage_jobs.steps import lanes as lane
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.reconcile import METADATA_REF, adopt, look_for_late_job, reconcile, vendor_now_us
from voyage_jobs.steps.texts import Texts
from voyage_jobs.store import batches, embeddings, lanes, ledger, notes, pauses
from voyage_jobs.store.batches import AttemptRow, BatchRow
from voyage_jobs.voyage.lines import input_line, write_input
from voyage_jobs.voyage.verdict import is_missing_input_file

UPLOAD_NAME = "voyage-jobs-{ref}.jsonl"
# "Input file not found" has been seen right after a good upload: wait, then upload once more, then ask a person.
NOT_FOUND_TRIES = 4
NOT_FOUND_WAIT_S = 15.0


def submit(context: Context) -> bool:
    """Advance every batch that is due by one state. True if anything was done."""
    with context.store.read() as connection:
        waiting = batches.in_state(connection, *BEFORE_THE_JOB, Batch.CREATING, Batch.PARKED)
        resting = bool(waiting) and pauses.now(connection, now_us(context.clock)).all_sending
    did = False
    for batch in waiting:
        if context.stopping.is_set():
            break
        if batch.state in BEFORE_THE_JOB:
            if batch.profile_id != context.profile_id:
                did |= _of_another_profile(context, batch)
                continue
            if (resting or not context.may_send) and batch.cancel_asked_at is None:
                continue  # what is in doubt is looked for all the same: money hangs on it
        if batch.due_at <= now_us(context.clock):
            with about(batch.ref):
                did |= _ADVANCE[batch.state](context, batch)
    return did


def _of_another_profile(context: Context, batch: BatchRow) -> bool:
    """Nobody wants these vectors any more, and no job was created: it never comes to one."""
    if batch.state is Batch.UPLOADING:  # the file may be there already
        with context.store.write() as tx:
            notes.put(tx, notes.STRAYS, str(tx.now))
    return abandon(context, batch, "other vectors are wanted now", by_person=False)


def _spool(context: Context, batch: BatchRow) -> bool:
    """Write the input file; the same members make the same bytes."""
    if batch.cancel_asked_at is not None:
        return abandon(context, batch, "cancelled before it was sent", by_person=True)
    try:
        written = write_input(context.input_path(batch.ref), _input_lines(context, batch))
    except LookupError:
        return abandon(context, batch, "its texts changed before it was written", by_person=False)
    with context.store.write() as tx:
        batches.move(
            tx,
            batch,
            Batch.SPOOLED,
            f"{written.bytes} bytes",
            spool_bytes=written.bytes,
            spool_sha256=written.sha256_hex,
        )
    crash_point("spool.committed")
    return True


def _input_lines(context: Context, batch: BatchRow) -> Iterator[bytes]:
    texts = Texts(context.store)
    with context.store.read() as connection:
        written = 0
        for wanted in embeddings.to_write(connection, batch.id):
            found = texts.of_embedding(wanted)
            if found is None:
                raise LookupError(wanted.id)
            yield input_line(wanted.key.hex(), context.profile.endpoint, found)
            written += 1
        if written != embeddings.count_lines(connection, batch.id):
            raise LookupError(batch.ref)


def abandon(context: Context, batch: BatchRow, cause: str, *, by_person: bool) -> bool:
    """End a batch that has no job: its lines are wanted again, or given up if a person said so."""
    with context.store.write() as tx:
        batches.move(tx, batch, Batch.CANCELLED, cause)
        (embeddings.give_up if by_person else embeddings.give_back)(tx, batch.id)
        ledger.release(tx, batch.id, batch.tokens_estimated, batch.usd_per_million)
    crash_point("cancel.committed")
    context.log.info("batch.cancelled", ref=batch.ref, cause=cause)
    return True


def _upload(context: Context, batch: BatchRow) -> bool:
    """Upload the input file. Doing it twice costs nothing; the stray is deleted later."""
    if batch.cancel_asked_at is not None:
        return abandon(context, batch, "cancelled before it was sent", by_person=True)
    if not lane.is_open(context, lanes.VENDOR):
        return False
    if not _file_is_whole(context, batch):
        return _write_again(context, batch)
    with context.store.write() as tx:
        if batch.state is Batch.SPOOLED:
            batches.move(tx, batch, Batch.UPLOADING, "upload begins")
            batch = batches.get(tx.connection, batch.id)
        else:
            notes.put(tx, notes.STRAYS, str(tx.now))
    crash_point("upload.before")
    context.progress(f"uploading {batch.ref[:8]}", batch.spool_bytes or 0, None)
    try:
        remote = context.client.upload(context.input_path(batch.ref), UPLOAD_NAME.format(ref=batch.ref))
    except RefusedError as exc:
        park(context, batch, f"The vendor refuses the input file: {exc.message}", exc)
        return True
    except VendorError as exc:
        lane.trouble(context, exc)
        return True
    crash_point("upload.answered")
    lane.fine(context)
    with context.store.write() as tx:
        batches.remember_file(tx, remote.id, batch.id, "batch", remote.bytes)
        batches.move(tx, batch, Batch.UPLOADED, f"file {remote.id}", input_file_id=remote.id)
    crash_point("upload.committed")
    context.log.info("batch.uploaded", ref=batch.ref, file_id=remote.id, bytes=batch.spool_bytes)
    return True


def _file_is_whole(context: Context, batch: BatchRow) -> bool:
    try:
        return context.input_path(batch.ref).stat().st_size == batch.spool_bytes
    except FileNotFoundError:
        return False


def _write_again(context: Context, batch: BatchRow) -> bool:
    """The spooled file is lost or cut (a disk restored, a folder cleaned): the same lines make it anew."""
    try:
        written = write_input(context.input_path(batch.ref), _input_lines(context, batch))
    except LookupError:
        return abandon(context, batch, "its input file is lost and its texts changed", by_person=False)
    with context.store.write() as tx:
        batches.note(tx, batch.id, spool_bytes=written.bytes, spool_sha256=written.sha256_hex)
    return True


def _create(context: Context, batch: BatchRow) -> bool:
    """Create the job: one attempt row, one call, one judgement."""
    if batch.cancel_asked_at is not None:
        return abandon(context, batch, "cancelled before its job was created", by_person=True)
    if not lane.is_open(context, lanes.VENDOR, lanes.CREATE) or not known_jobs.all_known(context):
        return False
    try:
        vendor_now = vendor_now_us(context)
    except VendorError as exc:
        lane.trouble(context, exc)
        return True
    with context.store.write() as tx:
        attempt = batches.open_attempt(tx, batch, vendor_now)
        batches.move(tx, batch, Batch.CREATING, f"attempt {attempt.number}")
        batch = batches.get(tx.connection, batch.id)
    context.attempts_here[attempt.id] = context.clock.mono()
    crash_point("attempt.committed")
    try:
        remote = context.client.create_batch(job_body(context, batch))
    except VendorError as exc:
        _judge(context, batch, attempt, exc)
        return True
    crash_point("create.answered")
    lane.fine(context)
    lane.fine(context, lanes.CREATE)
    adopt(context, batch, attempt, remote, "created")
    return True


def job_body(context: Context, batch: BatchRow) -> dict[str, Any]:
    """The create call's body; the batch's own mark travels in the metadata."""
    return {
        "endpoint": context.profile.endpoint,
        "input_file_id": batch.input_file_id,
        "completion_window": "12h",
        "request_params": orjson.loads(batch.request_params),
        "metadata": {METADATA_REF: batch.ref, **known_jobs.marks(context)},
    }


def _judge(context: Context, batch: BatchRow, attempt: AttemptRow, error: VendorError) -> None:
    """What a failed create call means: known not to have happened, or unknown."""
    if isinstance(error, OutcomeUnknownError | BadAnswerError):
        context.log.warning("create.unknown", ref=batch.ref, attempt=attempt.number, error=error.message)
        lane.trouble(context, error)
        return
    if isinstance(error, RefusedError):
        _refused(context, batch, attempt, error)
        return
    with context.store.write() as tx:
        batches.close_attempt(tx, attempt, Attempt.NOT_HAPPENED, error.message)
        batches.move(tx, batch, Batch.UPLOADED, error.message)
        if isinstance(error, RateLimitedError):
            lane.create_must_wait(context, tx, error)
        else:  # a refused key, an account without means, a network that is away
            lane.trouble_in(context, tx, error)
    context.attempts_here.pop(attempt.id, None)


def _refused(context: Context, batch: BatchRow, attempt: AttemptRow, error: RefusedError) -> None:
    """A 4xx: no job was made. A missing input file may turn up; anything else needs a person."""
    with context.store.write() as tx:
        batches.close_attempt(tx, attempt, Attempt.REFUSED, error.message)
        tries = sum(a.state is Attempt.REFUSED for a in batches.attempts_of(tx.connection, batch.id))
        if not is_missing_input_file(error):
            batches.move(tx, batch, Batch.PARKED, error.message, reason=error.message, hint=_REFUSED_HINT)
        elif tries % NOT_FOUND_TRIES:
            wait_s = NOT_FOUND_WAIT_S * 2 ** (tries % NOT_FOUND_TRIES - 1)
            batches.move(tx, batch, Batch.UPLOADED, error.message, due_at=tx.now + int(wait_s * US))
        elif tries == NOT_FOUND_TRIES:
            batches.move(tx, batch, Batch.SPOOLED, "its input file is not found there: upload it once more")
        else:
            batches.move(tx, batch, Batch.PARKED, error.message, reason=error.message, hint=_NOT_FOUND_HINT)
    context.attempts_here.pop(attempt.id, None)
    context.observer.put_off("create_refused")
    context.log.warning("create.refused", ref=batch.ref, attempt=attempt.number, error=error.message)


_REFUSED_HINT = (
    "Mend the [voyage] settings by the vendor's words, then `voyage-jobs retry`: a new batch is made."
)
_NOT_FOUND_HINT = (
    "The vendor took the upload but does not find the file: check that the key belongs to the project that may use"
    " batches, then `voyage-jobs retry`."
)


def park(context: Context, batch: BatchRow, reason: str, error: VendorError | None = None) -> None:
    """Stop working on a batch until a person says how to go on."""
    hint = (error.hint if error else None) or _REFUSED_HINT
    with context.store.write() as tx:
        batches.move(tx, batch, Batch.PARKED, reason, reason=reason, hint=hint)
    context.log.error("batch.parked", ref=batch.ref, reason=reason)


_ADVANCE: dict[Batch, Callable[[Context, BatchRow], bool]] = {
    Batch.PACKED: _spool,
    Batch.SPOOLED: _upload,
    Batch.UPLOADING: _upload,
    Batch.UPLOADED: _create,
    Batch.CREATING: reconcile,
    Batch.PARKED: look_for_late_job,
}
