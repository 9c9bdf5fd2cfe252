"""What the markup scanners share: how a heading's text becomes one plain line."""

from __future__ import annotations

import re

MAX_TITLE_CHARS = 200
"""Titles and the parts of section paths are cut to this: they stand in every row of the table."""

_MAX_SOURCE_CHARS = (
    4 * MAX_TITLE_CHARS
)  # of a heading as written; the rest of it is not looked at for its text
_JOINERS = "\u200c\u200d"  # not printable by themselves, but part of how emoji and some scripts are written


def scannable(text: str) -> str:
    r"""The text with `\n` as its only line end and one before its first line; one character longer.

    Line `start` in the text is where that line's preceding line end stands here, so that patterns may begin
    with a literal `\n`, which is what makes them fast.
    """
    if "\r" in text:
        text = text.replace("\r\n", " \n").replace("\r", "\n")
    return "\n" + text


def plain_line(text: str) -> str:
    """One line of at most MAX_TITLE_CHARS, white space collapsed, nothing unprintable."""
    if len(text) <= MAX_TITLE_CHARS and text.isprintable() and "  " not in text:
        return text.strip()  # the one blank that is printable is the space: nothing to collapse
    line = raw_title(text)
    line = "".join(char for char in line if char.isprintable() or char.isspace() or char in _JOINERS)
    line = " ".join(line.split())
    return line if len(line) <= MAX_TITLE_CHARS else line[: MAX_TITLE_CHARS - 1].rstrip() + "…"


def raw_title(text: str) -> str:
    """As much of a heading's source as its plain text is made from."""
    return text[:_MAX_SOURCE_CHARS]


def replace_all(rules: list[tuple[re.Pattern[str], str]], text: str) -> str:
    """Apply substitutions one after the other."""
    for pattern, by in rules:
        text = pattern.sub(by, text)
    return text
