"""submit: bring each batch from `packed` to `running`, knowing at every moment what may have happened at the provider.

The create call has no idempotency key. Therefore: the attempt row is committed before it, it is sent once, and if its
outcome is unknown (timeout, cut connection, 5xx, our own death) the list of jobs is asked before anything else. See
states.py for what each state means when the process dies in it, and reconcile.py for the doubtful case. A batch of mode
`sync` has no upload and no job: synchronous.py sends it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from dataclasses import replace

import orjson

from voyage_jobs.core import retry
from voyage_jobs.core.clock import US, now_us
from voyage_jobs.core.crash import crash_point
from voyage_jobs.core.durable import is_as_written
from voyage_jobs.core.observe import about
from voyage_jobs.core.states import BEFORE_THE_JOB, Attempt, Batch
from voyage_jobs.diagnosis.blocker import SUBMIT
from voyage_jobs.diagnosis.causes import is_kept_back
from voyage_jobs.diagnosis.circuits import sending_refused
from voyage_jobs.diagnosis.snapshot import UNSENT, gate
from voyage_jobs.errors import (
    BadAnswerError,
    InputFileMissingError,
    ModelRefusedError,
    NoRoomError,
    OutcomeUnknownError,
    RateLimitedError,
    RefusedError,
    TooLargeError,
    VendorError,
)
from voyage_jobs.state import (
    batch_lines,
    batches,
    circuits,
    create_calls,
    embeddings,
    ledger,
    meta,
    provider_files,
    versions,
)
from voyage_jobs.state.batch_lines import Settled
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.create_calls import AttemptRow
from voyage_jobs.state.outcomes import REFUSED
from voyage_jobs.state.store import Tx
from voyage_jobs.steps import circuits as circuit
from voyage_jobs.steps import drafts, encoding, fresh, known_jobs, synchronous, validation
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.ending import abandon, park, refused_hint
from voyage_jobs.steps.pausing import unpack_held
from voyage_jobs.steps.reconcile import Sent, adopt, look_for_late_job, reconcile, vendor_now_us
from voyage_jobs.steps.synchronous import settle_if_interrupted
from voyage_jobs.steps.texts import Texts
from voyage_jobs.steps.windows import split_window
from voyage_jobs.vendors.input_file import WrittenFile, write_input
from voyage_jobs.vendors.remote import METADATA_REF, UPLOAD_NAME, JobError, JobSpec, Phase, RemoteBatch

REFUSED_ALIKE = 3
"""So many batches that are refused one after another, with none accepted in between, are not about the batches."""


def submit(context: Context) -> bool:
    """Advance every batch that is due by one state, those that have failed least first. True if anything was done."""
    with context.store.read() as connection:
        waiting = batches.in_state(connection, *UNSENT)
        if not waiting:
            return False
        known = gate(context, connection, waiting)
    if unpack_held(context, known.pauses):
        return True
    # A circuit is asked before each call: one of them may be a try.
    resting = is_kept_back(replace(known, circuits={}), SUBMIT)
    did, calls = False, circuit.Calls(context)
    for batch in circuit.healthiest_first(waiting):
        if context.stopping.is_set():
            break
        if settle_if_interrupted(context, batch):
            did = True
            continue
        if batch.state in BEFORE_THE_JOB:
            if batch.profile_id != context.profile_id:
                did |= _let_go(context, batch, "other vectors are wanted now")
                continue
            if resting and batch.cancel_asked_at is None:
                continue  # what is in doubt is looked for all the same: money hangs on it
        if batch.due_at <= now_us(context.clock):
            with about(batch.ref):
                did |= (_ADVANCE_SYNC if batch.is_sync else _ADVANCE)[batch.state](context, batch, calls)
    return did


def _let_go(context: Context, batch: BatchRow, cause: str, *, by_operator: bool = False) -> bool:
    """Abandon a batch as soon as it is certain that it has no job: an older copy of the state may not know of it."""
    if not (batch.is_sync or known_jobs.all_known(context)):
        return False
    return abandon(context, batch, cause, by_operator=by_operator)


def _cancelled(context: Context, batch: BatchRow) -> bool:
    return _let_go(context, batch, "cancelled before it was sent", by_operator=True)


def spool(context: Context, batch: BatchRow, calls: circuit.Calls | None = None) -> bool:
    """Write the input file; the same members make the same bytes."""
    del calls
    if batch.cancel_asked_at is not None:
        return _cancelled(context, batch)
    try:
        written = _drafted(context, batch) or _written(context, batch)
    except LookupError:
        return _let_go(context, batch, "its texts changed before it was written")
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


def _drafted(context: Context, batch: BatchRow) -> WrittenFile | None:
    """The input file as it was written when the batch was assembled, if nothing of it has been given up since."""
    with context.store.read() as connection:
        needed = batch_lines.count_needed(connection, batch.id)
    return drafts.take(context, batch.ref, context.input_path(batch.ref), needed)


def _written(context: Context, batch: BatchRow) -> WrittenFile:
    with contextlib.closing(input_lines(context, batch)) as lines:
        return write_input(context.input_path(batch.ref), lines)


def input_lines(context: Context, batch: BatchRow) -> Generator[bytes, None, None]:
    """The lines of the input file of a batch. LookupError if texts of it cannot be had any more.

    To be closed by who breaks off: until then it holds a connection to the state.
    """
    params = orjson.loads(batch.request_params)
    with context.store.read() as connection:
        texts, written = Texts(connection), 0
        for wanted in embeddings.to_write(connection, batch.id):
            found = texts.of_embedding(wanted)
            if found is None:
                raise LookupError(wanted.id)
            yield context.vendor.line(wanted.key.hex(), found, context.profile, params)
            written += 1
        if written != batch_lines.count_lines(connection, batch.id):
            raise LookupError(batch.ref)


def _upload(context: Context, batch: BatchRow, calls: circuit.Calls) -> bool:
    """Upload the input file. Doing it twice costs nothing; the stray is deleted later."""
    if batch.cancel_asked_at is not None:
        return _cancelled(context, batch)
    if not _file_is_whole(context, batch):
        return _write_again(context, batch)
    if _sending_is_refused(context) or not calls.more():
        return False
    with context.store.write() as tx:
        if batch.state is Batch.SPOOLED:
            batches.move(tx, batch, Batch.UPLOADING, "upload begins")
            batch = batches.get(tx.connection, batch.id)
        else:
            meta.put(tx, meta.ORPHANED_FILES, str(tx.now))
    crash_point("upload.before")
    context.progress(f"uploading {batch.ref[:8]}", batch.spool_bytes or 0, None)
    try:
        remote = context.client.upload(context.input_path(batch.ref), UPLOAD_NAME.format(ref=batch.ref))
    except TooLargeError as exc:
        too_large(context, batch, exc)
        return True
    except RefusedError as exc:
        circuit.fine(context)  # the API itself has answered
        with context.store.write() as tx:
            _refused_to_send(context, tx, batch, exc, "upload")
        return True
    except VendorError as exc:
        _upload_failed(context, batch, exc)
        return True
    crash_point("upload.answered")
    circuit.fine(context)
    with context.store.write() as tx:
        provider_files.remember_file(tx, remote.id, batch.id, "batch", remote.bytes)
        batches.move(tx, batch, Batch.UPLOADED, f"file {remote.id}", input_file_id=remote.id)
    crash_point("upload.committed")
    context.log.info("batch.uploaded", ref=batch.ref, file_id=remote.id, bytes=batch.spool_bytes)
    return True


def _upload_failed(context: Context, batch: BatchRow, error: VendorError) -> None:
    """The upload did not come through: this batch tries again, alone. Nothing is lost and nothing is paid by it."""
    with context.store.write() as tx:
        failures = circuit.put_off(context, tx, batch, "upload", error)
        circuit.failed_in(context, tx, f"upload {batch.ref}", error)
    if retry.is_over("upload", failures) and circuit.api_answers(context):
        reason = f"its input file could not be uploaded in {failures} tries: {error.message}"
        with context.store.read() as connection:
            batch = batches.get(connection, batch.id)
        park(context, batch, reason, VendorError(reason, hint=_UPLOAD_HINT))


def _refused_to_send(context: Context, tx: Tx, batch: BatchRow, error: RefusedError, policy: str) -> None:
    """This batch is refused. It is parked alone; if it is one of several in a row, or the words are about the model, it
    is the probe for all."""
    of_model = isinstance(error, ModelRefusedError)
    before = batches.refused_since_the_last(tx.connection, batch.mode)
    if not of_model and before + 1 < REFUSED_ALIKE:
        values = {"code": batches.SEND_REFUSED, "reason": error.message, "hint": refused_hint(context, error)}
        batches.move(tx, batch, Batch.PARKED, error.message, **values)
        context.log.error("batch.parked", ref=batch.ref, reason=error.message)
        return
    if batch.state is Batch.CREATING:
        batches.move(tx, batch, Batch.UPLOADED, error.message)
        batch = batches.get(tx.connection, batch.id)
    circuit.put_off(context, tx, batch, policy, error)
    if of_model:
        circuit.model_is_refused(context, tx, error.message)
    else:
        circuit.sending_is_refused(context, tx, error)


def _file_is_whole(context: Context, batch: BatchRow) -> bool:
    return is_as_written(context.input_path(batch.ref), batch.spool_bytes, batch.spool_sha256)


def _write_again(context: Context, batch: BatchRow) -> bool:
    """The spooled file is lost or cut (a disk restored, a folder cleaned): the same lines make it again."""
    try:
        written = _written(context, batch)
    except LookupError:
        return _let_go(context, batch, "its input file is lost and its texts changed")
    with context.store.write() as tx:
        batches.note(tx, batch.id, spool_bytes=written.bytes, spool_sha256=written.sha256_hex)
    return True


def _send_at_once(context: Context, batch: BatchRow, calls: circuit.Calls) -> bool:
    """Send a batch of mode `sync`: one attempt row, one request, one judgement."""
    if batch.cancel_asked_at is not None:
        return _cancelled(context, batch)
    if fresh.is_too_old(context, batch):
        return abandon(context, batch, "it waited too long to be fresh: its texts go by batch")
    if not _file_is_whole(context, batch):
        return _write_again(context, batch)
    if _sending_is_refused(context) or not calls.more() or not known_jobs.all_known(context):
        return False
    error = synchronous.send(context, batch)
    if error is None or isinstance(error, RefusedError):
        circuit.fine(context)  # the API itself has answered
    if error is None:
        circuit.model_is_known(context)
        if context.vendor.traits.sync_only:
            circuit.fine(context, circuits.CREATE)
    if batch.is_fresh:
        fresh.judge(context, batch, error)
    elif error is not None:
        _call_failed(context, batch, error)
    return True


def _call_failed(context: Context, batch: BatchRow, error: VendorError) -> None:
    """What the failed request of a batch of mode `sync` means, but for those of the fresh lane."""
    with context.store.read() as connection:
        batch = batches.get(connection, batch.id)
    is_lost = batch.state is not Batch.SPOOLED
    try:
        about_texts = not is_lost and synchronous.is_about_texts(context, batch, error)
    except VendorError as exc:  # nobody can tell now
        about_texts, error = False, exc
    if about_texts:
        refusal = RemoteBatch("", "refused", Phase.FAILED, errors=[JobError(None, None, error.message)])
        validation.refuse(context, batch, refusal)
        return
    with context.store.write() as tx:
        if not is_lost and isinstance(error, RefusedError):
            _refused_to_send(context, tx, batch, error, "create_call")
            return
        if not is_lost:
            circuit.put_off(context, tx, batch, "create_call", error)
        circuit.failed_in(context, tx, f"request {batch.ref}", error)


def _create(context: Context, batch: BatchRow, calls: circuit.Calls) -> bool:
    """Create the job: one attempt row, one call, one judgement."""
    if batch.cancel_asked_at is not None:
        return _cancelled(context, batch)
    if not calls.more(circuits.VENDOR, circuits.CREATE) or not known_jobs.all_known(context):
        return False
    since = context.clock.uptime()
    try:
        vendor_now = vendor_now_us(context)
    except VendorError as exc:
        with context.store.write() as tx:
            circuit.put_off(context, tx, batch, "create_call", exc)
            circuit.failed_in(context, tx, "the clock of the provider", exc)
        return True
    with context.store.write() as tx:
        attempt = create_calls.open_attempt(tx, batch, vendor_now)
        params = orjson.dumps(encoding.job_params(context, tx.connection)).decode()
        batches.move(tx, batch, Batch.CREATING, f"attempt {attempt.number}", request_params=params)
        batch = batches.get(tx.connection, batch.id)
    context.memory(Sent).at[attempt.id] = context.clock.mono()
    crash_point("attempt.committed")
    try:
        with context.while_young(since):
            remote = context.client.create_batch(job_of(context, batch))
    except VendorError as exc:
        _judge(context, batch, attempt, exc)
        return True
    crash_point("create.answered")
    circuit.fine(context)
    circuit.job_was_made(context)
    adopt(context, batch, attempt, remote, "created")
    return True


def job_of(context: Context, batch: BatchRow) -> JobSpec:
    """The job of a batch; the batch's own mark travels in the metadata."""
    return JobSpec(
        endpoint=context.profile.endpoint,
        input_file_id=batch.input_file_id or "",
        params=orjson.loads(batch.request_params),
        metadata={METADATA_REF: batch.ref, **known_jobs.marks(context)},
        token=batch.ref,
    )


