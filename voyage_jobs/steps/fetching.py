"""fetch: bring the result files of one ended job onto the disk, each failure on the account of that job alone.

Files are resumed where they broke off. A file of another size than the provider names is fetched again a few times, and
then taken as it is: what its lines say is what counts. Results that cannot be had are paid for, so a batch whose files
cannot be fetched is parked with the reason, and they are asked for again every few hours.
"""

from __future__ import annotations

from enum import Enum

from voyage_jobs.core import retry
from voyage_jobs.core.clock import US, now_us
from voyage_jobs.core.crash import crash_point
from voyage_jobs.core.durable import is_as_written, remove
from voyage_jobs.core.states import Batch
from voyage_jobs.errors import RefusedError, VendorError
from voyage_jobs.state import batches, provider_files, segment_rows
from voyage_jobs.state.batches import NOT_FETCHED, BatchRow
from voyage_jobs.state.store import Tx
from voyage_jobs.steps import circuits as circuit
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.disk import room_for
from voyage_jobs.steps.ending import park
from voyage_jobs.steps.synchronous import RESULT

MOST_VECTOR_BYTES = 128 * 1024
"""Of one vector in a result file: 2,048 floats as JSON take 45 kB."""
_NOT_GIVEN_HINT = (
    "The job is done and paid for, but its results cannot be fetched. They are asked for again every six hours, and"
    " stored when they arrive. `voyage-jobs retry` sends the lines again (they are paid again); `voyage-jobs cancel`"
    " gives them up."
)


class _FileGoneError(RefusedError):
    """The provider says that it has no such file. Only its word counts, not that of a storage host."""


class _DiskTooSmallError(VendorError):
    """The disk has no room for this file."""


class Download(Enum):
    """How far the result files of a batch are."""

    COMPLETE = "complete"  # on disk, or known to be nowhere
    TRIED = "tried"  # a call was made and did not bring it to an end
    WAITING = "waiting"  # no call may be made now, or the disk is short


def fetch_all(context: Context, batch: BatchRow, calls: circuit.Calls) -> Download:
    """Bring both result files onto the disk."""
    with context.store.read() as connection:
        have = provider_files.downloaded(connection, batch.id)
    for kind, file_id in _files_of(batch):
        if _is_here(context, batch, kind, have):
            continue
        if not calls.more():
            return Download.WAITING
        try:
            if not _download(context, batch, kind, file_id):
                return Download.WAITING
        except RefusedError as exc:
            circuit.fine(context)  # the API itself has answered
            _refused(context, batch, kind, exc)
            return Download.TRIED
        except _DiskTooSmallError as exc:
            with context.store.write() as tx:
                _wait(context, tx, batch, "no_room", exc)
            return Download.TRIED
        except VendorError as exc:
            put_off(context, batch, exc)
            return Download.TRIED
        else:
            circuit.fine(context)
    return Download.COMPLETE


def _files_of(batch: BatchRow) -> list[tuple[str, str]]:
    """The (kind, file id) of the result files that a job names. What was sent at once has one, and it is here."""
    if batch.is_sync:
        return [(RESULT, "")]
    named = (("output", batch.output_file_id), ("error", batch.error_file_id))
    return [(kind, file_id) for kind, file_id in named if file_id is not None]


def forget_results(context: Context, batch: BatchRow) -> None:
    """What was fetched is not what it should be: it is to be fetched again."""
    with context.store.write() as tx:
        provider_files.forget_downloads(tx, batch.id)
    for kind, _ in _files_of(batch):
        remove(context.result_path(batch.ref, kind))


def can_be_read_again(context: Context, batch: BatchRow) -> bool:
    """Whether its files are here and brought nothing: a segment of what was good would be overwritten."""
    with context.store.read() as connection:
        if segment_rows.has_segment(connection, batch.profile_id, batch.id):
            return False
    with context.store.read() as connection:
        have = provider_files.downloaded(connection, batch.id)
    return bool(have) and all(_is_here(context, batch, kind, have) for kind, _ in _files_of(batch))


def _is_here(context: Context, batch: BatchRow, kind: str, have: dict[str, tuple[int, str]]) -> bool:
    if kind not in have:
        return False
    if have[kind][1] == provider_files.GONE:
        return True
    return is_as_written(context.result_path(batch.ref, kind), *have[kind])


