"""Splitting loses nothing, cuts exactly, keeps its size, and keeps sections apart."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st

from tests.splits import split
from voyage_jobs.readers.registry import reader_of
from voyage_jobs.splitting import markdown
from voyage_jobs.splitting.split import MIN_MAX_CHARS, Chunk, SplitDocument, SplitOptions

SMALL = SplitOptions(max_chars=100)
BODY_BLOCKS = [
    "A short paragraph.",
    "Longer prose that goes on. " * 6,
    "- one\n- two\n  - three\n\n  more of two\n- four",
    "```python\n# no heading\nx = 1\n\ny = 2\n```",
    "| a | b |\n|---|---|\n| 1 | 2 |",
    "> a quotation\n> # not a section",
    "<!-- hidden\n# not a section\n-->",
    "漢字かな交じり文。" * 20,
    "x" * 250,
    "e\u0301👨‍👩‍👧‍👦\u200b mixed \u00a0 space",
    "    indented\n    # code",
    "***",
    "[link](http://example.org) and `code`",
]
HEADINGS = ["# One", "## Two *b*", "### Three", "Set\n===", "Sub\n---", "##", "# One", "#### " + "long " * 60]
BLOCKS = st.lists(st.sampled_from(BODY_BLOCKS + HEADINGS), max_size=12)
MARKDOWN = st.tuples(BLOCKS, st.sampled_from(["\n\n", "\n", "\n\n\n \n", "\r\n\r\n", "\r"])).map(
    lambda drawn: drawn[1].join(drawn[0])
)
NOISE = st.text(alphabet="#-=`~*_[](){}<>!|&\\:.\t\n\r\x0c \u2028aé漢\u0301😀0", max_size=300)
TEXTS = MARKDOWN | NOISE | st.text(max_size=300)
PATHS = st.sampled_from(["a.md", "docs/b.rst", "c.txt", "README"])
FIRST_RULES = [SMALL, SplitOptions(), SplitOptions(150, 50), SplitOptions(100, 50), SplitOptions(400, 20)]
SECOND_RULES = [replace(options, rules=2) for options in FIRST_RULES]
UNMERGED = st.sampled_from([*FIRST_RULES, *SECOND_RULES])
OPTIONS = UNMERGED | st.sampled_from(
    [replace(options, min_chars=options.max_chars // 3) for options in SECOND_RULES]
)


def texts(text: str, document: SplitDocument) -> list[str]:
    return [text[chunk.start : chunk.end] for chunk in document.chunks]


@examples(500)
@given(TEXTS, PATHS, OPTIONS)
def test_every_chunk_is_a_trimmed_piece_of_at_most_the_size(
    text: str, path: str, options: SplitOptions
) -> None:
    document = split(text, path, options)

    assert [chunk.ordinal for chunk in document.chunks] == list(range(len(document.chunks)))
    for chunk, cut in zip(document.chunks, texts(text, document), strict=True):
        assert cut
        assert cut == cut.strip()
        assert len(cut) <= options.max_chars
        assert 0 <= chunk.section < len(document.sections)
        assert chunk.tokens >= 1
    assert len(set(document.sections)) == len(document.sections)
    assert {chunk.section for chunk in document.chunks} == set(range(len(document.sections)))


@examples(500)
@given(TEXTS, PATHS, OPTIONS)
def test_nothing_but_white_space_is_lost(text: str, path: str, options: SplitOptions) -> None:
    text = "x\n" + text  # no front matter
    covered = 0
    for chunk in split(text, path, options).chunks:
        assert not text[covered : chunk.start].strip()
        assert chunk.end > covered
        if options.overlap_chars == 0:
            assert chunk.start >= covered
        covered = chunk.end
    assert not text[covered:].strip()


@given(TEXTS, PATHS, OPTIONS)
def test_the_same_again_is_the_same(text: str, path: str, options: SplitOptions) -> None:
    assert split(text, path, options) == split(text, path, options)


BODIES = st.lists(st.sampled_from(BODY_BLOCKS), min_size=1, max_size=4).map("\n\n".join)


@examples(200)
@given(st.lists(BODIES, min_size=2, max_size=6), BODIES, st.data(), UNMERGED)
def test_editing_one_section_leaves_the_others_alone(
    bodies: list[str], edit: str, data: st.DataObject, options: SplitOptions
) -> None:
    edited = data.draw(st.integers(0, len(bodies) - 1))

    def by_section(bodies: list[str]) -> dict[tuple[str, ...], list[str]]:
        text = "\n\n".join(f"{'#' * (1 + n % 3)} Section {n}\n\n{body}" for n, body in enumerate(bodies))
        document = split(text, "a.md", options)
        found: dict[tuple[str, ...], list[str]] = {}
        for chunk, cut in zip(document.chunks, texts(text, document), strict=True):
            found.setdefault(document.sections[chunk.section], []).append(cut)
        return found

    before = by_section(bodies)
    after = by_section([*bodies[:edited], edit, *bodies[edited + 1 :]])
    assert before.keys() == after.keys()
    assert [path for path in before if before[path] != after[path] and path[-1] != f"Section {edited}"] == []


@given(MARKDOWN)
def test_line_ends_do_not_change_the_headings(text: str) -> None:
    unix = re.sub("\r\n|\r", "\n", text)
    for end in ("\r\n", "\r"):
        there = [(each.level, each.text) for each in markdown.headings(unix.replace("\n", end))]
        assert there == [(each.level, each.text) for each in markdown.headings(unix)]


def test_a_section_that_fits_is_one_chunk() -> None:
    text = "intro\n\n# A\n\none\n\n## B\n\n- two\n- three\n\n# C\n\nfour\n"
    document = split(text, "a.md", SplitOptions())

    assert texts(text, document) == ["intro", "# A\n\none", "## B\n\n- two\n- three", "# C\n\nfour"]
    assert document.sections == [(), ("A",), ("A", "B"), ("C",)]


def test_sections_of_one_name_share_their_path() -> None:
    document = split("# A\nx\n# B\ny\n# A\nz\n", "a.md", SplitOptions())

    assert document.sections == [("A",), ("B",)]
    assert [chunk.section for chunk in document.chunks] == [0, 1, 0]


def test_bare_headings_go_with_what_follows() -> None:
    text = "# Guide\n\n## Install\n\npip install\n\n## Empty\n\n## Use\n\nrun\n\n## End"
    document = split(text, "a.md", SplitOptions())

    assert texts(text, document) == [
        "# Guide\n\n## Install\n\npip install",
        "## Empty\n\n## Use\n\nrun",
        "## End",
    ]
    assert document.sections == [("Guide", "Install"), ("Guide", "Use"), ("Guide", "End")]


@pytest.mark.parametrize("suffix", ["md", "rst"])
def test_a_heading_is_not_left_alone_above_a_block_that_is_too_long(suffix: str) -> None:
    head = "# Title\n\n## Part\n\n" if suffix == "md" else "Title\n=====\n\nPart\n----\n\n"
    text = head + "Words of one paragraph. " * 20
    cuts = texts(text, split(text, f"a.{suffix}", SMALL))

    assert cuts[0].startswith(head + "Words")
    assert len(cuts[0]) <= 100
    assert len(cuts) >= 5


def test_a_fence_or_table_that_fits_stays_whole_even_if_its_heading_does_not_fit_with_it() -> None:
    fence = "```\n" + "code line\n" * 8 + "```"
    table = "| a | b |\n|---|---|\n" + "| 1 | 2 |\n" * 7
    text = (
        f"## Some heading of a section\n\n{fence}\n\nwhat comes after\n\n## Another heading of one\n\n{table}"
    )
    cuts = texts(text, split(text, "a.md", SMALL))

    assert cuts[:2] == ["## Some heading of a section", fence]
    assert cuts[-2:] == ["## Another heading of one", table.strip()]


def test_fences_lists_and_tables_stay_whole_where_they_fit() -> None:
    fence = "```\none\n\ntwo\n\nthree\n```"
    items = "- first\n- second\n\n  with more\n- third"
    table = "| a | b |\n|---|---|\n| 1 | 2 |"
    prose = "Some words in a row. " * 4
    text = "\n\n".join([prose, fence, prose, items, prose, table, prose])
    cuts = texts(text, split(text, "a.md", SMALL))

    for block in (fence, items, table):
        assert any(block in cut for cut in cuts)


def test_plain_text_is_cut_at_paragraphs() -> None:
    text = "\n\n".join(f"Paragraph {n}. " + "word " * 10 for n in range(4))
    cuts = texts(text, split(text, "a.txt", SMALL))

    assert [cut[:12] for cut in cuts] == [f"Paragraph {n}." for n in range(4)]


@pytest.mark.parametrize("unit", ["x", "漢", "\u0301", "👨‍👩‍👧‍👦", "\u200b", "`", "[", ">", "a."])
@pytest.mark.parametrize("path", ["a.md", "a.rst", "a.txt"])
def test_a_line_without_end_is_cut_all_the_same(unit: str, path: str) -> None:
    text = unit * (200_000 // len(unit))
    document = split(text, path, SplitOptions())

    assert "".join(texts(text, document)) == text
    assert len(document.chunks) <= 2 * len(text) // 2000


def test_a_long_section_does_not_show_where_it_was_windowed() -> None:
    paragraphs = [f"Paragraph {n}: " + "some words here " * (n % 9) + "end." for n in range(2000)]
    text = "\n\n".join(paragraphs)
    cuts = texts(text, split(text, "a.md", SplitOptions(max_chars=500)))

    assert all(cut.startswith("Paragraph") for cut in cuts)
    assert "\n\n".join(cuts) == text


def test_blank_texts_have_no_chunks() -> None:
    for text in ("", " \n\t\x0c", "---\ntitle: T\n---\n\n"):
        assert split(text, "a.md", SplitOptions()).chunks == []


# Overlap


def test_overlap_reaches_back_to_a_word_or_line_within_the_section() -> None:
    text = "# A\n\n" + " ".join(f"word{n:03d}" for n in range(60)) + "\n\n# B\n\nother"
    options = SplitOptions(max_chars=130, overlap_chars=30)
    plain = split(text, "a.md", SplitOptions(max_chars=100)).chunks
    document = split(text, "a.md", options)

    assert [chunk.end for chunk in document.chunks] == [chunk.end for chunk in plain]
    for before, chunk in zip(plain, document.chunks[1:-1], strict=False):
        assert 0 < before.end - chunk.start <= 30
        assert text[chunk.start - 1].isspace()
    assert texts(text, document)[-1] == "# B\n\nother"


def test_overlap_in_a_script_without_spaces_takes_what_it_may() -> None:
    text = "漢" * 300
    chunks = split(text, "a.txt", SplitOptions(max_chars=100, overlap_chars=20)).chunks

    assert [(chunk.start, chunk.end) for chunk in chunks] == [(0, 80), (60, 160), (140, 240), (220, 300)]


# Options


@pytest.mark.parametrize(
    ("size", "overlap"), [(MIN_MAX_CHARS - 1, 0), (200, -1), (200, 101), (-5, 0)], ids=str
)
def test_sizes_that_cannot_be_kept_are_refused(size: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="_chars is"):
        SplitOptions(size, overlap)


# Titles


@pytest.mark.parametrize(
    ("text", "path", "title"),
    [
        ("---\ntitle: From front\n---\n# Heading\n", "a.md", "From front"),
        ("---\ntitle: 2024\n---\n# Heading\n", "a.md", "2024"),
        ("---\ntitle: ' '\n---\n# Heading\n", "a.md", "Heading"),
        ("---\ntitle: [x]\n---\n# Heading\n", "a.md", "Heading"),
        ("text\n\n## The `first` [one](x)\n\n# Larger\n", "a.md", "The first one"),
        ("#\n\n# Named\n", "a.md", "Named"),
        ("A title\n=======\n", "docs/a.rst", "A title"),
        ("# not a heading here\n", "docs/notes.v2.txt", "notes.v2"),
        ("text", "docs/.hidden", ".hidden"),
        ("text", "Makefile", "Makefile"),
        ("text", "caf\U0010ffe9.md", "caf\\xe9"),
        ("# " + "long " * 100, "a.md", "long " * 39 + "long…"),
    ],
)
def test_title(text: str, path: str, title: str) -> None:
    assert split(text, path, SplitOptions()).title == title


def test_front_matter_is_metadata_and_not_text() -> None:
    text = "---\ntags: [a, b]\n---\n\nBody.\n"
    document = split(text, "a.md", SplitOptions())

    assert document.metadata == {"tags": ["a", "b"]}
    assert document.chunks == [Chunk(0, 22, 27, 0, 2)]
    assert split(text, "a.txt", SplitOptions()).metadata == {}


def test_an_h1_of_html_is_the_title_rather_than_a_later_heading() -> None:
    document = split("<h1>Small Tool</h1>\n\nWords.\n\n## Installation\n\nRun it.", "a.md", SplitOptions())
    assert document.title == "Small Tool"
    named = split("---\ntitle: 1.20\n---\n<h1>Small Tool</h1>\n", "a.md", SplitOptions())
    assert named.title == "1.20"


@pytest.mark.parametrize("path", ["a.qmd", "a.Rmd", "a.mdc", "a.livemd"])
def test_dialects_of_markdown_are_read_as_markdown(path: str) -> None:
    assert reader_of(path).reader.forms == ("markdown",)
