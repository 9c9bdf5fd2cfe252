-- made by `python -m tests.new_state --write` out of the migrations
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
CREATE TABLE daemon (
    id INTEGER NOT NULL,
    pid INTEGER NOT NULL,
    mode TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    heartbeat_at INTEGER NOT NULL,
    step TEXT,
    stopped_at INTEGER,
    PRIMARY KEY (id),
    CONSTRAINT ck_daemon_one_row CHECK (id = 1)
)
 STRICT;
CREATE TABLE lanes (
    name TEXT NOT NULL,
    until_at INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    since_at INTEGER NOT NULL,
    code TEXT NOT NULL,
    message TEXT NOT NULL,
    hint TEXT,
    PRIMARY KEY (name)
)
 WITHOUT ROWID,
 STRICT;
CREATE TABLE meta (
    "key" TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY ("key")
)
 WITHOUT ROWID,
 STRICT;
CREATE TABLE profiles (
    id INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT uq_profiles_fingerprint UNIQUE (fingerprint)
)
 STRICT;
CREATE TABLE publications (
    id INTEGER NOT NULL,
    kind TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    done_at INTEGER,
    table_version INTEGER,
    documents INTEGER NOT NULL,
    rows INTEGER,
    PRIMARY KEY (id)
)
 STRICT;
CREATE INDEX ix_publications_open ON publications (id) WHERE done_at IS NULL;
CREATE TABLE requests (
    id INTEGER NOT NULL,
    asked_at INTEGER NOT NULL,
    who TEXT NOT NULL,
    command TEXT NOT NULL,
    arguments TEXT NOT NULL,
    done_at INTEGER,
    result TEXT,
    PRIMARY KEY (id)
)
 STRICT;
CREATE INDEX ix_requests_open ON requests (id) WHERE done_at IS NULL;
CREATE TABLE transitions (
    id INTEGER NOT NULL,
    kind TEXT NOT NULL,
    subject INTEGER NOT NULL,
    origin TEXT,
    target TEXT NOT NULL,
    at INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    batch_id INTEGER,
    cause TEXT NOT NULL,
    PRIMARY KEY (id)
)
 STRICT;
CREATE INDEX ix_transitions_subject ON transitions (kind, subject);
CREATE TABLE sources (
    id INTEGER NOT NULL,
    name TEXT NOT NULL,
    path TEXT NOT NULL,
    state TEXT NOT NULL,
    frozen_reason TEXT,
    configured INTEGER NOT NULL,
    device INTEGER,
    inode INTEGER,
    rules_fingerprint TEXT,
    splitter_fingerprint TEXT,
    profile_id INTEGER,
    scanned_at INTEGER,
    scan_due_at INTEGER DEFAULT '0' NOT NULL,
    confirmed_at INTEGER, defaults INTEGER DEFAULT '0' NOT NULL, documents INTEGER DEFAULT '0' NOT NULL, published INTEGER DEFAULT '0' NOT NULL, published_chunks INTEGER DEFAULT '0' NOT NULL, published_failed INTEGER DEFAULT '0' NOT NULL, doubtful INTEGER DEFAULT '0' NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT ck_sources_state CHECK (state IN ('active', 'frozen')),
    CONSTRAINT ck_sources_frozen_says_why CHECK (state != 'frozen' OR frozen_reason IS NOT NULL),
    CONSTRAINT uq_sources_name UNIQUE (name),
    FOREIGN KEY(profile_id) REFERENCES profiles (id)
)
 STRICT;
CREATE TABLE downloads (
    batch_id INTEGER NOT NULL,
    kind TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    PRIMARY KEY (batch_id, kind),
    FOREIGN KEY(batch_id) REFERENCES batches (id)
)
 WITHOUT ROWID,
 STRICT;
CREATE TABLE packs (
    id INTEGER NOT NULL,
    name TEXT NOT NULL,
    profile_id INTEGER NOT NULL,
    batch_id INTEGER,
    rows INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT uq_packs_name UNIQUE (name),
    FOREIGN KEY(profile_id) REFERENCES profiles (id),
    FOREIGN KEY(batch_id) REFERENCES batches (id)
)
 STRICT;
