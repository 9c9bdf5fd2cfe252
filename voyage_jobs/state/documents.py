"""Documents: what was seen where, with which stat and content, and what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, func, insert, select, text, update

from voyage_jobs.core import states
from voyage_jobs.core.profile import document_key
from voyage_jobs.state import moves
from voyage_jobs.state.schema import NOT_PRESENT, PATH, documents, folders, is_in, sources, versions
from voyage_jobs.state.statements import RAW, Prepared, among, listed, many, new_id, plain, same, slices
from voyage_jobs.state.store import Tx
from voyage_jobs.state.texts import FilePlace, let_texts_go
from voyage_jobs.state.versions import UNSETTLED_MTIME, supersede

# Purpose: by what the newest version of each file of a folder was made that is wanted or served, if there is one.
_MADE_BY = text(
    "SELECT d.name, d.state, (SELECT v.splitter FROM versions v WHERE v.document_id = d.id"
    "  AND v.state IN ('waiting', 'ready', 'published') ORDER BY v.id DESC LIMIT 1)"
    " FROM documents d WHERE d.folder_id = :folder AND d.state IN ('present', 'skipped')"
)

# The reason of a missing document that stays: an operator said so, or its source keeps everything.
KEPT = "kept"

# A skipped document whose file may be readable again any time: what is published of it stays.
PASSING_REASONS = frozenset({"unreadable", "changing"})


@dataclass(frozen=True)
class DocumentRow:
    """One document. `path` is relative to its source, with `/`."""

    id: int
    source: str
    path: str
    state: str
    reason: str | None
    detail: str | None
    size: int
    content_hash: bytes | None
    missing_at: int | None
    moved_from: str | None


_FOLDERS = Prepared(
    select(folders.c.path, folders.c.id).where(
        folders.c.source_id == bindparam("source"), folders.c.file == ""
    )
)


def folder_ids(connection: Connection, source_id: int) -> dict[str, int]:
    """Every folder of a source that ever held a document: relative path -> id. Files of records are none."""
    return dict(_FOLDERS.rows(connection, source=source_id))


def known(connection: Connection, folder_id: int) -> Mapping[str, tuple[int, int, int, int | None]]:
    """name -> (size, mtime_ns, inode, ctime_ns) of everything remembered in one folder."""
    return {row[0]: row[1:] for row in RAW["files of a folder"].rows(connection, folder_id)}


def made_by(connection: Connection, folder_id: int) -> Iterator[tuple[str, str | None]]:
    """(name, form fingerprint of its newest live version) of what is remembered in one folder; None for a skipped file
    and for one without a live version."""
    for name, state, made in plain(connection, _MADE_BY, {"folder": folder_id}):
        yield name, made if state == states.Document.PRESENT else None


# Purpose: the paths of what a source has now.
_PRESENT = text(
    f"SELECT {PATH} FROM documents d JOIN folders f ON f.id = d.folder_id"
    " WHERE d.source_id = :source AND d.state = 'present' ORDER BY f.id"
)


def present_paths(connection: Connection, source_id: int) -> Iterator[str]:
    """The paths of the documents that a source has, folder by folder."""
    yield from connection.execute(_PRESENT, {"source": source_id}).scalars()


def ensure_folders(tx: Tx, source_id: int, known: dict[str, int], paths: Iterable[str]) -> None:
    """Add to `known` (relative path -> id) the folders that are not in it yet."""
    for path in paths:
        if path not in known:
            row = {"source_id": source_id, "path": path}
            known[path] = new_id(tx.connection, insert(folders).values(row))


class Seen(NamedTuple):
    """What a scan found out about one file. `content_hash` is None for a skipped one, which has a `reason`."""

    folder: str
    name: str
    size: int
    mtime_ns: int
    inode: int
    content_hash: bytes | None = None
    reason: str | None = None
    detail: str | None = None
    ctime_ns: int | None = None
    group: int | None = None
    """The row of the file of records that it is in; None: it is a file of its folder."""

    @property
    def path(self) -> str:
        """The path relative to the source."""
        return f"{self.folder}/{self.name}" if self.folder else self.name

    @property
    def state(self) -> states.Document:
        """Where this puts the document."""
        return states.Document.SKIPPED if self.reason else states.Document.PRESENT


# Purpose: what is known of these files of a folder.
_FILES = select(documents.c.name, documents.c.id, documents.c.state).where(
    documents.c.folder_id == bindparam("folder"), among(documents.c.name, "names")
)


def _known_files(tx: Tx, groups: Sequence[int], seen: Sequence[Seen]) -> dict[tuple[int, str], Any]:
    """(folder id, name) -> (id, state) of the files that were seen before."""
    names: dict[int, list[str]] = {}
    for group, each in zip(groups, seen, strict=True):
        names.setdefault(group, []).append(each.name)
    found: dict[tuple[int, str], Any] = {}
    for folder, those in names.items():
        for part in slices(those):
            values = {"folder": folder, "names": listed(part)}
            found.update(((folder, name), at) for name, *at in plain(tx.connection, _FILES, values))
    return found


# Purpose: a known file, looked at again; a skipped one keeps the hash of what was last read of it.
_SEEN_AGAIN = (
    update(documents)
    .where(documents.c.id == bindparam("of_id"))
    .values(content_hash=func.coalesce(bindparam("new_hash"), documents.c.content_hash), missing_at=None)
)
_FACTS = ("reason", "detail", "size", "mtime_ns", "inode", "ctime_ns")
# In the order of the table: then rows are handed on as they are.
_NEW = (
    *("id", "folder_id", "name", "doc_key", "state"),
    *("reason", "detail", "size", "mtime_ns", "inode", "content_hash", "ctime_ns"),
)


def save(tx: Tx, source_id: int, source: str, folder_ids: dict[str, int], seen: Sequence[Seen]) -> list[int]:
    """Insert or update documents; their ids, in the same order. Each (folder, name) may stand here once.

    `folder_ids` are the known folders of the source; new ones are added to it.
    """
    ensure_folders(tx, source_id, folder_ids, (each.folder for each in seen if each.group is None))
    groups = [folder_ids[each.folder] if each.group is None else each.group for each in seen]
    before = _known_files(tx, groups, seen)
    ids: list[int] = []
    new: list[tuple[int, int, Seen]] = []
    known: list[tuple[int, Seen]] = []
    moved: dict[tuple[str, states.Document, str | None], list[int]] = {}
    fresh = first = newest_id(tx.connection) + 1
    for group, each in zip(groups, seen, strict=True):
        row = before.get((group, each.name))
        if row is None:
            new.append((fresh, group, each))
            ids.append(fresh)
            fresh += 1
            continue
        ids.append(row[0])
        known.append((row[0], each))
        if row[1] != each.state:
            moved.setdefault((row[1], each.state, each.reason), []).append(row[0])
    for (origin, target, reason), those in moved.items():
        _move_found(tx, those, states.Document(origin), target, reason)
    _insert(tx, source_id, source, new)
    moves.record_births(tx, documents, first, fresh - 1, func.coalesce(documents.c.reason, "found"))
    again = ((*(getattr(each, fact) for fact in _FACTS), each.content_hash, i) for i, each in known)
    many(tx.connection, _SEEN_AGAIN, (*_FACTS, "new_hash", "of_id"), again)
    return ids


def _move_found(
    tx: Tx, ids: Sequence[int], origin: states.Document, target: states.Document, reason: str | None
) -> None:
    """What became of known files that are in another state now."""
    for part in slices(ids):
        where = documents.c.id.in_(part)
        moves.move_where(
            tx, documents, where, origin, target, reason or "found", reason=reason, missing_at=None
        )
        if target is states.Document.PRESENT:
            let_texts_go(tx, part)


# Purpose: how many documents a source ever had, for `status`. (A trigger would cost each document 8 us.)
_COUNT = text("UPDATE sources SET documents = documents + :count WHERE id = :source")


def _insert(tx: Tx, source_id: int, source: str, new: Sequence[tuple[int, int, Seen]]) -> None:
    rows = (
        (
            document_id,
            group,
            each.name,
            document_key(source, each.path),
            str(each.state),
            each.reason,
            each.detail,
            each.size,
            each.mtime_ns,
            each.inode,
            each.content_hash,
            each.ctime_ns,
        )
        for document_id, group, each in new
    )
    many(tx.connection, insert(documents).values(source_id=same(source_id)), _NEW, rows)
    if new:
        tx.connection.execute(_COUNT, {"count": len(new), "source": source_id})


# Purpose: when the system last changed a file that an older release read, and that is as it was.
_CHANGED_AT = (
    update(documents)
    .where(documents.c.folder_id == bindparam("of_folder"), documents.c.name == bindparam("of_name"))
    .values(ctime_ns=bindparam("at"))
)


def note_ctimes(tx: Tx, found: Iterable[tuple[int, str, int | None]]) -> None:
    """Remember (folder id, name, ctime_ns) of files that are as they were and whose time of change is not on record."""
    many(tx.connection, _CHANGED_AT, ("of_folder", "of_name", "at"), found)


def forget_skips(tx: Tx, source_id: int) -> None:
    """Have every skipped file of a source looked at again (the rules or limits changed)."""
    where = (documents.c.source_id == source_id) & is_in(documents, states.Document.SKIPPED) & NOT_PRESENT
    tx.connection.execute(update(documents).where(where).values(mtime_ns=UNSETTLED_MTIME))


def newest_id(connection: Connection) -> int:
    """The highest id given so far."""
    return int(connection.execute(select(func.coalesce(func.max(documents.c.id), 0))).scalar_one())


# Purpose: documents that were given up, and whose rows are certainly still in the table.
_LEAVING = text(
    "SELECT d.id FROM versions v JOIN documents d ON d.id = v.document_id"
    " WHERE v.retire = 1 AND v.state = 'published' AND v.doubtful = 0 AND d.state = 'gone'"
    " AND (:document IS NULL OR d.id = :document) AND (:source IS NULL OR d.source_id = :source)"
    " AND NOT EXISTS (SELECT 1 FROM transitions t WHERE t.kind = 'document' AND t.subject = d.id AND t.cause = 'moved'"
    "  AND t.id = (SELECT MAX(n.id) FROM transitions n WHERE n.kind = 'document' AND n.subject = d.id))"
)


def leaving(
    connection: Connection, *, document_id: int | None = None, source_id: int | None = None
) -> list[int]:
    """Documents (one, or all of a source) that were given up, not moved, and whose rows are still in the table."""
    values = {"document": document_id, "source": source_id}
    return list(connection.execute(_LEAVING, values).scalars())


# Purpose: files that should have the content a document had last.
_COPIES = text(
    "SELECT s.path AS root, CASE f.path WHEN '' THEN n.name ELSE f.path || '/' || n.name END AS path, n.content_hash"
    " FROM documents d JOIN documents n ON n.content_hash = d.content_hash AND n.state = 'present'"
    " JOIN folders f ON f.id = n.folder_id JOIN sources s ON s.id = n.source_id WHERE d.id = :id ORDER BY n.id"
    " LIMIT :most"
)


def copies(connection: Connection, document_id: int, most: int) -> list[FilePlace]:
    """Up to `most` files, of any source, with the content that a document had last."""
    rows = connection.execute(_COPIES, {"id": document_id, "most": most}).mappings()
    return [FilePlace(**row) for row in rows]


def let_go(tx: Tx, source_id: int, most: int) -> int:
    """What is missing from a source is kept no longer, as many as `most`. Returns how many."""
    mine = (documents.c.source_id == source_id) & (documents.c.reason == KEPT)
    chosen = documents.c.id.in_(select(documents.c.id).where(mine).limit(most))
    return int(tx.connection.execute(update(documents).where(chosen).values(reason=None)).rowcount)


# Purpose: files that are there and no longer readable as text (binary, empty, too large ...), and are still served.
_SPOILT = Prepared(
    "SELECT d.id FROM documents d WHERE d.source_id = :source AND d.state = 'skipped' AND d.state != 'present'"
    " AND d.reason NOT IN ({passing})"
    " AND EXISTS (SELECT 1 FROM versions v WHERE v.document_id = d.id AND v.retire = 0"
    "  AND v.state IN ('waiting', 'ready', 'published'))".format(
        passing=", ".join(f"'{reason}'" for reason in sorted(PASSING_REASONS))
    )
)


def spoilt(connection: Connection, source_id: int) -> list[int]:
    """Documents whose files have turned into something that is not taken, and whose rows are still in the table."""
    return [row[0] for row in _SPOILT.rows(connection, source=source_id)]


def retire(tx: Tx, document_ids: Sequence[int]) -> None:
    """Have the published rows of these documents removed, and forget what was waiting for them."""
    supersede(tx, document_ids, "the document is gone")
    for part in slices(document_ids):  # the publish step takes their rows out of the table
        served = versions.c.document_id.in_(part) & is_in(versions, states.Version.PUBLISHED)
        tx.connection.execute(update(versions).where(served).values(retire=1))


def retire_source(tx: Tx, source_id: int, cause: str) -> int:
    """Give up every document of a source that left the configuration. Returns how many."""
    ids = select(documents.c.id).where(
        documents.c.source_id == source_id, ~is_in(documents, states.Document.GONE)
    )
    chosen = list(tx.connection.execute(ids).scalars())
    retire(tx, chosen)
    mine = documents.c.source_id == source_id
    for origin in (states.Document.PRESENT, states.Document.MISSING, states.Document.SKIPPED):
        moves.move_where(tx, documents, mine, origin, states.Document.GONE, cause)
    return len(chosen)


# Purpose: documents of which no row belongs into any table.
_WITHOUT_ROWS = text(
    f"SELECT s.name, {PATH} FROM documents d"
    " JOIN folders f ON f.id = d.folder_id JOIN sources s ON s.id = d.source_id WHERE NOT EXISTS"
    " (SELECT 1 FROM versions v WHERE v.document_id = d.id AND v.retire = 0"
    "  AND v.state IN ('waiting', 'ready', 'published'))"
)


def without_rows(connection: Connection) -> list[tuple[str, str]]:
    """(source, path) of every document that is not to be in the table, now or soon."""
    return [(source, path) for source, path in connection.execute(_WITHOUT_ROWS)]


# Purpose: what a source has to lose: files that are there, and those that are out of reach and still served.
_LIVE = Prepared(
    "SELECT (SELECT documents FROM sources WHERE id = :source)"
    " - (SELECT COUNT(*) FROM documents WHERE source_id = :source AND state != 'present')"
    " + (SELECT COUNT(*) FROM documents d WHERE d.source_id = :source AND d.state = 'skipped'"
    "  AND d.state != 'present' AND EXISTS (SELECT 1 FROM versions v WHERE v.document_id = d.id AND v.retire = 0"
    "   AND v.state IN ('waiting', 'ready', 'published')))"
)


def count_live(connection: Connection, source_id: int) -> int:
    """Documents of a source that are present, or were skipped for a passing reason and are still served."""
    return int(_LIVE.value(connection, source=source_id))


_DOCUMENTS = (
    select(documents, folders.c.path.label("folder"), sources.c.name.label("source"))
    .join(folders, folders.c.id == documents.c.folder_id)
    .join(sources, sources.c.id == documents.c.source_id)
)


def find(connection: Connection, source: str | None, path: str) -> list[DocumentRow]:
    """Documents at this relative path, in one source or in any."""
    folder, _, name = path.rpartition("/")
    searched = select(sources.c.id)
    if source is not None:
        searched = searched.where(sources.c.name == source)
    # By way of the folders of that path: joined, SQLite takes every document there is and looks whether it fits.
    there = select(folders.c.id).where(folders.c.source_id.in_(searched), folders.c.path == folder)
    query = _DOCUMENTS.where(documents.c.folder_id.in_(there), documents.c.name == name)
    return [_row(row) for row in connection.execute(query.order_by(documents.c.id)).mappings()]


def by_id(connection: Connection, document_id: int) -> DocumentRow:
    """One document by its row."""
    return _row(connection.execute(_DOCUMENTS.where(documents.c.id == document_id)).mappings().one())


def by_key(connection: Connection, doc_key: bytes) -> DocumentRow | None:
    """The document with this 8-byte key, or None."""
    row = connection.execute(_DOCUMENTS.where(documents.c.doc_key == doc_key)).mappings().one_or_none()
    return None if row is None else _row(row)


def _row(row: Mapping[Any, Any]) -> DocumentRow:
    folder, name = row["folder"], row["name"]
    return DocumentRow(
        id=row["id"],
        source=row["source"],
        path=f"{folder}/{name}" if folder else name,
        state=row["state"],
        reason=row["reason"],
        detail=row["detail"],
        size=row["size"],
        content_hash=row["content_hash"],
        missing_at=row["missing_at"],
        moved_from=row["moved_from"],
    )


@dataclass(frozen=True)
class Place:
    """Where a document's file is, and how it looked when it was last read; paths as `names.encode` makes them."""

    root: str
    size: int
    mtime_ns: int
    inode: int
    ctime_ns: int | None
    source_id: int
    seen_at: int | None
    """When a scan first recorded it."""


