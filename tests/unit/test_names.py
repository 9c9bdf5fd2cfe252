"""A file name survives the way into a path text and back, whatever bytes it is made of."""

from __future__ import annotations

import os
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from voyage_jobs.sources import names

NAMES = st.binary(max_size=40) | st.text(max_size=20).map(lambda s: s.encode("utf-8", "replace"))


@given(NAMES)
@example(b"\xff\xfe")
@example("\U0010ff41".encode())
@example("é\U0010ffff".encode() + b"\xe9")
@example("\U0010f000".encode())
@example(b"\xed\xa0\x80")
@example(b"\xf4\x8f\xbf")
def test_every_name_comes_back_and_is_valid_utf8_between(name: bytes) -> None:
    path = names.encode(name)

    assert name == names.decode(path)
    assert path.encode().decode() == path


@given(NAMES, NAMES)
def test_two_names_never_share_a_path(one: bytes, other: bytes) -> None:
    assert (one == other) == (names.encode(one) == names.encode(other))


@given(st.text(alphabet=st.characters(max_codepoint=0x10EFFF, exclude_categories=["Cs"]), max_size=20))
def test_valid_utf8_stays_verbatim(text: str) -> None:
    assert text == names.encode(text.encode())


def test_names_that_differ_only_in_unicode_form_stay_two() -> None:
    nfc, nfd = "é.md", unicodedata.normalize("NFD", "é.md")

    assert names.encode(nfc.encode()) != names.encode(nfd.encode())
    assert nfd == names.encode(nfd.encode())


@pytest.mark.parametrize(
    "path",
    ["\U0010ff41", "\U0010ffc3\U0010ffa9", "a\udcff", "x\U0010ff0a"],
    ids=["escaped ASCII", "escaped valid UTF-8", "surrogate", "escaped line end"],
)
def test_a_path_that_no_name_has_is_refused(path: str) -> None:
    with pytest.raises(ValueError):
        names.decode(path)


@given(NAMES.filter(lambda name: b"\0" not in name))
def test_a_command_line_argument_means_the_file_of_that_name(name: bytes) -> None:
    assert names.encode(name) == names.from_argument(os.fsdecode(name))


@given(NAMES)
def test_what_a_terminal_gets_is_printable(name: bytes) -> None:
    shown = names.display(names.encode(name))

    assert shown.isprintable()
    shown.encode()


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("plain ünï 100%.md", "plain ünï 100%.md"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x85", "\\u0085"),
        ("a\u202eb", "a\\u202eb"),
        ("\U000e0001", "\\U000e0001"),
        ("\udcff", "\\xff"),
        ("\ud800", "\\ud800"),
        ("back\\slash", "back\\\\slash"),
        (names.encode(b"caf\xe9.md"), "caf\\xe9.md"),
    ],
)
def test_display(path: str, shown: str) -> None:
    assert shown == names.display(path)


@given(NAMES, NAMES)
def test_a_name_cannot_pass_for_another_on_the_terminal(one: bytes, other: bytes) -> None:
    if one != other:
        assert names.display(names.encode(one)) != names.display(names.encode(other))
