"""Bringing `state.db` to the schema this program knows; works from a checkout and from an installed wheel.

Alembic and the migrations take 0.25 s to load, a sixth of a `sync` that finds nothing to do: only where needed.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from voyage_jobs.errors import StateError

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


def head() -> str:
    """The newest revision this program knows."""
    from alembic.script import ScriptDirectory

    revision = ScriptDirectory(str(scripts_folder())).get_current_head()
    if revision is None:
        raise StateError("The migrations folder holds no migration.")
    return revision


def current(connection: Connection) -> str | None:
    """The revision of an open database; None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(_REVISION).scalar()
    return None if found is None else str(found)


def is_newest(connection: Connection) -> bool:
    """Whether the database has the newest revision, by the names of the migrations: those begin with their numbers."""
    newest = max(path.name for path in (scripts_folder() / "versions").glob("[0-9]*.py"))
    return current(connection) == newest.partition("_")[0]


def refuse_newer(connection: Connection) -> None:
    """Raise `StateError` if the database was written by a newer program."""
    from alembic.script import ScriptDirectory

    revision = current(connection)
    known = {script.revision for script in ScriptDirectory(str(scripts_folder())).walk_revisions()}
    if revision is not None and revision not in known:
        raise StateError(
            f"state.db has schema {revision}, which this voyage-jobs does not know: a newer one wrote it.",
            hint="Install the newer voyage-jobs again, or restore a backup made by this version.",
        )


def refuse_foreign(connection: Connection) -> None:
    """Raise `StateError` if the database holds tables that no migration of ours made."""
    if current(connection) is None and inspect(connection).get_table_names():
        raise StateError(
            "state.db is not a voyage-jobs database: another program made it.",
            hint="Name another data_dir, or move the file aside.",
        )


def upgrade(engine: Engine) -> None:
    """Apply what is missing, each migration in one transaction with the record that it ran."""
    with engine.connect() as connection:
        if is_newest(connection):
            return
        refuse_newer(connection)
        refuse_foreign(connection)
        connection.rollback()
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(scripts_folder()).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
