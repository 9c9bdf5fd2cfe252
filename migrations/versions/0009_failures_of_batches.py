"""What a batch fails by, since when, in its own columns; deadlines that a job's odd time made are forgotten

Costs: three columns added without touching a row, and one pass over the batches that are open.

Revision: 0009
After: 0008
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# A job is over, or parked, within three days of its call. What lies outside was read from a time that made no sense.
DEADLINES = """
    UPDATE batches SET deadline_at = submitted_at + 43200000000
    WHERE state IN ('running', 'ended', 'parked') AND submitted_at IS NOT NULL AND deadline_at IS NOT NULL
      AND (deadline_at < submitted_at OR deadline_at > submitted_at + 259200000000)
"""


def upgrade():
    op.execute("ALTER TABLE batches ADD COLUMN code TEXT")
    op.execute("ALTER TABLE batches ADD COLUMN error TEXT")
    op.execute("ALTER TABLE batches ADD COLUMN failing_since INTEGER")
    op.execute(DEADLINES)


def downgrade():
    raise RuntimeError("voyage-jobs does not go back: restore the backup made before the upgrade.")
