"""`base_url`: where the documents of a source are on the web."""

from __future__ import annotations

from pathlib import Path

import pytest
from world import World

from voyage_jobs.splitting.addresses import address_of

BASE = "https://docs.example.com/v2/"


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("guide/renew.md", "guide/renew"),
        ("guide/index.md", "guide/"),
        ("index.html", ""),
        ("README.md", "README"),
        ("notes/v1.2.rst", "notes/v1.2"),
        ("terms.pdf", "terms.pdf"),
        ("a b/\u00fc?.MD", "a%20b/%C3%BC%3F"),
        ("bytes\U0010ffe9.md", "bytes%E9"),
        (".md", ".md"),
        ("LICENSE", "LICENSE"),
    ],
)
def test_a_path_is_an_address_below_that_of_its_source(path: str, address: str) -> None:
    assert address_of(BASE, path) == BASE + address


def addresses(world: World) -> dict[str, str]:
    return {each["path"]: each["url"] for each in world.table_rows("path", "url")}


def test_another_address_is_in_the_table_and_costs_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    source = {"name": "docs", "path": str(world.docs), "include": ["*.md"]}
    world.write("guide/index.md", b"# Guide\n\nHow to renew.")
    world.write("a.md", b"# A\n\nText.")
    world.run(sources=[source])
    assert addresses(world) == {"a.md": "", "guide/index.md": ""}
    paid = world.ledger.units()

    world.run(sources=[{**source, "base_url": "https://x.example"}])
    assert addresses(world) == {"a.md": "https://x.example/a", "guide/index.md": "https://x.example/guide/"}
    (world.docs / "a.md").rename(world.docs / "b.md")
    world.run(sources=[{**source, "base_url": "https://x.example"}])
    assert addresses(world)["b.md"] == "https://x.example/b"
    assert world.ledger.units() == paid


@pytest.mark.parametrize(
    "wrong", ["docs.example.com", "ftp://x.example/", "https://", "https://x.example/?q=1"]
)
def test_what_is_no_address_is_refused(tmp_path: Path, wrong: str) -> None:
    world = World(tmp_path)
    with pytest.raises(ValueError, match="must be an address"):
        world.settings(sources=[{"name": "docs", "path": str(world.docs), "base_url": wrong}])
