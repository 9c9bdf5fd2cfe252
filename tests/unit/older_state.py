"""States as older releases left them."""

from __future__ import annotations

from world import World

from tests.new_state import migrated
from voyage_jobs.state.engine import sqlite_module

OLDER = "553440d1d83c715dc342ee5a354c1d3a"
"""What 0.1.0 called everything that it split under default options."""


def as_of(world: World, revision: str) -> None:
    """Take the state back to an older schema, with everything that has a place in it.

    Before 0016 there were no headers: what has some (it was split by rules above 1) would be a state that never was.
    """
    now, older = world.data_dir / "state.db", world.root / "older.db"
    migrated(older, revision)
    raw = sqlite_module().connect(str(older))
    raw.execute("ATTACH ? AS now", (str(now),))
    listed = "SELECT name FROM {}.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
    known = {name for (name,) in raw.execute(listed.format("now"))}
    for (name,) in raw.execute(listed.format("main")).fetchall():
        if name not in known or name == "alembic_version":
            continue
        columns = [
            set(raw.execute(f"SELECT name FROM pragma_table_info('{name}', ?)", (at,)))
            for at in ("main", "now")
        ]
        shared = ", ".join(f'"{column}"' for (column,) in columns[0] & columns[1])
        raw.execute(f"DELETE FROM main.{name}")
        raw.execute(f"INSERT INTO main.{name} ({shared}) SELECT {shared} FROM now.{name}")
    raw.execute("DELETE FROM main.meta WHERE key = 'splitting_rules'")
    raw.commit()
    raw.execute("DETACH now")
    raw.execute("PRAGMA journal_mode = DELETE")
    raw.close()
    for file in world.data_dir.glob("state.db*"):
        file.unlink()
    older.rename(now)


def as_0_1_0_left_it(world: World) -> None:
    """As the last release left it that had one fingerprint for all forms, and no hash of the text."""
    as_of(world, "0009")
    raw = sqlite_module().connect(str(world.data_dir / "state.db"))
    raw.execute("UPDATE versions SET splitter = ?", (OLDER,))
    raw.execute("UPDATE sources SET splitter_fingerprint = ?", (OLDER,))
    raw.commit()
    raw.close()
