"""The tables of `state.db`, as the migrations leave them.

Everything is STRICT; times are integer microseconds UTC; states are words with a CHECK. Three tables grow with the
corpus and are kept lean: `chunks` (about 40 bytes a row), `embeddings` (about 110 with its key index) and `lines`
(about 35). The text of a document is kept once per version, compressed, and only until that version is published.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BLOB,
    REAL,
    CheckConstraint,
    Column,
    ColumnElement,
    ForeignKey,
    FromClause,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    literal_column,
    text,
)
from sqlalchemy.schema import SchemaItem

from voyage_jobs.core import states

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

# The stored form of an embedding's state. PACKED stands for packed *and* submitted: see states.py.
EMBEDDING_CODES = {
    states.Embedding.WANTED: 0,
    states.Embedding.PACKED: 1,
    states.Embedding.HELD: 2,
    states.Embedding.FAILED: 3,
    states.Embedding.DROPPED: 4,
}
WANTED, PACKED, HELD, FAILED, DROPPED = EMBEDDING_CODES.values()


PATH = "CASE f.path WHEN '' THEN d.name ELSE f.path || '/' || d.name END"
"""How statements put the path of a document `d` in a folder `f` together."""


TOTALS = ("documents", "published", "published_chunks", "published_failed", "doubtful")
"""Columns of a source: how many documents it ever had; how many versions of it are published, how many chunks of them
are shown or failed, how many are in doubt. Counted in the transaction that changes the rows: `documents` where they are
inserted, the others by triggers (migrations/versions/0020_totals.py). `verify` counts anew."""


def stored(state: states.State) -> str | int:
    """What the column `state` holds for a state."""
    if not isinstance(state, states.Embedding):  # words of two kinds may be equal
        return str(state)
    return EMBEDDING_CODES[states.Embedding.PACKED if state is states.Embedding.SUBMITTED else state]


def is_in(table: FromClause, *wanted: states.State) -> ColumnElement[bool]:
    """Whether a row is in one of these states. The words are part of the statement: partial indexes go by them."""
    column: ColumnElement[Any] = table.c.state
    words = dict.fromkeys(map(stored, wanted))
    left_out = [word for word in dict.fromkeys(map(stored, type(wanted[0]))) if word not in words]
    if len(left_out) == 1:  # an IN of several costs SQLite a table of its own each time it runs
        return column != literal_column(repr(left_out[0]))
    values: list[ColumnElement[Any]] = [literal_column(repr(word)) for word in words]
    return column == values[0] if len(values) == 1 else column.in_(values)


def _state(words: type[StrEnum]) -> CheckConstraint:
    listed = ", ".join(f"'{word}'" for word in words)
    return CheckConstraint(f"state IN ({listed})", name="state")


def _index(name: str, *columns: Column[Any], where: str, unique: bool = False) -> Index:
    """An index of a few rows: without its condition a unique one would refuse what is right. (To name a second dialect
    here is to load it, at every start.)"""
    few = text(where)
    return Index(name, *columns, unique=unique, sqlite_where=few)


def _table(name: str, *items: SchemaItem, rowid: bool = True) -> Table:
    return Table(name, metadata, *items, sqlite_strict=True, sqlite_with_rowid=rowid)


meta = _table(
    "meta",
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
    rowid=False,
)

profiles = _table(
    "profiles",
    Column("id", Integer, primary_key=True),
    Column("fingerprint", Text, nullable=False, unique=True),
    Column("body", Text, nullable=False),  # Profile.to_json
)

sources = _table(
    "sources",
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("path", Text, nullable=False),  # encoded as names.encode
    Column("state", Text, nullable=False),
    Column("frozen_reason", Text),
    Column("configured", Integer, nullable=False),
    Column("device", Integer),
    Column("inode", Integer),
    Column("rules_fingerprint", Text),
    Column(
        "splitter_fingerprint", Text
    ),  # with which readers its documents were compared (splitting/fingerprints.py)
    Column("profile_id", Integer, ForeignKey("profiles.id")),
    Column("scanned_at", Integer),  # end of the last complete scan
    Column("scan_due_at", Integer, nullable=False, server_default="0"),
    Column("confirmed_at", Integer),  # an operator confirmed what the next scan will find
    Column(
        "defaults", Integer, nullable=False, server_default="0"
    ),  # those that it began with (state/sources.py)
    *(Column(name, Integer, nullable=False, server_default="0") for name in TOTALS),
    _state(states.Source),
    CheckConstraint("state != 'frozen' OR frozen_reason IS NOT NULL", name="frozen_says_why"),
)

folders = _table(
    "folders",
    Column("id", Integer, primary_key=True),
    Column("source_id", Integer, ForeignKey("sources.id"), nullable=False),
    Column("path", Text, nullable=False),  # relative, "" is the root
    Column("file", Text, nullable=False, server_default=""),  # of records, whose documents these are; else ""
    UniqueConstraint("source_id", "path", "file"),
)

# Files of records: how each looked when it was last read whole, and what that came to.
record_files = _table(
    "record_files",
    Column("folder_id", Integer, ForeignKey("folders.id"), primary_key=True),
    Column("size", Integer, nullable=False),
    Column("mtime_ns", Integer, nullable=False),
    Column("inode", Integer, nullable=False),
    Column("ctime_ns", Integer),
    Column("content_hash", BLOB),
    Column("made_by", Text),  # fingerprint of what made records of its rows; null: read it again
    Column("records", Integer, nullable=False),
    Column(
        "left_out", Text, nullable=False
    ),  # JSON: rows that are no record, by reason, and the first of them
    Column("reason", Text),  # why nothing of it is deleted, or why it was not read
    Column("detail", Text),
    Column(
        "reached", Text
    ),  # of a log: how far its complete segments go, and a hash of what stands before that
)

documents = _table(
    "documents",
    Column("id", Integer, primary_key=True),
    Column("source_id", Integer, ForeignKey("sources.id"), nullable=False),
    Column("folder_id", Integer, ForeignKey("folders.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("doc_key", BLOB, nullable=False, unique=True),
    Column("state", Text, nullable=False),
    Column("reason", Text),  # why it is skipped; `kept`: it is missing, and stays
    Column("detail", Text),
    Column("size", Integer, nullable=False),
    Column("mtime_ns", Integer, nullable=False),
    Column("inode", Integer, nullable=False),
    Column("content_hash", BLOB),
    Column("missing_at", Integer),
    Column("moved_from", Text),  # path it had before, where a move was recognised
    Column("ctime_ns", Integer),  # null: last looked at by an older release
    UniqueConstraint("folder_id", "name"),
    _state(states.Document),
    CheckConstraint("state != 'skipped' OR reason IS NOT NULL", name="skipped_says_why"),
    CheckConstraint("state != 'missing' OR missing_at IS NOT NULL", name="missing_says_since"),
)
Index("ix_documents_content_hash", documents.c.content_hash)
_index(
    "ix_documents_moved_from", documents.c.source_id, documents.c.moved_from, where="moved_from IS NOT NULL"
)
_index("ix_documents_not_present", documents.c.source_id, documents.c.state, where="state != 'present'")
NOT_PRESENT = documents.c.state != literal_column("'present'")
"""The condition of that index, beside a narrower one: SQLite takes it where it stands, and draws no conclusions."""

versions = _table(
    "versions",
    Column("id", Integer, primary_key=True),
    Column("document_id", Integer, ForeignKey("documents.id"), nullable=False),
    Column("source_id", Integer, ForeignKey("sources.id"), nullable=False),
    Column("profile_id", Integer, ForeignKey("profiles.id"), nullable=False),
    Column("content_hash", BLOB, nullable=False),
    Column("splitter", Text, nullable=False),  # fingerprint of the form that read and split it
    Column("state", Text, nullable=False),
    Column("chunks", Integer, nullable=False),
    Column("open_chunks", Integer, nullable=False),  # whose embedding is neither held nor failed
    Column("failed_chunks", Integer, nullable=False),
    Column("seen_at", Integer, nullable=False),
    Column("modified_at", Integer, nullable=False),
    Column("published_at", Integer),
    Column("publication_id", Integer, ForeignKey("publications.id")),  # being published by, or by last
    Column("retire", Integer, nullable=False, server_default="0"),  # its rows are to leave the table
    Column(
        "doubtful", Integer, nullable=False, server_default="0"
    ),  # published: the table may show it, or another
    Column("title", Text, nullable=False),
    Column("sections", Text, nullable=False),  # JSON: distinct section paths, chunks point into it
    Column("metadata", Text, nullable=False),  # JSON
    Column("text_hash", BLOB),  # of the text that was split; null: by an older release
    Column(
        "reading", Text
    ),  # JSON: what its reader was told, its address, its places; null: nothing of these
    Column(
        "headers", Text
    ),  # JSON: what goes before the chunks of each section to the provider; null: nothing
    _state(states.Version),
    CheckConstraint("state != 'published' OR published_at IS NOT NULL", name="published_says_when"),
    CheckConstraint("open_chunks >= 0 AND failed_chunks >= 0", name="counts"),
)
_index("uq_versions_wanted", versions.c.document_id, where="state IN ('waiting', 'ready')", unique=True)
_index("uq_versions_published", versions.c.document_id, where="state = 'published'", unique=True)
Index("ix_versions_document_id", versions.c.document_id)
_index(
    "ix_versions_unpublished", versions.c.state, versions.c.source_id, where="state IN ('waiting', 'ready')"
)

Index("ix_versions_publication_id", versions.c.publication_id)
_index("ix_versions_retire", versions.c.id, where="retire = 1")

texts = _table(
    "texts",
    Column("version_id", Integer, ForeignKey("versions.id"), primary_key=True),
    Column("body", BLOB, nullable=False),  # zstd of the decoded file in UTF-8
)

embeddings = _table(
    "embeddings",
    Column("id", Integer, primary_key=True),
    Column("key", BLOB, nullable=False, unique=True),
    Column("profile_id", Integer, ForeignKey("profiles.id"), nullable=False),
    Column("state", Integer, nullable=False),
    Column("vectors", Integer, nullable=False, server_default="1"),
    Column("tokens", Integer, nullable=False),  # exact, or estimated and over-counted
    Column("attempts", Integer, nullable=False, server_default="0"),  # sent and not answered with vectors
    Column("refusals", Integer, nullable=False, server_default="0"),  # was in a job that failed validation
    Column("wanted_at", Integer, nullable=False),
    Column("pack_id", Integer, ForeignKey("packs.id")),
    Column("pack_row", Integer),
    CheckConstraint(f"state BETWEEN {WANTED} AND {DROPPED}", name="state"),
    CheckConstraint(f"(state = {HELD}) = (pack_id IS NOT NULL)", name="held_has_a_pack"),
)
# covers what the backlog is asked for many times a turn
_index(
    "ix_embeddings_wanted",
    embeddings.c.profile_id,
    embeddings.c.refusals,
    embeddings.c.id,
    embeddings.c.tokens,
    embeddings.c.wanted_at,
    where=f"state = {WANTED}",
)
_index("ix_embeddings_dropped", embeddings.c.id, where=f"state = {DROPPED}")
_index("ix_embeddings_failed", embeddings.c.id, where=f"state = {FAILED}")
_index("ix_embeddings_packed", embeddings.c.id, where=f"state = {PACKED}")


def _chunks(name: str) -> Table:
    return _table(
        name,
        Column("version_id", Integer, ForeignKey("versions.id"), nullable=False),
        Column("ordinal", Integer, nullable=False),
        Column("embedding_id", Integer, ForeignKey("embeddings.id"), nullable=False),
        Column("slot", Integer, nullable=False),
        Column("start", Integer, nullable=False),
        Column("end", Integer, nullable=False),
        Column("section", Integer, nullable=False),
        Column("tokens", Integer, nullable=False),
        PrimaryKeyConstraint("version_id", "ordinal"),
        rowid=False,
    )


chunks = _chunks("chunks")
Index("ix_chunks_embedding_id", chunks.c.embedding_id)

# The chunks of the versions that the table showed before a `reprofile`, as long as it can be switched back.
shelf = _chunks("shelf")

batches = _table(
    "batches",
    Column("id", Integer, primary_key=True),
    Column("ref", Text, nullable=False, unique=True),
    Column("state", Text, nullable=False),
    Column("profile_id", Integer, ForeignKey("profiles.id"), nullable=False),
    Column("inputs", Integer, nullable=False),
    Column("tokens_estimated", Integer, nullable=False),
    Column("usd_per_million", REAL),  # at the time of assembling; null: price unknown
    Column("request_params", Text, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("spool_bytes", Integer),
    Column("spool_sha256", Text),
    Column("input_file_id", Text),
    Column("remote_id", Text),
    Column("remote_status", Text),
    Column("output_file_id", Text),
    Column("error_file_id", Text),
    Column("submitted_at", Integer),
    Column("remote_created_at", Integer),
    Column("deadline_at", Integer),
    Column("remote_total", Integer),
    Column("remote_completed", Integer),
    Column("remote_failed", Integer),
    Column("due_at", Integer, nullable=False, server_default="0"),  # not before: next try or poll
    Column("failures", Integer, nullable=False, server_default="0"),  # in a row, for back-off
    Column("ended_at", Integer),
    Column("collected_at", Integer),
    Column("tokens_settled", Integer),
    Column("reason", Text),
    Column("hint", Text),
    Column("cancel_asked_at", Integer),
    Column("code", Text),  # why it is parked, or the policy by which it waits after a failure: see retry.py
    Column("error", Text),  # its last error, in words; null when its last call succeeded
    Column("failing_since", Integer),
    Column("mode", Text, nullable=False, server_default="batch"),
    Column("order_ref", Text),  # the request of an operator that it carries out
    Column("asked_by", Text),
    Column("document_id", Integer, ForeignKey("documents.id")),  # what that request is about
    Column("fresh_documents", Integer),  # of the fresh lane: for how many documents it counts; else null
    _state(states.Batch),
    CheckConstraint("mode IN ('batch', 'sync')", name="mode"),
    CheckConstraint(
        "mode = 'sync' OR state NOT IN ('uploaded', 'creating', 'running') OR input_file_id IS NOT NULL",
        name="uploaded_has_a_file",
    ),
    CheckConstraint(
        "mode = 'sync' OR state NOT IN ('running', 'ended') OR remote_id IS NOT NULL",
        name="running_has_an_id",
    ),
    CheckConstraint(
        "mode = 'batch' OR state NOT IN ('uploading', 'uploaded', 'running')", name="sync_has_no_job"
    ),
    CheckConstraint("state != 'parked' OR (reason IS NOT NULL AND hint IS NOT NULL)", name="parked_says_why"),
)
_index("ix_batches_open", batches.c.state, where="state != 'closed'")
Index("ix_batches_remote_id", batches.c.remote_id)
_index("ix_batches_order_ref", batches.c.order_ref, where="order_ref IS NOT NULL")
_index("ix_batches_fresh", batches.c.created_at, where="fresh_documents IS NOT NULL")
_index("ix_batches_document_id", batches.c.document_id, where="document_id IS NOT NULL")

attempts = _table(
    "attempts",
    Column("id", Integer, primary_key=True),
    Column("batch_id", Integer, ForeignKey("batches.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("sent_at", Integer, nullable=False),
    Column("vendor_sent_at", Integer),  # by the provider's clock; null where it does not tell
    Column("epoch", Integer, nullable=False),
    Column("input_file_id", Text),  # null: of a batch of mode sync, which uploads nothing
    Column("closed_at", Integer),
    Column("detail", Text),
    UniqueConstraint("batch_id", "number"),
    _state(states.Attempt),
    CheckConstraint("(state = 'open') = (closed_at IS NULL)", name="closed_says_when"),
)

lines = _table(
    "lines",
    Column("batch_id", Integer, ForeignKey("batches.id"), nullable=False),
    Column("line", Integer, nullable=False),  # 0-based line of the input file
    Column("embedding_id", Integer, ForeignKey("embeddings.id"), nullable=False),
    Column("outcome", Integer, nullable=False, server_default="0"),
    Column("tokens", Integer),  # as billed
    Column("detail", Text),
    Column("source_id", Integer, ForeignKey("sources.id")),  # that of its first chunk when it was assembled
    Column("assumed", Integer, nullable=False, server_default="0"),  # its answer does not say what it billed
    PrimaryKeyConstraint("batch_id", "line"),
    rowid=False,
)
Index("ix_lines_embedding_id", lines.c.embedding_id)

segments = _table(
    "packs",
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("profile_id", Integer, ForeignKey("profiles.id"), nullable=False),
    Column("batch_id", Integer, ForeignKey("batches.id")),
    Column("rows", Integer, nullable=False),
    Column("bytes", Integer, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("created_at", Integer, nullable=False),
)

remote_files = _table(
    "remote_files",
    Column("file_id", Text, primary_key=True),
    Column("batch_id", Integer, ForeignKey("batches.id")),
    Column("purpose", Text, nullable=False),
    Column("bytes", Integer),
    Column("seen_at", Integer, nullable=False),
    Column("deleted_at", Integer),
    Column("due_at", Integer, nullable=False, server_default="0"),
    Column("failures", Integer, nullable=False, server_default="0"),
    rowid=False,
)
_index("ix_remote_files_live", remote_files.c.batch_id, where="deleted_at IS NULL")

downloads = _table(
    "downloads",
    Column("batch_id", Integer, ForeignKey("batches.id"), nullable=False),
    Column("kind", Text, nullable=False),  # output or error
    Column("bytes", Integer, nullable=False),
    Column("sha256", Text, nullable=False),
    PrimaryKeyConstraint("batch_id", "kind"),
    rowid=False,
)

publications = _table(
    "publications",
    Column("id", Integer, primary_key=True),
    Column("kind", Text, nullable=False),  # append, flip, delete or format
    Column("started_at", Integer, nullable=False),
    Column("done_at", Integer),
    Column("table_version", Integer),
    Column("documents", Integer, nullable=False),
    Column("rows", Integer),
)
_index("ix_publications_open", publications.c.id, where="done_at IS NULL")

spend = _table(
    "spend",
    Column("id", Integer, primary_key=True),
    Column("batch_id", Integer, ForeignKey("batches.id")),
    Column("at", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("tokens", Integer, nullable=False),
    Column("usd", REAL),
    Column("source_id", Integer, ForeignKey("sources.id")),  # null: not known
    Column("assumed", Integer, nullable=False, server_default="0"),  # of its tokens, those no answer reported
    CheckConstraint(
        "kind IN ('reserved', 'released', 'settled', 'saved', 'query', 'expedited', 'maybe_paid')",
        name="kind",
    ),
)
Index("ix_spend_at", spend.c.at)
Index("ix_spend_batch_id", spend.c.batch_id)

circuits = _table(
    "lanes",
    Column("name", Text, primary_key=True),
    Column("until_at", Integer, nullable=False),  # closed until then
    Column("failures", Integer, nullable=False),
    Column("since_at", Integer, nullable=False),
    Column("code", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("hint", Text),
    rowid=False,
)

# The last error of each step, and what is counted forever: see troubles.py.
last_errors = _table(
    "troubles",
    Column("step", Text, primary_key=True),
    Column("code", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("hint", Text),
    Column("times", Integer, nullable=False),  # in a row
    Column("first_at", Integer, nullable=False),
    Column("last_at", Integer, nullable=False),
    Column("over_at", Integer),
    rowid=False,
)

counters = _table(
    "counters",
    Column("name", Text, primary_key=True),
    Column("value", Integer, nullable=False),
    rowid=False,
)

requests = _table(
    "requests",
    Column("id", Integer, primary_key=True),
    Column("asked_at", Integer, nullable=False),
    Column("who", Text, nullable=False),
    Column("command", Text, nullable=False),
    Column("arguments", Text, nullable=False),  # JSON
    Column("done_at", Integer),
    Column("result", Text),  # JSON
)
_index("ix_requests_open", requests.c.id, where="done_at IS NULL")

transitions = _table(
    "transitions",
    Column("id", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("subject", Integer, nullable=False),  # id of the row; 0 for a set of embeddings
    Column("origin", Text),  # null when it comes into being
    Column("target", Text, nullable=False),
    Column("at", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("batch_id", Integer),
    Column("cause", Text, nullable=False),
)
Index("ix_transitions_subject", transitions.c.kind, transitions.c.subject)

daemon = _table(
    "daemon",
    Column("id", Integer, primary_key=True),
    Column("pid", Integer, nullable=False),
    Column("mode", Text, nullable=False),  # run or sync
    Column("started_at", Integer, nullable=False),
    Column("heartbeat_at", Integer, nullable=False),
    Column("step", Text),
    Column("stopped_at", Integer),
    CheckConstraint("id = 1", name="one_row"),
)

notices = _table(
    "notices",
    Column("id", Integer, primary_key=True),
    Column("token", Text, nullable=False, unique=True),  # the message's id
    Column("event", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("size", Integer),
    Column("ref", Text),
    Column("at", Integer, nullable=False),
    Column("over_at", Integer),  # null: the fact still holds
    Column("body", BLOB, nullable=False),  # the message, JSON
)
_index("uq_notices_open", notices.c.event, notices.c.key, where="over_at IS NULL", unique=True)

deliveries = _table(
    "deliveries",
    Column("notice_id", Integer, ForeignKey("notices.id"), nullable=False),
    Column("sink", Text, nullable=False),
    Column("due_at", Integer, nullable=False),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("done_at", Integer),  # taken, or given up
    Column("error", Text),  # of the last try; null: taken
    PrimaryKeyConstraint("notice_id", "sink"),
    rowid=False,
)
_index("ix_deliveries_waiting", deliveries.c.due_at, where="done_at IS NULL")