CREATE TABLE remote_files (
    file_id TEXT NOT NULL,
    batch_id INTEGER,
    purpose TEXT NOT NULL,
    bytes INTEGER,
    seen_at INTEGER NOT NULL,
    deleted_at INTEGER,
    due_at INTEGER DEFAULT '0' NOT NULL,
    failures INTEGER DEFAULT '0' NOT NULL,
    PRIMARY KEY (file_id),
    FOREIGN KEY(batch_id) REFERENCES batches (id)
)
 WITHOUT ROWID,
 STRICT;
CREATE INDEX ix_remote_files_live ON remote_files (batch_id) WHERE deleted_at IS NULL;
CREATE TABLE documents (
    id INTEGER NOT NULL,
    source_id INTEGER NOT NULL,
    folder_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    doc_key BLOB NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    detail TEXT,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    content_hash BLOB,
    missing_at INTEGER,
    moved_from TEXT, ctime_ns INTEGER,
    PRIMARY KEY (id),
    CONSTRAINT uq_documents_folder_id_name UNIQUE (folder_id, name),
    CONSTRAINT ck_documents_state CHECK (state IN ('present', 'missing', 'gone', 'skipped')),
    CONSTRAINT ck_documents_skipped_says_why CHECK (state != 'skipped' OR reason IS NOT NULL),
    CONSTRAINT ck_documents_missing_says_since CHECK (state != 'missing' OR missing_at IS NOT NULL),
    FOREIGN KEY(source_id) REFERENCES sources (id),
    FOREIGN KEY(folder_id) REFERENCES folders (id),
    CONSTRAINT uq_documents_doc_key UNIQUE (doc_key)
)
 STRICT;
CREATE INDEX ix_documents_content_hash ON documents (content_hash);
CREATE INDEX ix_documents_moved_from ON documents (source_id, moved_from)
 WHERE moved_from IS NOT NULL;
CREATE INDEX ix_documents_not_present ON documents (source_id, state) WHERE state != 'present';
CREATE TABLE embeddings (
    id INTEGER NOT NULL,
    "key" BLOB NOT NULL,
    profile_id INTEGER NOT NULL,
    state INTEGER NOT NULL,
    vectors INTEGER DEFAULT '1' NOT NULL,
    tokens INTEGER NOT NULL,
    attempts INTEGER DEFAULT '0' NOT NULL,
    refusals INTEGER DEFAULT '0' NOT NULL,
    wanted_at INTEGER NOT NULL,
    pack_id INTEGER,
    pack_row INTEGER,
    PRIMARY KEY (id),
    CONSTRAINT ck_embeddings_state CHECK (state BETWEEN 0 AND 4),
    CONSTRAINT ck_embeddings_held_has_a_pack CHECK ((state = 2) = (pack_id IS NOT NULL)),
    CONSTRAINT uq_embeddings_key UNIQUE ("key"),
    FOREIGN KEY(profile_id) REFERENCES profiles (id),
    FOREIGN KEY(pack_id) REFERENCES packs (id)
)
 STRICT;
CREATE INDEX ix_embeddings_failed ON embeddings (id) WHERE state = 3;
CREATE INDEX ix_embeddings_packed ON embeddings (id) WHERE state = 1;
CREATE TABLE lines (
    batch_id INTEGER NOT NULL,
    line INTEGER NOT NULL,
    embedding_id INTEGER NOT NULL,
    outcome INTEGER DEFAULT '0' NOT NULL,
    tokens INTEGER,
    detail TEXT, source_id INTEGER REFERENCES sources (id), assumed INTEGER DEFAULT '0' NOT NULL,
    PRIMARY KEY (batch_id, line),
    FOREIGN KEY(batch_id) REFERENCES batches (id),
    FOREIGN KEY(embedding_id) REFERENCES embeddings (id)
)
 WITHOUT ROWID,
 STRICT;
