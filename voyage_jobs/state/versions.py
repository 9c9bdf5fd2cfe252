"""Versions, their chunks and their texts: from "seen" to "published" and out again.

Chunks exist only for versions that somebody still wants (waiting, ready, published); so an embedding is needed exactly
when a chunk points to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import zstandard
from sqlalchemy import (
    ColumnElement,
    Connection,
    ScalarSelect,
    Table,
    bindparam,
    delete,
    exists,
    func,
    insert,
    select,
    text,
    update,
)

from voyage_jobs import states
from voyage_jobs.state import embeddings as embedding_rows
from voyage_jobs.state import moves
from voyage_jobs.state.identity import Identity, Made
from voyage_jobs.state.schema import (
    DROPPED,
    WANTED,
    call_lines,
    chunks,
    documents,
    embeddings,
    is_in,
    lines,
    packs,
    sources,
    stored,
    texts,
    versions,
)
from voyage_jobs.state.statements import RAW, many, plain, slices
from voyage_jobs.state.store import Tx

_ZSTD_LEVEL = -1  # texts live for hours: speed over size


UNSETTLED_MTIME = -1
"""In `documents.mtime_ns`: the file is read again, whatever its own time says."""


@dataclass(frozen=True)
class FilePlace:
    """Where a content was read: the encoded root and relative path, and the hashes of its bytes and of its text.

    `text_hash` is None where the text is to be split again, or an older release read it.
    """

    root: str
    path: str
    content_hash: bytes
    text_hash: bytes | None = None


@dataclass(frozen=True)
class NewChunk:
    """One chunk to be: where it stands in the text, and the request (key, vectors, tokens) that answers for it."""

    key: bytes
    slot: int
    start: int
    end: int
    section: int
    tokens: int
    request_vectors: int
    request_tokens: int


@dataclass(frozen=True)
class NewVersion:
    """One content of a document, split. `sections` and `metadata` are JSON texts; `modified_at` microseconds."""

    document_id: int
    identity: Identity
    modified_at: int
    title: str
    sections: str
    metadata: str
    text: str
    chunks: Sequence[NewChunk]


@dataclass(frozen=True)
class Added:
    """What adding versions came to: versions and chunks added, and what reuse saved."""

    versions: int
    chunks: int
    new_embeddings: int
    new_tokens: int
    reused_chunks: int
    reused_tokens: int


def add(tx: Tx, source_id: int, profile_id: int, wanted: Sequence[NewVersion]) -> Added:
    """Record new versions, each overtaking what was waiting for its document; what the table serves adds nothing."""
    live = _live(tx, [version.document_id for version in wanted])
    fresh = [v for v in wanted if not _already_there(tx, profile_id, v, live.get(v.document_id, ()))]
    if not fresh:
        return Added(0, 0, 0, 0, 0, 0)
    ids, added = _want_embeddings(tx, profile_id, fresh)
    first = _next_id(tx, versions)
    _insert_versions(tx, source_id, profile_id, first, fresh)
    _insert_chunks(tx, first, fresh, ids)
    recount(tx, first, first + len(fresh) - 1)
    return added


def _next_id(tx: Tx, table: Table) -> int:
    """The id of the next row: there is one writer, and what is inserted together is numbered by it."""
    return int(tx.connection.execute(select(func.coalesce(func.max(table.c.id), 0))).scalar_one()) + 1


_LIVE = is_in(versions, *states.LIVE_VERSIONS)
_PUBLISHED = is_in(versions, states.Version.PUBLISHED)
_ON_ITS_WAY = is_in(versions, states.Version.WAITING, states.Version.READY)
# Purpose: what of these documents is live: at most one wanted and one published version of each.
_LIVE_ONES = select(
    *(
        versions.c[name]
        for name in ("document_id", "id", "state", "publication_id", "doubtful", "profile_id")
    ),
    *(versions.c[name] for name in ("content_hash", "text_hash", "splitter")),
).where(_LIVE, versions.c.document_id.in_(bindparam("documents", expanding=True)))


def _live(tx: Tx, document_ids: Sequence[int]) -> dict[int, list[Any]]:
    """Document -> what of it is live: (id, state, publication, doubtful, profile, content, text, form)."""
    found: dict[int, list[Any]] = {}
    for part in slices(document_ids):
        for document_id, *version in plain(tx.connection, _LIVE_ONES, {"documents": part}):
            found.setdefault(document_id, []).append(version)
    return found


def _already_there(tx: Tx, profile_id: int, version: NewVersion, live: Iterable[Any]) -> bool:
    """Whether this very content is wanted or published already; if not, what was waiting is superseded."""
    waiting = published = in_doubt = False
    for version_id, state, publication_id, doubtful, profile, *made in live:
        same = profile == profile_id and version.identity.is_that_of(Made(*made))
        if state == states.Version.PUBLISHED:
            # The document came back before its rows were taken out.
            tx.connection.execute(update(versions).where(versions.c.id == version_id).values(retire=0))
            published = same and not doubtful
        elif same:
            waiting = True
        else:
            cause = "overtaken by a newer version"
            in_doubt = _overtake(tx, version.document_id, version_id, state, publication_id, cause)
    return waiting or (published and not in_doubt)


def stay(tx: Tx, document_id: int) -> None:
    """What the table serves of a document stays there after all."""
    leaving = (versions.c.document_id == document_id) & _PUBLISHED & (versions.c.retire == 1)
    tx.connection.execute(update(versions).where(leaving, versions.c.doubtful == 0).values(retire=0))


def supersede(tx: Tx, document_id: int, cause: str) -> None:
    """Forget what is waiting for a document; what is published stays."""
    for version_id, state, publication_id, *_ in _live(tx, [document_id]).get(document_id, ()):
        if state != states.Version.PUBLISHED:
            _overtake(tx, document_id, version_id, state, publication_id, cause)


def _overtake(
    tx: Tx, document_id: int, version_id: int, state: str, publication_id: int | None, cause: str
) -> bool:
    """Forget a version that was waiting; whether the table may show it all the same.

    It may if a publication had taken it up: one that broke off before it was acknowledged may have reached the table,
    and a version that is being mended is there with what it had. Then this version counts as published, in place of the
    one before it, and as doubtful: whatever the document is to be next replaces it, be it what the state believed to be
    there all the time.
    """
    origin = states.Version(state)
    if publication_id is None:
        moves.move(tx, versions, version_id, origin, states.Version.SUPERSEDED, cause)
        discard(tx, [version_id])
        return False
    served = select(versions.c.id).where(versions.c.document_id == document_id, _PUBLISHED)
    _retire_rows(
        tx,
        list(tx.connection.execute(served).scalars()),
        f"publication {publication_id} may have replaced it",
    )
    cause = f"{cause}, but publication {publication_id} may have reached the table"
    published = states.Version.PUBLISHED
    moves.move(tx, versions, version_id, origin, published, cause, doubtful=1, published_at=tx.now)
    discard(tx, [version_id])
    return True


def discard(tx: Tx, version_ids: Sequence[int]) -> None:
    """Let go of the chunks and texts of versions that nobody wants any more."""
    for table in (chunks, texts):
        gone = delete(table).where(table.c.version_id == bindparam("of_version"))
        many(tx.connection, gone, ("of_version",), [(version_id,) for version_id in version_ids])


def _want_embeddings(tx: Tx, profile_id: int, fresh: Sequence[NewVersion]) -> tuple[dict[bytes, int], Added]:
    """Find or make the embeddings of these chunks. Returns key -> id, and the tally of reuse."""
    asked = {chunk.key: chunk for version in fresh for chunk in version.chunks}
    keys = list(asked)
    found = [row for part in slices(keys) for row in RAW["embeddings by key"].rows(tx.connection, *part)]
    ids = {key: row_id for row_id, key, _ in found}
    revived = {row_id for row_id, _, state in found if state == DROPPED}
    missing = [asked[key] for key in keys if key not in ids]
    first = _next_id(tx, embeddings)
    names = ("id", "key", "profile_id", "state", "vectors", "tokens", "wanted_at")
    many(
        tx.connection,
        insert(embeddings),
        names,
        [
            (first + i, c.key, profile_id, WANTED, c.request_vectors, c.request_tokens, tx.now)
            for i, c in enumerate(missing)
        ],
    )
    ids.update((chunk.key, first + i) for i, chunk in enumerate(missing))
    embedding_rows.want(tx, revived)
    paid = {key for key in keys if ids[key] >= first or ids[key] in revived}
    return ids, _tally(fresh, asked, paid)


def _tally(fresh: Sequence[NewVersion], asked: dict[bytes, NewChunk], paid: set[bytes]) -> Added:
    everything = [chunk for version in fresh for chunk in version.chunks]
    first_use = {id(asked[key]) for key in paid}  # `asked` keeps the last chunk with a key; one of them pays
    reused = [
        c for c in everything if c.key not in paid or (c.request_vectors == 1 and id(c) not in first_use)
    ]
    return Added(
        versions=len(fresh),
        chunks=len(everything),
        new_embeddings=len(paid),
        new_tokens=sum(asked[key].request_tokens for key in paid),
        reused_chunks=len(reused),
        reused_tokens=sum(chunk.tokens for chunk in reused),
    )


def _insert_versions(
    tx: Tx, source_id: int, profile_id: int, first: int, fresh: Sequence[NewVersion]
) -> None:
    facts = {"source_id": source_id, "profile_id": profile_id, "state": stored(states.Version.WAITING)}
    rows = [
        {
            "id": first + i,
            "document_id": v.document_id,
            "content_hash": v.identity.content_hash,
            "text_hash": v.identity.text_hash,
            "splitter": v.identity.splitter,
            "chunks": len(v.chunks),
            "open_chunks": 0,
            "failed_chunks": 0,
            "seen_at": tx.now,
            "modified_at": v.modified_at,
            "title": v.title,
            "sections": v.sections,
            "metadata": v.metadata,
            **facts,
        }
        for i, v in enumerate(fresh)
    ]
    many(tx.connection, insert(versions), list(rows[0]), [tuple(row.values()) for row in rows])
    born = ((first + i, states.Version.WAITING, "found") for i in range(len(fresh)))
    moves.record_births(tx, "version", born)
    compress = zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress
    bodies = ((first + i, compress(v.text.encode())) for i, v in enumerate(fresh))
    many(tx.connection, insert(texts), ("version_id", "body"), bodies)


def _insert_chunks(tx: Tx, first: int, fresh: Sequence[NewVersion], ids: dict[bytes, int]) -> None:
    rows = (
        (first + i, ordinal, ids[c.key], c.slot, c.start, c.end, c.section, c.tokens)
        for i, version in enumerate(fresh)
        for ordinal, c in enumerate(version.chunks)
    )
    many(tx.connection, insert(chunks), chunks.c.keys(), rows)


def _count(*which: ColumnElement[bool]) -> ScalarSelect[int]:
    mine = select(func.count()).join_from(chunks, embeddings, embeddings.c.id == chunks.c.embedding_id)
    return mine.where(chunks.c.version_id == versions.c.id, *which).scalar_subquery()


_OVER = is_in(embeddings, states.Embedding.HELD, states.Embedding.FAILED)
# Purpose: which of the chunks of some versions still wait for a vector.
_RECOUNT = update(versions).values(
    open_chunks=_count(~_OVER), failed_chunks=_count(is_in(embeddings, states.Embedding.FAILED))
)


def recount(tx: Tx, first: int, last: int) -> None:
    """Count the open and failed chunks of a range of versions, and make ready what has none open."""
    _recount(tx, versions.c.id.between(first, last), "every vector is held")


def recount_batch(tx: Tx, batch_id: int) -> None:
    """Count anew for every version that uses an embedding of this batch."""
    _recount(tx, _LIVE & _using(lines, lines.c.batch_id == batch_id), "its last vector arrived", batch_id)


def _using(asked: Table, where: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether a version has a chunk whose embedding one of these lines asked for."""
    using = select(chunks.c.version_id).join(asked, asked.c.embedding_id == chunks.c.embedding_id)
    return versions.c.id.in_(using.where(where))


