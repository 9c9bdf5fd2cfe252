"""Who reads and splits what, and fingerprints that never change by accident: each change reads and splits again."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from older_state import OLDER
from readers_in_use import copy_of, use

from voyage_jobs.readers.reader import FORMS as NAMES
from voyage_jobs.readers.registry import BUILT_IN, Registered, reader_of, readers
from voyage_jobs.readers.text import MARKDOWN, RST, TEXT
from voyage_jobs.splitting.fingerprints import fingerprint, is_made_by, marker, older, unchanged
from voyage_jobs.splitting.forms import FORMS
from voyage_jobs.splitting.split import SplitOptions

OPTIONS = SplitOptions()


@pytest.mark.parametrize(
    ("path", "made"),
    [
        ("a.md", "markdown:69ebb09ead5cfdd439f9976f6c881d1c"),
        ("a.rst", "rst:6c77fa5ec78bf4888a324790ef49783a"),
        ("a.txt", "text:f07e0ca3fb28794793ccfb3f314b5dfc"),
    ],
    ids=["markdown", "rst", "text"],
)
def test_a_file_has_the_fingerprint_that_it_always_had(path, made):
    """A literal that has to be changed here is a version that users read, split and perhaps pay for again."""
    reader = reader_of(path)
    assert fingerprint(reader, OPTIONS) == made
    assert older(reader, OPTIONS) == (OLDER,)
    assert is_made_by(made, reader, OPTIONS)
    assert is_made_by(OLDER, reader, OPTIONS)


def test_a_source_that_was_compared_is_not_compared_again_by_an_upgrade(monkeypatch):
    use(monkeypatch, MARKDOWN, RST, TEXT)
    assert marker(OPTIONS, readers()) == (
        "markdown:69ebb09ead5cfdd439f9976f6c881d1c rst:6c77fa5ec78bf4888a324790ef49783a "
        "text:f07e0ca3fb28794793ccfb3f314b5dfc suffixes:5e9d5cd892562b3e3ac501459cf2ce2d"
    )


def test_the_last_reader_takes_what_no_other_claims():
    assert BUILT_IN[-1] is TEXT
    assert [each.name for each in BUILT_IN if not each.suffixes] == ["text"]


def test_every_form_that_a_reader_may_name_is_split():
    assert all(tuple(forms) == NAMES for forms in FORMS.values())


@pytest.mark.parametrize(
    ("path", "reader"),
    [
        ("a.md", MARKDOWN),
        ("deep.er/A.MDX", MARKDOWN),
        ("a.rst", RST),
        ("a.md.txt", TEXT),
        ("README", TEXT),
        ("folder.md/README", TEXT),
        (".md", MARKDOWN),
        ("", TEXT),
    ],
)
def test_a_file_has_its_reader_by_its_suffix(path, reader):
    assert reader_of(path).reader is reader


def test_everything_that_changes_the_result_changes_the_fingerprint(monkeypatch):
    first = use(monkeypatch, MARKDOWN, RST, TEXT).readers
    made = [fingerprint(each, options) for each in first for options in (OPTIONS, SplitOptions(1999))]
    markdown = Registered(MARKDOWN)
    made += [fingerprint(markdown, SplitOptions(2000, 1))]
    made += [fingerprint(Registered(copy_of(MARKDOWN, version=2)), OPTIONS)]
    made += [fingerprint(Registered(copy_of(MARKDOWN, forms=("plain", "markdown"))), OPTIONS)]
    made += [fingerprint(Registered(MARKDOWN, options={"select": "main"}), OPTIONS)]
    monkeypatch.setitem(FORMS[1], "markdown", replace(FORMS[1]["markdown"], splitter=2))
    made += [fingerprint(markdown, OPTIONS)]
    assert len(set(made)) == len(made) == 11


@pytest.mark.parametrize("changed", [{"version": 2}, {"name": "captions"}])
def test_what_an_older_release_made_is_not_taken_for_a_newer_reader(changed):
    assert not is_made_by(OLDER, Registered(copy_of(MARKDOWN, **changed)), OPTIONS)
    assert not is_made_by(OLDER, Registered(MARKDOWN), SplitOptions(1999))
    assert not is_made_by(OLDER, Registered(MARKDOWN, options={"a": 1}), OPTIONS)


def test_what_an_older_release_made_is_not_taken_for_a_newer_splitter(monkeypatch):
    monkeypatch.setitem(FORMS[1], "markdown", replace(FORMS[1]["markdown"], splitter=2))
    assert not is_made_by(OLDER, reader_of("a.md"), OPTIONS)
    assert is_made_by(OLDER, reader_of("a.rst"), OPTIONS)


@dataclass(frozen=True)
class More(SplitOptions):
    """Options of a later release."""

    min_chars: int = 0


def test_a_new_option_counts_for_the_forms_that_use_it_and_only_where_it_is_set(monkeypatch):
    before, rst = fingerprint(reader_of("a.md"), OPTIONS), fingerprint(reader_of("a.rst"), OPTIONS)
    uses = replace(FORMS[1]["markdown"], options=(*FORMS[1]["markdown"].options, "min_chars"))
    monkeypatch.setitem(FORMS[1], "markdown", uses)
    markdown = Registered(MARKDOWN)
    assert fingerprint(markdown, More()) == before
    assert is_made_by(OLDER, markdown, More())
    assert fingerprint(markdown, More(min_chars=5)) != before
    assert not is_made_by(OLDER, markdown, More(min_chars=5))
    assert fingerprint(reader_of("a.rst"), More(min_chars=5)) == rst


def test_a_form_that_does_not_use_a_size_does_not_look_at_it(monkeypatch):
    monkeypatch.setitem(FORMS[1], "plain", replace(FORMS[1]["plain"], options=("max_chars",)))
    whole = Registered(TEXT)
    assert fingerprint(whole, SplitOptions(2000, 100)) == fingerprint(whole, SplitOptions())


def test_a_source_knows_which_readers_it_was_compared_with(monkeypatch):
    use(monkeypatch, MARKDOWN, RST, TEXT)
    before = marker(OPTIONS, readers())
    assert list(unchanged(before, OPTIONS, readers())) == list(readers())
    assert list(unchanged(OLDER, OPTIONS, readers())) == list(readers())
    assert list(unchanged(None, OPTIONS, readers())) == []
    assert list(unchanged(before, SplitOptions(1999), readers())) == []

    use(monkeypatch, MARKDOWN, copy_of(RST, version=2), TEXT)
    assert marker(OPTIONS, readers()) != before
    assert [each.reader for each in unchanged(before, OPTIONS, readers())] == [MARKDOWN, TEXT]


def test_a_suffix_that_another_reader_takes_is_a_reason_to_compare(monkeypatch):
    before = marker(OPTIONS, readers())
    use(monkeypatch, MARKDOWN, copy_of(RST, suffixes=(*RST.suffixes, ".txt")), TEXT)
    assert marker(OPTIONS, readers()) != before
