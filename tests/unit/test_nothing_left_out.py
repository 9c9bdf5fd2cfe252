"""Every character that is not blank is in a chunk, or in what stands at the head and then in the metadata."""

from __future__ import annotations

import io
import json

from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st

from tests.splits import split
from voyage_jobs.readers.reader import Refused
from voyage_jobs.readers.reading import read_text
from voyage_jobs.readers.registry import reader_of
from voyage_jobs.splitting.frontmatter import front_matter
from voyage_jobs.splitting.split import SplitDocument, SplitOptions
from voyage_jobs.splitting.split import split as split_document

HEADS = st.lists(
    st.sampled_from(
        [
            "title: alpha",
            "when: 2024-02-30",
            "about: beta: gamma",
            "tags: [delta",
            "tags: [epsilon, zeta]",
            "- eta",
            "  more: theta",
            "{{ iota }}",
            "# Kappa",
            "Dear lambda,",
            "Q: mu",
            "A: nu",
            "'xi': omicron",
            "a = 'pi'",
            "b = rho",
            "[sigma]",
            "",
            "! tau",
            "x: !tag upsilon",
            "y: *phi",
            "z: |",
            "  chi psi",
            "? omega",
        ]
    ),
    max_size=8,
).map("\n".join)
BODIES = st.lists(
    st.sampled_from(
        [
            "# A heading",
            "## Another {#id}",
            "words " * 40,
            "```\ncode\n```",
            "| a | b |\n|---|---|\n| 1 | 2 |",
            "- item",
            "Title\n=====",
            ".. note:: this",
            "literal::\n\n    block",
            "<h1>Html</h1>",
            "---",
            "x" * 300,
            "",
            "   ",
            "é😀",
            "<!-- open",
            "import a from 'b'",
            "::",
            "***",
        ]
    ),
    max_size=12,
).map("\n\n".join)
PATHS = st.sampled_from(["a.md", "a.rst", "a.txt", "a.rst.txt"])
SMALL = [
    SplitOptions(max_chars=200, overlap_chars=20),
    SplitOptions(max_chars=200, overlap_chars=20, rules=2, context="title > section", min_chars=100),
    SplitOptions(max_chars=100, rules=2),
]


def left_out(text: str, document: SplitDocument) -> str:
    """What is in no chunk, without white space."""
    kept = list(text)
    for chunk in document.chunks:
        kept[chunk.start : chunk.end] = " " * (chunk.end - chunk.start)
    return "".join("".join(kept).split())


@examples(300)
@given(
    st.sampled_from(["a.md", "a.rst", "a.txt"]),
    st.sampled_from(["---", "+++"]),
    HEADS,
    BODIES,
    st.sampled_from(SMALL),
)
def test_every_word_of_a_file_is_in_a_chunk_or_in_its_metadata(
    path: str, fence: str, head: str, body: str, options: SplitOptions
) -> None:
    text = f"{fence}\n{head}\n{fence}\n{body}"
    document = split(text, path, options)
    end = front_matter(text).end if path == "a.md" else 0

    assert left_out(text, document) == "".join(text[:end].split())
    if not end:
        assert document.metadata == {}
        return
    kept = json.dumps(document.metadata)
    values = [word for line in head.splitlines() if not line.startswith("#") for word in line.split()]
    missing = [word for word in values if word.isalpha() and word not in kept]
    assert missing == []


OUTLINES = st.lists(
    st.sampled_from(
        [
            "= Alpha",
            ":beta: gamma \\",
            "delta",
            "Epsilon",
            "-------",
            "----",
            "== Zeta",
            "// eta",
            "[theta]",
            "* TODO Iota :kappa:",
            "#+TITLE: lambda",
            "#+begin_src mu",
            "#+end_src",
            ":DRAWN:",
            ":drawn: drawn",
            ":END:",
            "#+caption: nu",
            "",
        ]
    ),
    max_size=14,
).map("\n".join)


@examples(300)
@given(st.sampled_from(["a.adoc", "a.org"]), OUTLINES)
def test_what_asciidoc_and_org_blank_is_in_the_metadata_or_counted(path: str, text: str) -> None:
    try:
        document = read_text(reader_of(path), io.BytesIO(text.encode()))
    except Refused:
        return
    told = f"{document.text} {json.dumps(document.metadata)}"
    missing = {word for word in text.split() if word.strip(":\\#+=*") not in told and word[-1] != ":"}
    counted = document.data_tokens + sum(document.left_out.values())
    assert missing <= ({"drawn", ":DRAWN:", ":END:"} | (set(text.split()) if counted else set()))
    assert not missing or counted
    assert left_out(document.text, split_document(document, path, SMALL[1])) == ""
