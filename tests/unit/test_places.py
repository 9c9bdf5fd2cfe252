"""Where a chunk stands in its document, its address, and what a source tells its readers."""

from __future__ import annotations

import json
import shutil

import pytest
from step_doors import prose, scan, shown
from verify_doors import counts

from voyage_jobs.maintenance.audit.verify import Scope, verify
from voyage_jobs.readers.reader import Place, Text
from voyage_jobs.steps.places import Reading, reading_of, stored_reading

PAGE = (
    '<link rel="canonical" href="https://docs.example.com/{0}"><main><h1>{0}</h1><p>'
    + "word " * 60
    + "</p></main>"
    '<div class="notes"><p>Note of {0}.</p></div>'
)


def book(*cells: str) -> str:
    return json.dumps({"nbformat": 4, "cells": [{"cell_type": "markdown", "source": each} for each in cells]})


def sources(world, **html):
    return [{"name": "docs", "path": str(world.docs), "include": ["*.md", "*.html", "*.ipynb"], "html": html}]


@pytest.fixture
def filled(world):
    world.write("a.md", prose("a"))
    world.write("page.html", PAGE.format("page"))
    world.write("book.ipynb", book(prose("one"), prose("two")))
    world.run(sources=sources(world))
    return world


def test_a_row_says_where_it_stands_and_at_which_address(filled):
    rows = {(each["path"], each["ordinal"]): each for each in filled.table_rows()}
    assert [(key, row["place"], row["page"], row["url"]) for key, row in sorted(rows.items())] == [
        (("a.md", 0), "", 0, ""),
        (("book.ipynb", 0), "cell 1", 0, ""),
        (("book.ipynb", 1), "cell 2", 0, ""),
        (("page.html", 0), "", 0, "https://docs.example.com/page"),
    ]
    assert rows["page.html", 0]["metadata"]["url"] == "https://docs.example.com/page"
    settings = filled.settings(sources=sources(filled))
    assert counts(verify(settings, filled.clock, Scope(), transport=filled.transport)) == {}


def test_what_a_source_tells_of_its_pages_reads_its_pages_only(filled, monkeypatch):
    read = []
    real = "voyage_jobs.steps.ahead.reading_document"
    from voyage_jobs.steps import ahead as scanning

    def reads(source, path, *args):
        read.append(path)
        return original(source, path, *args)

    original = scanning.reading_document
    monkeypatch.setattr(real, reads)
    notes = sources(filled, select=[".notes"])
    with filled.worker(sources=notes) as context:
        assert scan(context).changed == 1
        assert read == ["page.html"]
        assert scan(context).changed == 0
    filled.run(sources=notes)
    assert shown(filled)["page.html"] == ["Note of page."]
    billed = filled.ledger.units()

    shutil.rmtree(filled.data_dir / "lancedb")  # the text is read again by the same words
    filled.run(sources=notes)
    assert shown(filled)["page.html"] == ["Note of page."]
    assert filled.ledger.units() == billed


def test_what_is_left_out_besides(filled):
    filled.run(sources=sources(filled, select=["body"], drop=[".notes", "h1"]))
    (text,) = shown(filled)["page.html"]
    assert text.startswith("word")
    assert "Note" not in text


@pytest.mark.parametrize(
    ("start", "expected"),
    [(0, ("", 0)), (1, ("p. 1", 1)), (9, ("p. 1", 1)), (10, ("p. 2", 2)), (99, ("p. xi", 0))],
)
def test_a_place_holds_until_the_next(start, expected):
    places = [Place(1, "page", "1"), Place(10, "page", "2"), Place(20, "page", "xi")]
    stored = stored_reading(Text("x" * 100, places=places), {})
    assert reading_of(stored).place_at(start) == expected


def test_nothing_is_kept_of_a_document_without_any():
    assert stored_reading(Text("text"), {}) is None
    assert reading_of(None) == Reading()
