"""Versions, their chunks and their texts: from "seen" to "published" and out again.

Chunks exist only for versions that somebody still wants (waiting, ready, published); so an embedding is needed exactly
when a chunk points to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

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

from voyage_jobs.core import states
from voyage_jobs.state import embeddings as embedding_rows
from voyage_jobs.state import moves, record_files
from voyage_jobs.state import texts as version_texts
from voyage_jobs.state.schema import (
    DROPPED,
    FAILED,
    HELD,
    WANTED,
    chunks,
    documents,
    embeddings,
    is_in,
    lines,
    sources,
    stored,
    texts,
    versions,
)
from voyage_jobs.state.statements import RAW, among, listed, many, plain, same, slices
from voyage_jobs.state.store import Tx

UNSETTLED_MTIME = -1
"""In `documents.mtime_ns`: the file is read again, whatever its own time says."""


class Made(NamedTuple):
    """The identity of a version on record. `text_hash` is None where an older release made it."""

    content_hash: bytes
    text_hash: bytes | None
    splitter: str


class Identity(NamedTuple):
    """The identity that a version of a file would have now."""

    content_hash: bytes
    """Of the file's bytes."""
    text_hash: bytes
    """Of the text that was split: offsets into another text would cut other chunks."""
    splitter: str
    """The fingerprint of the form that read and split it."""
    older: tuple[str, ...] = ()
    """What earlier releases called the very same form."""
    stays: tuple[str, ...] = ()
    """Forms that made another text of the same bytes, which stays as it is until these change."""

    def is_that_of(self, made: Made) -> bool:
        """Whether a version on record is this one, or stays in its place."""
        if made.content_hash != self.content_hash:
            return False
        if made.splitter in self.stays:
            return True
        return made.text_hash in (None, self.text_hash) and made.splitter in (self.splitter, *self.older)


class NewChunk(NamedTuple):
    """One chunk to be: where it stands in the text, and the request (key, vectors, tokens) that answers for it."""

    key: bytes
    slot: int
    start: int
    end: int
    section: int
    tokens: int
    request_vectors: int
    request_tokens: int


@dataclass(slots=True)
class NewVersion:
    """One content of a document, split. `sections`, `metadata`, `reading`, `headers` are JSON texts; `modified_at` in
    microseconds. `reading`: what its reader was told, its address and its places; None for nothing of these. `headers`
    has what goes with the chunks of each section where they are embedded, by the same index; None: nothing does."""

    document_id: int
    identity: Identity
    modified_at: int
    title: str
    sections: str
    metadata: str
    text: str
    chunks: Sequence[NewChunk]
    reading: str | None = None
    headers: str | None = None


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
    waiting: dict[int, str] = {}
    fresh = [v for v in wanted if not _already_there(tx, profile_id, v, live.get(v.document_id, ()), waiting)]
    version_texts.add_lacking(tx, waiting)
    if not fresh:
        return Added(0, 0, 0, 0, 0, 0)
    ids, over, added = _want_embeddings(tx, profile_id, fresh)
    first = _next_id(tx, versions)
    _insert_versions(tx, source_id, profile_id, first, fresh)
    _insert_chunks(tx, first, fresh, ids)
    if over or not all(version.chunks for version in fresh):
        recount(tx, first, first + len(fresh) - 1)
    return added


def _next_id(tx: Tx, table: Table) -> int:
    """The id of the next row: there is one writer, and what is inserted together is numbered by it."""
    return int(tx.connection.execute(select(func.coalesce(func.max(table.c.id), 0))).scalar_one()) + 1


_LIVE = is_in(versions, *states.LIVE_VERSIONS)
PUBLISHED = is_in(versions, states.Version.PUBLISHED)
_ON_ITS_WAY = is_in(versions, states.Version.WAITING, states.Version.READY)
# Purpose: what of these documents is live: at most one wanted and one published version of each.
_LIVE_ONES = select(
    *(
        versions.c[name]
        for name in ("document_id", "id", "state", "publication_id", "doubtful", "profile_id", "retire")
    ),
    *(versions.c[name] for name in ("content_hash", "text_hash", "splitter")),
).where(_LIVE, among(versions.c.document_id, "documents"))


def _live(tx: Tx, document_ids: Sequence[int]) -> dict[int, list[Any]]:
    """Document -> what of it is live: (id, state, publication, doubtful, profile, retire, content, text, form)."""
    found: dict[int, list[Any]] = {}
    for part in slices(document_ids):
        for document_id, *version in plain(tx.connection, _LIVE_ONES, {"documents": listed(part)}):
            found.setdefault(document_id, []).append(version)
    return found


