"""Rows of documents that are gone leave the table; one that comes back in mid-removal is shown again."""

import pytest

from tests.world import World
from voyage_jobs.core import crash


class Died(BaseException):
    """The process is gone."""


@pytest.fixture
def dies():
    def at(name):
        def hook(passed):
            if passed == name:
                raise Died

        crash.arm(hook)

    yield at
    crash.arm(None)


@pytest.mark.parametrize("point", ["retire.table.done", "retire.committed"])
def test_a_document_that_returns_after_its_rows_were_taken_out_is_shown_again(tmp_path, dies, point):
    world = World(tmp_path)
    for name in "ab":
        world.write(f"{name}.md", f"# {name}\n\nText {name}.")
    world.run()
    world.remove("a.md")
    world.clock.advance(400)
    dies(point)
    with pytest.raises(Died):
        world.run()
    crash.arm(None)
    world.write("a.md", "# a\n\nText a.")
    world.clock.advance(400)
    world.run()
    assert [row["path"] for row in world.table_rows("path")] == ["a.md", "b.md"]
    assert world.ledger.billed_more_than_once() == {}
