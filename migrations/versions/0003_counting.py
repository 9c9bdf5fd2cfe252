"""Counting: indexes by which the backlog and what was cancelled are summed up without reading every embedding

Revision: 0003
After: 0002
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

STATEMENTS = (
    "DROP INDEX ix_embeddings_wanted",
    "CREATE INDEX ix_embeddings_wanted ON embeddings (profile_id, refusals, id, tokens, wanted_at) WHERE state = 0",
    "CREATE INDEX ix_embeddings_dropped ON embeddings (id) WHERE state = 4",
)
# Statistics that were taken when a folder was nearly empty make the planner read whole tables for years.
FORGET = "DELETE FROM sqlite_stat1"
ANALYZED = "SELECT COUNT(*) FROM sqlite_schema WHERE name = 'sqlite_stat1'"


def upgrade():
    for statement in STATEMENTS:
        op.execute(statement)
    if op.get_bind().exec_driver_sql(ANALYZED).scalar():
        op.execute(FORGET)


def downgrade():
    raise RuntimeError("voyage-jobs does not go back: restore the backup made before the upgrade.")
