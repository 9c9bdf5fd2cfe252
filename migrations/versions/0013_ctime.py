"""When the system last changed a file, beside what the file says itself; null for what was looked at before

Costs: one column added without touching a row. SQLite checks strict tables as it alters them, so `documents` is read once.
The first scan after it takes files for unchanged as before, reads none for it, and notes their times: one small write each.

Revision: 0013
After: 0012
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("ALTER TABLE documents ADD COLUMN ctime_ns INTEGER")


def downgrade():
    raise RuntimeError("voyage-jobs does not go back: restore the backup made before the upgrade.")
