"""Strays: input files that reached the provider by an upload whose answer we never saw.

The upload is simply made again, and the stray would lie there until the provider forgets it. It carries our ref in its
name, so it is found in the list of files, and from then on it is one more file of its batch that may be deleted.
"""

from __future__ import annotations

from voyage_jobs.core.clock import US
from voyage_jobs.core.states import UNFINISHED, Batch
from voyage_jobs.errors import VendorError
from voyage_jobs.state import batches, circuits, meta, provider_files
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.store import Tx
from voyage_jobs.steps import circuits as circuit
from voyage_jobs.steps.context import Context
from voyage_jobs.vendors.remote import RemoteFile, ref_of

FILES = "the list of files"


def find_orphaned_files(context: Context) -> bool:
    """Look for strays if there may be some and now is the time. True if the provider was asked."""
    with context.store.read() as connection:
        since = meta.get(connection, meta.ORPHANED_FILES)
        if since is None:
            return False
        under_way = {batch.state for batch in batches.in_state(connection, *UNFINISHED)}
    if (
        Batch.UPLOADING in under_way
        or circuit.rests(context, FILES)
        or not circuit.may_pass(context, circuits.VENDOR)
    ):
        return False
    if under_way and not _quarantine_is_over(context, int(since)):
        return False  # an upload may still take effect, and there is no hurry
    try:
        ours = [file for file in context.client.list_files() if ref_of(file) is not None]
    except VendorError as exc:
        circuit.failed(context, FILES, exc)
        circuit.let_rest(context, FILES, "list_files")
        return True
    circuit.fine(context)
    circuit.end_rest(context, FILES)
    with context.store.write() as tx:
        found = sum(_take_note(tx, file) for file in ours)
        meta.forget(tx, meta.ORPHANED_FILES)
    context.log.info("files.orphaned", files=found)
    return True


def _quarantine_is_over(context: Context, since: int) -> bool:
    return (context.clock.wall() - since / US) > context.settings.section.quarantine_s


def _take_note(tx: Tx, file: RemoteFile) -> bool:
    """Whether the file belongs to a batch of this folder and was not known yet."""
    batch: BatchRow | None = batches.by_ref(tx.connection, ref_of(file) or "")
    if batch is None or provider_files.knows_file(tx.connection, file.id):
        return False
    provider_files.remember_file(tx, file.id, batch.id, "batch", file.bytes)
    return True
