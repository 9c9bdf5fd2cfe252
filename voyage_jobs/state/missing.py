"""Documents whose files are gone: noticed, kept, forgotten after their grace period, brought back."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, select, text, update

from voyage_jobs.core import states
from voyage_jobs.state import moves
from voyage_jobs.state.documents import KEPT, retire, spoilt
from voyage_jobs.state.schema import PATH, documents, is_in, transitions, versions
from voyage_jobs.state.store import Tx


@dataclass(frozen=True)
class Vanished:
    """A remembered file that a scan did not find. `moved_to` is the document that has its content now, if it is new.

    `served`: the table shows it, or soon will; also where its file could not be read when it was last looked at.
    """

    id: int
    state: str
    path: str
    served: bool
    moved_to: int | None

    @property
    def is_a_loss(self) -> bool:
        """Whether a reader of the table would miss it."""
        return self.moved_to is None and (self.state == states.Document.PRESENT or self.served)


# Purpose: a file that vanished and a file that came, came back or was written over in the same scan, with the same
# content: that is a move.
_VANISHED = text(
    f"SELECT d.id, d.state, {PATH} AS path,"
    " EXISTS (SELECT 1 FROM versions p WHERE p.document_id = d.id AND p.retire = 0"
    "  AND p.state IN ('waiting', 'ready', 'published')) AS served,"
    " (SELECT MIN(n.id) FROM documents n WHERE n.content_hash = d.content_hash AND n.source_id = d.source_id"
    "  AND n.state = 'present' AND d.state = 'present' AND ("
    "   EXISTS (SELECT 1 FROM transitions t WHERE t.kind = 'document' AND t.subject = n.id AND t.id > :transition"
    "    AND t.target = 'present' AND COALESCE(t.origin, '') != 'present')"
    "   OR EXISTS (SELECT 1 FROM versions v WHERE v.document_id = n.id AND v.id > :version))) AS moved_to"
    " FROM documents d JOIN folders f ON f.id = d.folder_id WHERE d.folder_id = :folder AND d.name = :name"
)


@dataclass(frozen=True)
class Mark:
    """A moment in the history: the newest transition and the newest version there were."""

    transition: int
    version: int


def mark(connection: Connection) -> Mark:
    """Now; what is recorded later can be told from what was there."""
    newest = [select(func.coalesce(func.max(each.c.id), 0)) for each in (transitions, versions)]
    transition, version = (int(connection.execute(query).scalar_one()) for query in newest)
    return Mark(transition, version)


def vanished(connection: Connection, folder_id: int, name: str, since: Mark) -> Vanished:
    """Look a vanished name up; `since` is when the scan began that did not find it."""
    values = {"folder": folder_id, "name": name, "transition": since.transition, "version": since.version}
    return Vanished(**connection.execute(_VANISHED, values).mappings().one())


def mark_vanished(tx: Tx, gone: Vanished, *, on_purpose: bool = False) -> None:
    """Moved: its rows leave the table as soon as those of the new place are in it. Else: missing, and still served.

    What a program removed `on_purpose` is given up at once.
    """
    origin, missing = states.Document(gone.state), states.Document.MISSING
    if on_purpose:
        moves.move(tx, documents, gone.id, origin, states.Document.GONE, "removed")
        retire(tx, [gone.id])
        return
    if gone.moved_to is None:
        moves.move(tx, documents, gone.id, origin, missing, "vanished", missing_at=tx.now)
        return
    moves.move(tx, documents, gone.id, origin, states.Document.GONE, "moved")
    retire(tx, [gone.id])
    moved = documents.c.id == gone.moved_to
    tx.connection.execute(update(documents).where(moved).values(moved_from=gone.path))
    found = states.Document.PRESENT
    moves.record(tx, "document", gone.moved_to, found, found, f"moved from {gone.path}")


# Purpose: a clock that was set back must not lengthen anybody's grace period by what it was set.
_NOT_IN_THE_FUTURE = text(
    "UPDATE documents SET missing_at = :now WHERE source_id = :source AND state = 'missing' AND missing_at > :now"
)


_NOT_KEPT = documents.c.reason.is_(None) | (documents.c.reason != KEPT)


def expire_missing(tx: Tx, source_id: int, missing_before: int) -> int:
    """Give up documents that have been missing since before `missing_before` (microseconds)."""
    tx.connection.execute(_NOT_IN_THE_FUTURE, {"now": tx.now, "source": source_id})
    due = (documents.c.source_id == source_id) & (documents.c.missing_at <= missing_before) & _NOT_KEPT
    ids = select(documents.c.id).where(due, is_in(documents, states.Document.MISSING))
    retire(tx, list(tx.connection.execute(ids).scalars()))
    return moves.move_where(
        tx, documents, due, states.Document.MISSING, states.Document.GONE, "grace period over"
    )


def keep_missing(tx: Tx, source_id: int, cause: str) -> int:
    """Keep every missing document of a source, whatever its grace period. Returns how many are kept from now on."""
    where = (documents.c.source_id == source_id) & (is_in(documents, states.Document.MISSING)) & _NOT_KEPT
    chosen = list(tx.connection.execute(select(documents.c.id).where(where)).scalars())
    for document_id in chosen:
        keep_one(tx, document_id, cause)
    return len(chosen)


def keep_one(tx: Tx, document_id: int, cause: str) -> int:
    """Keep one missing document. Returns 1, or 0 if it was kept already."""
    mine = (documents.c.id == document_id) & (is_in(documents, states.Document.MISSING)) & _NOT_KEPT
    if not tx.connection.execute(update(documents).where(mine).values(reason=KEPT)).rowcount:
        return 0
    missing = states.Document.MISSING
    moves.record(tx, "document", document_id, missing, missing, cause)
    return 1


def bring_back(tx: Tx, document_id: int, cause: str) -> None:
    """A document that was given up is missing again, and kept. Its version is the caller's."""
    gone, missing = states.Document.GONE, states.Document.MISSING
    moves.move(tx, documents, document_id, gone, missing, cause, reason=KEPT, missing_at=tx.now)


def count_kept(connection: Connection, source_id: int) -> int:
    """Documents that are missing from a source, or are no text any more, and stay in the table."""
    where = (documents.c.source_id == source_id) & (documents.c.reason == KEPT)
    missing = is_in(documents, states.Document.MISSING)
    kept = int(connection.execute(select(func.count()).where(where, missing)).scalar_one())
    return kept + len(spoilt(connection, source_id))


def count_gone(connection: Connection, source_id: int) -> int:
    """Documents of a source that have left the table."""
    gone = (documents.c.source_id == source_id) & (is_in(documents, states.Document.GONE))
    return int(connection.execute(select(func.count()).select_from(documents).where(gone)).scalar_one())