def _already_there(
    tx: Tx, profile_id: int, version: NewVersion, live: Iterable[Any], waiting: dict[int, str]
) -> bool:
    """Whether this very content is wanted or published already; if not, what was waiting is superseded. `waiting` gets
    the text of what still waits: a rollback brings back versions whose texts were let go."""
    awaited = published = in_doubt = False
    for version_id, state, publication_id, doubtful, profile, retire, *made in live:
        same = profile == profile_id and version.identity.is_that_of(Made(*made))
        if state == states.Version.PUBLISHED:
            if retire:  # the document came back before its rows were taken out
                tx.connection.execute(update(versions).where(versions.c.id == version_id).values(retire=0))
            published = same and not doubtful
        elif same:
            awaited = True
            waiting[version_id] = version.text
        else:
            cause = "superseded by a newer version"
            in_doubt = _overtake(tx, version.document_id, version_id, state, publication_id, cause)
    return awaited or (published and not in_doubt)


def stay(tx: Tx, document_id: int) -> None:
    """What the table serves of a document stays there after all."""
    leaving = (versions.c.document_id == document_id) & PUBLISHED & (versions.c.retire == 1)
    tx.connection.execute(update(versions).where(leaving, versions.c.doubtful == 0).values(retire=0))


def supersede(tx: Tx, document_ids: Sequence[int], cause: str) -> None:
    """Forget what is waiting for these documents; what is published stays."""
    for document_id, live in _live(tx, document_ids).items():
        for version_id, state, publication_id, *_ in live:
            if state != states.Version.PUBLISHED:
                _overtake(tx, document_id, version_id, state, publication_id, cause)


