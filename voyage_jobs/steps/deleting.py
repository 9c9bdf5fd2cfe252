"""What people decide about documents that have gone: `confirm-deletes` lets them go, `undelete` keeps them served."""

from __future__ import annotations

import os
from collections.abc import Mapping

from voyage_jobs.core.states import Document
from voyage_jobs.errors import ConfigError
from voyage_jobs.readers.registry import NO_OPTIONS, reader_of
from voyage_jobs.sources import names
from voyage_jobs.state import documents, missing, plan_state, record_files, sources, versions
from voyage_jobs.state.documents import DocumentRow
from voyage_jobs.state.schema import HELD
from voyage_jobs.state.store import Tx
from voyage_jobs.state.versions import NewVersion
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.losses import PAGE
from voyage_jobs.steps.naming import source_called
from voyage_jobs.steps.reading import leaves_out, source_of, with_defaults
from voyage_jobs.steps.splitting import split_options, to_version
from voyage_jobs.steps.texts import read_file_again

_MOST_COPIES = 20


def confirm_deletes(context: Context, arguments: Mapping[str, object], who: str) -> dict[str, object]:
    """What has gone from a source is meant to be gone: the next scan lets it go, kept documents included. So are line
    ends behind last rows (`last_rows`): it takes these rows as they stand."""
    with context.store.write() as tx:
        row = source_called(tx.connection, arguments.get("source"))
        if row.frozen_reason is not None and not row.configured:
            retired = documents.retire_source(tx, row.id, f"confirmed by {who}")
            return {"source": row.name, "state": "removed", "documents": retired}
        waits = missing.count_kept(tx.connection, row.id) + record_files.count_frozen(tx.connection, row.id)
        last_rows = record_files.count_without_line_end(tx.connection, row.id)
        if row.frozen_reason is None and not waits and not last_rows:
            return {"source": row.name, "state": "active"}
        sources.note(tx, row.id, confirmed_at=tx.now, scan_due_at=0)
    found: dict[str, object] = {"source": row.name, "state": "confirmed"}
    return {**found, "last_rows": last_rows} if last_rows else found


def undelete(context: Context, arguments: Mapping[str, object], who: str) -> dict[str, object]:
    """Keep documents that are missing or about to leave: one (`document_id`), or all of a source (`source`).

    One that has left the table comes back if its text can still be had somewhere and its vectors are here. Raises
    ConfigError, with the way out, if not.
    """
    cause = f"undeleted by {who}"
    if arguments.get("document_id") is not None:
        return _undelete_one(context, int(str(arguments["document_id"])), cause)
    with context.store.read() as connection:
        row = source_called(connection, arguments.get("source"))
    kept, page = 0, PAGE
    while page == PAGE:
        with context.store.write() as tx:
            page = missing.keep_missing(tx, row.id, cause, PAGE)
        kept += page
    with context.store.write() as tx:
        for document_id in documents.leaving(tx.connection, source_id=row.id):
            _stay(tx, document_id, cause)
            kept += 1
        gone = missing.count_gone(tx.connection, row.id)
    return {"source": row.name, "kept": kept, "gone": gone}


def _undelete_one(context: Context, document_id: int, cause: str) -> dict[str, object]:
    with context.store.write() as tx:
        row = documents.by_id(tx.connection, document_id)
        answer = {"source": row.source, "path": row.path, "kept": 1, "gone": 0, "how": "missing"}
        if row.state == Document.MISSING:
            return {**answer, "kept": missing.keep_one(tx, row.id, cause)}
        if row.state != Document.GONE:
            raise ConfigError(f"{_named(row)} is {row.state}, not missing: there is nothing to undelete.")
        if documents.leaving(tx.connection, document_id=row.id):
            _stay(tx, row.id, cause)
            return {**answer, "how": "leaving"}
        _demand_unmoved(tx, row)
        if _is_on_disk(context, tx, row):
            sources.scan_soon(tx, row.source)
            return {**answer, "kept": 0, "how": "on_disk"}
    _publish_a_copy(context, row, cause)
    return {**answer, "how": "copy"}


def _stay(tx: Tx, document_id: int, cause: str) -> None:
    """It was given up, and its rows are still in the table."""
    missing.bring_back(tx, document_id, cause)
    versions.stay(tx, document_id)


def _demand_unmoved(tx: Tx, row: DocumentRow) -> None:
    place = documents.moved_to(tx.connection, row)
    for there in [] if place is None else documents.find(tx.connection, row.source, place):
        if there.state == Document.PRESENT and there.content_hash == row.content_hash:
            raise ConfigError(f"{_named(row)} has moved to {names.display(there.path)} and is served there.")


def _is_on_disk(context: Context, tx: Tx, row: DocumentRow) -> bool:
    """Whether its file is back and no scan has seen it yet. ConfigError if it is there and no scan will take it."""
    source = context.source_settings(row.source)
    if source is None:
        return False
    there = source_of(with_defaults(source, sources.by_name(tx.connection, row.source)))
    file = record_files.file_of(tx.connection, row.id)
    if leaves_out(there, row.path if file is None else file.name):
        raise ConfigError(
            f"{_named(row)} is on disk, and is not wanted by the patterns of its source.",
            hint=f"`voyage-jobs why {names.in_shell(_named(row))}` tells which; change it, then `voyage-jobs sync`.",
        )
    return os.path.lexists(os.path.join(os.fsencode(source.path), names.decode(row.path)))


def _publish_a_copy(context: Context, row: DocumentRow, cause: str) -> None:
    """Another file has the same content, and every vector of it is here: publish it once more. Else ConfigError."""
    with context.store.read() as connection:
        places = documents.copies(connection, row.id, _MOST_COPIES)
        known = sources.by_name(connection, row.source)
    source = context.source_settings(row.source)
    told = with_defaults(source, known).reader_options if source is not None else NO_OPTIONS
    reader = reader_of(row.path, told)  # a copy may have another suffix
    read = next(filter(None, (read_file_again(place, reader) for place in places)), None)
    if read is None:
        raise ConfigError(
            f"{_named(row)} has left the table, and no file has its text any more.",
            hint="Put the file back: the next scan publishes it again from the stored vectors, at no cost.",
        )
    fresh = to_version(context, row.id, row.path, read, split_options(context.settings, context.rules))
    with context.store.write() as tx:
        _demand_held(tx, row, fresh)
        source_id = source_called(tx.connection, row.source).id
        missing.bring_back(tx, row.id, cause)
        versions.add(tx, source_id, context.profile_id, [fresh])


def _demand_held(tx: Tx, row: DocumentRow, fresh: NewVersion) -> None:
    keys = list({chunk.key for chunk in fresh.chunks})
    held = plan_state.embedding_states(tx.connection, keys)
    lacking = sum(held.get(key) != HELD for key in keys)
    if lacking:
        raise ConfigError(
            f"{_named(row)} has left the table, and {lacking} of its {len(keys)} texts would be paid again: they were"
            " cut or embedded in another way.",
            hint="If that is meant, put the file back: the next scan sends them.",
        )


def _named(row: DocumentRow) -> str:
    return f"{row.source}:{names.display(row.path)}"
