"""Files by the ending of their names: bounded, and told in one line."""

import pytest

from voyage_jobs.readers import registry
from voyage_jobs.report.passed_over import how_to_take, passed_over
from voyage_jobs.sources.kinds import NO_ENDING, OTHERS, Kinds, kind_of, told


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Page.HTML", ".html"),
        ("a.tar.gz", ".gz"),
        ("song.mp3", ".mp3"),
        ("x.7z", ".7z"),
        ("Makefile", NO_ENDING),
        (".profile", NO_ENDING),
        ("log.20240101", NO_ENDING),
        ("ends.", NO_ENDING),
        ("a.b c", NO_ENDING),
        ("odd.\U0010ff80", NO_ENDING),
    ],
)
def test_the_kind_of_a_file_is_its_ending(name, kind):
    assert kind_of(name) == kind


def test_any_number_of_kinds_is_counted_in_bounded_room():
    kinds = Kinds()
    for number in range(1_000):
        kinds.add({f".a{number}": 1, ".b": 2})
    found = kinds.as_dict()
    assert len(found) == 101
    assert sum(found.values()) == 3_000
    assert next(iter(found)) == ".b"
    assert found[OTHERS] == 901


def test_they_are_told_in_one_line():
    assert told({}) == ""
    assert told({".html": 1}) == "1 other file (1 .html)"
    kinds = {".a": 5, ".b": 4, NO_ENDING: 3, ".c": 2, ".d": 1, ".e": 1, OTHERS: 1_000}
    assert told(kinds) == "1,016 other files (5 .a, 4 .b, 2 .c, 1 .d, 3 with no ending, 1,001 of other kinds)"


def test_what_would_read_some_of_them_is_said_with_what_it_needs(monkeypatch):
    assert passed_over("docs", {}) == ""
    assert how_to_take({".png": 3, NO_ENDING: 1}) == "`include` says what is taken."
    monkeypatch.setattr(registry, "_is_installed", lambda module: False)
    for each in registry.readers():
        each.__dict__.pop("missing", None)  # it is looked for once
    said = passed_over("docs", {".html": 5, ".png": 3, ".ipynb": 1})
    for each in registry.readers():
        each.__dict__.pop("missing", None)
    assert said.startswith("Passed over in docs: 9 other files (5 .html, 3 .png, 1 .ipynb). ")
    assert "Add *.html, *.ipynb to `include` to have 6 of them read; reader html needs " in said
    assert said.endswith(": pip install 'voyage-jobs[html]'.")
