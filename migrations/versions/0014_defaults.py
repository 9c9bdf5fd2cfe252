"""Which defaults a source began with: those that are there keep what they take

Costs: one column added without touching a row, in a table of a few rows.

Revision: 0014
After: 0013
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("ALTER TABLE sources ADD COLUMN defaults INTEGER DEFAULT '0' NOT NULL")


def downgrade():
    raise RuntimeError("voyage-jobs does not go back: restore the backup made before the upgrade.")