def recount_call(tx: Tx, call_id: int) -> None:
    """Count anew for every version that uses an embedding of this synchronous call."""
    mine = _using(call_lines, call_lines.c.call_id == call_id)
    _recount(tx, _LIVE & mine, "its last vector arrived, expedited")


def recount_all(tx: Tx) -> None:
    """Count anew for everything that is on its way (after a pack was lost)."""
    _recount(tx, _ON_ITS_WAY, "counted anew")


_NEWER = versions.alias("newer")
_IS_OVERTAKEN = exists().where(
    _NEWER.c.document_id == versions.c.document_id,
    is_in(_NEWER, states.Version.WAITING, states.Version.READY),
)


def publish_again(tx: Tx, embedding_ids: Sequence[int], cause: str) -> int:
    """Put published versions that use these embeddings back in line: the table is to get what they lacked.

    The table goes on serving what it has until then, since a publication replaces a document's rows whatever they are.
    """
    using: set[int] = set()
    for part in slices(embedding_ids):
        asked = select(chunks.c.version_id).where(chunks.c.embedding_id.in_(part)).distinct()
        using.update(tx.connection.execute(asked).scalars())
    mended = 0
    for part in slices(sorted(using)):
        mine = versions.c.id.in_(part)
        # Where another version waits already, and its document goes back to what is published, that is to be published.
        doubted = update(versions).where(mine, _PUBLISHED, _IS_OVERTAKEN).values(doubtful=1)
        tx.connection.execute(doubted)
        published, waiting = states.Version.PUBLISHED, states.Version.WAITING
        where = mine & (versions.c.retire == 0) & ~_IS_OVERTAKEN
        mended += moves.move_where(tx, versions, where, published, waiting, cause, published_at=None)
        _recount(tx, _LIVE & mine, cause)
    return mended


