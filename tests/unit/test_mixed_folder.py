"""A folder with a file of each kind: all is read once and shown with its place, and a second look costs nothing."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from pdf_files import pdf
from world import World

from voyage_jobs.report.status import status

DATA = Path(__file__).parents[1] / "data"
PROSE = "The pump moves water from the well into the tank. " * 12
FILES: dict[str, bytes] = {
    "a.md": b"---\ntitle: Notes\n---\n# One\n\ntext\n",
    "b.rst": b"Title\n=====\n\ntext of rst\n",
    "c.txt": b"plain text\n",
    "d.html": b'<link rel="canonical" href="https://example.com/d"><main><h1>Page</h1><p>of HTML</p></main>',
    "e.ipynb": json.dumps(
        {"nbformat": 4, "cells": [{"cell_type": "markdown", "source": "# Cell\n\nof a notebook"}]}
    ).encode(),
    "f.pdf": pdf(
        [["Chapter one", "words of the first page"], ["Chapter two", PROSE]], outline=[("One", 0), ("Two", 1)]
    ),
    "g.docx": (DATA / "small.docx").read_bytes(),
    "h.xlsx": (DATA / "small.xlsx").read_bytes(),
    "i.py": b"class Pump:\n    def run(self):\n        return 1\n",
    "j.go": b"package a\n\nfunc Start() int { return 2 }\n",
    "k.eml": b"Subject: A pump\nFrom: a@example.com\n\nIt is here.\n",
    "l.msg": (DATA / "small.msg").read_bytes(),
    "m.odt": (DATA / "small.odt").read_bytes(),
    "n.epub": (DATA / "small.epub").read_bytes(),
    "o.rtf": rb"{\rtf1\ansi words of RTF\par}",
    "p.adoc": b"= Ascii\n\n== Doc\n\ntext of it\n",
}
HOSTILE: dict[str, tuple[bytes, str]] = {
    "x/a.pdf": (b"%PDF-1.7\n" + b"[" * 5_000, "broken"),
    "x/b.docx": (b"PK\x03\x04 cut", "broken"),
    "x/c.odt": (b"PK\x03\x04 cut", "broken"),
    "x/d.epub": (b"words", "broken"),
    "x/e.eml": (b"Content-Type: multipart/encrypted\n\nabc", "encrypted"),
    "x/f.msg": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\xff" * 4_000, "broken"),
    "x/g.rtf": (b"\0\0", "binary"),
    "x/h.py": (b"\x89PNG\0\0\1\2\3\4\5\6\7\x0e\x0f", "binary"),
}
INCLUDE = sorted({f"*{Path(name).suffix}" for name in (*FILES, *HOSTILE)})


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    for name, data in FILES.items():
        world.write(name, data)
    return world


def sources(world: World) -> list[dict[str, object]]:
    recipe = {
        "id": "sku",
        "text": "{name}",
        "url": "https://shop.example/{sku}",
        "columns": {"price": "float"},
    }
    docs, path = {"name": "docs", "include": INCLUDE, "delete_grace_s": 0}, str(world.docs)
    return [
        {**docs, "path": path},
        {"name": "shop", "path": path, "include": ["*.csv"], "records": recipe},
        {"name": "logs", "path": path, "logs": ["*.log*"]},
    ]


def test_it_is_published_once_with_page_address_section_and_place(world):
    world.write("shop.csv", "sku,name,price\nL-1,Desk lamp,9.5\nL-2,Night light,20\n")
    line = "2026-05-01T07:08:09Z INFO the pump was started\n"
    world.write("app.log", line * 3)
    world.write("app.log.1.gz", gzip.compress(line.replace("started", "stopped").encode()))
    world.run(sources=sources(world))
    rows = world.table_rows("source", "path", "section", "place", "page", "url", "front_matter", "record")
    assert {each["path"] for each in rows if each["source"] == "docs"} == set(FILES)
    assert {each["path"] for each in rows if each["source"] == "logs"} == {
        "app.log#tail",
        "app.log.1.gz#tail",
    }
    found = {each["path"]: each for each in rows}
    assert found["d.html"]["url"] == "https://example.com/d"
    assert {(each["page"], tuple(each["section"])) for each in rows if each["path"] == "f.pdf"} == {
        (1, ("One",)),
        (2, ("Two",)),
    }
    assert found["n.epub"]["place"].startswith("chapter ")
    assert found["h.xlsx"]["place"].startswith("sheet ")
    assert ("func Start",) in {tuple(each["section"]) for each in rows if each["path"] == "j.go"}
    assert json.loads(found["shop.csv#L-1"]["front_matter"]) == {"price": 9.5}
    assert found["shop.csv#L-2"]["url"] == "https://shop.example/L-2"

    billed = world.ledger.units()
    world.run(sources=sources(world))
    assert world.ledger.units() == billed
    assert not world.ledger.billed_more_than_once()


def test_hostile_files_of_each_kind_end_in_a_reason_and_keep_no_other_out(world):
    for name, (data, _) in HOSTILE.items():
        world.write(name, data)
    world.run(sources=sources(world))
    assert {each["path"] for each in world.table_rows("path")} == set(FILES)
    docs = status(world.settings(sources=sources(world)), world.clock)["sources"][0]
    reasons = [reason for _, reason in HOSTILE.values()]
    assert docs["skipped"] == {reason: reasons.count(reason) for reason in sorted(set(reasons))}
