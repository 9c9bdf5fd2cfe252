"""Publications: one row for each commit to the table, written before the table is touched; and what they are about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, exists, func, insert, select, text, update

from voyage_jobs.core import states
from voyage_jobs.state import moves, table_indexes
from voyage_jobs.state.schema import (
    PATH,
    chunks,
    documents,
    embeddings,
    is_in,
    publications,
    segments,
    texts,
    versions,
)
from voyage_jobs.state.statements import Prepared, new_id, plain, slices
from voyage_jobs.state.store import Tx
from voyage_jobs.state.texts import HAS_A_FILE
from voyage_jobs.state.versions import IS_OVERTAKEN, PUBLISHED, retire_rows

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


def newest(connection: Connection) -> int | None:
    """The newest publication, made or not; None if there is none."""
    return connection.execute(select(func.max(publications.c.id))).scalar()


# Purpose: the rows of what is published; none where the table may show something else at this moment, or where this
# state has not published yet (it is new: what lies there is of the one before, or of who had the table before).
_SETTLED = text(
    "SELECT COALESCE(SUM(published_chunks), 0) FROM sources HAVING COALESCE(SUM(doubtful), 0) = 0"
    " AND NOT EXISTS (SELECT 1 FROM versions w WHERE w.state IN ('waiting', 'ready') AND w.publication_id IS NOT NULL)"
    " AND EXISTS (SELECT 1 FROM publications p WHERE p.id = (SELECT MAX(id) FROM publications)"
    "  AND p.done_at IS NOT NULL)"
)


def settled_rows(connection: Connection) -> int | None:
    """How many rows the table must have; None before the first publication, and while one is made or in doubt."""
    found = connection.execute(_SETTLED).scalar()
    return None if found is None else int(found)


def forget_versions(tx: Tx) -> None:
    """The table was lost or is another one: its version numbers mean nothing any more."""
    tx.connection.execute(update(publications).values(table_version=None))
    table_indexes.forget(tx)


# --- what is published, and taken out ---


class ReadyVersion(NamedTuple):
    """A version to publish, with what its rows need."""

    id: int
    document_id: int
    doc_key: bytes
    source: str
    folder: str
    name: str
    content_hash: bytes
    modified_at: int
    title: str
    sections: str
    metadata: str
    reading: str | None
    chunks: int

    @property
    def path(self) -> str:
        """The path relative to the source."""
        return f"{self.folder}/{self.name}" if self.folder else self.name


# Purpose: what is ready for the table, oldest first. By source, as the index of what is not published goes (which
# SQLite takes only where its condition is repeated): a look costs what is ready, not what was ever published.
_READY = text(
    "SELECT v.id, v.document_id, d.doc_key, s.name AS source, f.path AS folder, d.name, v.content_hash,"
    " v.modified_at, v.title, v.sections, v.metadata, v.reading, v.chunks"
    " FROM sources s CROSS JOIN versions v ON v.id IN"
    "  (SELECT r.id FROM versions r WHERE r.state = 'ready' AND r.state IN ('waiting', 'ready')"
    "   AND r.source_id = s.id AND r.id > :after AND (:profile IS NULL OR r.profile_id = :profile)"
    "   ORDER BY r.id LIMIT :most)"
    " JOIN documents d ON d.id = v.document_id JOIN folders f ON f.id = d.folder_id"
    " ORDER BY v.id LIMIT :most"
)


def ready(connection: Connection, after: int, most: int, profile_id: int | None = None) -> list[ReadyVersion]:
    """Up to `most` versions that are ready to be published (under one profile), by id, after a given id."""
    values = {"after": after, "most": most, "profile": profile_id}
    return [ReadyVersion._make(row) for row in plain(connection, _READY, values)]


class PublishChunk(NamedTuple):
    """One chunk of a version to publish. `segment` is None when its embedding failed for good."""

    ordinal: int
    start: int
    end: int
    section: int
    tokens: int
    key: bytes
    slot: int
    segment: str | None
    pack_row: int | None


# Purpose: the chunks of some versions with the place of their vectors, each version's in order.
_CHUNKS = (
    select(
        chunks.c.version_id,
        *(chunks.c[name] for name in ("ordinal", "start", "end", "section", "tokens")),
        embeddings.c.key,
        chunks.c.slot,
        segments.c.name,
        embeddings.c.pack_row + chunks.c.slot,
    )
    .join(embeddings, embeddings.c.id == chunks.c.embedding_id)
    .outerjoin(segments, segments.c.id == embeddings.c.pack_id)
    .where(chunks.c.version_id.in_(bindparam("versions", expanding=True)))
    .order_by(chunks.c.version_id, chunks.c.ordinal)
)


def chunks_of(connection: Connection, version_ids: Sequence[int]) -> dict[int, list[PublishChunk]]:
    """The chunks of each of these versions, in order; `pack_row` is the row of the chunk's own slot."""
    found: dict[int, list[PublishChunk]] = {version_id: [] for version_id in version_ids}
    for part in slices(version_ids):
        for version_id, *chunk in plain(connection, _CHUNKS, {"versions": part}):
            found[version_id].append(PublishChunk._make(chunk))
    return found


