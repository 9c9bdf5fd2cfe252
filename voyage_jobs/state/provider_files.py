"""Files of ours at the provider, and the result files of batches that were fetched."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, select, text, update

from voyage_jobs.core.profile import DEFAULT_VENDOR
from voyage_jobs.state.dialect import json_field
from voyage_jobs.state.schema import (
    downloads,
    remote_files,
)
from voyage_jobs.state.statements import Prepared
from voyage_jobs.state.store import Tx

# Purpose: remember a file of ours at the provider, so that it is deleted when it is done with.
_REMOTE_FILE = text(
    "INSERT INTO remote_files (file_id, batch_id, purpose, bytes, seen_at)"
    " VALUES (:file_id, :batch_id, :purpose, :bytes, :now) ON CONFLICT (file_id) DO NOTHING"
)


def remember_file(tx: Tx, file_id: str, batch_id: int | None, purpose: str, size: int | None) -> None:
    """Note a file that we made, or that a job of ours made, at the provider."""
    tx.connection.execute(
        _REMOTE_FILE,
        {"file_id": file_id, "batch_id": batch_id, "purpose": purpose, "bytes": size, "now": tx.now},
    )


def knows_file(connection: Connection, file_id: str) -> bool:
    """Whether a file at the provider is on record, deleted or not."""
    where = remote_files.c.file_id == file_id
    return connection.execute(select(remote_files.c.file_id).where(where)).first() is not None


@dataclass(frozen=True)
class RemoteFileRow:
    """A file at the provider that may be deleted now."""

    file_id: str
    batch_id: int | None
    failures: int


_VENDOR = f"COALESCE({json_field('f.body', 'vendor')}, '{DEFAULT_VENDOR}')"
# Purpose: files at one provider whose batch is done with them: everything of a batch that is over, and input files that
# a later upload of the same batch has replaced. Another provider does not know them, and would say that they are gone.
_DELETABLE = Prepared(
    "SELECT r.file_id, r.batch_id, r.failures FROM remote_files r LEFT JOIN batches b ON b.id = r.batch_id"
    " LEFT JOIN profiles f ON f.id = b.profile_id"
    f" WHERE r.deleted_at IS NULL AND r.due_at <= :now AND (b.id IS NULL OR ({_VENDOR} = :provider AND ("
    "  b.state IN ('collected', 'closed', 'cancelled', 'refused')"
    "  OR (r.purpose = 'batch' AND b.state IN ('running', 'ended') AND r.file_id != b.input_file_id))))"
    " ORDER BY r.seen_at LIMIT :most"
)


def deletable_files(connection: Connection, provider: str, now: int, most: int) -> list[RemoteFileRow]:
    """Files at a provider (its type) that nothing needs any more."""
    return [RemoteFileRow(*row) for row in _DELETABLE.rows(connection, provider=provider, now=now, most=most)]


# Purpose: the files of a batch that are still at its provider, and who that is.
_LEFT = Prepared(
    f"SELECT COUNT(r.file_id), {_VENDOR} FROM batches b JOIN profiles f ON f.id = b.profile_id"
    " LEFT JOIN remote_files r ON r.batch_id = b.id AND r.deleted_at IS NULL WHERE b.id = :batch"
    " GROUP BY f.body"
)


def live_files(connection: Connection, batch_id: int) -> tuple[int, str]:
    """How many files of a batch are still at its provider, and the type of that."""
    count, provider = _LEFT.row(connection, batch=batch_id)
    return int(count), str(provider)


def note_file(tx: Tx, file_id: str, **values: object) -> None:
    """Set columns of a file at the provider (deleted_at, due_at, failures)."""
    tx.connection.execute(update(remote_files).where(remote_files.c.file_id == file_id).values(**values))


_DOWNLOAD = text(
    "INSERT INTO downloads (batch_id, kind, bytes, sha256) VALUES (:batch, :kind, :bytes, :sha256)"
    " ON CONFLICT (batch_id, kind) DO UPDATE SET bytes = excluded.bytes, sha256 = excluded.sha256"
)


def note_download(tx: Tx, batch_id: int, kind: str, size: int, sha256: str) -> None:
    """A result file is whole and on disk. `kind` is output or error."""
    values = {"batch": batch_id, "kind": kind, "bytes": size, "sha256": sha256}
    tx.connection.execute(_DOWNLOAD, values)


GONE = "gone"


def note_gone(tx: Tx, batch_id: int, kind: str) -> None:
    """A result file is no longer at the provider, and is done without."""
    note_download(tx, batch_id, kind, 0, GONE)


def downloaded(connection: Connection, batch_id: int) -> dict[str, tuple[int, str]]:
    """kind -> (bytes, sha256) of the result files that are on disk, or `GONE` in place of the hash."""
    rows = connection.execute(select(downloads).where(downloads.c.batch_id == batch_id)).mappings()
    return {row["kind"]: (row["bytes"], row["sha256"]) for row in rows}


def forget_downloads(tx: Tx, batch_id: int) -> None:
    """The result files of a batch are not what they should be: they are to be fetched again."""
    tx.connection.execute(delete(downloads).where(downloads.c.batch_id == batch_id))


# Purpose: is a result file of a batch smaller than its file object says?
_IS_SHORT = text(
    "SELECT EXISTS (SELECT 1 FROM downloads d JOIN remote_files r ON r.batch_id = d.batch_id AND r.purpose = d.kind"
    " WHERE d.batch_id = :batch AND d.sha256 != 'gone' AND r.bytes > d.bytes)"
)


def is_short(connection: Connection, batch_id: int) -> bool:
    """Whether a result file that is on disk is smaller than the provider says."""
    return bool(connection.execute(_IS_SHORT, {"batch": batch_id}).scalar_one())