def _judge(context: Context, batch: BatchRow, attempt: AttemptRow, error: VendorError) -> None:
    """What a failed create call means: known not to have happened, or unknown."""
    item = f"create {batch.ref}"
    if isinstance(error, OutcomeUnknownError | BadAnswerError):
        context.log.warning("create.unknown", ref=batch.ref, attempt=attempt.number, error=error.message)
        with context.store.write() as tx:
            circuit.put_off(context, tx, batch, "reconcile", error)
            circuit.failed_in(context, tx, item, error, circuits.CREATE)
        return
    if isinstance(error, NoRoomError):  # as if a job had been made, and had failed for it
        why = [JobError(error.code, None, error.message)]
        validation.refuse(context, batch, RemoteBatch("", "refused", Phase.FAILED, errors=why), attempt)
        circuit.fine(context)
        context.memory(Sent).at.pop(attempt.id, None)
        return
    pending = type(error) is RefusedError and _is_file_pending(context, batch)
    with context.store.write() as tx:
        if pending:
            _wait_for_its_file(context, tx, batch, attempt, error)
        elif isinstance(error, RefusedError):
            _refused(context, tx, batch, attempt, error)
        else:
            _not_happened(context, tx, batch, attempt, error)
    if isinstance(error, RefusedError):
        circuit.fine(context)  # the API itself has answered
    context.memory(Sent).at.pop(attempt.id, None)


