"""What people decide about documents that have gone: `confirm-deletes` lets them go, `undelete` keeps them served."""

from __future__ import annotations

from collections.abc import Mapping

from voyage_jobs.errors import ConfigError
from voyage_jobs.states import Document
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.naming import source_called
from voyage_jobs.store import documents, sources
from voyage_jobs.store.documents import DocumentRow


def confirm_deletes(context: Context, arguments: Mapping[str, object], who: str) -> dict[str, object]:
    """What has gone from a source is meant to be gone: the next scan lets it go, kept documents included."""
    with context.store.write() as tx:
        row = source_called(tx.connection, arguments.get("source"))
        if row.frozen_reason is not None and not row.configured:
            retired = documents.retire_source(tx, row.id, f"confirmed by {who}")
            return {"source": row.name, "state": "removed", "documents": retired}
        if row.frozen_reason is None and not documents.count_kept(tx.connection, row.id):
            return {"source": row.name, "state": "active"}
        sources.note(tx, row.id, confirmed_at=tx.now, scan_due_at=0)
    return {"source": row.name, "state": "confirmed"}


def undelete(context: Context, arguments: Mapping[str, object], who: str) -> dict[str, object]:
    """Keep documents that are missing: one (`document_id`), or all of a source (`source`). They go on being served.

    Raises ConfigError, with the way out, for one that is not missing or has left the table already.
    """
    if arguments.get("document_id") is not None:
        return _undelete_one(context, int(str(arguments["document_id"])), who)
    with context.store.write() as tx:
        row = source_called(tx.connection, arguments.get("source"))
        kept = documents.keep_missing(tx, row.id, f"undeleted by {who}")
        gone = documents.count_gone(tx.connection, row.id)
    return {"source": row.name, "kept": kept, "gone": gone}


def _undelete_one(context: Context, document_id: int, who: str) -> dict[str, object]:
    with context.store.write() as tx:
        row = documents.by_id(tx.connection, document_id)
        if row.state != Document.MISSING:
            raise _not_missing(row)
        kept = documents.keep_one(tx, row.id, f"undeleted by {who}")
    return {"source": row.source, "path": row.path, "kept": kept, "gone": 0}


def _not_missing(row: DocumentRow) -> ConfigError:
    name = f"{row.source}:{row.path}"
    if row.state == Document.GONE:
        return ConfigError(
            f"{name} has left the table, and its text with it.",
            hint="Put the file back: the next scan publishes it again from the stored vectors, at no cost.",
        )
    return ConfigError(f"{name} is {row.state}, not missing: there is nothing to undelete.", hint=None)
