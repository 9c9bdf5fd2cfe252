"""A state as the last release left it that had one fingerprint for all forms, and no hash of the text."""

from __future__ import annotations

from world import World

from voyage_jobs.state.engine import sqlite_module

OLDER = "553440d1d83c715dc342ee5a354c1d3a"
"""What 0.1.0 called everything that it split under default options."""


def as_0_1_0_left_it(world: World) -> None:
    """Take the state back to the schema before, with what that release wrote into it."""
    raw = sqlite_module().connect(str(world.data_dir / "state.db"))
    raw.execute("ALTER TABLE versions DROP COLUMN text_hash")
    raw.execute("UPDATE versions SET splitter = ?", (OLDER,))
    raw.execute("UPDATE sources SET splitter_fingerprint = ?", (OLDER,))
    raw.execute("UPDATE alembic_version SET version_num = '0009'")
    raw.commit()
    raw.close()