def _is_file_pending(context: Context, batch: BatchRow) -> bool:
    """Whether the input file may be why a call was refused: the provider says that it has not read it yet."""
    if not context.vendor.traits.reads_files_first:
        return False
    try:
        return context.client.get_file(batch.input_file_id or "").pending
    except VendorError:
        return False  # all that is known is the refusal


def _wait_for_its_file(
    context: Context, tx: Tx, batch: BatchRow, attempt: AttemptRow, error: VendorError
) -> None:
    """The provider has not read the input file yet: this batch waits for that, for a day or so."""
    create_calls.close_attempt(tx, attempt, Attempt.REFUSED, error.message)
    calls = create_calls.attempts_of(tx.connection, batch.id)
    refused = [each for each in calls if each.state is Attempt.REFUSED]
    if retry.is_over("file_pending", len(refused)):
        reason = f"the provider has not read its input file in {len(refused)} tries: {error.message}"
        batches.move(tx, batch, Batch.PARKED, reason, reason=reason, hint=_PENDING_HINT)
        context.log.error("batch.parked", ref=batch.ref, reason=reason)
        return
    so_far = {"code": "file_pending", "failures": len(refused) - 1, "failing_since": refused[0].sent_at}
    batches.move(tx, batch, Batch.UPLOADED, "the provider still reads its input file", **so_far)
    circuit.put_off(context, tx, batches.get(tx.connection, batch.id), "file_pending", error)


