"""Logs: how far each was read

Costs: nothing, whatever the state holds.

Revision: 0018
After: 0017
"""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("ALTER TABLE record_files ADD COLUMN reached TEXT")


def downgrade():
    raise RuntimeError("voyage-jobs does not go back: restore the backup made before the upgrade.")
