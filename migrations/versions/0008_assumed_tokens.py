"""Assumed tokens: which of what was booked no answer reported

Revision: 0008
After: 0007
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# No row is written: the default stands in the schema alone. SQLite checks strict tables as it alters them, so `lines`
# is read once: 0.4 s for three million lines. What was booked before counts as reported; nobody can tell otherwise.
STATEMENTS = (
    "ALTER TABLE lines ADD COLUMN assumed INTEGER DEFAULT '0' NOT NULL",
    "ALTER TABLE calls ADD COLUMN assumed INTEGER DEFAULT '0' NOT NULL",
    "ALTER TABLE spend ADD COLUMN assumed INTEGER DEFAULT '0' NOT NULL",
)


def upgrade():
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade():
    raise RuntimeError("voyage-jobs does not go back: restore the backup made before the upgrade.")
