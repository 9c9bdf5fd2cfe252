"""What a plan asks its throw-away state (see throwaway.py): what did the scan find, what waits, what was sent?

What waited before the plan began has `wanted_at` 0 here; so the texts that the plan's scan found can be told from it.
A batch is sent by saying so: there is nobody at the other end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

from sqlalchemy import Connection, bindparam, delete, func, select, text, update

from voyage_jobs.core.states import Batch, Embedding, Mode
from voyage_jobs.state import batches, documents, missing, moves
from voyage_jobs.state.backlog import WantedEmbedding, by_source
from voyage_jobs.state.schema import FAILED, PACKED, PATH, WANTED, circuits, embeddings, is_in, profiles
from voyage_jobs.state.schema import batches as batch_table
from voyage_jobs.state.statements import RAW, Prepared, slices
from voyage_jobs.state.store import Tx


@dataclass(frozen=True)
class Since:
    """Where the plan's own rows begin: what was there has ids up to these."""

    document: int
    transition: int
    version: int
    batch: int
    profile: int


def begin(tx: Tx, profile_id: int) -> Since:
    """From here on, what is found is the plan's."""
    older = is_in(embeddings, Embedding.WANTED, Embedding.PACKED)
    tx.connection.execute(update(embeddings).where(older).values(wanted_at=0))
    # Nothing keeps it back that is over some day: a wait after failures, a batch that waits for an operator.
    tx.connection.execute(delete(circuits))
    moves.pretend(tx, batch_table, is_in(batch_table, Batch.PARKED), Batch.CLOSED)
    mark = missing.mark(tx.connection)
    newest = batches.newest(tx.connection, 1)
    batch = newest[0].id if newest else 0
    return Since(documents.newest_id(tx.connection), mark.transition, mark.version, batch, profile_id)


# --- what the scan found ---

_IS_NEW = (
    "(d.id > :document OR EXISTS (SELECT 1 FROM transitions t WHERE t.kind = 'document' AND t.subject = d.id"
    " AND t.target = 'present' AND t.origin IN ('missing', 'gone') AND t.id > :transition))"
)
_AT = f"{PATH} AS path"
# What a source has now: documents with another content, and those that came back with the content that they had.
_FOUND = (
    f"SELECT {_AT}, v.content_hash, {_IS_NEW} AS is_new, v.id AS version_id FROM versions v"
    " JOIN documents d ON d.id = v.document_id JOIN folders f ON f.id = d.folder_id"
    " WHERE v.id > :version AND v.source_id = :source"
    f" UNION ALL SELECT {_AT}, d.content_hash, 1, NULL FROM transitions t JOIN documents d ON d.id = t.subject"
    " JOIN folders f ON f.id = d.folder_id WHERE t.id > :transition AND +t.kind = 'document' AND t.target = 'present'"
    "  AND t.origin IN ('missing', 'gone') AND d.source_id = :source"
    "  AND NOT EXISTS (SELECT 1 FROM versions n WHERE n.document_id = d.id AND n.id > :version)"
)
# Purpose: how many files were not there before (never seen, missing, given up), and how many had another content.
_COUNT_FOUND = text(f"SELECT COALESCE(SUM(is_new), 0), COALESCE(SUM(1 - is_new), 0) FROM ({_FOUND})")
# Purpose: whether one file was not there before.
_IS_ONE_NEW = text(f"SELECT {_IS_NEW} FROM documents d WHERE d.id = :id")


def new_and_changed(connection: Connection, source_id: int, since: Since) -> tuple[int, int]:
    """Documents of a source that are new, and that were changed."""
    new, changed = connection.execute(_COUNT_FOUND, {**vars(since), "source": source_id}).one()
    return new, changed


def is_new(connection: Connection, document_id: int, since: Since) -> bool:
    """Whether a document was not there before."""
    return bool(connection.execute(_IS_ONE_NEW, {**vars(since), "id": document_id}).scalar_one())


# Purpose: documents that have the content that the table shows, and are cut or read in another way now.
_CUT_AGAIN = text(
    "SELECT COUNT(*) FROM versions v WHERE v.id > :version AND v.source_id = :source AND EXISTS"
    " (SELECT 1 FROM versions o WHERE o.document_id = v.document_id AND o.id <= :version AND o.state = 'published'"
    "  AND o.content_hash = v.content_hash AND o.profile_id = v.profile_id AND o.splitter != v.splitter)"
)


def cut_again(connection: Connection, source_id: int, since: Since) -> int:
    """How many documents of a source have not changed, and come to other chunks by their reader or splitter."""
    return int(connection.execute(_CUT_AGAIN, {**vars(since), "source": source_id}).scalar_one())


# Purpose: which chunks of new versions have failed before, and are not sent again by themselves.
_FAILED = text(
    "SELECT COUNT(*), COALESCE(SUM(c.tokens), 0) FROM embeddings e CROSS JOIN chunks c ON c.embedding_id = e.id"
    f" JOIN versions v ON v.id = c.version_id WHERE e.state = {FAILED} AND v.id > :version AND v.source_id = :source"
)


