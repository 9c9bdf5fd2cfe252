"""What the tests of `verify` share: a settled world, hands that do damage to it, and eyes."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from world import World

from voyage_jobs.maintenance.audit.findings import Findings
from voyage_jobs.maintenance.audit.repair import verify_and_repair
from voyage_jobs.maintenance.audit.verify import Scope, verify


def prose(name: str, sections: int = 1) -> str:
    """A document with one chunk for each section."""
    return "\n\n".join(f"# {name} {i}\n\nAbout {name}, part {i}. " + "word " * 60 for i in range(sections))


def settled(root: Path, documents: int = 4, **world: Any) -> World:
    """A world of a few documents, all published."""
    made = World(root, **world)
    for i in range(documents):
        made.write(f"part{i % 2}/d{i}.md", prose(f"d{i}", 3))
    made.write("empty.md", "")
    made.run()
    return made


def found(world: World, **scope: bool) -> dict[str, int]:
    """class -> count, as `verify` sees it."""
    return counts(verify(world.settings(), world.clock, Scope(**scope), transport=world.transport))


def repaired(world: World, **scope: bool) -> tuple[dict[str, int], dict[str, int]]:
    """(found, left) of a repair."""
    before, after = verify_and_repair(
        world.settings(), world.clock, world.log, Scope(**scope), transport=world.transport
    )
    return counts(before), counts(after)


def counts(findings: Findings) -> dict[str, int]:
    """class -> count."""
    return {finding.code: finding.count for finding in findings.all()}


@contextlib.contextmanager
def state(world: World) -> Iterator[sqlite3.Connection]:
    """`state.db` in the hands of somebody who does not care."""
    connection = sqlite3.connect(world.data_dir / "state.db", isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


def sql(world: World, *statements: str) -> list[Any]:
    """Run statements; the rows of the last one."""
    with state(world) as connection:
        rows: list[Any] = []
        for statement in statements:
            rows = connection.execute(statement).fetchall()
        return rows


def plain_table(world: World) -> Any:
    """The table in the hands of another program."""
    import lancedb

    return lancedb.connect(str(world.data_dir / "lancedb")).open_table("chunks")


def segment_files(world: World) -> list[Path]:
    """The segments on disk."""
    return sorted(world.data_dir.glob("vectors/*/*.arrow"))
