"""What is read again though its file is as it was, and what is not: form by form, and never by an upgrade."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import pytest
from older_state import as_0_1_0_left_it
from readers_in_use import copy_of, use
from step_doors import prose, query, scan, settle, shown, versions_of

from voyage_jobs.planning.plan import plan
from voyage_jobs.readers.registry import reader_of
from voyage_jobs.readers.text import MARKDOWN, RST, TEXT, TextReader
from voyage_jobs.sources.rules import DEFAULT_INCLUDE
from voyage_jobs.splitting.forms import FORMS
from voyage_jobs.state import sources
from voyage_jobs.steps.scan import Scan

RST_TEXT = "Title\n=====\n\nText of a document.\n\nMore\n----\n\n" + "word " * 60


@pytest.fixture
def opened(monkeypatch):
    """The names of the documents that were opened."""
    names = []
    real = os.open

    def opens(path, *args, **kwargs):
        name = os.path.basename(os.fsencode(path)).decode(errors="replace")
        if name.endswith((".md", ".rst", ".txt", ".html", ".ipynb", ".adoc", ".org")):
            names.append(name)
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", opens)
    return names


@pytest.fixture
def filled(world):
    """Published, by rules 1: two Markdown files, two of reStructuredText, one text; and one of each that is none."""
    world.by_rules(1)
    world.write("a.md", prose("a", 3))
    world.write("deep/b.md", prose("b"))
    world.write("c.rst", RST_TEXT)
    world.write("deep/d.rst", RST_TEXT + "and other words")
    world.write("e.txt", "Plain text. " + "word " * 60)
    world.write("empty.md", b"")
    world.write("empty.rst", b"")
    world.run()
    return world


EVERYTHING = ["a.md", "b.md", "c.rst", "d.rst", "e.txt", "empty.md", "empty.rst"]


def raise_splitter(monkeypatch, form):
    monkeypatch.setitem(FORMS[1], form, replace(FORMS[1][form], splitter=99))


# An upgrade.


def test_an_upgrade_reads_nothing_and_costs_nothing(filled, opened):
    before, billed = filled.table_rows(), filled.ledger.units()
    as_0_1_0_left_it(filled)
    with filled.worker() as context:
        result = scan(context)
        assert (result.changed, result.vanished, result.frozen) == (0, 0, None)
        assert opened == []
        assert versions_of(context, "a.md") == ["published"]
    filled.run()
    assert opened == []
    assert filled.table_rows() == before
    assert filled.ledger.units() == billed


def test_a_file_that_an_upgrade_finds_touched_is_the_same_version(filled, opened):
    as_0_1_0_left_it(filled)
    filled.write("a.md", prose("a", 3))
    with filled.worker() as context:
        assert scan(context).changed == 0
        assert versions_of(context, "a.md") == ["published"]
    assert opened == ["a.md"]


def test_an_upgrade_with_another_option_reads_everything_that_it_concerns(filled, opened):
    as_0_1_0_left_it(filled)
    filled.run(splitting={"max_chars": 300})
    assert sorted(set(opened)) == EVERYTHING
    assert max(len(text) for texts in shown(filled).values() for text in texts) <= 300
    assert not filled.ledger.billed_more_than_once()


# Files that were plain text before their readers came.

PAGE = "<title>Page</title><nav>Menu</nav><main><h1>One</h1><p>" + "word " * 60 + "</p></main>"
NOTEBOOK = (
    '{"nbformat": 4, "cells": [{"cell_type": "markdown", "source": "# One\\n\\n' + "word " * 60 + '"}]}'
)


ADOC = "= One\n:toc:\n\n" + "word " * 60 + "\n\n== Two\n\nMore.\n"
ORG_TEXT = "#+title: A\n* One\n" + "word " * 60 + "\n** Three\nMore.\n"


@pytest.fixture(params=[True, False], ids=["0.1.0", "later"])
def with_pages(filled, monkeypatch, request):
    """What was taken as plain text before its reader came; the sources of this world."""
    sources = [{"name": "docs", "path": str(filled.docs), "include": [*DEFAULT_INCLUDE, "*.html", "*.ipynb"]}]
    filled.write("page.html", PAGE)
    filled.write("book.ipynb", NOTEBOOK)
    filled.write("manual.adoc", ADOC)
    filled.write("notes.org", ORG_TEXT)
    with monkeypatch.context() as patched:
        use(patched, MARKDOWN, RST, TEXT)
        filled.run(sources=sources)
    assert "<nav>" in shown(filled)["page.html"][0]
    if request.param:
        as_0_1_0_left_it(filled)
    return sources


def test_what_was_plain_text_before_its_reader_came_stays_so(filled, with_pages, opened):
    before, billed = filled.table_rows(), filled.ledger.units()
    filled.run(sources=with_pages)
    assert opened == []
    filled.write("page.html", PAGE)  # touched, or checked out once more
    filled.write("book.ipynb", NOTEBOOK)
    filled.write("manual.adoc", ADOC)
    filled.write("notes.org", ORG_TEXT)
    filled.run(sources=with_pages)
    assert set(opened) == {"page.html", "book.ipynb", "manual.adoc", "notes.org"}
    assert filled.table_rows() == before
    assert filled.ledger.units() == billed


def test_a_lost_table_is_filled_again_with_it(filled, with_pages):
    before, billed = shown(filled), filled.ledger.units()
    shutil.rmtree(filled.data_dir / "lancedb")
    filled.run(sources=with_pages)
    assert shown(filled) == before
    assert filled.ledger.units() == billed


def test_it_is_read_by_its_reader_once_it_changes(filled, with_pages):
    filled.write("page.html", PAGE.replace("One", "Two"))
    filled.write("book.ipynb", NOTEBOOK.replace("One", "Two"))
    filled.write("notes.org", ORG_TEXT.replace("One", "Two"))
    filled.run(sources=with_pages)
    texts = shown(filled)
    assert texts["notes.org"][0].startswith("* Two")
    assert texts["manual.adoc"][0].startswith("= One\n:toc:")
    assert texts["page.html"][0].startswith("# Two")
    assert texts["book.ipynb"][0].startswith("# Two")
    assert not filled.ledger.billed_more_than_once()


# Another option, another release.


def test_an_option_of_all_forms_reads_everything_once(filled, opened):
    filled.run(splitting={"max_chars": 300})
    assert sorted(opened) == EVERYTHING
    opened.clear()
    filled.run(splitting={"max_chars": 300})
    assert opened == []


@pytest.mark.parametrize("form", FORMS[1])
def test_another_splitter_of_one_form_reads_the_files_of_this_form_only(filled, opened, monkeypatch, form):
    before, billed = filled.table_rows(), filled.ledger.units()
    raise_splitter(monkeypatch, form)
    with filled.worker() as context:
        result = scan(context)
        mine = [name for name in EVERYTHING if reader_of(name).reader.forms == (form,)]
        assert sorted(opened) == mine
        assert result.changed == len([name for name in mine if not name.startswith("empty")])
        opened.clear()
        assert scan(context).changed == 0
        assert opened == []
        settle(filled, context)
    assert filled.ledger.units() == billed  # it cuts as it did
    assert len(filled.table_rows()) == len(before)


def test_plan_foretells_that_only_one_form_is_split_again(filled, opened, monkeypatch):
    raise_splitter(monkeypatch, "rst")
    found = plan(filled.settings(), filled.clock)
    assert sorted(opened) == ["c.rst", "d.rst", "empty.rst"]
    (source,) = found["sources"]
    assert (source["new"], source["changed"], source["unchanged"]) == (0, 2, 4), source


def test_other_patterns_read_nothing_that_stays(filled, opened):
    source = {
        "name": "docs",
        "path": str(filled.docs),
        "include": [*DEFAULT_INCLUDE, "*.cfg"],
        "exclude": ["x*"],
    }
    filled.write("new.cfg", "text = 1")
    with filled.worker(sources=[source]) as context:
        assert scan(context).changed == 1
    assert opened == []  # none of those with the suffixes that were there before


def test_a_suffix_that_goes_to_another_form_reads_its_files_only(filled, opened, monkeypatch):
    use(monkeypatch, copy_of(MARKDOWN, suffixes=(*MARKDOWN.suffixes, ".txt")), RST, TEXT)
    with filled.worker() as context:
        assert scan(context).changed == 1
    assert opened == ["e.txt"]


def test_another_version_of_one_reader_reads_its_files_only(filled, opened, monkeypatch):
    use(monkeypatch, copy_of(MARKDOWN, version=2), RST, TEXT)
    with filled.worker() as context:
        assert scan(context).changed == 2
    assert sorted(opened) == ["a.md", "b.md", "empty.md"]


# A reader that is not here: what it made is neither read by another one, nor given up.


class Notes(TextReader):
    """Gives another text than any other reader would of the same bytes."""

    def read(self, file, options):
        for found in super().read(file, options):
            yield replace(found, text=found.text.replace("word", "note"))


@pytest.fixture
def with_notes(filled, monkeypatch):
    """Two more documents, of a reader that a package brings."""
    notes = Notes("notes", "markdown", (".note",))
    sources = [{"name": "docs", "path": str(filled.docs), "include": [*DEFAULT_INCLUDE, "*.note"]}]
    for name in ("x.note", "deep/y.note"):
        filled.write(name, prose(name, 2))
    with monkeypatch.context() as patched:
        use(patched, MARKDOWN, RST, notes, TEXT)
        filled.run(sources=sources)
    return sources, notes


def test_what_a_missing_reader_made_stays_as_it_is(filled, with_notes, opened, monkeypatch):
    notes, billed = with_notes, filled.ledger.units()
    sources, reader = notes
    before = shown(filled)
    filled.run(sources=sources)
    filled.write("x.note", prose("other", 2))
    filled.run(sources=sources)
    assert opened == []
    assert shown(filled) == before
    assert filled.ledger.units() == billed
    assert filled.log.named("file.later")[-1] == {"source": "docs", "name": "x.note", "why": "no_reader"}

    use(monkeypatch, MARKDOWN, RST, reader, TEXT)
    filled.run(sources=sources)
    texts = shown(filled)
    assert texts["deep/y.note"] == before["deep/y.note"]
    assert "other" in texts["x.note"][0]
    assert not filled.ledger.billed_more_than_once()


def test_a_table_that_is_lost_is_filled_by_the_other_readers_meanwhile(filled, with_notes, monkeypatch):
    sources, reader = with_notes
    before, billed = shown(filled), filled.ledger.units()
    shutil.rmtree(filled.data_dir / "lancedb")
    filled.run(60, quiet=False, sources=sources)
    assert shown(filled).keys() == before.keys() - {"x.note", "deep/y.note"}
    assert filled.ledger.units() == billed
    use(monkeypatch, MARKDOWN, RST, reader, TEXT)
    filled.run(sources=sources)
    assert shown(filled) == before
    assert filled.ledger.units() == billed


# Scans that do not come to their end.


def test_options_that_change_back_leave_nothing_split_in_another_way(filled, monkeypatch):
    """The first scan under other options breaks off; then they are what they were."""
    before = shown(filled)
    monkeypatch.setattr("voyage_jobs.steps.scan_slices.SLICE_DOCUMENTS", 1)
    with filled.worker(splitting={"max_chars": 300}) as context:
        with context.store.read() as connection:
            row = sources.by_name(connection, "docs")
        next(Scan(context, row, context.source_settings("docs")).run())
        assert query(context, "SELECT COUNT(*) FROM versions WHERE state = 'waiting'") == [(1,)]
    filled.run()
    assert shown(filled) == before
    with filled.worker() as context:
        assert query(context, "SELECT COUNT(DISTINCT splitter) FROM versions WHERE state = 'published'") == [
            (3,)
        ]


def test_what_could_not_be_seen_is_compared_later(filled, opened, monkeypatch):
    raise_splitter(monkeypatch, "rst")
    real = os.open

    def refuses(path, *args, **kwargs):
        if os.path.basename(os.fsencode(path)) == b"deep":
            raise PermissionError(13, "Permission denied")
        return real(path, *args, **kwargs)

    with filled.worker() as context:
        with monkeypatch.context() as patched:
            patched.setattr(os, "open", refuses)
            scan(context)
        assert sorted(opened) == ["c.rst", "empty.rst"]
        opened.clear()
        assert scan(context).changed == 1
        assert "d.rst" in opened
        opened.clear()
        scan(context)
        assert opened == []
