"""What a scan gives up or keeps goes in pages, and a death between two of them loses nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from step_doors import query
from test_records import Shop, csv, die_at, row
from world import World

from voyage_jobs.steps.acts import perform

KEPT = "SELECT COUNT(*) FROM documents WHERE state = 'missing' AND reason = 'kept'"
NOTED = "SELECT COUNT(*) FROM transitions WHERE cause = 'its source keeps what has gone'"


@pytest.fixture(autouse=True)
def pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voyage_jobs.steps.losses.PAGE", 3)
    monkeypatch.setattr("voyage_jobs.steps.deleting.PAGE", 3)


def count(world: World, sql: str) -> int:
    with world.worker() as context:
        return int(query(context, sql)[0][0])


@pytest.mark.parametrize(("passage", "kept"), [(3, 0), (4, 3), (5, 6)])
def test_a_source_keeps_what_has_gone_page_by_page(tmp_path: Path, passage: int, kept: int) -> None:
    shop = Shop(tmp_path, keep=True)
    shop.write("catalog.csv", csv(*map(row, range(30))))
    shop.run()
    shop.write("catalog.csv", csv(*map(row, range(20))))
    die_at(passage)
    with pytest.raises(KeyboardInterrupt):
        shop.run()
    assert count(shop, KEPT) == kept
    shop.run()
    assert (count(shop, KEPT), count(shop, NOTED), len(shop.texts())) == (10, 10, 30)
    with shop.worker() as context:
        assert perform(context, "confirm", {"source": "docs"}, "me")["state"] == "confirmed"
    die_at(2)
    with pytest.raises(KeyboardInterrupt):
        shop.run()
    assert count(shop, KEPT) == 4
    for _ in range(2):
        shop.run()
    assert (count(shop, KEPT), len(shop.texts())) == (0, 20)


def test_files_that_are_no_text_any_more_are_given_up_page_by_page(tmp_path: Path) -> None:
    source: dict[str, Any] = {"name": "docs", "path": str(tmp_path / "docs"), "max_delete_share": 1.0}
    world = World(tmp_path, sources=[source])
    for number in range(20):
        world.write(f"{number}.md", f"Words of {number}.")
    world.run()
    for number in range(10):
        world.write(f"{number}.md", b"\x00\x01\x02" * 99)
    die_at(3)  # that of the slice comes first
    with pytest.raises(KeyboardInterrupt):
        world.run()
    assert count(world, "SELECT COUNT(*) FROM versions WHERE state = 'published' AND retire = 0") == 14
    world.run()
    assert len(world.table_rows("path")) == 10


def test_undelete_of_a_source_keeps_page_by_page(tmp_path: Path) -> None:
    shop = Shop(tmp_path, delete_grace_s=3_600)
    shop.write("catalog.csv", csv(*map(row, range(30))))
    shop.run()
    shop.write("catalog.csv", csv(*map(row, range(20))))
    shop.run()
    with shop.worker() as context:
        assert perform(context, "undelete", {"source": "docs"}, "me")["kept"] == 10
    assert count(shop, KEPT) == 10
    shop.clock.advance(4_000)
    shop.run()
    assert len(shop.texts()) == 30