CREATE INDEX ix_lines_embedding_id ON lines (embedding_id);
CREATE TABLE versions (
    id INTEGER NOT NULL,
    document_id INTEGER NOT NULL,
    source_id INTEGER NOT NULL,
    profile_id INTEGER NOT NULL,
    content_hash BLOB NOT NULL,
    splitter TEXT NOT NULL,
    state TEXT NOT NULL,
    chunks INTEGER NOT NULL,
    open_chunks INTEGER NOT NULL,
    failed_chunks INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    modified_at INTEGER NOT NULL,
    published_at INTEGER,
    publication_id INTEGER,
    retire INTEGER DEFAULT '0' NOT NULL,
    doubtful INTEGER DEFAULT '0' NOT NULL,
    title TEXT NOT NULL,
    sections TEXT NOT NULL,
    metadata TEXT NOT NULL, text_hash BLOB, reading TEXT, headers TEXT,
    PRIMARY KEY (id),
    CONSTRAINT ck_versions_state CHECK (state IN ('waiting', 'ready', 'published', 'retired', 'superseded')),
    CONSTRAINT ck_versions_published_says_when CHECK (state != 'published' OR published_at IS NOT NULL),
    CONSTRAINT ck_versions_counts CHECK (open_chunks >= 0 AND failed_chunks >= 0),
    FOREIGN KEY(document_id) REFERENCES documents (id),
    FOREIGN KEY(source_id) REFERENCES sources (id),
    FOREIGN KEY(profile_id) REFERENCES profiles (id),
    FOREIGN KEY(publication_id) REFERENCES publications (id)
)
 STRICT;
CREATE INDEX ix_versions_document_id ON versions (document_id);
CREATE INDEX ix_versions_publication_id ON versions (publication_id);
CREATE INDEX ix_versions_retire ON versions (id) WHERE retire = 1;
CREATE INDEX ix_versions_unpublished ON versions (state, source_id) WHERE state IN ('waiting', 'ready');
CREATE UNIQUE INDEX uq_versions_published ON versions (document_id) WHERE state = 'published';
CREATE UNIQUE INDEX uq_versions_wanted ON versions (document_id) WHERE state IN ('waiting', 'ready');
CREATE TABLE chunks (
    version_id INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    embedding_id INTEGER NOT NULL,
    slot INTEGER NOT NULL,
    start INTEGER NOT NULL,
    "end" INTEGER NOT NULL,
    section INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    PRIMARY KEY (version_id, ordinal),
    FOREIGN KEY(version_id) REFERENCES versions (id),
    FOREIGN KEY(embedding_id) REFERENCES embeddings (id)
)
 WITHOUT ROWID,
 STRICT;
CREATE INDEX ix_chunks_embedding_id ON chunks (embedding_id);
CREATE TABLE texts (
    version_id INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (version_id),
    FOREIGN KEY(version_id) REFERENCES versions (id)
)
 STRICT;
