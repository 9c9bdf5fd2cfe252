"""The step that assembles batches is called `assemble`: an error of it on record keeps its step

Costs: one small update.

Revision: 0012
After: 0011
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("UPDATE troubles SET step = 'assemble' WHERE step = 'pack'")


def downgrade():
    raise RuntimeError("voyage-jobs does not go back: restore the backup made before the upgrade.")