def _recount(tx: Tx, where: ColumnElement[bool], cause: str, batch_id: int | None = None) -> None:
    """Count the open and failed chunks of versions, and move these to where their counts say they belong."""
    tx.connection.execute(_RECOUNT.where(where))
    waiting, ready = states.Version.WAITING, states.Version.READY
    whole = (versions.c.open_chunks == 0) & (
        (versions.c.failed_chunks < versions.c.chunks) | (versions.c.chunks == 0)
    )
    moves.move_where(tx, versions, where & whole, waiting, ready, cause, batch_id=batch_id)
    moves.move_where(
        tx, versions, where & (versions.c.open_chunks > 0), ready, waiting, "a vector is wanted again"
    )


def text_of(connection: Connection, version_id: int) -> str | None:
    """The decoded text of a version, if the state still has it."""
    body = connection.execute(select(texts.c.body).where(texts.c.version_id == version_id)).scalar()
    return None if body is None else zstandard.ZstdDecompressor().decompress(body).decode()


@dataclass(frozen=True)
class Orphan:
    """A version that the table serves, whose file cannot be read any more and whose text the state let go."""

    id: int
    source: str
    path: str
    content_hash: bytes
    profile_id: int
    chunks: int


# Purpose: what is served of files that are missing or no text any more, without a text to publish it again from. One
# that lacks a chunk in the table (it failed) is left out: its text is not there to be had.
_ORPHANS = text(
    "SELECT v.id, s.name AS source, CASE f.path WHEN '' THEN d.name ELSE f.path || '/' || d.name END AS path,"
    " v.content_hash, v.profile_id, v.chunks FROM documents d JOIN versions v ON v.document_id = d.id"
    " JOIN folders f ON f.id = d.folder_id JOIN sources s ON s.id = d.source_id"
    " WHERE d.state != 'present' AND d.state IN ('missing', 'skipped') AND v.state = 'published' AND v.retire = 0"
    " AND v.doubtful = 0 AND v.failed_chunks = 0 AND v.chunks > 0 AND v.id > :after"
    " AND NOT EXISTS (SELECT 1 FROM texts t WHERE t.version_id = v.id) ORDER BY v.id LIMIT :most"
)
# Purpose: put a text back, if it is still the last word on its document.
_KEEP_TEXT = text(
    "INSERT INTO texts (version_id, body) SELECT v.id, :body FROM versions v JOIN documents d ON d.id = v.document_id"
    " WHERE v.id = :id AND v.state = 'published' AND v.retire = 0 AND d.state IN ('missing', 'skipped')"
    " ON CONFLICT (version_id) DO NOTHING"
)