CREATE INDEX ix_embeddings_wanted ON embeddings (profile_id, refusals, id, tokens, wanted_at) WHERE state = 0;
CREATE INDEX ix_embeddings_dropped ON embeddings (id) WHERE state = 4;
CREATE TABLE troubles (step TEXT NOT NULL PRIMARY KEY, code TEXT NOT NULL, message TEXT NOT NULL, hint TEXT, times INTEGER NOT NULL, first_at INTEGER NOT NULL, last_at INTEGER NOT NULL, over_at INTEGER) STRICT, WITHOUT ROWID;
CREATE TABLE counters (name TEXT NOT NULL PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE notices (
    id INTEGER NOT NULL,
    token TEXT NOT NULL,
    event TEXT NOT NULL,
    key TEXT NOT NULL,
    size INTEGER,
    ref TEXT,
    at INTEGER NOT NULL,
    over_at INTEGER,
    body BLOB NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT uq_notices_token UNIQUE (token)
) STRICT;
CREATE UNIQUE INDEX uq_notices_open ON notices (event, key) WHERE over_at IS NULL;
CREATE TABLE deliveries (
    notice_id INTEGER NOT NULL,
    sink TEXT NOT NULL,
    due_at INTEGER NOT NULL,
    failures INTEGER DEFAULT '0' NOT NULL,
    done_at INTEGER,
    error TEXT,
    PRIMARY KEY (notice_id, sink),
    FOREIGN KEY(notice_id) REFERENCES notices (id)
) WITHOUT ROWID, STRICT;
CREATE INDEX ix_deliveries_waiting ON deliveries (due_at) WHERE done_at IS NULL;
CREATE TABLE shelf (
        version_id INTEGER NOT NULL,
        ordinal INTEGER NOT NULL,
        embedding_id INTEGER NOT NULL,
        slot INTEGER NOT NULL,
        start INTEGER NOT NULL,
        "end" INTEGER NOT NULL,
        section INTEGER NOT NULL,
        tokens INTEGER NOT NULL,
        PRIMARY KEY (version_id, ordinal),
        FOREIGN KEY(version_id) REFERENCES versions (id),
        FOREIGN KEY(embedding_id) REFERENCES embeddings (id)
    )
     WITHOUT ROWID,
     STRICT
;
CREATE TABLE batches (
    id INTEGER NOT NULL,
    ref TEXT NOT NULL,
    state TEXT NOT NULL,
    profile_id INTEGER NOT NULL,
    inputs INTEGER NOT NULL,
    tokens_estimated INTEGER NOT NULL,
    usd_per_million REAL,
    request_params TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    spool_bytes INTEGER,
    spool_sha256 TEXT,
    input_file_id TEXT,
    remote_id TEXT,
    remote_status TEXT,
    output_file_id TEXT,
    error_file_id TEXT,
    submitted_at INTEGER,
    remote_created_at INTEGER,
    deadline_at INTEGER,
    remote_total INTEGER,
    remote_completed INTEGER,
    remote_failed INTEGER,
    due_at INTEGER DEFAULT '0' NOT NULL,
    failures INTEGER DEFAULT '0' NOT NULL,
    ended_at INTEGER,
    collected_at INTEGER,
    tokens_settled INTEGER,
    reason TEXT,
    hint TEXT,
    cancel_asked_at INTEGER,
    code TEXT,
    error TEXT,
    failing_since INTEGER,
    mode TEXT DEFAULT 'batch' NOT NULL,
    order_ref TEXT,
    asked_by TEXT,
    document_id INTEGER, fresh_documents INTEGER,
    PRIMARY KEY (id),
    CONSTRAINT ck_batches_state CHECK (state IN ('packed', 'spooled', 'uploading', 'uploaded', 'creating',
        'running', 'ended', 'collected', 'closed', 'refused', 'parked', 'cancelled')),
    CONSTRAINT ck_batches_mode CHECK (mode IN ('batch', 'sync')),
    CONSTRAINT ck_batches_uploaded_has_a_file CHECK (
        mode = 'sync' OR state NOT IN ('uploaded', 'creating', 'running') OR input_file_id IS NOT NULL),
    CONSTRAINT ck_batches_running_has_an_id CHECK (
        mode = 'sync' OR state NOT IN ('running', 'ended') OR remote_id IS NOT NULL),
    CONSTRAINT ck_batches_sync_has_no_job CHECK (
        mode = 'batch' OR state NOT IN ('uploading', 'uploaded', 'running')),
    CONSTRAINT ck_batches_parked_says_why CHECK (
        state != 'parked' OR (reason IS NOT NULL AND hint IS NOT NULL)),
    CONSTRAINT uq_batches_ref UNIQUE (ref),
    FOREIGN KEY(profile_id) REFERENCES profiles (id),
    FOREIGN KEY(document_id) REFERENCES documents (id)
)
 STRICT;
CREATE INDEX ix_batches_open ON batches (state) WHERE state != 'closed';
CREATE INDEX ix_batches_remote_id ON batches (remote_id);
CREATE INDEX ix_batches_order_ref ON batches (order_ref) WHERE order_ref IS NOT NULL;
CREATE INDEX ix_batches_document_id ON batches (document_id) WHERE document_id IS NOT NULL;
CREATE TABLE "attempts" (
    id INTEGER NOT NULL,
    batch_id INTEGER NOT NULL,
    number INTEGER NOT NULL,
    state TEXT NOT NULL,
    sent_at INTEGER NOT NULL,
    vendor_sent_at INTEGER,
    epoch INTEGER NOT NULL,
    input_file_id TEXT,
    closed_at INTEGER,
    detail TEXT,
    PRIMARY KEY (id),
    CONSTRAINT uq_attempts_batch_id_number UNIQUE (batch_id, number),
    CONSTRAINT ck_attempts_state CHECK (state IN ('open', 'created', 'refused', 'not_happened', 'lost')),
    CONSTRAINT ck_attempts_closed_says_when CHECK ((state = 'open') = (closed_at IS NULL)),
    FOREIGN KEY(batch_id) REFERENCES batches (id)
)
 STRICT;
CREATE TABLE "spend" (
    id INTEGER NOT NULL,
    batch_id INTEGER,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    tokens INTEGER NOT NULL,
    usd REAL,
    source_id INTEGER,
    assumed INTEGER DEFAULT '0' NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT ck_spend_kind CHECK (
        kind IN ('reserved', 'released', 'settled', 'saved', 'query', 'expedited', 'maybe_paid')),
    FOREIGN KEY(batch_id) REFERENCES batches (id),
    FOREIGN KEY(source_id) REFERENCES sources (id)
)
 STRICT;
CREATE INDEX ix_spend_at ON spend (at);
CREATE INDEX ix_spend_batch_id ON spend (batch_id);
CREATE TABLE folders (
        id INTEGER NOT NULL,
        source_id INTEGER NOT NULL,
        path TEXT NOT NULL,
        file TEXT DEFAULT '' NOT NULL,
        PRIMARY KEY (id),
        CONSTRAINT uq_folders_source_id_path_file UNIQUE (source_id, path, file),
        FOREIGN KEY(source_id) REFERENCES sources (id)
    )
     STRICT
    ;
CREATE TABLE record_files (
        folder_id INTEGER NOT NULL,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        inode INTEGER NOT NULL,
        ctime_ns INTEGER,
        content_hash BLOB,
        made_by TEXT,
        records INTEGER NOT NULL,
        left_out TEXT NOT NULL,
        reason TEXT,
        detail TEXT, reached TEXT,
        PRIMARY KEY (folder_id),
        FOREIGN KEY(folder_id) REFERENCES folders (id)
    )
     STRICT
    ;
CREATE INDEX ix_batches_fresh ON batches (created_at) WHERE fresh_documents IS NOT NULL;
CREATE TRIGGER tr_versions_born AFTER INSERT ON versions WHEN NEW.state = 'published' BEGIN UPDATE sources SET published = published + 1, published_failed = published_failed + NEW.failed_chunks, published_chunks = published_chunks + NEW.chunks - NEW.failed_chunks, doubtful = doubtful + NEW.doubtful WHERE id = NEW.source_id; END;
CREATE TRIGGER tr_versions_come AFTER UPDATE OF state, source_id, chunks, failed_chunks, doubtful ON versions WHEN NEW.state = 'published' BEGIN UPDATE sources SET published = published + 1, published_failed = published_failed + NEW.failed_chunks, published_chunks = published_chunks + NEW.chunks - NEW.failed_chunks, doubtful = doubtful + NEW.doubtful WHERE id = NEW.source_id; END;
CREATE TRIGGER tr_versions_go AFTER UPDATE OF state, source_id, chunks, failed_chunks, doubtful ON versions WHEN OLD.state = 'published' BEGIN UPDATE sources SET published = published - 1, published_failed = published_failed - OLD.failed_chunks, published_chunks = published_chunks - OLD.chunks + OLD.failed_chunks, doubtful = doubtful - OLD.doubtful WHERE id = OLD.source_id; END;
INSERT INTO "alembic_version" VALUES ('0020');
