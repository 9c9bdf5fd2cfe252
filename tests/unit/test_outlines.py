"""AsciiDoc and Org: which lines are titles, what of the head is metadata, and that every offset stays."""

from __future__ import annotations

import io
import time

import pytest

from tests.splits import of_new_state
from voyage_jobs.core.clock import iso
from voyage_jobs.readers.asciidoc import ASCIIDOC
from voyage_jobs.readers.org import ORG
from voyage_jobs.readers.reader import Refused, Text
from voyage_jobs.readers.reading import read_text
from voyage_jobs.readers.registry import Registered
from voyage_jobs.splitting.dates import changed_us
from voyage_jobs.splitting.split import split


def read(reader, text: str) -> Text:
    found = read_text(Registered(reader), io.BytesIO(text.encode()))
    assert len(found.text) == len(text)
    assert found.text.count("\n") == text.count("\n")
    return found


def titles(reader, text: str) -> list[tuple[int, str]]:
    return [(heading.level, heading.text) for heading in read(reader, text).headings]


ADOC = "= Pump manual\n:toc:\n\nShort introduction.\n\n== Safety\n\nSwitch it off.\n\n=== Gloves\n\nWear gloves.\n"
ORG_TEXT = (
    "#+TITLE: Lab notes\n* Week one\n:PROPERTIES:\n:ID: 5f1c\n:END:\nThe sample was dry.\n"
    "** Tuesday\nThe sample was wet.\n"
)


def test_sections_of_asciidoc():
    found = read(ASCIIDOC, ADOC)
    document = split(found, "manual.adoc", of_new_state())
    assert document.title == "Pump manual"
    assert document.metadata == {"toc": ""}
    assert titles(ASCIIDOC, ADOC) == [(1, "Pump manual"), (2, "Safety"), (3, "Gloves")]
    assert "toc" not in found.text


def test_sections_of_org():
    found = read(ORG, ORG_TEXT)
    document = split(found, "notebook.org", of_new_state())
    assert (document.title, document.metadata) == ("Lab notes", {"title": "Lab notes"})
    assert titles(ORG, ORG_TEXT) == [(1, "Week one"), (2, "Tuesday")]
    assert "PROPERTIES" not in found.text
    assert "5f1c" not in found.text
    assert found.left_out["drawers"] > 5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("text\n== no title, but more of the text\n", []),
        ("* item\n== nor this\n\n== One\n", [(2, "One")]),
        ("== One ==\n=== Two\n## Three\n", [(2, "One"), (3, "Two"), (2, "Three")]),
        ("----\n== no\n====\n----\n== One", [(2, "One")]),
        ("====\n----\n====\n----\n== no\n====\n== One", [(2, "One")]),
        ("--\n== no\n--\n== One\n", [(2, "One")]),
        ("```ruby\n# no\n```\n# One\n", [(1, "One")]),
        ("|===\n| a\n== no\n|===\n\n== One\n", [(2, "One")]),
        ("////\n== no\n////\n== One\n", [(2, "One")]),
        ("----\n== an open block goes to the end\n", []),
        ("[discrete]\n== no\n\n[#here]\n[float]\n== no\n\n[#id]\n== One\n", [(2, "One")]),
        ("// comment\n== One\nifdef::x[]\n== Two\n", [(2, "One"), (2, "Two")]),
        (
            "One\n===\n\nTwo\n----\n\ntext\nno\n--\n== no\n--\n\nThree\n~~~~~\n",
            [(1, "One"), (2, "Two"), (3, "Three")],
        ),
        (" == indented\n==none\n======= seven\n", []),
        (
            "== A *bold* `code` https://x.org[site], <<id,see>>, [[a]]and x_y_z\n",
            [(2, "A bold code site, see, and x_y_z")],
        ),
        (":v: 1 \\\n  and 2\n= On {v} of {w}\n", [(1, "On 1 and 2 of {w}")]),
        ("= T\r\n:a: b\r\n\r\n== One\r\n\r\ntext\r\n", [(1, "T"), (2, "One")]),
    ],
)
def test_titles_are_those_of_asciidoctor(text, expected):
    assert titles(ASCIIDOC, text) == expected


