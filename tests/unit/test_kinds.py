"""Files by the ending of their names: bounded, and told in one line."""

import pytest

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
