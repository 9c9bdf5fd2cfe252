"""Bringing `state.db` to the schema this program knows; works from a checkout and from an installed wheel."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect

from voyage_jobs.errors import StateError


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
    revision = ScriptDirectory(str(scripts_folder())).get_current_head()
    if revision is None:
        raise StateError("The migrations folder holds no migration.")
    return revision


def current(connection: Connection) -> str | None:
    """The revision of an open database; None for an empty one."""
    return MigrationContext.configure(connection).get_current_revision()


def refuse_newer(connection: Connection) -> None:
    """Raise `StateError` if the database was written by a newer program."""
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
        refuse_newer(connection)
        refuse_foreign(connection)
        at_head = current(connection) == head()
        connection.rollback()
        if at_head:
            return
        config = Config()
        config.set_main_option("script_location", str(scripts_folder()).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
