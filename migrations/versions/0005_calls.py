"""Synchronous calls: what was asked for at once, at the full price, and what is booked for it

Revision: 0005
After: 0004
"""

import textwrap

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# SQLite cannot change a CHECK: the table of spend is made again, with the kinds that calls are booked as.
STATEMENTS = (
    """
    CREATE TABLE calls (
        id INTEGER NOT NULL,
        ref TEXT NOT NULL,
        order_ref TEXT NOT NULL,
        who TEXT NOT NULL,
        state TEXT NOT NULL,
        profile_id INTEGER NOT NULL,
        document_id INTEGER NOT NULL,
        source_id INTEGER NOT NULL,
        inputs INTEGER NOT NULL,
        tokens_estimated INTEGER NOT NULL,
        usd_per_million REAL,
        sent_at INTEGER NOT NULL,
        epoch INTEGER NOT NULL,
        closed_at INTEGER,
        tokens_billed INTEGER,
        detail TEXT,
        PRIMARY KEY (id),
        CONSTRAINT ck_calls_state CHECK (state IN ('open', 'answered', 'not_happened', 'unknown')),
        CONSTRAINT ck_calls_closed_says_when CHECK ((state = 'open') = (closed_at IS NULL)),
        CONSTRAINT uq_calls_ref UNIQUE (ref),
        FOREIGN KEY(profile_id) REFERENCES profiles (id),
        FOREIGN KEY(document_id) REFERENCES documents (id),
        FOREIGN KEY(source_id) REFERENCES sources (id)
    )
     STRICT
    """,
    "CREATE INDEX ix_calls_open ON calls (id) WHERE state = 'open'",
    "CREATE INDEX ix_calls_order_ref ON calls (order_ref)",
    "CREATE INDEX ix_calls_document_id ON calls (document_id)",
    """
    CREATE TABLE call_lines (
        call_id INTEGER NOT NULL,
        line INTEGER NOT NULL,
        embedding_id INTEGER NOT NULL,
        batch_id INTEGER,
        outcome INTEGER DEFAULT '0' NOT NULL,
        detail TEXT,
        PRIMARY KEY (call_id, line),
        FOREIGN KEY(call_id) REFERENCES calls (id),
        FOREIGN KEY(embedding_id) REFERENCES embeddings (id),
        FOREIGN KEY(batch_id) REFERENCES batches (id)
    )
     WITHOUT ROWID, STRICT
    """,
    "CREATE INDEX ix_call_lines_embedding_id ON call_lines (embedding_id)",
    """
    CREATE TABLE spend_anew (
        id INTEGER NOT NULL,
        batch_id INTEGER,
        at INTEGER NOT NULL,
        kind TEXT NOT NULL,
        tokens INTEGER NOT NULL,
        usd REAL,
        source_id INTEGER,
        call_id INTEGER,
        PRIMARY KEY (id),
        CONSTRAINT ck_spend_kind CHECK (
            kind IN ('reserved', 'released', 'settled', 'saved', 'query', 'expedited', 'maybe_paid')),
        FOREIGN KEY(batch_id) REFERENCES batches (id),
        FOREIGN KEY(source_id) REFERENCES sources (id),
        FOREIGN KEY(call_id) REFERENCES calls (id)
    )
     STRICT
    """,
    "INSERT INTO spend_anew (id, batch_id, at, kind, tokens, usd, source_id)"
    " SELECT id, batch_id, at, kind, tokens, usd, source_id FROM spend",
    "DROP TABLE spend",
    "ALTER TABLE spend_anew RENAME TO spend",
    "CREATE INDEX ix_spend_at ON spend (at)",
    "CREATE INDEX ix_spend_batch_id ON spend (batch_id)",
    "CREATE INDEX ix_spend_call_id ON spend (call_id) WHERE call_id IS NOT NULL",
)


def upgrade():
    for statement in STATEMENTS:
        op.execute(textwrap.dedent(statement).strip())


def downgrade():
    raise RuntimeError("voyage-jobs does not go back: restore the backup made before the upgrade.")
