"""Bringing `state.db` to the schema this program knows; works from a checkout and from an installed wheel.

A new state is made in one go, of what all migrations come to. Alembic and the migrations take 0.25 s to load and run, a
sixth of a `sync` that finds nothing to do: only for a state of an older release.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from voyage_jobs.errors import StateError

NEW_STATE = "head.sql"
"""Beside the migrations: the statements that make what they come to (`python -m tests.new_state`)."""
# Purpose: the revision of a database that Alembic made.
_REVISION = text("SELECT version_num FROM alembic_version")


def scripts_folder() -> Path:
    """The migrations: inside the installed package, else at the top of the checkout."""
    package = Path(str(resources.files("voyage_jobs")))
    for folder in (package / "_migrations", package.parent / "migrations"):
        if (folder / "env.py").is_file():
            return folder
    raise StateError(
        "The database migrations are missing from this installation.",
        hint="Reinstall voyage-jobs from a complete wheel.",
    )


def known() -> list[str]:
    """The revisions that this program knows, the newest last: the names of the migrations begin with them."""
    return sorted(path.name.partition("_")[0] for path in (scripts_folder() / "versions").glob("[0-9]*.py"))


def head() -> str:
    """The newest revision this program knows."""
    if not (revisions := known()):
        raise StateError("The migrations folder holds no migration.")
    return revisions[-1]


def current(connection: Connection) -> str | None:
    """The revision of an open database; None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(_REVISION).scalar()
    return None if found is None else str(found)


def refuse_newer(revision: str) -> None:
    """Raise `StateError` if the database was written by a newer program."""
    if revision not in known():
        raise StateError(
            f"state.db has schema {revision}, which this voyage-jobs does not know: a newer one wrote it.",
            hint="Install the newer voyage-jobs again, or restore a backup made by this version.",
        )


def refuse_foreign(connection: Connection) -> None:
    """Raise `StateError` if a database that is none of ours holds tables."""
    if inspect(connection).get_table_names():
        raise StateError(
            "state.db is not a voyage-jobs database: another program made it.",
            hint="Name another data_dir, or move the file aside.",
        )


def make(connection: Connection) -> None:
    """Make the newest schema in an empty database, in the transaction that is open."""
    script = (scripts_folder() / NEW_STATE).read_text(encoding="utf-8")
    for statement in script.removesuffix(";\n").split(";\n"):
        connection.exec_driver_sql(statement)


def upgrade(engine: Engine) -> None:
    """Make what is missing: all of a new state in one transaction, or each migration in one with the record that it
    ran. Whatever ends it, the next start resumes from a revision that is whole."""
    with engine.connect() as connection:
        revision = current(connection)
        if revision is None:
            refuse_foreign(connection)
            make(connection)
            connection.commit()
        elif revision != head():
            refuse_newer(revision)
            connection.rollback()
            _migrate(connection)


def _migrate(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(scripts_folder()).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
