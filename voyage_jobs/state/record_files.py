"""Files of records: how each looked when it was read whole, and the documents that its rows are."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import orjson
from sqlalchemy import (
    ColumnElement,
    Connection,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    select,
    text,
    update,
)

from voyage_jobs.core import states
from voyage_jobs.state.schema import documents, folders, is_in, record_files, versions
from voyage_jobs.state.statements import Prepared, among, listed, new_id, plain, slices
from voyage_jobs.state.store import Tx

FROZEN = "frozen"
"""The reason of a file of which nothing is deleted until it is whole again, or somebody says that it is meant."""

LINE_END = "line end"
"""In `reached`: nothing was missing behind the last row."""

NO_LINE_END = "no line end"
"""In `reached`: the line end behind the last row is missing, and was there at an earlier reading."""


@dataclass(frozen=True)
class LeftOut:
    """Rows that are no record: how many, and which came first."""

    count: int = 0
    first: Sequence[str] = ()


@dataclass(frozen=True)
class RecordFile:
    """One file. `path` is that of its folder; `reason` and `detail` say why nothing of it is deleted, or why it could
    not be read, if that is so."""

    id: int
    path: str
    file: str
    size: int = 0
    mtime_ns: int = -1
    inode: int = 0
    ctime_ns: int | None = None
    content_hash: bytes | None = None
    made_by: str | None = None
    records: int = 0
    left_out: Mapping[str, LeftOut] = field(default_factory=dict)
    reason: str | None = None
    detail: str | None = None
    reached: str | None = None
    """What its next reading has to know of this one: of a log how far it went, of a CSV `LINE_END` or `NO_LINE_END`;
    None if it never had a line end behind its last row, or somebody confirmed that it has none."""

    @property
    def revision(self) -> tuple[int, int, int, int | None]:
        """How it looked when it was last read."""
        return self.size, self.mtime_ns, self.inode, self.ctime_ns

    @property
    def name(self) -> str:
        """Its path in the source."""
        return f"{self.path}/{self.file}" if self.path else self.file


_FILES = select(folders.c.path, folders.c.file, record_files).join(
    folders, folders.c.id == record_files.c.folder_id
)


_OF_SOURCE = Prepared(_FILES.where(folders.c.source_id == bindparam("source")))


def of_source(connection: Connection, source_id: int) -> dict[tuple[str, str], RecordFile]:
    """(folder, file) -> what is on record of every file of records of a source."""
    names = _FILES.selected_columns.keys()
    rows = (dict(zip(names, row, strict=True)) for row in _OF_SOURCE.rows(connection, source=source_id))
    found = (
        RecordFile(
            id=row["folder_id"],
            left_out={name: LeftOut(**told) for name, told in orjson.loads(row["left_out"]).items()},
            **{name: row[name] for name in row if name not in ("folder_id", "left_out")},
        )
        for row in rows
    )
    return {(each.path, each.file): each for each in found}


def ensure(tx: Tx, source_id: int, path: str, file: str) -> int:
    """The row under which the documents of a file stand. It is on record from then on: a file that is deleted before it
    was read whole has documents, too."""
    mine = (folders.c.source_id == source_id) & (folders.c.path == path) & (folders.c.file == file)
    known = tx.connection.execute(select(folders.c.id).where(mine)).scalar()
    row = {"source_id": source_id, "path": path, "file": file}
    file_id = new_id(tx.connection, insert(folders).values(row)) if known is None else int(known)
    put(tx, RecordFile(file_id, path, file))
    return file_id


def put(tx: Tx, each: RecordFile) -> None:
    """Record what a reading came to."""
    forget(tx, each.id)
    names = (
        "size",
        "mtime_ns",
        "inode",
        "ctime_ns",
        "content_hash",
        "made_by",
        "records",
        "reason",
        "detail",
        "reached",
    )
    facts = {name: getattr(each, name) for name in names}
    left_out = orjson.dumps(each.left_out).decode()
    tx.connection.execute(insert(record_files).values(folder_id=each.id, left_out=left_out, **facts))


def forget(tx: Tx, file_id: int) -> None:
    """The file is gone, and its documents are on record as missing."""
    tx.connection.execute(delete(record_files).where(record_files.c.folder_id == file_id))


def read_again(tx: Tx, which: ColumnElement[bool]) -> None:
    """Have the files of these documents read again, row by row, by the next scan."""
    theirs = record_files.c.folder_id.in_(select(documents.c.folder_id).where(which))
    tx.connection.execute(update(record_files).where(theirs).values(mtime_ns=-1, made_by=None))


_OF_THEM = (
    documents.c.folder_id == bindparam("file"),
    among(documents.c.name, "names"),
)
# Purpose: what is known of these rows of a file.
_ROWS = select(documents.c.name, documents.c.id, documents.c.state, documents.c.content_hash).where(*_OF_THEM)
_MADE = exists().where(
    versions.c.document_id == documents.c.id,
    versions.c.profile_id == bindparam("profile"),
    is_in(versions, states.Version.WAITING, states.Version.READY, states.Version.PUBLISHED),
)
# Purpose: the same, without the hash of rows of which nothing is made under a profile.
_ROWS_MADE = select(
    documents.c.name, documents.c.id, documents.c.state, case((_MADE, documents.c.content_hash))
).where(*_OF_THEM)


def rows(
    connection: Connection, file_id: int, names: Sequence[str], profile_id: int | None = None
) -> dict[str, tuple[int, str, bytes | None]]:
    """Name -> (document, state, hash) of those that are known. With a profile, there is no hash where nothing is wanted
    or published under it."""
    query = _ROWS if profile_id is None else _ROWS_MADE
    asked = {"file": file_id} if profile_id is None else {"file": file_id, "profile": profile_id}
    found: dict[str, tuple[int, str, bytes | None]] = {}
    for part in slices(names):
        found.update(
            (name, (row, state, digest))
            for name, row, state, digest in plain(connection, query, {**asked, "names": listed(part)})
        )
    return found


# Purpose: the documents that a file has, or had at the last look.
_PRESENT = select(documents.c.id).where(
    documents.c.folder_id == bindparam("file"), is_in(documents, states.Document.PRESENT)
)
# Purpose: how many they are.
_COUNT_PRESENT = _PRESENT.with_only_columns(func.count())


def present(connection: Connection, file_id: int) -> array[int]:
    """The documents of a file that are present: 8 bytes for each."""
    return array("q", (row for (row,) in plain(connection, _PRESENT, {"file": file_id})))


def count_present(connection: Connection, file_id: int) -> int:
    """How many documents of a file are present."""
    return int(connection.execute(_COUNT_PRESENT, {"file": file_id}).scalar_one())


def bounds(connection: Connection, file_id: int) -> tuple[int, int]:
    """The oldest and the newest document that a file ever had; (0, 0): none."""
    ids = [func.coalesce(each(documents.c.id), 0) for each in (func.min, func.max)]
    oldest, newest = connection.execute(select(*ids).where(documents.c.folder_id == file_id)).one()
    return int(oldest), int(newest)


# Purpose: files of records of which something is to be told, by source.
_NOTED = Prepared(
    "SELECT f.source_id, f.path, f.file, r.records, r.left_out, r.reason, r.detail FROM record_files r"
    " JOIN folders f ON f.id = r.folder_id WHERE r.reason IS NOT NULL OR r.left_out != '{}'"
    " ORDER BY f.source_id, r.reason IS NULL, f.path, f.file"
)


def noted(connection: Connection) -> dict[int, list[RecordFile]]:
    """By source, the files that are frozen, could not be read, or have rows which are no record; these last."""
    found: dict[int, list[RecordFile]] = {}
    for source_id, path, file, count, left_out, reason, detail in _NOTED.rows(connection):
        lacks = {name: LeftOut(**told) for name, told in orjson.loads(left_out).items()}
        each = RecordFile(0, path, file, records=count, left_out=lacks, reason=reason, detail=detail)
        found.setdefault(source_id, []).append(each)
    return found


def count_frozen(connection: Connection, source_id: int) -> int:
    """How many files of a source are frozen."""
    return _count(connection, source_id, record_files.c.reason == FROZEN)


def count_without_line_end(connection: Connection, source_id: int) -> int:
    """How many files of a source have lost the line end behind their last row."""
    return _count(connection, source_id, record_files.c.reached == NO_LINE_END)


def _count(connection: Connection, source_id: int, which: ColumnElement[bool]) -> int:
    joined = select(func.count()).join_from(record_files, folders, folders.c.id == record_files.c.folder_id)
    return int(connection.execute(joined.where(folders.c.source_id == source_id, which)).scalar_one())


# Purpose: which file of records a document is a row of.
_FILE_OF = text(
    "SELECT f.path, f.file, r.size, r.mtime_ns, r.inode, r.ctime_ns, r.reason, r.detail FROM documents d"
    " JOIN folders f ON f.id = d.folder_id LEFT JOIN record_files r ON r.folder_id = f.id"
    " WHERE d.id = :id AND f.file != ''"
)


def file_of(connection: Connection, document_id: int) -> RecordFile | None:
    """The file that a document is a row of; None: it is a file itself. One that is gone has no `records`."""
    row = connection.execute(_FILE_OF, {"id": document_id}).mappings().one_or_none()
    if row is None:
        return None
    return RecordFile(0, **{name: value for name, value in row.items() if value is not None})