def orphans(connection: Connection, after: int, most: int) -> list[Orphan]:
    """Up to `most` versions after an id whose text can only be had from the table."""
    rows = connection.execute(_ORPHANS, {"after": after, "most": most}).mappings()
    return [Orphan(**row) for row in rows]


def keep_text(tx: Tx, version_id: int, text_: str) -> bool:
    """Keep the text of a version whose file is gone. Whether it was needed."""
    body = zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(text_.encode())
    return bool(tx.connection.execute(_KEEP_TEXT, {"id": version_id, "body": body}).rowcount)


def let_text_go(tx: Tx, document_id: int) -> None:
    """The text of what the table serves of a document is in its file again."""
    served = select(versions.c.id).where(versions.c.document_id == document_id, _PUBLISHED)
    tx.connection.execute(delete(texts).where(texts.c.version_id.in_(served)))


def using(connection: Connection, embedding_id: int, profile_id: int) -> list[int]:
    """The live versions under a profile that need an embedding."""
    query = (
        select(chunks.c.version_id)
        .join(versions, versions.c.id == chunks.c.version_id)
        .where(chunks.c.embedding_id == embedding_id, versions.c.profile_id == profile_id)
        .distinct()
    )
    return list(connection.execute(query.order_by(chunks.c.version_id)).scalars())


