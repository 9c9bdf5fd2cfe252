"""A shelf for what the table showed before a `reprofile`, so that it can be switched back

Revision: 0007
After: 0006
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

SHELF = """
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
"""


def upgrade():
    op.execute(SHELF)


def downgrade():
    raise RuntimeError("voyage-jobs does not go back: restore the backup made before the upgrade.")