def supersede_where(tx: Tx, where: ColumnElement[bool], cause: str) -> int:
    """Supersede every version that waits and fits `where`; their chunks are the caller's. Returns how many."""
    over, origins = states.Version.SUPERSEDED, (states.Version.WAITING, states.Version.READY)
    return sum(
        moves.move_where(tx, versions, where, origin, over, cause, publication_id=None) for origin in origins
    )


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
    served = select(versions.c.id).where(versions.c.document_id == document_id, PUBLISHED)
    retire_rows(
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


def _want_embeddings(
    tx: Tx, profile_id: int, fresh: Sequence[NewVersion]
) -> tuple[dict[bytes, int], bool, Added]:
    """Find or make the embeddings of these chunks. Returns key -> id, whether any has its answer, and what reuse came
    to."""
    asked = {chunk.key: chunk for version in fresh for chunk in version.chunks}
    keys = list(asked)
    found = [row for part in slices(keys) for row in RAW["embeddings by key"].rows(tx.connection, *part)]
    ids = {key: row_id for row_id, key, _ in found}
    revived = {row_id: key for row_id, key, state in found if state == DROPPED}
    missing = [chunk for key, chunk in asked.items() if key not in ids]
    first = _next_id(tx, embeddings)
    facts = {"profile_id": profile_id, "state": WANTED, "wanted_at": tx.now}
    statement = insert(embeddings).values({name: same(value) for name, value in facts.items()})
    rows = ((first + i, c.key, c.request_vectors, c.request_tokens) for i, c in enumerate(missing))
    many(tx.connection, statement, ("id", "key", "vectors", "tokens"), rows)
    ids.update((chunk.key, first + i) for i, chunk in enumerate(missing))
    embedding_rows.want(tx, revived)
    over = any(state in (HELD, FAILED) for _, _, state in found)
    return ids, over, _added(fresh, [*missing, *map(asked.__getitem__, revived.values())])


def _added(fresh: Sequence[NewVersion], paid: Sequence[NewChunk]) -> Added:
    """`paid`: a chunk of each request that is to be sent."""
    count = sum(len(version.chunks) for version in fresh)
    new_tokens = sum(chunk.request_tokens for chunk in paid)
    return Added(
        versions=len(fresh),
        chunks=count,
        new_embeddings=len(paid),
        new_tokens=new_tokens,
        reused_chunks=count - sum(chunk.request_vectors for chunk in paid),
        reused_tokens=sum(chunk.tokens for version in fresh for chunk in version.chunks) - new_tokens,
    )


# In the order of the table: then rows are handed on as they are.
_NEW = (
    *("id", "document_id", "content_hash", "splitter", "chunks", "open_chunks"),
    *("modified_at", "title", "sections", "metadata", "text_hash", "reading", "headers"),
)


def _insert_versions(
    tx: Tx, source_id: int, profile_id: int, first: int, fresh: Sequence[NewVersion]
) -> None:
    waiting = states.Version.WAITING
    facts = {"source_id": source_id, "profile_id": profile_id, "state": stored(waiting), "seen_at": tx.now}
    statement = insert(versions).values(
        failed_chunks=same(0), **{name: same(value) for name, value in facts.items()}
    )
    rows = (
        (
            first + i,
            v.document_id,
            v.identity.content_hash,
            v.identity.splitter,
            len(v.chunks),
            len(v.chunks),
            v.modified_at,
            v.title,
            v.sections,
            v.metadata,
            v.identity.text_hash,
            v.reading,
            v.headers,
        )
        for i, v in enumerate(fresh)
    )
    many(tx.connection, statement, _NEW, rows, appends=True)
    moves.record_births(tx, versions, first, first + len(fresh) - 1, "found")
    version_texts.add(tx, ((first + i, v.text) for i, v in enumerate(fresh)))


def _insert_chunks(tx: Tx, first: int, fresh: Sequence[NewVersion], ids: dict[bytes, int]) -> None:
    rows = (
        (first + i, ordinal, ids[c.key], c.slot, c.start, c.end, c.section, c.tokens)
        for i, version in enumerate(fresh)
        for ordinal, c in enumerate(version.chunks)
    )
    # Not to the end of `ix_chunks_embedding_id`, where embeddings are reused; then it costs no more than row by row.
    many(tx.connection, insert(chunks), chunks.c.keys(), rows, appends=True)


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
    """Count again for every version that uses an embedding of this batch."""
    using = select(chunks.c.version_id).join(lines, lines.c.embedding_id == chunks.c.embedding_id)
    mine = versions.c.id.in_(using.where(lines.c.batch_id == batch_id))
    _recount(tx, _LIVE & mine, "its last vector arrived", batch_id)


def recount_all(tx: Tx) -> None:
    """Count again for everything that is on its way (after a segment was lost)."""
    _recount(tx, _ON_ITS_WAY, "counted again")


_NEWER = versions.alias("newer")
IS_OVERTAKEN = exists().where(
    _NEWER.c.document_id == versions.c.document_id,
    is_in(_NEWER, states.Version.WAITING, states.Version.READY),
)


def publish_again(tx: Tx, embedding_ids: Sequence[int], cause: str) -> int:
    """Put published versions that use these embeddings back in line: the table is to get what they lacked.

    The table keeps serving what it has until then, since a publication replaces a document's rows whatever they are.
    """
    using: set[int] = set()
    for part in slices(embedding_ids):
        asked = select(chunks.c.version_id).where(chunks.c.embedding_id.in_(part)).distinct()
        using.update(tx.connection.execute(asked).scalars())
    mended = 0
    for part in slices(sorted(using)):
        mine = versions.c.id.in_(part)
        # Where another version waits already, and its document goes back to what is published, that is to be published.
        doubted = update(versions).where(mine, PUBLISHED, IS_OVERTAKEN).values(doubtful=1)
        tx.connection.execute(doubted)
        published, waiting = states.Version.PUBLISHED, states.Version.WAITING
        where = mine & (versions.c.retire == 0) & ~IS_OVERTAKEN
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
    section: int


def window_of(connection: Connection, version_id: int, embedding_id: int) -> list[WindowChunk]:
    """The chunks of a version that one request answers for, in order."""
    c = chunks.c
    query = (
        select(c.ordinal, c.start, c.end, c.tokens, c.section)
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


def retire_rows(tx: Tx, version_ids: Sequence[int], cause: str) -> None:
    """The table does not show these published versions any more."""
    for version_id in version_ids:
        moves.move(
            tx, versions, version_id, states.Version.PUBLISHED, states.Version.RETIRED, cause, retire=0
        )
    if version_ids:
        discard(tx, version_ids)


def read_soon(tx: Tx, version_ids: Sequence[int]) -> None:
    """Have the files of these versions read again by scans that are due at once."""
    for part in slices(version_ids):
        mine = versions.c.id.in_(part)
        theirs = documents.c.id.in_(select(versions.c.document_id).where(mine))
        tx.connection.execute(update(documents).where(theirs).values(mtime_ns=UNSETTLED_MTIME))
        record_files.read_again(tx, theirs)
        whose = sources.c.id.in_(select(versions.c.source_id).where(mine))
        tx.connection.execute(update(sources).where(whose).values(scan_due_at=0))
