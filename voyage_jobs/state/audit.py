"""Questions of `verify` to the state: what contradicts itself in it, and what table, segments and folders should hold.

Every rule is one statement whose rows are the damage: (subject, words). Answers are streamed, so that a state of a
million documents is audited in flat memory.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import orjson
from sqlalchemy import Connection, bindparam, case, exists, func, select, text

from voyage_jobs.core import states
from voyage_jobs.core.usage import MOST_LINE_TOKENS
from voyage_jobs.state.dialect import hexadecimal
from voyage_jobs.state.ledger import BILLED
from voyage_jobs.state.orders import LOST_ANSWER
from voyage_jobs.state.outcomes import OPEN
from voyage_jobs.state.schema import (
    FAILED,
    HELD,
    PACKED,
    PATH,
    TOTALS,
    chunks,
    documents,
    embeddings,
    is_in,
    metadata,
    segments,
    versions,
)
from voyage_jobs.state.statements import LOOK_UP, plain, slices

_NAMED = f"s.name || ':' || {PATH}"
_PLACE = (
    " JOIN documents d ON d.id = v.document_id JOIN folders f ON f.id = d.folder_id"
    " JOIN sources s ON s.id = d.source_id "
)
_OVER = "('collected', 'closed', 'refused', 'cancelled')"
_OF = (
    "(SELECT COUNT(*) FROM chunks c JOIN embeddings e ON e.id = c.embedding_id WHERE c.version_id = v.id AND "
)


VERIFIED = "verify: "
"""How the cause of a row of history begins by which `verify` put a break on record."""

# Purpose: versions on their way whose counts are not those of their chunks, or that should have moved on by them.
_COUNTS = (
    f"SELECT id, words FROM (SELECT v.id AS id, {_NAMED} AS words, v.state AS state, v.chunks AS chunks,"
    " v.open_chunks AS open, v.failed_chunks AS failed,"
    f" {_OF}e.state NOT IN ({HELD}, {FAILED})) AS really_open,"
    f" {_OF}e.state = {FAILED}) AS really_failed"
    f" FROM versions v{_PLACE} WHERE v.state IN ('waiting', 'ready'))"
    " WHERE open != really_open OR failed != really_failed OR (state = 'ready' AND open > 0)"
    " OR (state = 'waiting' AND open = 0 AND (failed < chunks OR chunks = 0))"
)
# Purpose: versions that do not have the chunks they were cut into, from the first to the last.
_CHUNKS = (
    f"SELECT v.id, {_NAMED} FROM versions v{_PLACE}"
    " LEFT JOIN (SELECT c.version_id, COUNT(e.id) AS found, MIN(c.ordinal) AS first, MAX(c.ordinal) AS last"
    "  FROM chunks c LEFT JOIN embeddings e ON e.id = c.embedding_id GROUP BY c.version_id) n ON n.version_id = v.id"
    " WHERE v.state IN ('waiting', 'ready', 'published') AND v.retire = 0 AND v.doubtful = 0 AND v.chunks > 0"
    " AND (n.found IS NULL OR n.found != v.chunks OR n.first != 0 OR n.last != v.chunks - 1)"
)
# Purpose: chunks and texts that nobody wants any more. What is served without a file of its own keeps its text.
_LEFTOVERS = (
    "SELECT v.id, 'chunks of version ' || v.id FROM versions v WHERE v.state IN ('retired', 'superseded')"
    " AND EXISTS (SELECT 1 FROM chunks c WHERE c.version_id = v.id)"
    " UNION ALL SELECT v.id, 'text of version ' || v.id FROM texts t JOIN versions v ON v.id = t.version_id"
    " JOIN documents d ON d.id = v.document_id WHERE v.state NOT IN ('waiting', 'ready')"
    " AND NOT (v.state = 'published' AND (d.state IN ('missing', 'skipped') OR v.splitter LIKE 'records:%'))"
)
# Purpose: embeddings that count as packed, and no line of an open batch asks for them.
_ASTRAY = (
    f"SELECT e.id, {hexadecimal('e.key')} FROM embeddings e WHERE e.state = {PACKED} AND NOT EXISTS"
    " (SELECT 1 FROM lines l JOIN batches b ON b.id = l.batch_id"
    f"  WHERE l.embedding_id = e.id AND l.outcome = {OPEN} AND b.state NOT IN {_OVER})"
)
# Purpose: batches that are over, with lines whose end is not known.
_OPEN_LINES = (
    f"SELECT b.id, 'batch ' || b.ref FROM batches b WHERE b.state IN {_OVER}"
    f" AND EXISTS (SELECT 1 FROM lines l WHERE l.batch_id = b.id AND l.outcome = {OPEN})"
)
# Purpose: documents whose present content is neither published nor on its way there.
_UNVERSIONED = (
    f"SELECT d.id, {_NAMED} FROM documents d JOIN folders f ON f.id = d.folder_id JOIN sources s ON s.id = d.source_id"
    " WHERE d.state = 'present' AND s.configured = 1 AND NOT EXISTS"
    " (SELECT 1 FROM versions v WHERE v.document_id = d.id AND v.state IN ('waiting', 'ready', 'published')"
    "  AND v.content_hash = d.content_hash AND v.doubtful = 0)"
)
# Purpose: documents that are gone, and that the table is to show all the same. (Files that are there and no text any
# more are for a scan, which asks the guard against mass deletes first.)
_UNRETIRED = (
    f"SELECT d.id, {_NAMED} FROM versions v{_PLACE}"
    " WHERE v.state IN ('waiting', 'ready', 'published') AND v.retire = 0"
    " AND d.state = 'gone'"
)
_SUM = "COALESCE((SELECT SUM(tokens) FROM spend WHERE batch_id = b.id AND kind IN {kinds}), 0)"
_RESERVED, _RELEASED, _SETTLED, _MAYBE_PAID = (
    _SUM.format(kinds=kinds) for kinds in ("('reserved')", "('released')", BILLED, "('maybe_paid')")
)
_LINE_TOKENS = "(SELECT SUM(tokens) FROM lines WHERE batch_id = b.id)"
_ASSUMED = "COALESCE((SELECT SUM(assumed) FROM spend WHERE batch_id = b.id), 0)"
# Purpose: batches whose money does not add up: reserved as they are assembled, released at the end, settled as their
# lines say, and maybe paid where the answer of one that was sent at once is lost.
_SPEND = (
    "SELECT b.id, 'batch ' || b.ref FROM batches b"
    f" WHERE {_RESERVED} != b.tokens_estimated"
    f" OR {_RELEASED} !="
    f"  CASE WHEN b.state IN {_OVER} OR b.tokens_settled IS NOT NULL THEN b.tokens_estimated ELSE 0 END"
    f" OR {_SETTLED} != COALESCE(b.tokens_settled, 0)"
    f" OR (b.mode = 'sync' AND {_MAYBE_PAID} != CASE WHEN {LOST_ANSWER} THEN b.tokens_estimated ELSE 0 END)"
    f" OR {_LINE_TOKENS} > COALESCE(b.tokens_settled, 0)"
    f" OR ({_LINE_TOKENS} < b.tokens_settled AND NOT EXISTS (SELECT 1 FROM transitions t WHERE t.batch_id = b.id"
    "  AND t.kind = 'batch' AND t.target = 'collected' AND t.cause LIKE '%ignored'))"
    f" OR CASE WHEN {_LINE_TOKENS} IS NULL THEN {_ASSUMED} NOT BETWEEN 0 AND COALESCE(b.tokens_settled, 0)"
    f"  ELSE {_ASSUMED} != COALESCE((SELECT SUM(tokens) FROM lines WHERE batch_id = b.id AND assumed = 1), 0) END"
    " OR EXISTS (SELECT 1 FROM spend p WHERE p.batch_id = b.id AND b.usd_per_million IS NOT NULL"
    "  AND ABS(COALESCE(p.usd, -1) - p.tokens * b.usd_per_million / 1000000) > 0.00000001)"
)

# What the totals of every source should be.
COUNTED = (
    "SELECT s.id, COALESCE(d.n, 0) AS documents, COALESCE(v.n, 0) AS published, COALESCE(v.shown, 0) AS"
    " published_chunks, COALESCE(v.failed, 0) AS published_failed, COALESCE(v.doubtful, 0) AS doubtful FROM sources s"
    " LEFT JOIN (SELECT source_id, COUNT(*) AS n FROM documents GROUP BY source_id) d ON d.source_id = s.id"
    " LEFT JOIN (SELECT source_id, COUNT(*) AS n, SUM(chunks - failed_chunks) AS shown, SUM(failed_chunks) AS failed,"
    "  SUM(doubtful) AS doubtful FROM versions WHERE state = 'published' GROUP BY source_id) v ON v.source_id = s.id"
)
# Purpose: sources of which `status` would tell other totals.
_TOTALS = (
    f"SELECT s.id, 'source ' || s.name FROM sources s JOIN ({COUNTED}) n ON n.id = s.id WHERE "
    + " OR ".join(f"s.{each} != n.{each}" for each in TOTALS)
)

STATE_RULES = {
    "counts_wrong": _COUNTS,
    "totals_wrong": _TOTALS,
    "chunks_wrong": _CHUNKS,
    "leftovers": _LEFTOVERS,
    "embeddings_astray": _ASTRAY,
    "lines_open": _OPEN_LINES,
    "documents_unversioned": _UNVERSIONED,
    "documents_unretired": _UNRETIRED,
    "spend_wrong": _SPEND,
}
"""Class of damage -> the statement that finds it."""
SUMS = ("spend_wrong",)
"""Those that add up tokens: they cannot be asked for as long as there are numbers that cannot be."""


_SOURCES = text("SELECT * FROM sources LIMIT 0")


def keeps_totals(connection: Connection) -> bool:
    """Whether there are totals to compare: an audit may look at a state of an older schema."""
    return set(TOTALS) <= set(connection.execute(_SOURCES).keys())


def broken(connection: Connection, rule: str) -> Iterator[tuple[int, str]]:
    """(subject, words) of everything that one of `STATE_RULES` finds."""
    for subject, words in connection.execute(text(STATE_RULES[rule])):
        yield int(subject), str(words)


# --- history ---

KINDS: dict[str, tuple[str, type[states.State]]] = {
    "source": ("sources", states.Source),
    "document": ("documents", states.Document),
    "version": ("versions", states.Version),
    "batch": ("batches", states.Batch),
    "attempt": ("attempts", states.Attempt),
}
# Purpose: a break that was put on record counts once.
_NOT_ON_RECORD = (
    " AND NOT EXISTS (SELECT 1 FROM transitions k WHERE k.kind = t.kind AND k.subject = t.subject"
    f" AND k.id >= t.id AND k.cause LIKE '{VERIFIED}%')"
)
_PAIRS = text(
    "SELECT DISTINCT kind, origin, target FROM transitions WHERE origin IS NOT NULL AND origin != target"
)
_MOVED = text(
    "SELECT DISTINCT t.subject FROM transitions t WHERE t.kind = :kind AND t.origin = :origin AND t.target = :target"
    + _NOT_ON_RECORD
)
_MOVED_BY_JOB = text(
    f"{_MOVED.text} AND EXISTS (SELECT 1 FROM batches b WHERE b.id = t.subject AND b.mode = 'batch')"
)
_CHAINS = text(
    "SELECT DISTINCT t.kind, t.subject, t.before, t.origin FROM (SELECT id, kind, subject, origin,"
    " LAG(target) OVER (PARTITION BY kind, subject ORDER BY id) AS before FROM transitions WHERE kind != 'embedding') t"
    " WHERE t.before IS NOT NULL AND t.origin IS DISTINCT FROM t.before" + _NOT_ON_RECORD
)
_LAST = (
    "SELECT id, state, last FROM (SELECT r.id AS id, r.state AS state, (SELECT t.target FROM transitions t"
    " WHERE t.kind = '{kind}' AND t.subject = r.id ORDER BY t.id DESC LIMIT 1) AS last FROM {table} r)"
    " WHERE last IS NOT NULL AND last != state"
)


@dataclass(frozen=True)
class Break:
    """A story that does not hold together: `kind` and `subject` as in `transitions`, and what is wrong with it."""

    kind: str
    subject: int
    words: str


def broken_histories(connection: Connection) -> Iterator[Break]:
    """Moves that the table of moves forbids, moves that do not follow from the one before, states no move led to."""
    for pair in connection.execute(_PAIRS).all():
        kind, origin, target = pair
        if kind not in KINDS or _legal(kind, origin, target):
            continue
        needs_no_job = kind == "batch" and (origin, target) in states.ONLY_SYNC
        for (subject,) in connection.execute(_MOVED_BY_JOB if needs_no_job else _MOVED, dict(pair._mapping)):
            yield Break(kind, subject, f"{kind} {subject}: {origin} -> {target} is not a legal move")
    for kind, subject, before, origin in connection.execute(_CHAINS):
        yield Break(kind, subject, f"{kind} {subject}: moved from {origin}, but was {before}")
    for kind, (table, _) in KINDS.items():
        for subject, state, last in connection.execute(text(_LAST.format(kind=kind, table=table))):
            yield Break(kind, subject, f"{kind} {subject}: is {state}, its last move went to {last}")


def _legal(kind: str, origin: str, target: str) -> bool:
    """Whether a move is legal whatever moves; what only a batch of mode `sync` may do is not."""
    words = KINDS[kind][1]
    try:
        states.check(words(origin), words(target))
    except (ValueError, states.IllegalMoveError):
        return False
    return kind != "batch" or (origin, target) not in states.ONLY_SYNC


def current_state(connection: Connection, kind: str, subject: int) -> str | None:
    """The state a row is in now, and None if there is no such row."""
    table = metadata.tables[KINDS[kind][0]]
    return connection.execute(select(table.c.state).where(table.c.id == subject)).scalar()


# --- segments ---


_HELD = is_in(embeddings, states.Embedding.HELD)


class HeldEmbedding(NamedTuple):
    """Where the state says that the vectors of a held embedding lie: `vectors` rows of a segment, from `row` on."""

    pack_id: int
    row: int
    vectors: int
    key: bytes
    id: int


def held(connection: Connection) -> Iterator[HeldEmbedding]:
    """Every held embedding, by segment and row."""
    place = (embeddings.c.pack_id, embeddings.c.pack_row)
    query = select(*place, embeddings.c.vectors, embeddings.c.key, embeddings.c.id)
    for row in plain(connection, query.where(_HELD).order_by(*place)):
        yield HeldEmbedding._make(row)


def tokens_of_segments(connection: Connection, pack_ids: Sequence[int]) -> int:
    """The estimated tokens of everything that these segments hold: what it would cost to embed it again."""
    few = embeddings.c.tokens < MOST_LINE_TOKENS
    tokens = func.sum(case((few, embeddings.c.tokens), else_=MOST_LINE_TOKENS))
    query = select(func.coalesce(tokens, 0)).where(embeddings.c.pack_id == bindparam("pack"))
    return sum(int(connection.execute(query, {"pack": each}).scalar_one()) for each in pack_ids)


def is_needed(connection: Connection, pack_id: int) -> bool:
    """Whether any embedding is held in a segment."""
    found = exists(select(embeddings.c.id).where(embeddings.c.pack_id == pack_id))
    return bool(connection.execute(select(found)).scalar_one())


def vector_places(connection: Connection, keys: Sequence[bytes]) -> dict[bytes, tuple[str, int]]:
    """key -> (segment, first row) of those of these embeddings that are held."""
    query = select(embeddings.c.key, segments.c.name, embeddings.c.pack_row)
    held = query.join(segments, segments.c.id == embeddings.c.pack_id).where(_HELD)
    found: dict[bytes, tuple[str, int]] = {}
    for part in slices(keys):
        rows = plain(connection, held.where(embeddings.c.key.in_(part)))
        found.update((key, (name, row)) for key, name, row in rows)
    return found


# --- what the table should hold ---


class ServedVersion(NamedTuple):
    """A published version as its rows tell of it. `sections` and `reading` are JSON; `modified_at` microseconds."""

    id: int
    doc_key: bytes
    source: str
    path: str
    content_hash: bytes
    title: str
    modified_at: int
    sections: str
    metadata: str
    reading: str | None


class ServedChunk(NamedTuple):
    """A chunk of a published version. `held`: its vector is here, so its row must be in the table."""

    ordinal: int
    start: int
    end: int
    section: int
    tokens: int
    key: bytes
    slot: int
    held: bool


# Whether nothing about a published version is in flight: not leaving, not in doubt, not just being replaced.
_SETTLED = (
    " v.state = 'published' AND v.retire = 0 AND v.doubtful = 0 AND NOT EXISTS (SELECT 1 FROM versions n"
    " WHERE n.document_id = v.document_id AND n.state IN ('waiting', 'ready') AND n.publication_id IS NOT NULL)"
)
_SERVED = (
    f"SELECT v.id, d.doc_key, s.name, {PATH}, v.content_hash, v.title, v.modified_at, v.sections, v.metadata,"
    " v.reading"
    f" FROM versions v{_PLACE} WHERE{_SETTLED}"
)
# Purpose: their chunks.
_SERVED_CHUNKS = (
    select(
        *(chunks.c[name] for name in ("version_id", "ordinal", "start", "end", "section", "tokens")),
        embeddings.c.key,
        chunks.c.slot,
        _HELD,
    )
    .join(embeddings, embeddings.c.id == chunks.c.embedding_id)
    .where(chunks.c.version_id.in_(bindparam("versions", expanding=True)))
    .order_by(chunks.c.version_id, chunks.c.ordinal)
)
Served = tuple[ServedVersion, list[ServedChunk]]


_NEXT_SERVED = text(f"{_SERVED} AND v.id > :after ORDER BY v.id LIMIT {LOOK_UP}")
_SERVED_BY_KEY = text(f"{_SERVED} AND d.doc_key IN :keys").bindparams(bindparam("keys", expanding=True))


def served(connection: Connection) -> Iterator[Served]:
    """Every version that the table should show just as it is, with its chunks."""
    last = 0
    while True:
        page = [ServedVersion(*row) for row in connection.execute(_NEXT_SERVED, {"after": last})]
        if not page:
            return
        last = page[-1].id
        yield from _with_chunks(connection, page)


def served_by_key(connection: Connection, doc_keys: Sequence[bytes]) -> dict[bytes, Served]:
    """The same for some documents, by the key of the document; those with nothing settled are left out."""
    found: dict[bytes, Served] = {}
    for part in slices(doc_keys):
        page = [ServedVersion(*row) for row in connection.execute(_SERVED_BY_KEY, {"keys": part})]
        found.update(
            (version.doc_key, (version, chunks)) for version, chunks in _with_chunks(connection, page)
        )
    return found


def _with_chunks(connection: Connection, page: Sequence[ServedVersion]) -> Iterator[Served]:
    found: dict[int, list[ServedChunk]] = {version.id: [] for version in page}
    for row in plain(connection, _SERVED_CHUNKS, {"versions": list(found)}):
        found[row[0]].append(ServedChunk._make(row[1:]))
    for version in page:
        yield version, found[version.id]


# Purpose: what goes before the chunks of settled versions where they are embedded. An audit may look at a state of an
# older schema, in which nothing does.
_HEADERS = text(
    f"SELECT d.doc_key, v.* FROM versions v{_PLACE} WHERE{_SETTLED} AND d.doc_key IN :keys"
).bindparams(bindparam("keys", expanding=True))


def headers(connection: Connection, doc_keys: Collection[bytes]) -> Iterator[tuple[bytes, list[str], str]]:
    """(document, section path, header) of the versions that the table should show just as they are."""
    for part in slices(list(doc_keys)):
        for row in connection.execute(_HEADERS, {"keys": part}).mappings():
            if (found := row.get("headers")) is not None:
                for path, header in zip(orjson.loads(row["sections"]), orjson.loads(found), strict=True):
                    yield row["doc_key"], path, header


# Purpose: documents of which the table may show anything for now: something about them is in flight.
_MOVING = (
    select(documents.c.doc_key)
    .join(versions, versions.c.document_id == documents.c.id)
    .where(
        is_in(versions, states.Version.WAITING, states.Version.READY)
        | (
            is_in(versions, states.Version.PUBLISHED)
            & ((versions.c.retire == 1) | (versions.c.doubtful == 1))
        )
    )
    .distinct()
)


def moving(connection: Connection) -> Iterator[bytes]:
    """The keys of documents that a publication or a removal will bring in order."""
    yield from connection.execute(_MOVING).scalars()


def is_moving(connection: Connection, doc_key: bytes) -> bool:
    """The same for one document."""
    return connection.execute(_MOVING.where(documents.c.doc_key == doc_key)).first() is not None


# --- folders ---


def contents(connection: Connection, folder_id: int) -> dict[str, tuple[int, str, bytes | None]]:
    """name -> (document, state, hash of what was last read) of what is remembered of one folder."""
    columns = (documents.c[name] for name in ("name", "id", "state", "content_hash"))
    here = is_in(documents, states.Document.PRESENT, states.Document.SKIPPED)
    rows = connection.execute(select(*columns).where(documents.c.folder_id == folder_id, here))
    return {name: (row, state, digest) for name, row, state, digest in rows}