@dataclass(frozen=True)
class WindowChunk:
    """One chunk of a window."""

    ordinal: int
    start: int
    end: int
    tokens: int


def window_of(connection: Connection, version_id: int, embedding_id: int) -> list[WindowChunk]:
    """The chunks of a version that one request answers for, in order."""
    c = chunks.c
    query = (
        select(c.ordinal, c.start, c.end, c.tokens)
        .where(c.version_id == version_id, c.embedding_id == embedding_id)
        .order_by(c.ordinal)
    )
    return [WindowChunk(*row) for row in connection.execute(query)]


# Purpose: the request for half a window, unless somebody asks for the very same already.
_ASK = text(
    "INSERT INTO embeddings (key, profile_id, state, vectors, tokens, wanted_at)"
    f" VALUES (:key, :profile, {WANTED}, :vectors, :tokens, :now) ON CONFLICT (key) DO NOTHING"
)


def ask_anew(
    tx: Tx, profile_id: int, version_id: int, window: Sequence[WindowChunk], key: bytes, tokens: int
) -> None:
    """Let these chunks of a version be answered by another request."""
    values = {"key": key, "profile": profile_id, "vectors": len(window), "tokens": tokens, "now": tx.now}
    tx.connection.execute(_ASK, values)
    embedding_id = embedding_rows.ids_of(tx.connection, [key])[key]
    mine = embeddings.c.id == embedding_id
    moves.move_set(tx, embeddings, mine, states.Embedding.DROPPED, states.Embedding.WANTED)
    for slot, chunk in enumerate(window):
        where = (chunks.c.version_id == version_id) & (chunks.c.ordinal == chunk.ordinal)
        tx.connection.execute(update(chunks).where(where).values(embedding_id=embedding_id, slot=slot))


