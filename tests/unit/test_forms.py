"""Forms: which file takes which, and fingerprints that never change by accident: each change reads and splits anew."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from older_state import OLDER

from voyage_jobs.sources import forms
from voyage_jobs.sources.forms import FORMS, MARKDOWN, RST, TEXT, form_of
from voyage_jobs.sources.split import SplitOptions


@pytest.mark.parametrize(
    ("form", "fingerprint"),
    [
        (MARKDOWN, "markdown:69ebb09ead5cfdd439f9976f6c881d1c"),
        (RST, "rst:6c77fa5ec78bf4888a324790ef49783a"),
        (TEXT, "text:f07e0ca3fb28794793ccfb3f314b5dfc"),
    ],
    ids=["markdown", "rst", "text"],
)
def test_a_form_has_the_fingerprint_that_it_always_had(form, fingerprint):
    """A literal that has to be changed here is a version that users read, split and perhaps pay for again."""
    assert form.fingerprint(SplitOptions()) == fingerprint
    assert form.older(SplitOptions()) == (OLDER,)
    assert form.made(fingerprint, SplitOptions())
    assert form.made(OLDER, SplitOptions())


def test_these_are_all_forms():
    assert FORMS == (MARKDOWN, RST, TEXT)


@pytest.mark.parametrize(
    ("path", "form"),
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
def test_a_file_has_its_form_by_its_suffix(path, form):
    assert form_of(path) is form


def test_everything_that_changes_the_result_changes_the_fingerprint():
    made = [form.fingerprint(options) for form in FORMS for options in (SplitOptions(), SplitOptions(1999))]
    made += [MARKDOWN.fingerprint(SplitOptions(2000, 1))]
    made += [replace(MARKDOWN, **{each: 2}).fingerprint(SplitOptions()) for each in ("reader", "splitter")]
    assert len(set(made)) == len(made)


@pytest.mark.parametrize("raised", [{"reader": 2}, {"splitter": 2}, {"name": "html"}])
def test_what_an_older_release_made_is_not_taken_for_a_newer_form(raised):
    assert not replace(MARKDOWN, **raised).made(OLDER, SplitOptions())
    assert not MARKDOWN.made(OLDER, SplitOptions(1999))


@dataclass(frozen=True)
class More(SplitOptions):
    """Options of a later release."""

    min_chars: int = 0


def test_a_new_option_counts_for_the_forms_that_use_it_and_only_where_it_is_set():
    uses = replace(MARKDOWN, options=(*MARKDOWN.options, "min_chars"))
    assert uses.fingerprint(More()) == MARKDOWN.fingerprint(SplitOptions())
    assert uses.made(OLDER, More())
    assert uses.fingerprint(More(min_chars=5)) != uses.fingerprint(More())
    assert not uses.made(OLDER, More(min_chars=5))
    assert RST.fingerprint(More(min_chars=5)) == RST.fingerprint(SplitOptions())


def test_a_form_that_does_not_use_a_size_does_not_look_at_it():
    whole = replace(TEXT, options=("max_chars",))
    assert whole.fingerprint(SplitOptions(2000, 100)) == whole.fingerprint(SplitOptions())


def test_a_source_knows_which_forms_it_was_compared_with(monkeypatch):
    options = SplitOptions()
    before = forms.marker(options)
    assert list(forms.unchanged(before, options)) == list(FORMS)
    assert list(forms.unchanged(OLDER, options)) == list(FORMS)
    assert list(forms.unchanged(None, options)) == []
    assert list(forms.unchanged(before, SplitOptions(1999))) == []

    raised = replace(RST, splitter=2)
    monkeypatch.setattr(forms, "FORMS", (MARKDOWN, raised, TEXT))
    assert forms.marker(options) != before
    assert list(forms.unchanged(before, options)) == [MARKDOWN, TEXT]


def test_a_suffix_that_another_form_takes_is_a_reason_to_compare(monkeypatch):
    before = forms.marker(SplitOptions())
    monkeypatch.setattr(forms, "FORMS", (MARKDOWN, replace(RST, suffixes=(*RST.suffixes, ".txt")), TEXT))
    assert forms.marker(SplitOptions()) != before
