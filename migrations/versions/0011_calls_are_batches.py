"""A synchronous call is a batch of mode `sync`: what `calls` and `call_lines` hold moves to where batches have it

`batches`, `attempts` and `spend` are made again, since SQLite cannot change a CHECK or a NOT NULL. What refers to a batch
is left as it is: its foreign keys are looked at when the transaction ends (`defer_foreign_keys`). Old calls stand before
every batch, with ids below 0, so that the latest line of a text stays the one that it is. What an answer billed as a whole
is spread over its lines by their tokens. A call that is open waits for the next start to give it its end, as it did.

Costs: a row for each batch, attempt and booking is written, and SQLite looks up what refers to a batch as its row goes and
comes: 0.1 s for a million lines in 20 batches, 0.2 s for 300,000 in 8,000.

Revision: 0011
After: 0010
"""

import textwrap

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

STATEMENTS = (
    "PRAGMA defer_foreign_keys = ON",
    # By which SQLite finds what refers to a batch that goes and comes; without them, thousands of batches take minutes.
    "CREATE INDEX for_now_packs ON packs (batch_id)",
    "CREATE INDEX for_now_remote_files ON remote_files (batch_id)",
    # --- batches ---
    "CREATE TEMP TABLE kept AS SELECT * FROM batches",
    "DROP TABLE batches",
    """
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
        document_id INTEGER,
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
     STRICT
    """,
    """
    INSERT INTO batches (
        id, ref, state, profile_id, inputs, tokens_estimated, usd_per_million, request_params, created_at,
        spool_bytes, spool_sha256, input_file_id, remote_id, remote_status, output_file_id, error_file_id,
        submitted_at, remote_created_at, deadline_at, remote_total, remote_completed, remote_failed, due_at,
        failures, ended_at, collected_at, tokens_settled, reason, hint, cancel_asked_at, code, error,
        failing_since
    )
    SELECT
        id, ref, state, profile_id, inputs, tokens_estimated, usd_per_million, request_params, created_at,
        spool_bytes, spool_sha256, input_file_id, remote_id, remote_status, output_file_id, error_file_id,
        submitted_at, remote_created_at, deadline_at, remote_total, remote_completed, remote_failed, due_at,
        failures, ended_at, collected_at, tokens_settled, reason, hint, cancel_asked_at, code, error,
        failing_since
    FROM kept
    """,
    "DROP TABLE kept",
    "DROP INDEX for_now_packs",
    "DROP INDEX for_now_remote_files",
    "CREATE INDEX ix_batches_open ON batches (state) WHERE state != 'closed'",
    "CREATE INDEX ix_batches_remote_id ON batches (remote_id)",
    "CREATE INDEX ix_batches_order_ref ON batches (order_ref) WHERE order_ref IS NOT NULL",
    "CREATE INDEX ix_batches_document_id ON batches (document_id) WHERE document_id IS NOT NULL",
    # --- attempts ---
    """
    CREATE TABLE attempts_anew (
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
     STRICT
    """,
    """
    INSERT INTO attempts_anew (
        id, batch_id, number, state, sent_at, vendor_sent_at, epoch, input_file_id, closed_at, detail
    )
    SELECT
        id, batch_id, number, state, sent_at, vendor_sent_at, epoch, input_file_id, closed_at, detail
    FROM attempts
    """,
    "DROP TABLE attempts",
    "ALTER TABLE attempts_anew RENAME TO attempts",
    # --- calls become batches, each with one attempt ---
    "CREATE TEMP TABLE moved AS SELECT id AS call_id, id - 1 - MAX(id) OVER () AS batch_id,"
    " id + (SELECT COALESCE(MAX(id), 0) FROM attempts) AS attempt_id FROM calls",
    "INSERT INTO batches (id, ref, state, profile_id, inputs, tokens_estimated, usd_per_million, request_params,"
    " created_at, ended_at, collected_at, tokens_settled, reason, mode, order_ref, asked_by, document_id)"
    " SELECT m.batch_id, c.ref, CASE c.state WHEN 'open' THEN 'creating' ELSE 'closed' END, c.profile_id, c.inputs,"
    " c.tokens_estimated, c.usd_per_million, '{}', c.sent_at,"
    " CASE WHEN c.state != 'not_happened' THEN c.closed_at END, CASE c.state WHEN 'answered' THEN c.closed_at END,"
    " CASE c.state WHEN 'answered' THEN c.tokens_billed END, CASE WHEN c.state != 'answered' THEN c.detail END,"
    " 'sync', c.order_ref, c.who, c.document_id FROM calls c JOIN moved m ON m.call_id = c.id",
    """
    INSERT INTO attempts (id, batch_id, number, state, sent_at, epoch, closed_at, detail)
    SELECT m.attempt_id, m.batch_id, 1,
        CASE c.state WHEN 'answered' THEN 'created' WHEN 'unknown' THEN 'lost' ELSE c.state END,
        c.sent_at, c.epoch, c.closed_at, c.detail
    FROM calls c JOIN moved m ON m.call_id = c.id
    """,
    # TOTAL is a real number, which cannot overflow.
    """
    INSERT INTO lines (batch_id, line, embedding_id, outcome, tokens, detail, source_id, assumed)
    SELECT batch_id, line, embedding_id, outcome,
        CASE WHEN state = 'answered' AND of_all > 0
            THEN CAST(billed * (up_to / of_all) AS INTEGER) - CAST(billed * (before / of_all) AS INTEGER) END,
        detail, source_id, CASE state WHEN 'answered' THEN assumed ELSE 0 END
    FROM (
        SELECT m.batch_id, l.line, l.embedding_id, l.outcome, l.detail, c.source_id, c.state, c.assumed,
            c.tokens_billed AS billed, TOTAL(e.tokens) OVER (PARTITION BY l.call_id) AS of_all,
            TOTAL(e.tokens) OVER (PARTITION BY l.call_id ORDER BY l.line) AS up_to,
            TOTAL(e.tokens) OVER (PARTITION BY l.call_id ORDER BY l.line
                ROWS UNBOUNDED PRECEDING EXCLUDE CURRENT ROW) AS before
        FROM call_lines l JOIN calls c ON c.id = l.call_id JOIN moved m ON m.call_id = c.id
            JOIN embeddings e ON e.id = l.embedding_id
    )
    """,
    "UPDATE embeddings SET state = 1 WHERE state = 0 AND id IN (SELECT l.embedding_id FROM call_lines l"
    " JOIN calls c ON c.id = l.call_id WHERE c.state = 'open')",
    # A pack's name is that of its folder, 12 digits, and the ref.
    "UPDATE packs SET batch_id = (SELECT b.id FROM batches b WHERE b.mode = 'sync'"
    "  AND b.ref = REPLACE(SUBSTR(packs.name, 14), '.arrow', '')) WHERE batch_id IS NULL",
    # --- money ---
    """
    CREATE TABLE spend_anew (
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
     STRICT
    """,
    "INSERT INTO spend_anew (id, batch_id, at, kind, tokens, usd, source_id, assumed)"
    " SELECT s.id, COALESCE(s.batch_id, m.batch_id), s.at, s.kind, s.tokens, s.usd, s.source_id, s.assumed"
    " FROM spend s LEFT JOIN moved m ON m.call_id = s.call_id",
    "DROP TABLE spend",
    "ALTER TABLE spend_anew RENAME TO spend",
    "CREATE INDEX ix_spend_at ON spend (at)",
    "CREATE INDEX ix_spend_batch_id ON spend (batch_id)",
    # --- history ---
    """
    UPDATE transitions SET kind = 'attempt',
        origin = CASE origin WHEN 'answered' THEN 'created' WHEN 'unknown' THEN 'lost' ELSE origin END,
        target = CASE target WHEN 'answered' THEN 'created' WHEN 'unknown' THEN 'lost' ELSE target END,
        batch_id = (SELECT m.batch_id FROM moved m WHERE m.call_id = transitions.subject),
        subject = (SELECT m.attempt_id FROM moved m WHERE m.call_id = transitions.subject)
    WHERE kind = 'call'
    """,
    """
    INSERT INTO transitions (kind, subject, origin, target, at, epoch, batch_id, cause)
    WITH ways (step, outcome, origin, target) AS (VALUES
        (1, NULL, NULL, 'packed'), (2, NULL, 'packed', 'spooled'), (3, NULL, 'spooled', 'creating'),
        (4, 'answered', 'creating', 'ended'), (5, 'answered', 'ended', 'collected'),
        (6, 'answered', 'collected', 'closed'), (4, 'not_happened', 'creating', 'spooled'),
        (5, 'not_happened', 'spooled', 'cancelled'), (6, 'not_happened', 'cancelled', 'closed'),
        (4, 'unknown', 'creating', 'cancelled'), (5, 'unknown', 'cancelled', 'closed'))
    SELECT 'batch', m.batch_id, w.origin, w.target, CASE WHEN w.step < 4 THEN c.sent_at ELSE c.closed_at END, c.epoch,
        m.batch_id, CASE WHEN w.step = 1 THEN c.inputs || ' inputs, sent at once, asked for by ' || c.who
            WHEN w.step < 4 THEN 'attempt 1' ELSE COALESCE(c.detail, '') END
    FROM calls c JOIN moved m ON m.call_id = c.id JOIN ways w ON COALESCE(w.outcome, c.state) = c.state
    ORDER BY c.id, w.step
    """,
    "DROP TABLE call_lines",
    "DROP TABLE calls",
    "DROP TABLE moved",
)


def upgrade():
    for statement in STATEMENTS:
        op.execute(textwrap.dedent(statement).strip())


def downgrade():
    raise RuntimeError("voyage-jobs does not go back: restore the backup made before the upgrade.")