def _download(context: Context, batch: BatchRow, kind: str, file_id: str) -> bool:
    """Download one file; False if the disk has no room for it now."""
    try:
        described = context.client.get_file(file_id)
    except RefusedError as exc:
        if exc.is_gone:
            raise _FileGoneError(exc.message, status=exc.status) from exc
        raise
    path = context.result_path(batch.ref, kind)
    if not room_for(context, 0):
        return False
    _demand_room(context, batch, described.bytes)

    def on_progress(done: int) -> None:
        context.progress(f"downloading {kind} of {batch.ref[:8]}", done, described.bytes)

    tried = batch.state is Batch.PARKED or batches.failures_of(batch, "download") >= retry.SIZE_TRIES
    expected = None if tried else described.bytes
    got = context.client.download(file_id, path, expected_bytes=expected, on_progress=on_progress)
    with context.store.write() as tx:
        provider_files.note_download(tx, batch.id, kind, got.bytes, got.sha256)
        if described.bytes not in (None, got.bytes):
            batches.remark(tx, batch, f"{kind} file: {described.bytes} bytes promised, {got.bytes} came")
        provider_files.note_file(tx, file_id, bytes=described.bytes)
    crash_point("download.committed")
    context.log.info("batch.downloaded", ref=batch.ref, kind=kind, bytes=got.bytes, lines=got.lines)
    return True


def _demand_room(context: Context, batch: BatchRow, size: int | None) -> None:
    """A file that does not fit on the disk waits alone: what is smaller goes on. Raises `_DiskTooSmallError`.

    No size is believed that is beyond what so many vectors can take.
    """
    believed = min(size or 0, batch.inputs * MOST_VECTOR_BYTES + MOST_VECTOR_BYTES)
    free = context.free_disk_bytes() - context.settings.disk.min_free_bytes
    if 2 * believed > free:
        raise _DiskTooSmallError(
            f"Its result file of {believed:,} bytes needs twice that on the disk of {context.settings.data_dir};"
            f" {max(0, free):,} bytes are free."
        )


def put_off(context: Context, batch: BatchRow, error: VendorError) -> None:
    """The results cannot be had now: this batch waits alone. Parked if that lasts and other calls are answered."""
    with context.store.write() as tx:
        failures = _wait(context, tx, batch, "download", error)
        circuit.failed_in(context, tx, f"results of {batch.ref}", error)
    if retry.is_over("download", failures) and circuit.api_answers(context):
        reason = f"its results could not be fetched in {failures} tries: {error.message}"
        _park(context, batch, reason)


def _wait(context: Context, tx: Tx, batch: BatchRow, policy: str, error: VendorError) -> int:
    """The batch waits by its policy; a parked one keeps its reason. Returns its failures in a row, 0 if parked."""
    if batch.state is not Batch.PARKED:
        return circuit.put_off(context, tx, batch, policy, error)
    batches.note(tx, batch.id, due_at=next_look(context, tx))
    return 0


def next_look(context: Context, tx: Tx) -> int:
    """When the results of a parked batch are asked for again (microseconds UTC)."""
    return tx.now + int(retry.wait_s("parked_results", 1, context.clock) * US)


def _park(context: Context, batch: BatchRow, reason: str) -> None:
    due_at = now_us(context.clock) + int(retry.wait_s("parked_results", 1, context.clock) * US)
    park(context, batch, reason, VendorError(reason, hint=_NOT_GIVEN_HINT), code=NOT_FETCHED, due_at=due_at)


def _refused(context: Context, batch: BatchRow, kind: str, error: RefusedError) -> None:
    """A result file that the provider does not give: wait a few times. Then one that is gone is done without."""
    gone, is_parked = isinstance(error, _FileGoneError), batch.state is Batch.PARKED
    with context.store.write() as tx:
        failures = _wait(context, tx, batch, "results_refused", error)
        if gone and is_parked:
            provider_files.note_gone(tx, batch.id, kind)
    if is_parked:
        return
    if not retry.is_over("results_refused", failures):
        context.log.warning("results.not_found", ref=batch.ref, kind=kind, error=error.message)
        return
    context.log.error("results.refused", ref=batch.ref, kind=kind, error=error.message)
    if not gone:
        _park(context, batch, f"{context.vendor.title} refuses the {kind} file: {error.message}")
        return
    with context.store.write() as tx:  # the other file has tries of its own
        provider_files.note_gone(tx, batch.id, kind)
        batches.well(tx, batch.id, due_at=0)
