"""Files of records: a row of `folders` may be one, and `record_files` has how each looked

`folders` is made again, since SQLite cannot change what is unique. What refers to a folder is left as it is: its foreign
keys are looked at when the transaction ends.

Costs: a row for each folder is written, and SQLite looks up the documents of each as its row goes and comes: 0.1 s for
100,000 folders.

Revision: 0017
After: 0016
"""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

STATEMENTS = (
    "PRAGMA defer_foreign_keys = ON",
    "CREATE TEMP TABLE kept AS SELECT * FROM folders",
    "DROP TABLE folders",
    """
    CREATE TABLE folders (
        id INTEGER NOT NULL,
        source_id INTEGER NOT NULL,
        path TEXT NOT NULL,
        file TEXT DEFAULT '' NOT NULL,
        PRIMARY KEY (id),
        CONSTRAINT uq_folders_source_id_path_file UNIQUE (source_id, path, file),
        FOREIGN KEY(source_id) REFERENCES sources (id)
    )
     STRICT
    """,
    "INSERT INTO folders (id, source_id, path) SELECT id, source_id, path FROM kept",
    "DROP TABLE kept",
    """
    CREATE TABLE record_files (
        folder_id INTEGER NOT NULL,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        inode INTEGER NOT NULL,
        ctime_ns INTEGER,
        content_hash BLOB,
        made_by TEXT,
        records INTEGER NOT NULL,
        left_out TEXT NOT NULL,
        reason TEXT,
        detail TEXT,
        PRIMARY KEY (folder_id),
        FOREIGN KEY(folder_id) REFERENCES folders (id)
    )
     STRICT
    """,
)


def upgrade():
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade():
    raise RuntimeError("voyage-jobs does not go back: restore the backup made before the upgrade.")
