"""Notices: what people were told of, and what is still to be delivered

Revision: 0006
After: 0005
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

STATEMENTS = (
    """CREATE TABLE notices (
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
) STRICT""",
    "CREATE UNIQUE INDEX uq_notices_open ON notices (event, key) WHERE over_at IS NULL",
    """CREATE TABLE deliveries (
    notice_id INTEGER NOT NULL,
    sink TEXT NOT NULL,
    due_at INTEGER NOT NULL,
    failures INTEGER DEFAULT '0' NOT NULL,
    done_at INTEGER,
    error TEXT,
    PRIMARY KEY (notice_id, sink),
    FOREIGN KEY(notice_id) REFERENCES notices (id)
) WITHOUT ROWID, STRICT""",
    "CREATE INDEX ix_deliveries_waiting ON deliveries (due_at) WHERE done_at IS NULL",
)


def upgrade():
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade():
    raise RuntimeError("voyage-jobs does not go back: restore the backup made before the upgrade.")