def _not_happened(context: Context, tx: Tx, batch: BatchRow, attempt: AttemptRow, error: VendorError) -> None:
    """A refused key, an account without means, a limit, a network that is away: the batch may be created again."""
    create_calls.close_attempt(tx, attempt, Attempt.NOT_HAPPENED, error.message)
    if isinstance(error, RateLimitedError):
        batches.move(tx, batch, Batch.UPLOADED, error.message)
        circuit.create_must_wait(context, tx, error)
        return
    values: dict[str, object] = {}
    if not circuit.is_about_the_account(error):
        alike = create_calls.attempts_in_a_row(tx.connection, batch.id, Attempt.NOT_HAPPENED)
        values = {"code": "create_call", "failures": len(alike) - 1, "failing_since": alike[-1].sent_at}
    batches.move(tx, batch, Batch.UPLOADED, error.message, **values)
    circuit.put_off(context, tx, batches.get(tx.connection, batch.id), "create_call", error)
    circuit.failed_in(context, tx, f"create {batch.ref}", error)


def _refused(context: Context, tx: Tx, batch: BatchRow, attempt: AttemptRow, error: RefusedError) -> None:
    """A 4xx in the API's own words: no job was made. A missing input file may turn up; anything else is refused."""
    create_calls.close_attempt(tx, attempt, Attempt.REFUSED, error.message)
    context.observer.put_off("create_refused")
    context.log.warning("create.refused", ref=batch.ref, attempt=attempt.number, error=error.message)
    if not isinstance(error, InputFileMissingError):
        of_model = isinstance(error, ModelRefusedError)
        if not of_model and encoding.is_why(context, tx, batch, error.message):
            batches.move(tx, batch, Batch.UPLOADED, error.message)
            return
        _refused_to_send(context, tx, batch, error, "create_call")
        return
    tries = sum(a.state is Attempt.REFUSED for a in create_calls.attempts_of(tx.connection, batch.id))
    rounds, within = divmod(tries, retry.POLICIES["input_file"].tries or 1)
    if within:
        wait_s = retry.wait_s("input_file", within, context.clock)
        batches.move(tx, batch, Batch.UPLOADED, error.message, due_at=tx.now + int(wait_s * US))
    elif rounds == 1:
        batches.move(
            tx, batch, Batch.SPOOLED, "its input file was not found at the provider and is uploaded again"
        )
    else:
        batches.move(tx, batch, Batch.PARKED, error.message, reason=error.message, hint=_NOT_FOUND_HINT)


