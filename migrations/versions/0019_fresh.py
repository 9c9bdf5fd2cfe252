"""For how many documents a batch of the fresh lane counts; null for all that were made before

Costs: one column added without touching a row, and an index of no row. SQLite checks strict tables as it alters them,
so `batches` is read once: 0.1 s for a hundred thousand.

Revision: 0019
After: 0018
"""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

STATEMENTS = (
    "ALTER TABLE batches ADD COLUMN fresh_documents INTEGER",
    "CREATE INDEX ix_batches_fresh ON batches (created_at) WHERE fresh_documents IS NOT NULL",
)


def upgrade():
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade():
    raise RuntimeError("voyage-jobs does not go back: restore the backup made before the upgrade.")
