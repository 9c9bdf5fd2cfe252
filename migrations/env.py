"""Alembic's door: runs on the connection the program hands over, or on the file named on the command line.

From a checkout: `alembic upgrade head` uses `VOYAGE_JOBS_STATE_DB`, or `-x db=FILE`, or ./state.db.
"""

import os
from pathlib import Path

from alembic import context

from voyage_jobs.state.engine import writing_engine
from voyage_jobs.state.schema import metadata


def run(connection):
    context.configure(
        connection=connection,
        target_metadata=metadata,
        transaction_per_migration=True,
        # SQLite's DDL is transactional once the driver stops committing behind our back (see engine.py).
        transactional_ddl=True,
        render_as_batch=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def main():
    if context.is_offline_mode():
        raise SystemExit("voyage-jobs migrations run on a database file: SQL scripts are not produced.")
    connection = context.config.attributes.get("connection")
    if connection is not None:
        run(connection)
        return
    named = context.get_x_argument(as_dictionary=True).get("db") or os.environ.get("VOYAGE_JOBS_STATE_DB")
    engine = writing_engine(Path(named or "state.db"))
    with engine.connect() as fresh:
        run(fresh)


main()
