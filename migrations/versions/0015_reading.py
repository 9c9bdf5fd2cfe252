"""What a version's reader was told, its address and its places (pages, say); null for all that was read before

Costs: one column added without touching a row. SQLite checks strict tables as it alters them, so `versions` is read
once: 2.4 s for a million rows.

Revision: 0015
After: 0014
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("ALTER TABLE versions ADD COLUMN reading TEXT")


def downgrade():
    raise RuntimeError("voyage-jobs does not go back: restore the backup made before the upgrade.")