# Purpose: how a document's file looked, and when it was first seen.
_PLACE = text(
    "SELECT s.path AS root, d.size, d.mtime_ns, d.inode, d.ctime_ns, d.source_id, (SELECT MIN(t.at) FROM transitions t"
    "  WHERE t.kind = 'document' AND t.subject = d.id) AS seen_at"
    " FROM documents d JOIN sources s ON s.id = d.source_id WHERE d.id = :id"
)
# Purpose: where a document was moved to.
_MOVED_TO = text(
    "SELECT CASE f.path WHEN '' THEN n.name ELSE f.path || '/' || n.name END FROM documents d"
    " JOIN documents n ON n.source_id = d.source_id AND n.moved_from = :path"
    " JOIN folders f ON f.id = n.folder_id WHERE d.id = :id ORDER BY n.id DESC LIMIT 1"
)


def place_of(connection: Connection, document_id: int) -> Place:
    """Where a document's file is."""
    return Place(**connection.execute(_PLACE, {"id": document_id}).mappings().one())


def moved_to(connection: Connection, document: DocumentRow) -> str | None:
    """The path to which a document of this source was moved last, if it was."""
    values = {"id": document.id, "path": document.path}
    return connection.execute(_MOVED_TO, values).scalar()


# Purpose: what is known of the files at and below a folder, and what of it the table serves.
_BELOW = text(
    "SELECT d.state, COUNT(*) AS documents, SUM(EXISTS (SELECT 1 FROM versions v WHERE v.document_id = d.id"
    "  AND v.state = 'published')) AS published, SUM(EXISTS (SELECT 1 FROM versions v"
    "  WHERE v.document_id = d.id AND v.state IN ('waiting', 'ready'))) AS waiting"
    " FROM sources s JOIN folders f ON f.source_id = s.id JOIN documents d ON d.folder_id = f.id"
    " WHERE s.name = :source AND (f.path = :path OR :path = '' OR substr(f.path, 1, length(:path) + 1) = :path || '/')"
    " GROUP BY d.state"
)


def below(connection: Connection, source: str, folder: str) -> dict[str, tuple[int, int, int]]:
    """State -> (documents, published ones, ones with a version on its way) at and below a folder; "" is the source."""
    rows = connection.execute(_BELOW, {"source": source, "path": folder})
    return {row.state: (row.documents, row.published, row.waiting) for row in rows}
