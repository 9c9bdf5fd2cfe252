"""The schema of a new state in one go: what all migrations leave of an empty file, statement by statement.

    python -m tests.new_state            prints it
    python -m tests.new_state --write    writes it into migrations/head.sql

Migrations are the one place: a state begins with what they come to, so that none has to be replayed over nothing. A
test compares the two to the byte.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config

from voyage_jobs.state import migrate
from voyage_jobs.state.engine import sqlite_module, writing_engine

HEAD = migrate.scripts_folder() / migrate.NEW_STATE
_HEADER = "-- made by `python -m tests.new_state --write` out of the migrations"
# Purpose: whatever is in the file, in the order in which it was made; what a table makes by itself has no text.
_MADE = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY rowid"


def migrated(path: Path, revision: str = "head") -> None:
    """Make a database of this revision by the migrations alone."""
    engine = writing_engine(path)
    with engine.connect() as connection:
        config = Config()
        config.set_main_option("script_location", str(migrate.scripts_folder()))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()


def content(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All there is in a database: its schema as it is written there, and the rows of each table."""
    with _opened(path) as raw:
        made = raw.execute(_MADE).fetchall()
        tables = [name for kind, name, _, _ in made if kind == "table"]
        rows = {name: raw.execute(f'SELECT * FROM "{name}"').fetchall() for name in tables}
    return {"sqlite_master": made, **rows}


def script(path: Path) -> str:
    """The statements that make the content of a database again."""
    made = content(path)
    statements = [sql for _, _, _, sql in made.pop("sqlite_master") if sql is not None]
    with _opened(path) as raw:
        for table, rows in made.items():
            for row in rows:
                (values,) = raw.execute(f"SELECT {', '.join(['quote(?)'] * len(row))}", row)
                statements.append(f'INSERT INTO "{table}" VALUES ({", ".join(values)})')
    return "".join(f"{statement};\n" for statement in (_HEADER + "\n" + statements[0], *statements[1:]))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    with contextlib.closing(sqlite_module().connect(str(path))) as raw:
        yield raw


def main(arguments: Sequence[str]) -> int:
    """Print the script, or write it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.db"
        migrated(path)
        made = script(path)
    if list(arguments) == ["--write"]:
        HEAD.write_text(made, encoding="utf-8")
    else:
        print(made, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