def _sending_is_refused(context: Context) -> bool:
    """Whether the provider refuses one batch after another, and it is not yet time for the next probe."""
    with context.store.read() as connection:
        found = sending_refused(circuits.tripped(connection))
    return found is not None and not circuit.may_pass(context, circuits.CREATE)


def too_large(context: Context, batch: BatchRow, error: TooLargeError) -> None:
    """The input file is larger than the provider takes: the same lines go in smaller files, from now on."""
    size = batch.spool_bytes or 0
    reason = f"{error.message} It has {size:,} bytes."
    with context.store.write() as tx:
        lines = list(batch_lines.lines_of(tx.connection, batch.id))
        meta.learn_upload_limit(tx, max(1, size // 2), context.settings.batching.max_bytes)
        meta.put(tx, meta.ORPHANED_FILES, str(tx.now))
        batches.move(tx, batch, Batch.REFUSED, reason, reason=reason)
        ledger.release(tx, batch.id, batch.tokens_estimated, batch.usd_per_million)
        if len(lines) == 1:
            only = Settled(0, lines[0].embedding_id, REFUSED, None, f"too_large: {reason}", None)
            embeddings.settle(tx, batch.id, None, [only], context.settings.batching.max_attempts)
            if lines[0].vectors > 1:
                split_window(context, tx, lines[0].embedding_id)
        else:
            embeddings.give_back(tx, batch.id)
        versions.recount_batch(tx, batch.id)
    crash_point("cancel.committed")
    context.log.warning("upload.too_large", ref=batch.ref, bytes=size, error=error.message)


_UPLOAD_HINT = (
    "Everything else is sent. Look for a proxy or filter that does not let this upload through, then"
    " `voyage-jobs retry`: its lines go in new batches. Nothing was paid."
)
_PENDING_HINT = (
    "The provider makes no job of a file that it has not read: look there at the state of the file, then"
    " `voyage-jobs retry`: its lines go in new batches. Nothing was paid."
)
_NOT_FOUND_HINT = (
    "The provider took the upload but does not find the file: check that the key belongs to the project that may use"
    " batches, then `voyage-jobs retry`."
)


_ADVANCE: dict[Batch, Callable[[Context, BatchRow, circuit.Calls], bool]] = {
    Batch.PACKED: spool,
    Batch.SPOOLED: _upload,
    Batch.UPLOADING: _upload,
    Batch.UPLOADED: _create,
    Batch.CREATING: reconcile,
    Batch.PARKED: look_for_late_job,
}
_ADVANCE_SYNC = {**_ADVANCE, Batch.SPOOLED: _send_at_once}
