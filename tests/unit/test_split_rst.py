"""Section titles of reStructuredText, and the sections that follow from them."""

from __future__ import annotations

import pytest

from tests.splits import split
from voyage_jobs.splitting.rst import headings
from voyage_jobs.splitting.split import SplitOptions


def found(text: str) -> list[tuple[int, str]]:
    return [(heading.level, heading.text) for heading in headings(text)]


@pytest.mark.parametrize(
    "text",
    [
        "text\n\n----\n\nmore",
        "one\ntwo\n---",
        "    indented\n    --------",
        "Long title\n--",
        "=====  =====\na      b\n=====  =====",
        "- item\n------",
        ".. note::\n=========",
        "::\n\n  code\n  ====",
        "====\n====\n====",
        "====\na\n---",
        "====",
    ],
)
def test_no_title(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Title\n=====\n\ntext\n\nSub\n---\n\nNext\n====\n", [(1, "Title"), (2, "Sub"), (1, "Next")]),
        ("=====\nTitle\n=====\n\nPart\n=====\n", [(1, "Title"), (2, "Part")]),
        ("=======\n Inset\n=======\n", [(1, "Inset")]),
        ("Title\n=====\nfoo\n=====\n", [(1, "Title"), (1, "foo")]),
        ("Title\n=====\nSub\n---\ntext", [(1, "Title"), (2, "Sub")]),
        ("A longer title\n=====\n", [(1, "A longer title")]),
        ("Title\r\n=====\r\n\r\ntext", [(1, "Title")]),
        ("Title\n=====", [(1, "Title")]),
        (":ref:`Shown <target>` and ``code`` *em*\n" + "~" * 40, [(1, "Shown and code em")]),
        ("|name| `link <x>`_ :func:`f`\n" + "^" * 40, [(1, "name link f")]),
    ],
)
def test_titles(text: str, expected: list[tuple[int, str]]) -> None:
    assert found(text) == expected


def test_sections_and_exact_offsets() -> None:
    text = "=====\r\nGuide\r\n=====\r\n\r\nIntro.\r\n\r\nUse\r\n---\r\n\r\nRun it.\r\n"
    document = split(text, "guide.rst", SplitOptions())

    assert document.sections == [("Guide",), ("Guide", "Use")]
    assert [text[chunk.start : chunk.end] for chunk in document.chunks] == [
        "=====\r\nGuide\r\n=====\r\n\r\nIntro.",
        "Use\r\n---\r\n\r\nRun it.",
    ]
