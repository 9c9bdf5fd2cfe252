"""Rules 2: cuts that an edit leaves alone, blocks that say what they are, small sections together, RST by blocks."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st

from tests.splits import of_new_state, sent, split
from voyage_jobs.core.tokens import estimate_each
from voyage_jobs.splitting import cuts
from voyage_jobs.splitting.split import SplitOptions
from voyage_jobs.splitting.windows import stable_windows

NEW = of_new_state()
WORDS = "alpha beta gamma delta error warn info request user session cache".split()  # noqa: SIM905


def lines(count, seed=1, end=""):
    """Lines of a log, or sentences."""
    chance = random.Random(seed)
    return [
        f"2026-11-{chance.randint(1, 28):02d} {' '.join(chance.choices(WORDS, k=chance.randint(4, 12)))}"
        f" {chance.randint(0, 99_999)}{end}"
        for _ in range(count)
    ]


def new_chunks(before, after, path="app.log"):
    """How many texts of a document were not sent before."""
    return len({*sent(after, path, NEW)} - {*sent(before, path, NEW)})


# --- edits ---


@pytest.fixture(scope="module")
def log():
    """4 MB of lines without a paragraph."""
    return lines(62_000)


@pytest.mark.parametrize("around", [("", ""), ("some words before ", " and behind")])
def test_a_long_run_of_blanks_is_passed_over_at_once(around):
    """A log whose disk was full has zero bytes, which are read as blanks: tried from each of them, this never ends."""
    text = (" " * 400_000).join(around)
    assert " ".join(sent(text, "app.log", NEW)).split() == text.split()


@pytest.mark.parametrize("word", ["one ", "zwölf ", "A sentence. ", None])
def test_long_texts_are_cut_where_short_ones_are(word, monkeypatch):
    """Long ones keep their places in other containers. Words that are repeated are places of one weight."""
    chance = random.Random(3)
    text = word * 20_000 if word else " ".join(chance.choices([*WORDS, "größer", "done."], k=20_000))
    as_short = split(text, "one-line.md", NEW).chunks
    monkeypatch.setattr(cuts, "_LARGE_CHARS", 0)
    assert split(text, "one-line.md", NEW).chunks == as_short


@pytest.mark.parametrize("at", [0, 31_000, 61_990])
def test_a_line_that_is_inserted_into_four_megabytes_moves_three_chunks_at_most(log, at):
    after = [*log[:at], "2026-11-29 one line more", *log[at:]]
    assert 1 <= new_chunks("\n".join(log), "\n".join(after)) <= 3


def test_a_log_whose_head_is_trimmed_pays_for_three_chunks_at_most(log):
    assert new_chunks("\n".join(log), "\n".join(log[12_345:])) <= 3


@pytest.mark.parametrize(
    ("between", "end", "path"),
    [("\n\n", ".", "a.txt"), (" ", ".", "a.txt"), (" ", "", "a.md"), ("\n", ",x,1", "a.csv")],
)
@pytest.mark.parametrize("at", [0, 1_500])
def test_so_it_is_with_paragraphs_sentences_words_and_rows(between, end, path, at):
    found = lines(3_000, 2, end)
    after = [*found[:at], "2026-11-29 one more" + end, *found[at:]]
    assert new_chunks(between.join(found), between.join(after), path) <= 3


@pytest.mark.parametrize(
    "text", ["x" * 300_000, "same line\n" * 40_000, "漢字かな" * 20_000, "- \n" * 20_000]
)
def test_what_has_no_place_of_its_own_is_cut_all_the_same(text):
    document = split(text, "a.txt", NEW)
    assert max(chunk.end - chunk.start for chunk in document.chunks) <= NEW.max_chars
    assert sum(len(text[c.start : c.end].split()) for c in document.chunks) >= len(text.split())


# --- blocks ---

CODE = "\n".join(f"value_{i} = compute({i})  # step {i}" for i in range(150))
TABLE = "| Name | Meaning |\n|------|---------|\n"


def test_a_fence_goes_with_its_first_and_last_line_of_code_and_each_piece_has_the_language():
    text = f"# Guide\n\n## Example\n\nLike this:\n\n```python\n{CODE}\n```\n\nAfterwards.\n"
    first, *later = sent(text, "a.md", NEW)
    assert first.startswith("# Guide\n\n## Example\n\nLike this:\n\n```python\nvalue_0 = ")
    assert len(later) >= 2
    assert all(piece.startswith("Guide > Example\n\n```python\nvalue_") for piece in later)
    assert later[-1].endswith("value_149 = compute(149)  # step 149\n```\n\nAfterwards.")


def test_a_long_table_has_its_head_in_each_piece():
    rows = "\n".join(f"| option{i} | what it does number {i} |" for i in range(200))
    first, *later = sent(f"# Guide\n\n{TABLE}{rows}\n", "a.md", NEW)
    assert first.startswith(f"# Guide\n\n{TABLE}| option0 |")
    assert len(later) >= 3
    assert all(piece.startswith(f"Guide\n\n{TABLE}| option") for piece in later)
    assert all(piece.endswith("|") for piece in later)


@pytest.mark.parametrize("size", [1_800, 1_990])
@pytest.mark.parametrize(
    ("opens", "line", "closes"),
    [
        ("```\n", "code, code; code. More", "```"),
        (TABLE, "| a. B | c |", "| last | row |"),
        ("~~~ x\n", "a. B", "~~~"),
    ],
)
def test_a_block_that_fits_is_never_cut(size, opens, line, closes):
    body = f"{line}\n" * ((size - len(opens) - len(closes)) // (len(line) + 1))
    block = f"{opens}{body}{closes}"
    text = f"Before it: {'words. ' * 60}\n\n{block}\n\n{'After it. ' * 60}"
    cut = [text[chunk.start : chunk.end] for chunk in split(text, "a.txt.md", NEW).chunks]
    assert sum(block in piece for piece in cut) == 1


@pytest.mark.parametrize("size", [300, 2000])
@pytest.mark.parametrize(
    ("path", "opens", "indent"),
    [("a.rst", "What the policy in the file says::\n\n", "    "), ("a.md", "```json\n", "")],
)
def test_a_piece_of_a_block_without_a_blank_has_room_for_what_goes_before_it(size, path, opens, indent):
    for chars in range(size, 3 * size, size // 10):
        data = random.Random(chars).choices('ab{}",:', k=chars)
        text = f"Some words before it.\n\n{opens}{indent}{''.join(data)}\n"
        assert max(map(len, sent(text, path, of_new_state(size)))) <= size


def test_without_a_context_blocks_have_no_header_either():
    text = f"# Guide\n\n```python\n{CODE}\n```\n"
    assert set(split(text, "a.md", replace(NEW, context="")).headers) == {""}


# --- small sections ---


def sections(text, options=NEW):
    document = split(text, "a.md", options)
    return [(document.sections[c.section], text[c.start : c.end]) for c in document.chunks]


def test_small_sections_under_one_heading_are_put_together():
    text = "# API\n\n" + "\n\n".join(f"## fn{i}\n\nDoes {i} and then some more of it." for i in range(30))
    found = sections(text)
    assert {path for path, _ in found} == {("API",)}
    assert all(200 <= len(piece) <= 800 for _, piece in found)
    assert sent(text, "a.md", NEW)[1].startswith("API\n\n## fn")
    assert len(sections(text, replace(NEW, min_chars=0))) == 30


def test_sections_of_different_parents_are_not():
    text = "# A\n\n## One\n\n### Deep\n\nwords\n\n## Two\n\n### Deeper\n\nother\n\n# B\n\n## Three\n\nlast"
    assert [path for path, _ in sections(text)] == [
        ("A", "One", "Deep"),
        ("A", "Two", "Deeper"),
        ("B", "Three"),
    ]
    text = "# A\n\nintro\n\n## One\n\nwords\n\n## Two\n\nother\n"
    assert [path for path, _ in sections(text)] == [("A",)]


def test_a_long_section_stays_by_itself():
    text = f"# A\n\n## One\n\nshort\n\n## Two\n\n{'long words ' * 60}\n\n## Three\n\nshort"
    assert [path[-1] for path, _ in sections(text)] == ["One", "Two", "Three"]


def test_a_section_that_comes_moves_few_of_the_small_ones():
    parts = [f"## fn{i}\n\nDoes {i} and then some more." for i in range(300)]
    before = "# API\n\n" + "\n\n".join(parts)
    after = "# API\n\n" + "\n\n".join(["## new\n\nIs new.", *parts])
    assert new_chunks(before, after, "a.md") <= 3


@pytest.mark.parametrize("options", [NEW, replace(NEW, min_chars=0)], ids=["merged", "apart"])
def test_a_heading_is_never_alone(options):
    text = f"# A\n\n{'words ' * 100}\n\n## Nothing below\n\n# B\n\n```\n{CODE}\n```\n\n## The end\n"
    for _, piece in sections(text, options):
        assert any(line and not line.startswith("#") for line in piece.splitlines())
    assert [piece for _, piece in sections(text, options)][-1].endswith("## The end")


HEADED = st.lists(
    st.tuples(st.integers(1, 4), st.sampled_from(["", "word", "two words " * 8, "a sentence of it. " * 30])),
    max_size=14,
).map(lambda drawn: "\n\n".join(f"{'#' * level} S{n}\n\n{body}" for n, (level, body) in enumerate(drawn)))


@examples(200)
@given(HEADED, st.sampled_from([0, 100, 400]))
def test_a_piece_says_what_it_stands_under(text, least):
    options = SplitOptions(800, rules=2, context="title > section", min_chars=least)
    document = split(text, "a.md", options)
    for chunk in document.chunks:
        piece, path = text[chunk.start : chunk.end], document.sections[chunk.section]
        shown = document.headers[chunk.section] + piece
        assert all(heading in shown for heading in path)
        assert len(document.headers[chunk.section]) + len(piece) <= 800


# --- reStructuredText ---


def rst(text, path="a.rst"):
    return [text[c.start : c.end] for c in split(text, path, replace(NEW, min_chars=0)).chunks]


def test_what_stands_above_a_title_belongs_to_it():
    text = (
        ":orphan:\n\n.. _top:\n\nTop\n===\n\nIntro.\n\n.. currentmodule:: x\n\n.. a comment\n   of two lines\n\n"
        ".. _part:\n\nPart\n----\n\nText.\n\n.. note:: This is text.\n\nLast\n----\n\nEnd."
    )
    top, part, last = rst(text)
    assert top == text[: text.index("\n\n.. currentmodule")]
    assert part.startswith(".. currentmodule:: x")
    assert part.endswith(".. note:: This is text.")
    assert last == "Last\n----\n\nEnd."


@pytest.mark.parametrize(
    "opens", ["Like this::\n\n", ".. code-block:: python\n   :linenos:\n\n", ".. note::\n\n"]
)
def test_a_literal_block_that_fits_is_whole_and_one_that_does_not_begins_with_what_opens_it(opens):
    body = "".join(f"   print({i})  # number. Then more\n" for i in range(40))
    text = f"Title\n=====\n\n{'Words of it. ' * 90}\n\n{opens}{body}\n{'More words. ' * 100}\n"
    assert sum(opens + body.rstrip() in piece for piece in rst(text)) == 1
    long = f"Title\n=====\n\n{'Words of it. ' * 60}\n\n{opens}{body * 4}\nAfter."
    pieces = rst(long)
    assert len(pieces) > 2
    assert sum(opens + "   print(0)" in piece for piece in pieces) == 1
    assert not any(piece.rstrip().endswith(opens.strip()) for piece in pieces)
    if "code" in opens:
        assert sent(long, "a.rst", NEW)[-1].startswith("Title\n\n.. code-block:: python\nprint(")


def test_sources_of_sphinx_are_restructured_text():
    text = "Title\n=====\n\nIntro.\n\nPart\n----\n\nText."
    assert len(rst(text, "a.rst.txt")) == 2
    assert len(rst(text, "a.txt")) == 1
    older = split(text, "a.rst.txt", SplitOptions())
    assert older.sections == [()]


# --- windows of contextualized models ---


@pytest.mark.parametrize("sectioned", [False, True])
def test_an_edit_asks_for_two_windows_again_at_most(sectioned):
    chance = random.Random(5)
    prose = lines(1_200, 7, ".")
    if sectioned:
        prose = [f"## Part {n}\n\n{line}" if chance.random() < 0.05 else line for n, line in enumerate(prose)]
    options = of_new_state(contextualized=True)

    def windows(paragraphs):
        text = "# Book\n\n" + "\n\n".join(paragraphs)
        document = split(text, "a.md", options)
        sizes = estimate_each([text[c.start : c.end] for c in document.chunks])
        cut = stable_windows(text, document, sizes, 2_000, 1_000)
        assert [chunk for window in cut for chunk in window] == document.chunks
        by_chunk = dict(zip(document.chunks, sizes, strict=True))
        assert max(sum(by_chunk[chunk] for chunk in window) for window in cut) <= 2_000
        return {tuple(text[c.start : c.end] for c in window) for window in cut}

    before = windows(prose)
    assert len(before) > 8
    for at in (0, 1, 300, 600, 1_199):
        assert len(windows([*prose[:at], "A paragraph more.", *prose[at:]]) - before) <= 2


@pytest.mark.parametrize("blanks", [" " * 70_000, "\n" * 3_000, " \n" * 1_500])
def test_a_sentence_beside_data_that_was_left_out_stays_whole(blanks):
    text = f"# Wiring\n\nThe red wire goes left. {blanks} The blue wire goes right.\n"
    assert sent(text, "a.md", NEW) == [
        "# Wiring\n\nThe red wire goes left.",
        "Wiring\n\nThe blue wire goes right.",
    ]