def take_up(tx: Tx, version_ids: Sequence[int], publication_id: int) -> None:
    """Note, before the table is touched, which publication is about to serve these versions."""
    _note(tx, version_ids, publication_id=publication_id)


def _note(tx: Tx, version_ids: Sequence[int], **values: object) -> None:
    for part in slices(version_ids):
        tx.connection.execute(update(versions).where(versions.c.id.in_(part)).values(**values))


def take_out(tx: Tx, version_ids: Sequence[int], publication_id: int) -> None:
    """Note, before the table is touched, which publication is about to remove the rows of these versions.

    From now on it is in doubt whether the table shows them: a document that comes back is published again.
    """
    _note(tx, version_ids, publication_id=publication_id, doubtful=1)


# Purpose: the versions that a publication is about to replace.
_REPLACED = text(
    "SELECT o.id FROM versions n JOIN versions o ON o.document_id = n.document_id"
    " WHERE n.publication_id = :publication AND n.state = 'ready' AND o.state = 'published'"
)


def mark_published(tx: Tx, publication_id: int) -> int:
    """The table serves the versions of this publication; those they replace are retired, texts are let go."""
    cause = f"publication {publication_id}"
    replaced = list(tx.connection.execute(_REPLACED, {"publication": publication_id}).scalars())
    retire_rows(tx, replaced, f"replaced by {cause}")
    mine = versions.c.publication_id == publication_id
    ready_now = is_in(versions, states.Version.READY)
    on_disk = (documents.c.id == versions.c.document_id) & is_in(documents, states.Document.PRESENT)
    ours = select(versions.c.id).where(
        mine, ready_now, HAS_A_FILE, exists().where(on_disk)
    )  # else the file is not to be had
    tx.connection.execute(delete(texts).where(texts.c.version_id.in_(ours)))
    ready_, published = states.Version.READY, states.Version.PUBLISHED
    return moves.move_where(tx, versions, mine, ready_, published, cause, published_at=tx.now)


def mark_retired(tx: Tx, publication_id: int) -> int:
    """The rows of the versions of this publication have left the table."""
    where = (versions.c.publication_id == publication_id) & (versions.c.retire == 1)
    ids = list(tx.connection.execute(select(versions.c.id).where(where)).scalars())
    retire_rows(tx, ids, f"publication {publication_id}: its document is gone")
    return len(ids)


@dataclass(frozen=True)
class RetiringVersion:
    """A published version whose document is gone."""

    id: int
    source: str
    path: str


# Purpose: what is to leave the table. The rows of a moved document stay until its new place is served: that may take
# a job, where another suffix means other chunks.
_RETIRING = Prepared(
    f"SELECT v.id, s.name AS source, {PATH} AS path"
    " FROM versions v JOIN documents d ON d.id = v.document_id JOIN folders f ON f.id = d.folder_id"
    " JOIN sources s ON s.id = v.source_id"
    " WHERE v.retire = 1 AND v.state = 'published' AND NOT EXISTS"
    "  (SELECT 1 FROM documents n JOIN versions w ON w.document_id = n.id"
    "   WHERE n.source_id = d.source_id AND n.state = 'present' AND w.state IN ('waiting', 'ready')"
    f"   AND n.moved_from = {PATH}"
    "   AND (w.content_hash = v.content_hash"
    "    OR NOT EXISTS (SELECT 1 FROM versions p WHERE p.document_id = n.id AND p.state = 'published')))"
    " ORDER BY v.id LIMIT :most"
)


def retiring(connection: Connection, most: int) -> list[RetiringVersion]:
    """Up to `most` published versions whose rows are to be removed."""
    return [RetiringVersion(*row) for row in _RETIRING.rows(connection, most=most)]


def unpublish_all(tx: Tx, cause: str) -> int:
    """The table is lost, or is another one now: everything it served is to be published again, at no cost."""
    # What a newer version is about to replace is not published again.
    over = (versions.c.retire == 1) | (versions.c.doubtful == 1) | IS_OVERTAKEN
    retire_rows(
        tx, list(tx.connection.execute(select(versions.c.id).where(PUBLISHED, over)).scalars()), cause
    )
    tx.connection.execute(update(versions).values(publication_id=None))
    everything = versions.c.id > 0
    return moves.move_where(
        tx, versions, everything, states.Version.PUBLISHED, states.Version.READY, cause, published_at=None
    )
