"""Money by source: lines and spend know whose texts they are about

Revision: 0002
After: 0001
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# What was sent before has no source: it stays on the bill as "not known".
STATEMENTS = (
    "ALTER TABLE lines ADD COLUMN source_id INTEGER REFERENCES sources (id)",
    "ALTER TABLE spend ADD COLUMN source_id INTEGER REFERENCES sources (id)",
    "CREATE INDEX ix_spend_batch_id ON spend (batch_id)",
)


def upgrade():
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade():
    raise RuntimeError("voyage-jobs does not go back: restore the backup made before the upgrade.")
