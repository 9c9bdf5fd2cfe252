"""What is read of a PDF: pages, places, outline; and what is no text."""

from __future__ import annotations

import io

import pytest
from pdf_files import pdf
from readers_in_use import copy_of, use
from step_doors import query, scan

from voyage_jobs.readers import registry
from voyage_jobs.readers.pdf import PDF
from voyage_jobs.readers.reader import Refused, Text
from voyage_jobs.readers.reading import read_here, read_text
from voyage_jobs.readers.registry import BUILT_IN, Registered
from voyage_jobs.splitting.split import SplitOptions, split

WORDS = ["The quick brown fox jumps over the lazy dog, as it has done before.", "So it goes on for a while."]


def read(data: bytes) -> Text:
    return read_here(Registered(PDF), io.BytesIO(data))


def refusal(data: bytes) -> str:
    with pytest.raises(Refused) as refused:
        read(data)
    return str(refused.value)


def test_a_document_is_its_pages_one_after_the_other():
    found = read(pdf([["One (1)", *WORDS], ["Two", *WORDS]], title="A manual", author="Nobody"))
    assert found.text == "\n\n\f".join("\n".join([head, *WORDS]) for head in ("One (1)", "Two"))
    assert [(place.kind, place.label, found.text[place.at :][:3]) for place in found.places] == [
        ("page", "1", "One"),
        ("page", "2", "Two"),
    ]
    assert (found.form, found.title, found.metadata) == ("plain", "A manual", {"author": "Nobody"})


def test_the_outline_is_the_sections():
    pages = [["Cover", *WORDS], ["1 First things", *WORDS, "1.1 Second things", *WORDS], ["Last", *WORDS]]
    outline = [("First things", 1), ("Second  Things", 1), ("Not written there", 2)]
    document = split(read(pdf(pages, outline=outline)), "a.pdf", SplitOptions())
    assert document.sections == [(), ("First things",), ("Second Things",), ("Not written there",)]
    text = read(pdf(pages, outline=outline)).text
    begins = [text[chunk.start : chunk.end].split("\n")[0] for chunk in document.chunks]
    assert begins == ["Cover", "1 First things", "1.1 Second things", "Last"]


def test_words_are_put_together_and_hyphens_between_words_stay():
    found = read(pdf([["Some infor-", "mation about Vitamin-", "C and well-known things."]]))
    assert found.text == "Some information about Vitamin-C and well-known things."


def test_lines_that_most_pages_repeat_are_left_out():
    pages = [["The manual", f"Chapter {at}", *WORDS, f"page {at} of 5"] for at in range(1, 6)]
    pages[0] = ["A cover of its own", *WORDS]
    found = read(pdf(pages))
    assert found.text.count("The manual") == found.text.count("page ") == found.text.count("Chapter") == 0
    assert found.text.count(WORDS[0]) == 5
    assert "A cover of its own" in found.text
    assert "The manual" in read(pdf(pages[:3])).text  # too few to tell


def test_pages_that_differ_in_their_numbers_alone_are_read_whole():
    found = read(pdf([["Weekly report", f"Total: {number}", "Status ok"] for number in range(5)]))
    assert found.text.split("\n\n\f") == [f"Weekly report\nTotal: {n}\nStatus ok" for n in range(5)]
    assert not found.left_out


@pytest.mark.parametrize("title", ["Microsoft Word - draft.doc", "untitled", "book.tex"])
def test_a_title_that_a_program_gave_is_none(title):
    assert read(pdf([WORDS], title=title)).title == ""


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (pdf([WORDS], password="secret"), "encrypted"),
        (pdf([[], [], ["x"]]), "no_text: 3 of 3 pages have no text: scanned?"),
        (pdf([['!"#$% &/()= ?+*~ <>|,;'] * 9]), "garbled: most of its signs are no letters or digits"),
        (pdf([WORDS])[:300], "broken: no PDF that can be opened"),
        (b"words, but no PDF", "broken: no PDF that can be opened"),
    ],
    ids=["encrypted", "scanned", "garbled", "cut short", "no PDF"],
)
def test_what_has_no_text_to_give_says_so(data, reason):
    assert refusal(data) == reason


def test_a_password_that_is_empty_is_none():
    assert read(pdf([WORDS], password="")).text == "\n".join(WORDS)


def test_leaders_of_a_table_of_contents_are_no_noise():
    assert read(pdf([[f"Chapter {at} {'.' * 60} {at}" for at in range(20)]])).text.startswith("Chapter 0")


def test_a_row_has_its_page(world):
    sources = [{"name": "docs", "path": str(world.docs), "include": ["*.pdf"]}]
    world.write("a.pdf", pdf([["One", *WORDS * 9], ["Two", *WORDS * 9]]))
    world.write("b.pdf", pdf([WORDS], password="secret"))
    world.run(sources=sources, splitting={"max_chars": 600})
    rows = sorted(world.table_rows(), key=lambda row: row["ordinal"])
    assert {(row["page"], row["place"]) for row in rows} == {(1, "p. 1"), (2, "p. 2")}
    assert rows[0]["metadata"]["page"] == 1
    with world.worker(sources=sources, splitting={"max_chars": 600}) as context:
        assert scan(context).changed == 0
        assert query(context, "select reason from documents where name = 'b.pdf'") == [("encrypted",)]


def test_it_is_read_in_a_process_of_its_own():
    assert read_text(registry.reader_of("a.PDF"), io.BytesIO(pdf([WORDS]))).text == "\n".join(WORDS)


def test_the_extra_that_a_file_lacks_is_named(monkeypatch):
    assert registry.extra_for("a.pdf") == registry.extra_for("a.txt") == ""
    use(monkeypatch, copy_of(PDF, needs=("no_such_library",)), *BUILT_IN[-1:])
    assert registry.extra_for("deep/A.PDF") == "pdf"
