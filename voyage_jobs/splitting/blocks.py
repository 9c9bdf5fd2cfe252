"""The lines at which a long section may be cut, with what is kept whole: code, tables, literal blocks.

Each line start is a place with a rank, the lower the better. A block that fits a chunk has no place inside. One that
does not may be cut between its lines, but its first line goes with what opens it, and the pieces after the first have
a *lead*: the language of the code, the head of the table, the directive. It stands in their headers.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

BLOCK, ITEM, INNER, LINE, DEEP = range(5)
"""Ranks: between paragraphs; between items of a list; between paragraphs within something; between lines; lines of
what is kept together rather than prose is."""

_FENCE = re.compile(r"[ \t]*(?:(?:[-+*]|\d{1,9}[.)])[ \t]+)*(?P<mark>`{3,}|~{3,})(?P<info>[^\r\n]*)")
_ITEM = re.compile(r"(?:[-+*]|\d{1,9}[.)])[ \t]")
_DELIMITER = re.compile(r"[ \t>]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*")
_LEAD_CHARS = 100


class Line(NamedTuple):
    """One line of a text: `text` is without white space at its ends, `indent` what stands before, tabs as eight."""

    start: int
    end: int
    indent: int
    text: str


@dataclass(slots=True)
class Ranked:
    """The places of a section: (position, rank) in order, and (start, end, lead) of the blocks that are cut."""

    places: list[tuple[int, int]] = field(default_factory=list)
    leads: list[tuple[int, int, str]] = field(default_factory=list)

    def lead(self, at: int) -> str:
        """What goes with a piece that starts here: that of the innermost block around it."""
        return next((lead for start, end, lead in reversed(self.leads) if start < at < end), "")

    def keep(self, first: int, end: int) -> None:
        """The places from `first` on and before `end` alone."""
        self.places = self.places[bisect_left(self.places, (first, 0)) : bisect_left(self.places, (end, 0))]


def lines_of(text: str, start: int, end: int) -> list[Line]:
    """The lines between two characters."""
    found, at = [], start
    for raw in text[start:end].splitlines(keepends=True):
        bare, indent, after = raw.strip(), 0, at + len(raw)
        if bare and raw[0] != bare[0]:
            head = raw[: raw.index(bare[0])]
            indent = len(head.expandtabs(8))
        found.append(Line(at, after, indent, bare))
        at = after
    return found


def plain(text: str, start: int, end: int, _size: int) -> Ranked:
    """Of text without markup: between paragraphs, then lines; what is indented goes with what stands above it."""
    found, after_blank = Ranked(), False
    for line in lines_of(text, start, end):
        if line.text:
            found.places.append((line.start, BLOCK if after_blank else DEEP if line.indent else LINE))
        after_blank = not line.text
    return found


def markdown(text: str, start: int, end: int, size: int) -> Ranked:
    """Of Markdown: fences and tables that fit are whole."""
    found, lines = Ranked(), lines_of(text, start, end)
    at, after_blank, intro = 0, False, False
    while at < len(lines):
        line = lines[at]
        if not line.text:
            after_blank, at = True, at + 1
            continue
        found.places.append((line.start, _rank(line, after_blank) + intro))
        last = _fence_end(lines, at) or _table_end(lines, at)
        if last is None:
            after_blank, intro, at = False, line.text.endswith(":"), at + 1
            continue
        if lines[last].end - line.start > size:
            found.places += _within(lines, at, last, is_fence=_FENCE.match(line.text) is not None)
            found.leads.append((line.start, lines[last].end, _lead(lines, at)))
        after_blank, intro, at = True, False, last + 1
    return found


def _rank(line: Line, after_blank: bool) -> int:
    if _ITEM.match(line.text):
        return ITEM if line.indent < 2 else INNER
    if not after_blank:
        return LINE
    return BLOCK if line.indent < 2 else INNER


def _fence_end(lines: list[Line], at: int) -> int | None:
    """The last line of a fence that opens here; None if none does."""
    if "```" not in lines[at].text and "~~~" not in lines[at].text:
        return None
    opened = _FENCE.match(lines[at].text)
    if opened is None or (opened["mark"][0] == "`" and "`" in opened["info"]):
        return None
    mark = opened["mark"]
    for index in range(at + 1, len(lines)):
        bare = lines[index].text
        if bare.startswith(mark) and not bare.strip(mark[0]):
            return index
    return len(lines) - 1


def _table_end(lines: list[Line], at: int) -> int | None:
    """The last row of a table whose head stands here; None if it is no head of one."""
    if "|" not in lines[at].text or at + 1 >= len(lines):
        return None
    below = lines[at + 1].text
    if "-" not in below or _DELIMITER.fullmatch(below) is None:
        return None
    last = at + 1
    while last + 1 < len(lines) and "|" in lines[last + 1].text:
        last += 1
    return last


def _within(lines: list[Line], first: int, last: int, *, is_fence: bool) -> Iterator[tuple[int, int]]:
    """The places in a block that is longer than a chunk. What opens and what closes it is not alone."""
    end = last if is_fence else last + 1
    for index in range(first + (2 if is_fence else 3), end):
        if lines[index].text:
            yield lines[index].start, INNER if not lines[index - 1].text else LINE


def _lead(lines: list[Line], at: int) -> str:
    opened = _FENCE.match(lines[at].text)
    if opened is not None:
        return f"{opened['mark']}{opened['info'].rstrip()}"[:_LEAD_CHARS]
    return f"{lines[at].text}\n{lines[at + 1].text}"


_EXPLICIT = re.compile(r"\.\.(?:[ \t]+|$)")


def rst(text: str, start: int, end: int, size: int) -> Ranked:
    """Of reStructuredText: literal blocks and directives that fit are whole, and none is parted from what opens it."""
    found, lines = Ranked(), lines_of(text, start, end)
    at, after_blank, held = 0, True, False
    while at < len(lines):
        line = lines[at]
        if not line.text:
            after_blank, at = True, at + 1
            continue
        if not held:
            found.places.append((line.start, _depth(line, after_blank)))
        last = _body_end(lines, at) if line.text.endswith("::") or _EXPLICIT.match(line.text) else at
        goes_on = held and line.text.startswith(":")  # an option of the directive above
        held = goes_on or (last == at and _EXPLICIT.match(line.text) is not None)
        fits = lines[last].end - line.start <= size
        if last > at and not fits:
            held = True  # the first line of a body goes with what opens it
            if "::" in line.text:
                found.leads.append((line.start, lines[last].end, line.text[:_LEAD_CHARS]))
        after_blank, at = False, (last if fits else at) + 1
    return found


def _depth(line: Line, after_blank: bool) -> int:
    if not after_blank:
        return ITEM if _ITEM.match(line.text) and not line.indent else DEEP if line.indent else LINE
    return BLOCK if not line.indent else ITEM if line.indent <= 4 else INNER


def _body_end(lines: list[Line], at: int) -> int:
    """The last line of what is indented below a line; the line itself if nothing is."""
    last = at
    for index in range(at + 1, len(lines)):
        if lines[index].text:
            if lines[index].indent <= lines[at].indent:
                break
            last = index
    return last