def test_the_header_is_metadata_and_what_stands_below_is_text():
    text = "// draft\n:a: 1\n\n= T\nJane Doe\n:b: 2 \\\nmore\n:!c:\n// note\n:d: 4\n\n:e: text\n\n== One\n\n:f: text\n"
    found = read(ASCIIDOC, text)
    assert found.metadata == {"a": "1", "b": "2 more", "!c": "", "d": "4"}
    assert " ".join(found.text.split()) == "// draft = T Jane Doe // note :e: text == One :f: text"
    assert read(ASCIIDOC, "Words.\n:a: 1\n").metadata == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("** \n*bold* is no headline\n*\n * nor this\n", [(2, "")]),
        ("* TODO [#A] One :a:b_c:\n* COMMENT Two [1/2]\n* DONE\n", [(1, "One"), (1, "Two [1/2]"), (1, "")]),
        (
            "#+TODO: NEXT(n) | GIVEN_UP(g@)\n* NEXT One\n* GIVEN_UP Two\n* Other Three\n",
            [(1, "One"), (1, "Two"), (1, "Other Three")],
        ),
        ("* [[https://x.org][A site]] and [[file:b.org]]\n", [(1, "A site and file:b.org")]),
        ("* =code=, /italic/ and a_b_c\r\n", [(1, "code, italic and a_b_c")]),
        ("#+begin_src org\n* even here\n#+end_src\n", [(1, "even here")]),
    ],
)
def test_headlines_are_those_of_org(text, expected):
    assert titles(ORG, text) == expected


def test_drawers_and_keywords_that_are_text_stay():
    block = "#+begin_src org\n:PROPERTIES:\n:ID: 1\n:END:\n#+title: no\n#+end_src\n"
    text = f"#+date: 2026-01-02\n#+caption: of what follows\n{block}:open: a word\n:open:\n* One\n:end:\n#+key: text\n"
    found = read(ORG, text)
    assert found.metadata == {"date": "2026-01-02"}
    assert iso(changed_us(found.metadata)) == "2026-01-02T00:00:00Z"
    assert found.text == " " * len("#+date: 2026-01-02") + text[len("#+date: 2026-01-02") :]
    assert found.data_tokens == 0


def test_a_keyword_that_is_repeated_keeps_every_value():
    assert read(ORG, "#+author: A\n#+AUTHOR: B\ntext").metadata == {"author": "A\nB"}


@pytest.mark.parametrize(
    ("reader", "text"), [(ASCIIDOC, ":a: 1\n:b: 2\n"), (ORG, "#+title: a\n:x:\n:end:\n")]
)
def test_what_is_no_text_but_settings_is_told(reader, text):
    with pytest.raises(Refused, match="empty: nothing but"):
        read_text(Registered(reader), io.BytesIO(text.encode()))


@pytest.mark.parametrize("reader", [ASCIIDOC, ORG])
@pytest.mark.parametrize(
    "part",
    [
        "word\n== x\n",
        "[a]\n",
        ":a: \\\n",
        "----\n",
        "#+begin_x\n",
        ":a:\n",
        "x\n--\n",
        "* [[a][",
        "== *a `b _c\n",
        "== {a}\n",
        "// c\n",
    ],
)
def test_hostile_files_are_read_in_time(reader, part):
    began = time.process_time()
    read_text(Registered(reader), io.BytesIO((part * (400_000 // len(part)) + "\nend").encode()))
    assert time.process_time() - began < 5


@pytest.mark.parametrize(("reader", "mark"), [(ASCIIDOC, "="), (ORG, "*")])
@pytest.mark.parametrize("part", ["=a ", "*a ", "`a ", "link:a", "[[a", "<<a,", " :a"])
def test_a_title_as_long_as_a_book_is_read_in_time(reader, mark, part):
    began = time.process_time()
    [(_, title)] = titles(reader, f"{mark} One {part * (200_000 // len(part))}\n\nend\n")
    assert title.startswith("One ")
    assert time.process_time() - began < 5