def failed_again(connection: Connection, source_id: int, since: Since) -> tuple[int, int]:
    """(chunks, tokens) of what is new or changed in a source that failed before."""
    chunks, tokens = connection.execute(_FAILED, {**vars(since), "source": source_id}).one()
    return chunks, tokens


# Purpose: the windows of new versions: how many, their tokens, and the squares of those of each window and each chunk.
_WINDOWS = text(
    "SELECT COUNT(*), COALESCE(SUM(tokens), 0), COALESCE(SUM(tokens * tokens), 0), COALESCE(SUM(squares), 0) FROM"
    " (SELECT SUM(c.tokens) AS tokens, SUM(c.tokens * c.tokens) AS squares FROM versions v"
    "  JOIN chunks c ON c.version_id = v.id WHERE v.id > :version AND v.profile_id = :profile"
    "  GROUP BY c.version_id, c.embedding_id)"
)


def windows(connection: Connection, since: Since) -> tuple[int, int, int, int]:
    """(windows, tokens, sum of the squares of the tokens of each window, and of each chunk) of new versions."""
    count, tokens, windows_squared, chunks_squared = connection.execute(_WINDOWS, vars(since)).one()
    return count, tokens, windows_squared, chunks_squared


# Purpose: the text that goes out because of a document, each text counted for the first version that needs it.
_OF_DOCUMENTS = (
    "SELECT d.id AS document, d.folder_id AS folder, SUM(x.tokens) AS tokens FROM"
    " (SELECT e.tokens, MIN(c.version_id) AS version FROM embeddings e JOIN chunks c ON c.embedding_id = e.id"
    f"  WHERE e.state IN ({WANTED}, {PACKED}) AND e.profile_id = :profile AND (e.wanted_at > 0 OR e.state = {WANTED}"
    "   OR EXISTS (SELECT 1 FROM lines l WHERE l.embedding_id = e.id AND l.batch_id > :batch)) GROUP BY e.id) x"
    " JOIN versions v ON v.id = x.version JOIN documents d ON d.id = v.document_id GROUP BY d.id"
)
# Purpose: the documents for which most is sent.
_DEAREST = text(
    f"SELECT s.name AS source, {PATH} AS path, t.tokens FROM ({_OF_DOCUMENTS} ORDER BY 3 DESC, 1 LIMIT :most) t"
    " JOIN documents d ON d.id = t.document JOIN folders f ON f.id = d.folder_id JOIN sources s ON s.id = d.source_id"
    " ORDER BY t.tokens DESC, d.id"
)
# Purpose: what is sent by folder.
_BY_FOLDER = text(
    f"SELECT s.name AS source, f.path, SUM(t.tokens) AS tokens FROM ({_OF_DOCUMENTS}) t"
    " JOIN folders f ON f.id = t.folder JOIN sources s ON s.id = f.source_id GROUP BY f.id"
)


class Cost(NamedTuple):
    """What is to be sent for a document, or for all right in a folder."""

    source: str
    path: str
    tokens: int


def dearest(connection: Connection, since: Since, most: int) -> list[Cost]:
    """The documents for which most tokens are to be sent, first the dearest."""
    return [Cost(*row) for row in connection.execute(_DEAREST, {**vars(since), "most": most})]


def cost_by_folder(connection: Connection, since: Since) -> Iterator[Cost]:
    """What is to be sent for the documents right in each folder."""
    for row in connection.execute(_BY_FOLDER, vars(since)):
        yield Cost(*row)


class Waited(NamedTuple):
    """Embeddings that wait since before the plan, and their tokens."""

    embeddings: int
    tokens: int


# Purpose: what waits since before, and is in no batch.
_WAITING = text(
    "SELECT COUNT(*), COALESCE(SUM(tokens), 0) FROM embeddings"
    f" WHERE state = {WANTED} AND profile_id = :profile AND wanted_at = 0"
)
# Purpose: that of it for which the state keeps no text.
_TEXTLESS = text(
    'SELECT e.id, e.key, e.vectors, e.tokens, MIN(c.version_id), c.start, c."end", c.section FROM embeddings e'
    f" CROSS JOIN chunks c ON c.embedding_id = e.id WHERE e.state = {WANTED} AND e.profile_id = :profile"
    " AND e.wanted_at = 0"
    " AND NOT EXISTS (SELECT 1 FROM chunks k JOIN texts t ON t.version_id = k.version_id"
    "  WHERE k.embedding_id = e.id) GROUP BY e.id"
)


def waiting(connection: Connection, since: Since) -> Waited:
    """What waits since before the plan and was not packed."""
    return Waited(*connection.execute(_WAITING, vars(since)).one())


