"""Reading one thing's story: its moves, its versions and chunks, and the lines that asked for its vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, text

from voyage_jobs.core import states
from voyage_jobs.core.profile import KEY_BYTES
from voyage_jobs.state.outcomes import OPEN, OUTCOME_WORDS, SUCCESS
from voyage_jobs.state.schema import EMBEDDING_CODES

View = Connection
"""One moment of the state, for those who hand it on without knowing SQLAlchemy."""

_STATES = {code: state for state, code in EMBEDDING_CODES.items()}


@dataclass(frozen=True)
class Move:
    """One row of history; `id` in the order in which they were recorded, `at` in microseconds UTC."""

    id: int
    kind: str
    subject: int
    origin: str | None
    target: str
    at: int
    batch_id: int | None
    cause: str


# Purpose: what happened to these things.
_MOVES = text(
    "SELECT id, kind, subject, origin, target, at, batch_id, cause FROM transitions"
    " WHERE kind = :kind AND subject IN :subjects ORDER BY id"
).bindparams(bindparam("subjects", expanding=True))


def moves_of(connection: Connection, kind: str, subjects: Sequence[int]) -> list[Move]:
    """Every move of some things of one kind, in order."""
    rows = connection.execute(_MOVES, {"kind": kind, "subjects": list(subjects)}).mappings()
    return [Move(**row) for row in rows]


@dataclass(frozen=True)
class VersionHistory:
    """One version and the publication that served it last (`table_version` is None if none was acknowledged)."""

    id: int
    state: states.Version
    content_hash: bytes
    chunks: int
    open_chunks: int
    failed_chunks: int
    seen_at: int
    published_at: int | None
    retire: int
    title: str
    sections: str
    table_version: int | None


# Purpose: every content a document ever had, oldest first.
_VERSIONS = text(
    "SELECT v.id, v.state, v.content_hash, v.chunks, v.open_chunks, v.failed_chunks, v.seen_at, v.published_at,"
    " v.retire, v.title, v.sections, p.table_version FROM versions v LEFT JOIN publications p"
    " ON p.id = v.publication_id WHERE v.document_id = :id ORDER BY v.id"
)


def versions_of(connection: Connection, document_id: int) -> list[VersionHistory]:
    """All versions of a document, oldest first."""
    rows = connection.execute(_VERSIONS, {"id": document_id}).mappings()
    return [VersionHistory(**{**row, "state": states.Version(row["state"])}) for row in rows]


@dataclass(frozen=True)
class LineHistory:
    """One line of a batch that asked for an embedding; `outcome` is a code of `outcomes.OUTCOME_WORDS`."""

    batch_id: int
    ref: str
    batch_state: states.Batch
    line: int
    outcome: int
    tokens: int | None
    detail: str | None


def line_as_dict(line: LineHistory) -> dict[str, Any]:
    """A line of a batch, for `--json`; `line` counts from 0 as in the input file."""
    return {
        "batch": line.ref,
        "batch_state": str(line.batch_state),
        "line": line.line,
        "outcome": OUTCOME_WORDS[line.outcome],
        "detail": line.detail,
        "tokens": line.tokens,
    }


@dataclass(frozen=True)
class ChunkHistory:
    """One chunk with its embedding and the last line that asked for it. `start` and `end` are characters."""

    ordinal: int
    start: int
    end: int
    section: int
    tokens: int
    key: bytes
    slot: int
    state: states.Embedding
    attempts: int
    wanted_at: int
    last: LineHistory | None


# The batch that still has an embedding, else the last that had it: two may where one was sent at once.
_LAST = f"(SELECT batch_id FROM lines WHERE embedding_id = e.id ORDER BY outcome = {OPEN} DESC, batch_id DESC LIMIT 1)"
# Purpose: the chunks of a version, each with what became of it.
_CHUNKS = text(
    'SELECT c.ordinal, c.start, c."end", c.section, c.tokens, e.key, c.slot, e.state, e.attempts, e.wanted_at,'
    " b.id, b.ref, b.state, l.line, l.outcome, l.tokens, l.detail"
    " FROM chunks c JOIN embeddings e ON e.id = c.embedding_id"
    f" LEFT JOIN lines l ON l.embedding_id = e.id AND l.batch_id = {_LAST}"
    " LEFT JOIN batches b ON b.id = l.batch_id WHERE c.version_id = :id ORDER BY c.ordinal"
)


def chunks_of(connection: Connection, version_id: int) -> Iterator[ChunkHistory]:
    """The chunks of one live version, in order."""
    for row in connection.execute(_CHUNKS, {"id": version_id}):
        batch_id, ref, batch_state, *line = row[10:]
        last = None if batch_id is None else LineHistory(batch_id, ref, states.Batch(batch_state), *line)
        yield ChunkHistory(*(*row[:7], told_state(row[7], last), *row[8:10], last))


def told_state(stored: int, last: LineHistory | None) -> states.Embedding:
    """The state of an embedding: what is stored as packed is submitted once its batch is at the provider."""
    state = _STATES[stored]
    sent = (*states.AT_THE_VENDOR, states.Batch.ENDED)
    if state is states.Embedding.PACKED and last is not None and last.batch_state in sent:
        return states.Embedding.SUBMITTED
    return state


@dataclass(frozen=True)
class EmbeddingHistory:
    """One embedding: `tokens` are estimated, `pack` is the file its vectors are in."""

    id: int
    key: bytes
    stored: int
    vectors: int
    tokens: int
    attempts: int
    refusals: int
    wanted_at: int
    segment: str | None


# Purpose: one embedding by its key.
_EMBEDDING = text(
    "SELECT e.id, e.key, e.state AS stored, e.vectors, e.tokens, e.attempts, e.refusals, e.wanted_at, p.name AS segment"
    " FROM embeddings e LEFT JOIN packs p ON p.id = e.pack_id WHERE e.key = :key"
)
# Purpose: every line that ever asked for an embedding; one that still does comes last.
_LINES = text(
    "SELECT b.id AS batch_id, b.ref, b.state AS batch_state, l.line, l.outcome, l.tokens, l.detail"
    " FROM lines l JOIN batches b ON b.id = l.batch_id"
    f" WHERE l.embedding_id = :id ORDER BY l.outcome = {OPEN}, l.batch_id"
)


# Purpose: embeddings whose key begins so (a range of the key's index).
_BEGINNING = text("SELECT key FROM embeddings WHERE key BETWEEN :low AND :high ORDER BY key LIMIT :most")


def keys_beginning(connection: Connection, prefix: str, most: int) -> list[bytes]:
    """Up to `most` keys whose hex digits begin with `prefix`, which is at most 40 hex digits in lower case."""
    digits = 2 * KEY_BYTES
    ends = {"low": bytes.fromhex(prefix.ljust(digits, "0")), "high": bytes.fromhex(prefix.ljust(digits, "f"))}
    return list(connection.execute(_BEGINNING, {**ends, "most": most}).scalars())


def embedding(connection: Connection, key: bytes) -> EmbeddingHistory | None:
    """The embedding with this key, or None."""
    row = connection.execute(_EMBEDDING, {"key": key}).mappings().one_or_none()
    return None if row is None else EmbeddingHistory(**row)


def lines_for(connection: Connection, embedding_id: int) -> list[LineHistory]:
    """The lines that asked for an embedding, first to last."""
    rows = connection.execute(_LINES, {"id": embedding_id}).mappings()
    return [LineHistory(**{**row, "batch_state": states.Batch(row["batch_state"])}) for row in rows]


@dataclass(frozen=True)
class Use:
    """A chunk that needs an embedding."""

    source: str
    path: str
    ordinal: int
    slot: int
    version_state: str

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "source": self.source,
            "path": self.path,
            "ordinal": self.ordinal,
            "slot": self.slot,
            "version": self.version_state,
        }


_PATH = "CASE f.path WHEN '' THEN d.name ELSE f.path || '/' || d.name END AS path"
# Purpose: which chunks share an embedding.
_USES = text(
    f"SELECT s.name AS source, {_PATH}, c.ordinal, c.slot, v.state AS version_state FROM chunks c"
    " JOIN versions v ON v.id = c.version_id JOIN documents d ON d.id = v.document_id"
    " JOIN folders f ON f.id = d.folder_id JOIN sources s ON s.id = v.source_id"
    " WHERE c.embedding_id = :id ORDER BY c.version_id, c.ordinal LIMIT :most"
)


def uses_of(connection: Connection, embedding_id: int, most: int) -> list[Use]:
    """Up to `most` chunks of live versions that need an embedding."""
    return [Use(**row) for row in connection.execute(_USES, {"id": embedding_id, "most": most}).mappings()]


# Purpose: the batches that ever carried an embedding of a version.
_BATCHES = text(
    "SELECT DISTINCT l.batch_id FROM chunks c JOIN lines l ON l.embedding_id = c.embedding_id"
    " WHERE c.version_id = :id ORDER BY l.batch_id"
)
# Purpose: how the lines of a batch ended.
_OUTCOMES = text(
    "SELECT outcome, COUNT(*) AS times FROM lines WHERE batch_id = :id GROUP BY outcome ORDER BY outcome"
)
# Purpose: the lines that brought no vector, in the provider's words.
_BAD = text(
    "SELECT l.line, e.key, l.outcome, l.detail FROM lines l JOIN embeddings e ON e.id = l.embedding_id"
    f" WHERE l.batch_id = :id AND l.outcome > {SUCCESS} ORDER BY l.line LIMIT :most"
)
# Purpose: the segment that holds what a batch brought.
_SEGMENTS = text("SELECT name FROM packs WHERE batch_id = :id ORDER BY id")


def batches_of(connection: Connection, version_id: int) -> list[int]:
    """The batches that carried embeddings of a live version."""
    return list(connection.execute(_BATCHES, {"id": version_id}).scalars())


def outcomes_of(connection: Connection, batch_id: int) -> dict[int, int]:
    """Outcome code -> number of lines."""
    return {row.outcome: row.times for row in connection.execute(_OUTCOMES, {"id": batch_id})}


@dataclass(frozen=True)
class BadLine:
    """A line that brought no vector."""

    line: int
    key: bytes
    outcome: int
    detail: str | None


def bad_lines(connection: Connection, batch_id: int, most: int) -> list[BadLine]:
    """Up to `most` lines of a batch that brought no vector."""
    return [BadLine(*row) for row in connection.execute(_BAD, {"id": batch_id, "most": most})]


def segments_of(connection: Connection, batch_id: int) -> list[str]:
    """The segments that hold what a batch brought."""
    return list(connection.execute(_SEGMENTS, {"id": batch_id}).scalars())


# Purpose: documents of that file name, wherever they are.
_NAMED = text(
    f"SELECT s.name AS source, {_PATH} FROM documents d JOIN folders f ON f.id = d.folder_id"
    " JOIN sources s ON s.id = d.source_id WHERE d.name = :name ORDER BY d.id LIMIT :most"
)


def named(connection: Connection, name: str, most: int) -> list[tuple[str, str]]:
    """(source, path) of documents with this file name."""
    return [(row.source, row.path) for row in connection.execute(_NAMED, {"name": name, "most": most})]
