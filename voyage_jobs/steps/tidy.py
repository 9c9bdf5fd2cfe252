"""tidy: leave nothing behind: remote files of ours that are done with, spool files that were taken in, a ragged table.

Nothing here is urgent or needed for correct answers; every part is repeated until it succeeds.
"""

from __future__ import annotations

from voyage_jobs.core import retry
from voyage_jobs.core.clock import US, now_us
from voyage_jobs.core.crash import crash_point
from voyage_jobs.core.durable import remove
from voyage_jobs.core.memory import give_back
from voyage_jobs.core.plural import counted
from voyage_jobs.core.states import Batch
from voyage_jobs.errors import RefusedError, VendorError
from voyage_jobs.state import batches, embeddings, provider_files, table_indexes
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.table_indexes import Indexed
from voyage_jobs.steps import circuits as circuit
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.orphaned_files import find_orphaned_files
from voyage_jobs.steps.shown import note_rows
from voyage_jobs.steps.switch import release_if_over
from voyage_jobs.steps.untouched import is_untouched, note_untouched
from voyage_jobs.table import Upkeep

FILES_PER_TURN = 20
TEND_INTERVAL_S = 900.0


def tidy(context: Context) -> bool:
    """Delete what is done with and close batches. True if anything was done."""
    did = False
    if context.settings.section.delete_remote_files:
        did = find_orphaned_files(context)
        did |= _delete_remote(context)
    did |= _forget_failures(context)
    did |= release_if_over(context)
    return _close(context) or did


def _forget_failures(context: Context) -> bool:
    """What failed, or waits for other vectors, and is in no document any more is nobody's trouble."""
    with context.store.read() as connection:
        if not embeddings.any_forgotten(connection, context.profile_id):
            return False
    with context.store.write() as tx:
        embeddings.drop_unneeded(tx)
    return True


def _delete_remote(context: Context) -> bool:
    with context.store.read() as connection:
        now, here = now_us(context.clock), context.profile.vendor
        files = provider_files.deletable_files(connection, here, now, FILES_PER_TURN)
    calls, did = circuit.Calls(context), False
    for file in files:
        if context.stopping.is_set() or not calls.more():
            break
        did = True
        try:
            deleted = context.client.delete_file(file.file_id)
        except RefusedError as exc:
            ref = _ref_of(context, file)
            context.log.warning("remote_file.refused", ref=ref, file_id=file.file_id, error=exc.message)
            circuit.fine(context)
            deleted = False
        except VendorError as exc:
            circuit.failed(context, f"file {file.file_id}", exc)
            deleted = False
        else:
            circuit.fine(context)
        crash_point("remote_delete.done")
        _note_deletion(context, file, deleted=deleted)
    return did


def _ref_of(context: Context, file: provider_files.RemoteFileRow) -> str | None:
    """The batch that a file belongs to, if it is known to belong to one."""
    if file.batch_id is None:
        return None
    with context.store.read() as connection:
        return batches.get(connection, file.batch_id).ref


def _note_deletion(context: Context, file: provider_files.RemoteFileRow, *, deleted: bool) -> None:
    with context.store.write() as tx:
        if deleted:
            provider_files.note_file(tx, file.file_id, deleted_at=tx.now)
        else:
            wait_s = retry.wait_s("delete_file", file.failures + 1, context.clock)
            due = tx.now + int(wait_s * US)
            provider_files.note_file(tx, file.file_id, due_at=due, failures=file.failures + 1)
    crash_point("remote_delete.committed")


def _close(context: Context) -> bool:
    """Batches that are over lose their spool files, and are closed once nothing of them is left at the provider.

    Files at another provider stay on record, and are deleted once that is in use again.
    """
    over = (Batch.COLLECTED, Batch.REFUSED, Batch.CANCELLED)
    with context.store.read() as connection:
        waiting = [
            (batch, provider_files.live_files(connection, batch.id))
            for batch in batches.in_state(connection, *over)
        ]
    did = False
    for batch, (live, where) in waiting:
        _remove_spool(context, batch)  # at once: the provider may refuse to delete its files forever
        is_here = where == context.profile.vendor
        if live and is_here and context.settings.section.delete_remote_files:
            continue
        cause = "nothing is left to do"
        if live and not is_here:
            cause += (
                f" here; {counted(live, 'file')} at {where} will be deleted when that is the provider again"
            )
            context.log.warning("remote_file.left", ref=batch.ref, files=live, provider=where)
        with context.store.write() as tx:
            batches.move(tx, batch, Batch.CLOSED, cause)
        crash_point("close.committed")
        did = True
    return did


def _remove_spool(context: Context, batch: BatchRow) -> None:
    paths = [context.input_path(batch.ref)]
    paths += [context.result_path(batch.ref, kind) for kind in ("output", "error")]
    paths += [path.with_name(path.name + ".part") for path in paths]
    left = [path for path in paths if path.exists()]
    for path in left:
        remove(path)
    if left:
        crash_point("spool_delete.done")


def tend(context: Context, *, ends_soon: bool = False) -> None:
    """Keep the table in shape by its own statistics, and fold the database's log in. For idle moments.

    A process that `ends_soon` spares the next one its look at the table (`untouched.py`).
    """
    if context.table_door.exists() and not is_untouched(context):
        rest(context)  # to index texts takes more memory than all else does
        table = context.open_table()
        settings = context.settings
        done = table.tend(Upkeep(language=settings.search.language, reshape=settings.lancedb.upkeep))
        note_rows(context)
        context.log.debug("table.tended", **vars(done))
        found = [
            Indexed(each.name, each.column, each.inside, each.outside, each.segments)
            for each in table.indexes()
        ]
        with context.store.write() as tx:
            table_indexes.note(tx, found)
        if ends_soon and not done.fragments_removed:  # else there may be more to merge
            note_untouched(context)
    context.store.checkpoint()
    rest(context)


def is_new(context: Context) -> bool:
    """Whether there is a table that has had no upkeep since it was made or replaced: it may lack its indexes."""
    with context.store.read() as connection:
        noted = table_indexes.noted(connection)
    return noted is None and context.table_door.exists()


def rest(context: Context) -> None:
    """Hold no memory that only a busy moment needed."""
    context.store.shrink()
    give_back()