def has_text(connection: Connection, version_id: int) -> bool:
    """Whether the state still has the text of a version."""
    found = connection.execute(select(texts.c.version_id).where(texts.c.version_id == version_id)).scalar()
    return found is not None


# Purpose: where to read a version again whose text the state let go.
_FILE = text(
    "SELECT s.path AS root, CASE f.path WHEN '' THEN d.name ELSE f.path || '/' || d.name END AS path, v.content_hash,"
    " v.text_hash FROM versions v JOIN documents d ON d.id = v.document_id JOIN folders f ON f.id = d.folder_id"
    " JOIN sources s ON s.id = v.source_id WHERE v.id = :id"
)


def file_of(connection: Connection, version_id: int) -> FilePlace | None:
    """The file that a version was read from."""
    row = connection.execute(_FILE, {"id": version_id}).mappings().one_or_none()
    return None if row is None else FilePlace(**row)


def read_soon(tx: Tx, version_ids: Sequence[int]) -> None:
    """Have the files of these versions read again by scans that are due at once."""
    for part in slices(version_ids):
        mine = versions.c.id.in_(part)
        theirs = documents.c.id.in_(select(versions.c.document_id).where(mine))
        tx.connection.execute(update(documents).where(theirs).values(mtime_ns=UNSETTLED_MTIME))
        whose = sources.c.id.in_(select(versions.c.source_id).where(mine))
        tx.connection.execute(update(sources).where(whose).values(scan_due_at=0))


@dataclass(frozen=True)
class ReadyVersion:
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
    chunks: int

    @property
    def path(self) -> str:
        """The path relative to the source."""
        return f"{self.folder}/{self.name}" if self.folder else self.name


