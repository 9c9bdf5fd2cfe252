"""Publications: one row for each commit to the table, written before the table is touched."""

from __future__ import annotations

from sqlalchemy import Connection, func, insert, select, update

from voyage_jobs.state.schema import publications
from voyage_jobs.state.statements import new_id
from voyage_jobs.state.store import Tx

FLIP = "flip"
DELETE = "delete"
FORMAT = "format"  # all rows as they were, in another format


def begin(tx: Tx, kind: str, documents: int) -> int:
    """Note that a commit is about to be made. One at a time: whatever is still open was broken off by a full disk."""
    forget_open(tx)
    values = {"kind": kind, "started_at": tx.now, "documents": documents}
    return new_id(tx.connection, insert(publications).values(**values))


def finish(tx: Tx, publication_id: int, table_version: int, rows: int) -> None:
    """The commit is in the table and on the disk."""
    where = publications.c.id == publication_id
    values = {"done_at": tx.now, "table_version": table_version, "rows": rows}
    tx.connection.execute(update(publications).where(where).values(**values))


def forget_open(tx: Tx) -> int:
    """Publications that were broken off: what they were about is still ready and is taken up again."""
    where = publications.c.done_at.is_(None)
    return int(tx.connection.execute(update(publications).where(where).values(done_at=tx.now)).rowcount)


def last_table_version(connection: Connection) -> int | None:
    """The newest table version that was acknowledged; None if there is none."""
    return connection.execute(select(func.max(publications.c.table_version))).scalar()


def forget_versions(tx: Tx) -> None:
    """The table was lost or is another one: its version numbers mean nothing any more."""
    tx.connection.execute(update(publications).values(table_version=None))