def textless(connection: Connection, since: Since) -> Iterator[WantedEmbedding]:
    """That of it whose text can only be had from a file, if at all."""
    for row in connection.execute(_TEXTLESS, {"profile": since.profile}):
        yield WantedEmbedding(*row)


# Purpose: what of a batch waits since before.
_WAITED_FOR = text(
    "SELECT COUNT(*), COALESCE(SUM(e.tokens), 0) FROM lines l"
    " JOIN embeddings e ON e.id = l.embedding_id WHERE l.batch_id = :batch AND e.wanted_at = 0"
)


def waited_for(connection: Connection, batch_id: int) -> Waited:
    """What of a batch waits since before the plan."""
    return Waited(*connection.execute(_WAITED_FOR, {"batch": batch_id}).one())


# Purpose: what the plan has assembled, by the source that pays.
_PACKED = text(
    "SELECT l.source_id, SUM(e.tokens) FROM lines l JOIN embeddings e ON e.id = l.embedding_id"
    " WHERE l.batch_id > :batch GROUP BY l.source_id"
)


def asked_by_source(connection: Connection, since: Since) -> dict[int, int]:
    """Tokens that budgets are asked for: what the plan has sent and what it had to leave, by the source that pays."""
    asked = Counter(by_source(connection, since.profile))
    asked.update({row[0]: int(row[1]) for row in connection.execute(_PACKED, {"batch": since.batch})})
    return dict(asked)


# --- sending ---


def sent(tx: Tx, batch_id: int) -> None:
    """A batch has become a job, or was answered at once."""
    ref, mode = batch_table.c.ref, batch_table.c.mode
    this = batch_table.c.id == batch_id
    moves.pretend(tx, batch_table, this & (mode == Mode.SYNC), Batch.ENDED)
    moves.pretend(
        tx, batch_table, this & (mode == Mode.BATCH), Batch.RUNNING, remote_id=ref, input_file_id=ref
    )


def end_oldest_job(tx: Tx) -> bool:
    """The job that has been at work for longest ends, if there is one. What it costs stays reserved."""
    running = select(func.min(batch_table.c.id)).where(is_in(batch_table, Batch.CREATING, Batch.RUNNING))
    return moves.pretend(tx, batch_table, batch_table.c.id == running.scalar_subquery(), Batch.CLOSED) > 0


# --- one by one, for the plan's file ---


# Purpose: those documents one by one.
_LIST_FOUND = text(_FOUND)


class FoundDocument(NamedTuple):
    """A document that is new or changed. `version_id` is None for one that came back as it was."""

    path: str
    content_hash: bytes
    is_new: int
    version_id: int | None


# Purpose: what of a new version was assembled, and was not needed by a version before it.
_SENT_FOR = text(
    "SELECT DISTINCT e.key, e.tokens FROM chunks c JOIN embeddings e ON e.id = c.embedding_id"
    f" WHERE c.version_id = :version AND e.state = {PACKED} AND e.wanted_at > 0 AND NOT EXISTS (SELECT 1 FROM chunks o"
    "  WHERE o.embedding_id = e.id AND o.version_id > :since AND o.version_id < c.version_id) ORDER BY c.ordinal"
)
# Purpose: the same, one by one.
_WAITED = text(
    "SELECT e.key, e.tokens FROM lines l JOIN embeddings e ON e.id = l.embedding_id"
    " WHERE l.batch_id = :batch AND e.wanted_at = 0 ORDER BY l.line"
)


def documents_found(connection: Connection, source_id: int, since: Since) -> Iterator[FoundDocument]:
    """Everything that is new or changed in a source, in the order in which it was found."""
    for row in connection.execute(_LIST_FOUND, {**vars(since), "source": source_id}):
        yield FoundDocument(*row)


def sent_for(connection: Connection, version_id: int, since: Since) -> Iterator[tuple[bytes, int]]:
    """(key, tokens) of what was assembled because of a new version."""
    for row in connection.execute(_SENT_FOR, {"version": version_id, "since": since.version}):
        yield row[0], row[1]


def waited_in(connection: Connection, batch_id: int) -> Iterator[tuple[bytes, int]]:
    """(key, tokens) of what is in a batch and waited before the plan."""
    for row in connection.execute(_WAITED, {"batch": batch_id}):
        yield row[0], row[1]


# --- what others ask, too ---


def embedding_states(connection: Connection, keys: Sequence[bytes]) -> dict[bytes, int]:
    """Key -> stored state of those embeddings that are known."""
    found = (row for part in slices(keys) for row in RAW["embeddings by key"].rows(connection, *part))
    return {key: state for _, key, state in found}


_PROFILE = Prepared(select(profiles.c.id).where(profiles.c.fingerprint == bindparam("fingerprint")))


def profile_row(connection: Connection, fingerprint: str) -> int | None:
    """The row of a profile, or None if it was never used."""
    return cast(int | None, _PROFILE.value(connection, fingerprint=fingerprint))