# Purpose: what is ready for the table, oldest first. By source, as the index of what is not published goes (which
# SQLite takes only where its condition is repeated): a look costs what is ready, not what was ever published.
_READY = text(
    "SELECT v.id, v.document_id, d.doc_key, s.name AS source, f.path AS folder, d.name, v.content_hash,"
    " v.modified_at, v.title, v.sections, v.metadata, v.chunks"
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
    rows = connection.execute(_READY, values).mappings()
    return [ReadyVersion(**row) for row in rows]


@dataclass(frozen=True)
class PublishChunk:
    """One chunk of a version to publish. `pack` is None when its embedding failed for good."""

    ordinal: int
    start: int
    end: int
    section: int
    tokens: int
    key: bytes
    slot: int
    pack: str | None
    pack_row: int | None


# Purpose: the chunks of one version with the place of their vectors, in order.
_CHUNKS = (
    select(
        *(chunks.c[name] for name in ("ordinal", "start", "end", "section", "tokens")),
        embeddings.c.key,
        chunks.c.slot,
        packs.c.name,
        embeddings.c.pack_row + chunks.c.slot,
    )
    .join(embeddings, embeddings.c.id == chunks.c.embedding_id)
    .outerjoin(packs, packs.c.id == embeddings.c.pack_id)
    .where(chunks.c.version_id == bindparam("version"))
    .order_by(chunks.c.ordinal)
)


def chunks_of(connection: Connection, version_id: int) -> Iterator[PublishChunk]:
    """The chunks of one version, in order; `pack_row` is the row of the chunk's own slot."""
    return (PublishChunk(*row) for row in plain(connection, _CHUNKS, {"version": version_id}))


def take_up(tx: Tx, version_ids: Sequence[int], publication_id: int) -> None:
    """Note, before the table is touched, which publication is about to serve these versions."""
    _note(tx, version_ids, publication_id=publication_id)


def _note(tx: Tx, version_ids: Sequence[int], **values: object) -> None:
    for part in slices(version_ids):
        tx.connection.execute(update(versions).where(versions.c.id.in_(part)).values(**values))


def take_out(tx: Tx, version_ids: Sequence[int], publication_id: int) -> None:
    """Note, before the table is touched, which publication is about to remove the rows of these versions.

    From now on it is in doubt whether the table shows them: a document that comes back is published anew.
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
    _retire_rows(tx, replaced, f"replaced by {cause}")
    mine = versions.c.publication_id == publication_id
    ready_now = is_in(versions, states.Version.READY)
    on_disk = (documents.c.id == versions.c.document_id) & is_in(documents, states.Document.PRESENT)
    ours = select(versions.c.id).where(
        mine, ready_now, exists().where(on_disk)
    )  # else the file is not to be had
    tx.connection.execute(delete(texts).where(texts.c.version_id.in_(ours)))
    ready_, published = states.Version.READY, states.Version.PUBLISHED
    return moves.move_where(tx, versions, mine, ready_, published, cause, published_at=tx.now)


def mark_retired(tx: Tx, publication_id: int) -> int:
    """The rows of the versions of this publication have left the table."""
    where = (versions.c.publication_id == publication_id) & (versions.c.retire == 1)
    ids = list(tx.connection.execute(select(versions.c.id).where(where)).scalars())
    _retire_rows(tx, ids, f"publication {publication_id}: its document is gone")
    return len(ids)


def _retire_rows(tx: Tx, version_ids: Sequence[int], cause: str) -> None:
    for version_id in version_ids:
        moves.move(
            tx, versions, version_id, states.Version.PUBLISHED, states.Version.RETIRED, cause, retire=0
        )
    if version_ids:
        discard(tx, version_ids)


@dataclass(frozen=True)
class RetiringVersion:
    """A published version whose document is gone."""

    id: int
    source: str
    path: str


# Purpose: what is to leave the table. The rows of a moved document stay until its new place is served: that may take
# a job, where another suffix means other chunks.
_RETIRING = text(
    "SELECT v.id, s.name AS source, CASE f.path WHEN '' THEN d.name ELSE f.path || '/' || d.name END AS path"
    " FROM versions v JOIN documents d ON d.id = v.document_id JOIN folders f ON f.id = d.folder_id"
    " JOIN sources s ON s.id = v.source_id"
    " WHERE v.retire = 1 AND v.state = 'published' AND NOT EXISTS"
    "  (SELECT 1 FROM documents n JOIN versions w ON w.document_id = n.id"
    "   WHERE n.source_id = d.source_id AND n.state = 'present' AND w.state IN ('waiting', 'ready')"
    "   AND n.moved_from = CASE f.path WHEN '' THEN d.name ELSE f.path || '/' || d.name END"
    "   AND (w.content_hash = v.content_hash"
    "    OR NOT EXISTS (SELECT 1 FROM versions p WHERE p.document_id = n.id AND p.state = 'published')))"
    " ORDER BY v.id LIMIT :most"
)


def retiring(connection: Connection, most: int) -> list[RetiringVersion]:
    """Up to `most` published versions whose rows are to be removed."""
    return [RetiringVersion(**row) for row in connection.execute(_RETIRING, {"most": most}).mappings()]


def unpublish_all(tx: Tx, cause: str) -> int:
    """The table is lost, or is another one now: everything it served is to be published again, at no cost."""
    # What a newer version is about to replace is not published again.
    over = (versions.c.retire == 1) | (versions.c.doubtful == 1) | _IS_OVERTAKEN
    _retire_rows(
        tx, list(tx.connection.execute(select(versions.c.id).where(_PUBLISHED, over)).scalars()), cause
    )
    tx.connection.execute(update(versions).values(publication_id=None))
    everything = versions.c.id > 0
    return moves.move_where(
        tx, versions, everything, states.Version.PUBLISHED, states.Version.READY, cause, published_at=None
    )
