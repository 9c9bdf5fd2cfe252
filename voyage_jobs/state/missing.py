"""Documents whose files are gone: noticed, kept, forgotten after their grace period, brought back."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, func, select, text, update

from voyage_jobs.core import states
from voyage_jobs.state import letting_go, meta, moves
from voyage_jobs.state.documents import KEPT, retire, spoilt
from voyage_jobs.state.schema import NOT_PRESENT, PATH, documents, is_in, transitions, versions
from voyage_jobs.state.statements import Prepared, plain, slices
from voyage_jobs.state.store import Tx


@dataclass(frozen=True, slots=True)
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
_VANISHED = (
    f"SELECT d.id, d.state, {PATH} AS path,"
    " EXISTS (SELECT 1 FROM versions p WHERE p.document_id = d.id AND p.retire = 0"
    "  AND p.state IN ('waiting', 'ready', 'published')) AS served,"
    " (SELECT MIN(n.id) FROM documents n WHERE n.content_hash = d.content_hash AND n.source_id = d.source_id"
    "  AND n.state = 'present' AND d.state = 'present' AND ("
    "   EXISTS (SELECT 1 FROM transitions t WHERE t.kind = 'document' AND t.subject = n.id AND t.id > :transition"
    "    AND t.target = 'present' AND COALESCE(t.origin, '') != 'present')"
    "   OR EXISTS (SELECT 1 FROM versions v WHERE v.document_id = n.id AND v.id > :version))) AS moved_to"
    " FROM documents d JOIN folders f ON f.id = d.folder_id WHERE "
)
_VANISHED_NAME = text(f"{_VANISHED} d.folder_id = :folder AND d.name = :name")
_VANISHED_ONES = text(f"{_VANISHED} d.id IN :documents").bindparams(bindparam("documents", expanding=True))


@dataclass(frozen=True)
class Mark:
    """A moment in the history: the newest transition and the newest version there were."""

    transition: int
    version: int


_NEWEST = [Prepared(select(func.coalesce(func.max(each.c.id), 0))) for each in (transitions, versions)]


def mark(connection: Connection) -> Mark:
    """Now; what is recorded later can be told from what was there."""
    return Mark(*(newest.value(connection) for newest in _NEWEST))


_BEGUN = "losses_since:{}"  # in meta, by source: a scan is recording what it lost, and began then


def begun(connection: Connection, source_id: int) -> Mark:
    """Now; or, where a scan broke off while it recorded what was lost, when that began: it has yet to be finished."""
    known = meta.get(connection, _BEGUN.format(source_id))
    return mark(connection) if known is None else Mark(*map(int, known.split(":")))


def note_begun(tx: Tx, source_id: int, since: Mark) -> None:
    """What a source lost is being recorded, by a scan that began then."""
    meta.put(tx, _BEGUN.format(source_id), f"{since.transition}:{since.version}")


def forget_begun(tx: Tx, source_id: int) -> None:
    """All that it lost is on record."""
    meta.forget(tx, _BEGUN.format(source_id))


def vanished(connection: Connection, folder_id: int, name: str, since: Mark) -> Vanished:
    """Look a vanished name up; `since` is when the scan began that did not find it."""
    values = {"folder": folder_id, "name": name, "transition": since.transition, "version": since.version}
    return Vanished(**connection.execute(_VANISHED_NAME, values).mappings().one())


def vanished_ones(connection: Connection, document_ids: Sequence[int], since: Mark) -> Iterator[Vanished]:
    """The same for many documents at once."""
    for part in slices(document_ids):
        values = {"documents": list(part), "transition": since.transition, "version": since.version}
        for row_id, state, path, served, moved_to in plain(connection, _VANISHED_ONES, values):
            yield Vanished(row_id, state, path, bool(served), moved_to)


def mark_vanished(
    tx: Tx, gone: Sequence[Vanished], on_purpose: Container[int] = (), *, keeps: bool = False
) -> None:
    """Moved: its rows leave the table as soon as those of the new place are in it. Else: missing, and still served.

    What a program removed `on_purpose` is given up at once. What was never shown is not sent any more: a file that
    comes back is read again. Not so if its source `keeps` what has gone.
    """
    meant = [each for each in gone if each.id in on_purpose]
    left = [each for each in gone if each.id not in on_purpose]
    moved = [each for each in left if each.moved_to is not None]
    _move_all(tx, meant, states.Document.GONE, "removed")
    _move_all(tx, moved, states.Document.GONE, "moved")
    lost = [each for each in left if each.moved_to is None]
    _move_all(tx, lost, states.Document.MISSING, "vanished", since=tx.now)
    for part in () if keeps else slices([each.id for each in lost]):
        letting_go.unshown(tx, versions.c.document_id.in_(part), "the document is missing")
    retire(tx, [each.id for each in (*meant, *moved)])
    for each in moved:
        to = documents.c.id == each.moved_to
        tx.connection.execute(update(documents).where(to).values(moved_from=each.path))
        found = states.Document.PRESENT
        moves.record(tx, "document", each.moved_to or 0, found, found, f"moved from {each.path}")


def _move_all(
    tx: Tx, gone: Sequence[Vanished], target: states.Document, cause: str, since: int | None = None
) -> None:
    for origin in dict.fromkeys(each.state for each in gone):
        ids = [each.id for each in gone if each.state == origin]
        for part in slices(ids):
            where = documents.c.id.in_(part)
            moves.move_where(tx, documents, where, states.Document(origin), target, cause, missing_at=since)


# Purpose: a clock that was set back must not lengthen anybody's grace period by what it was set.
_NOT_IN_THE_FUTURE = text(
    "UPDATE documents SET missing_at = :now WHERE source_id = :source AND state = 'missing' AND state != 'present'"
    " AND missing_at > :now"
)


_NOT_KEPT = documents.c.reason.is_(None) | (documents.c.reason != KEPT)


_ANY_TIME = 2**63 - 1
# Purpose: the first documents that are not kept and have been missing since before then.
_MISSING_SINCE = (
    select(documents.c.id)
    .where(documents.c.source_id == bindparam("source"), documents.c.missing_at <= bindparam("before"))
    .where(is_in(documents, states.Document.MISSING), NOT_PRESENT)
    .order_by(documents.c.id)
    .limit(bindparam("most"))
)
_DUE = Prepared(_MISSING_SINCE.where(_NOT_KEPT))


def _due(connection: Connection, source_id: int, missing_before: int | None, most: int) -> list[int]:
    """The ids of as many as `most`; None: missing since whenever."""
    before = _ANY_TIME if missing_before is None else missing_before
    return [row[0] for row in _DUE.rows(connection, source=source_id, before=before, most=most)]


def are_due(connection: Connection, source_id: int, missing_before: int | None, more_than: int) -> bool:
    """Whether more than so many documents that are not kept have been missing since before `missing_before`
    (microseconds); None: since whenever."""
    return len(_due(connection, source_id, missing_before, more_than + 1)) > more_than


def expire_missing(tx: Tx, source_id: int, missing_before: int, most: int) -> None:
    """Give up documents that have been missing since before `missing_before` (microseconds), as many as `most`."""
    tx.connection.execute(_NOT_IN_THE_FUTURE, {"now": tx.now, "source": source_id})
    ids = _due(tx.connection, source_id, missing_before, most)
    retire(tx, ids)
    gone, late = states.Document.GONE, states.Document.MISSING
    for part in slices(ids):
        moves.move_where(tx, documents, documents.c.id.in_(part), late, gone, "grace period over")


def keep_missing(tx: Tx, source_id: int, cause: str, most: int) -> int:
    """Keep missing documents of a source, as many as `most`, whatever their grace period. Returns how many."""
    ids = _due(tx.connection, source_id, None, most)
    for part in slices(ids):
        tx.connection.execute(update(documents).where(documents.c.id.in_(part)).values(reason=KEPT))
    missing = states.Document.MISSING
    moves.record_each(tx, "document", missing, cause, ((each, missing) for each in ids))
    return len(ids)


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
    missing = is_in(documents, states.Document.MISSING) & NOT_PRESENT
    kept = int(connection.execute(select(func.count()).where(where, missing)).scalar_one())
    return kept + len(spoilt(connection, source_id))


def count_gone(connection: Connection, source_id: int) -> int:
    """Documents of a source that have left the table."""
    gone = (documents.c.source_id == source_id) & is_in(documents, states.Document.GONE) & NOT_PRESENT
    return int(connection.execute(select(func.count()).select_from(documents).where(gone)).scalar_one())
