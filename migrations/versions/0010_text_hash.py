"""The hash of the text that was split, beside that of the bytes; null for what was split before

Costs: one column added without touching a row. SQLite checks strict tables as it alters them, so `versions` is read
once: 2.4 s for a million rows. The first scan after it looks every fingerprint up once: about 10 s for a million files.

`versions.splitter` and `sources.splitter_fingerprint` stay as they are: what older releases wrote there is taken for the
form of today that gives the same result (`sources/forms.py`), so that an upgrade reads and pays for nothing.

Revision: 0010
After: 0009
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("ALTER TABLE versions ADD COLUMN text_hash BLOB")


def downgrade():
    raise RuntimeError("voyage-jobs does not go back: restore the backup made before the upgrade.")
