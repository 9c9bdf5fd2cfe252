"""What goes before the chunks of a version where they are embedded; and the rules of splitting that this state began with

Costs: one column added without touching a row. SQLite checks strict tables as it alters them, so `versions` is read
once: 2.4 s for a million rows.

A state that has ever been at work keeps the rules of before (1), so that an upgrade pays for nothing.

Revision: 0016
After: 0015
"""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("ALTER TABLE versions ADD COLUMN headers TEXT")
    op.execute(
        "INSERT INTO meta (key, value) SELECT 'splitting_rules', '1' WHERE EXISTS (SELECT 1 FROM sources)"
    )


def downgrade():
    raise RuntimeError("voyage-jobs does not go back: restore the backup made before the upgrade.")
