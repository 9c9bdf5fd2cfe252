"""What is asked by a command must cost what it is about, not what the table holds: counted in SQLite's own steps."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, event
from step_doors import prose
from world import World

from voyage_jobs.explain.history import history
from voyage_jobs.report.cost import cost
from voyage_jobs.report.documents import documents
from voyage_jobs.report.status import status
from voyage_jobs.report.why import why
from voyage_jobs.state import history as stories

FEW, MANY = 3, 200
EACH = 10  # instructions of SQLite that count as one


@pytest.fixture
def taken():
    """How many instructions SQLite took since this list was emptied: one entry for every `EACH` of them."""
    found: list[int] = []

    def count(driver, _record):
        driver.set_progress_handler(lambda: found.append(EACH), EACH)

    event.listen(Engine, "connect", count)
    yield found
    event.remove(Engine, "connect", count)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    """One with a few documents, and one with many more after these."""
    made = []
    for more in (0, MANY):
        world = World(tmp_path_factory.mktemp(f"world{more}"))
        for number in range(FEW):
            world.write(f"a/{number}.md", prose(str(number), 2))
        world.run()
        for number in range(more):
            world.write(f"b/{number}.md", prose(f"more {number}"))
        world.run()
        made.append(world)
    return made


def key_of(world: World) -> str:
    with world.state.read() as connection:
        version = stories.versions_of(connection, 1)[-1]
        return next(iter(stories.chunks_of(connection, version.id))).key.hex()


LOOKS = {
    "status": lambda world, at: status(at, world.clock),
    "why a path": lambda world, at: why(at, world.clock, "a/1.md"),
    "why SOURCE:PATH": lambda world, at: why(at, world.clock, "docs:a/1.md"),
    "why a key": lambda world, at: why(at, world.clock, key_of(world)[:16]),
    "history": lambda world, at: history(at, world.clock, "docs:a/1.md"),
    "documents": lambda world, at: documents(at, world.clock, source=None, state=None, limit=FEW - 1),
    "what is published": lambda world, at: documents(
        at, world.clock, source=None, state="published", limit=FEW - 1
    ),
    "cost": lambda world, at: cost(at, world.clock, "day", 0),
}


@pytest.mark.parametrize("name", LOOKS)
def test_a_look_costs_what_it_is_about(worlds, taken, name):
    steps = []
    for world in worlds:
        taken.clear()
        LOOKS[name](world, world.settings())
        steps.append(sum(taken))
    assert 0 < steps[1] < steps[0] + 2 * MANY, steps
