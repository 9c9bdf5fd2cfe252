"""The lines at which a long section may be cut, with what is kept whole: code, tables, literal blocks.

Each line start is a place with a rank, the lower the better. A block that fits a chunk has no place inside. One that
does not may be cut between its lines, but its first line goes with what opens it, and the pieces after the first have
a *lead*: the language of the code, the head of the table, the directive. It stands in their headers.
"""

from __future__ import annotations

import functools
import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate

BLOCK, ITEM, INNER, LINE, DEEP = range(5)
"""Ranks: between paragraphs; between items of a list; between paragraphs within something; between lines; lines of
what is kept together rather than prose is."""

_FENCE = re.compile(r"[ \t]*(?:(?:[-+*]|\d{1,9}[.)])[ \t]+)*(?P<mark>`{3,}|~{3,})(?P<info>[^\r\n]*)")
_ITEM = re.compile(r"(?:[-+*]|\d{1,9}[.)])[ \t]")
_ITEM_SIGNS = "-+*"
_DELIMITER = re.compile(r"[ \t>]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*")
_LEAD_CHARS = 100


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of a text between two characters."""

    starts: list[int]
    """Where each begins, and at last where the last one ends."""
    bare: list[str]
    """Each without white space at its ends."""
    raw: list[str]

    @classmethod
    def of(cls, text: str, start: int, end: int) -> Lines:
        """Those between two characters."""
        raw = text[start:end].splitlines(keepends=True)
        return cls([*accumulate(map(len, raw), initial=start)], [*map(str.strip, raw)], raw)

    def __len__(self) -> int:
        return len(self.bare)

    def indent(self, at: int) -> int:
        """How far a line that is not blank is indented, tabs as eight."""
        raw, bare = self.raw[at], self.bare[at]
        return 0 if raw[0] == bare[0] else len(raw[: raw.index(bare[0])].expandtabs(8))


@functools.lru_cache(maxsize=64)
def _blanks(least: int) -> re.Pattern[str]:
    return re.compile(rf"(?<!\s)\s{{{least},}}")


@dataclass(slots=True)
class Ranked:
    """The places of a section: (position, rank) in order, and (start, end, lead) of the blocks that are cut."""

    places: list[tuple[int, int]] = field(default_factory=list)
    leads: list[tuple[int, int, str]] = field(default_factory=list)
    firm: int | None = None
    """Where there is a cut whatever the places: what is behind it fits, and is to be whole."""

    def lead(self, at: int) -> str:
        """What goes with a piece that starts here: that of the innermost block around it."""
        return next((lead for start, end, lead in reversed(self.leads) if start < at < end), "")

    def add_around_blanks(self, text: str, start: int, end: int, least: int) -> None:
        """Places before and behind each run of at least so many blanks: data that was left out, as a rule."""
        step = least // 2  # such a run has one of these parts to itself
        if not any(text[at].isspace() and text[at : at + step].isspace() for at in range(start, end, step)):
            return
        edges = {at for run in _blanks(least).finditer(text, start, end) for at in run.span()}
        if edges:
            known = {at for at, _ in self.places}
            self.places = sorted(self.places + [(at, BLOCK) for at in edges - known])

    def keep(self, first: int, end: int) -> None:
        """The places from `first` on and before `end` alone."""
        self.places = self.places[bisect_left(self.places, (first, 0)) : bisect_left(self.places, (end, 0))]


def plain(text: str, start: int, end: int, _size: int) -> Ranked:
    """Of text without markup: between paragraphs, then lines; what is indented goes with what stands above it."""
    lines = Lines.of(text, start, end)
    above = ["no blank line", *lines.bare]
    return Ranked(
        [
            (at, BLOCK if not before else LINE if raw[0] == bare[0] else DEEP)
            for at, raw, bare, before in zip(lines.starts, lines.raw, lines.bare, above, strict=False)
            if bare
        ]
    )


def markdown(text: str, start: int, end: int, size: int) -> Ranked:
    """Of Markdown: fences and tables that fit are whole."""
    found, lines = Ranked(), Lines.of(text, start, end)
    places, starts, bares, raw = found.places, lines.starts, lines.bare, lines.raw
    fenced = max(text.find("```", start, end), text.find("~~~", start, end)) >= 0
    ruled = text.find("|", start, end) >= 0
    after_blank, intro, next_at = False, False, 0
    for at, (begin, bare, line) in enumerate(zip(starts, bares, raw, strict=False)):
        if at < next_at:
            continue
        if not bare:
            after_blank = True
            continue
        first = bare[0]
        if first in _ITEM_SIGNS or first.isdecimal():
            rank = _rank(lines, at, after_blank)
        elif after_blank:
            rank = BLOCK if line[0] == first or lines.indent(at) < 2 else INNER
        else:
            rank = LINE
        places.append((begin, rank + intro))
        last = _fence_end(lines, at) if fenced and ("```" in bare or "~~~" in bare) else None
        if ruled and last is None and "|" in bare:
            last = _table_end(lines, at)
        if last is None:
            after_blank, intro = False, bare[-1] == ":"
            continue
        if starts[last + 1] - begin > size:
            places += _within(lines, at, last, is_fence=_FENCE.match(bare) is not None)
            found.leads.append((begin, starts[last + 1], _lead(lines, at)))
        after_blank, intro, next_at = True, False, last + 1
    return found


def _rank(lines: Lines, at: int, after_blank: bool) -> int:
    if _ITEM.match(lines.bare[at]):
        return ITEM if lines.indent(at) < 2 else INNER
    if not after_blank:
        return LINE
    return BLOCK if lines.indent(at) < 2 else INNER


def _fence_end(lines: Lines, at: int) -> int | None:
    """The last line of a fence that opens here; None if none does."""
    opened = _FENCE.match(lines.bare[at])
    if opened is None or (opened["mark"][0] == "`" and "`" in opened["info"]):
        return None
    mark, bares = opened["mark"], lines.bare
    for index in range(at + 1, len(bares)):
        if bares[index].startswith(mark) and not bares[index].strip(mark[0]):
            return index
    return len(bares) - 1


def _table_end(lines: Lines, at: int) -> int | None:
    """The last row of a table whose head stands here; None if it is no head of one."""
    if at + 1 >= len(lines):
        return None
    below = lines.bare[at + 1]
    if "-" not in below or _DELIMITER.fullmatch(below) is None:
        return None
    last = at + 1
    while last + 1 < len(lines) and "|" in lines.bare[last + 1]:
        last += 1
    return last


def _within(lines: Lines, first: int, last: int, *, is_fence: bool) -> Iterator[tuple[int, int]]:
    """The places in a block that is longer than a chunk. What opens and what closes it is not alone."""
    end = last if is_fence else last + 1
    for index in range(first + (2 if is_fence else 3), end):
        if lines.bare[index]:
            yield lines.starts[index], INNER if not lines.bare[index - 1] else LINE


def _lead(lines: Lines, at: int) -> str:
    opened = _FENCE.match(lines.bare[at])
    if opened is not None:
        return f"{opened['mark']}{opened['info'].rstrip()}"[:_LEAD_CHARS]
    return f"{lines.bare[at]}\n{lines.bare[at + 1]}"


_EXPLICIT = re.compile(r"\.\.(?:[ \t]+|$)")


def rst(text: str, start: int, end: int, size: int) -> Ranked:
    """Of reStructuredText: literal blocks and directives that fit are whole, and none is parted from what opens it."""
    found, lines = Ranked(), Lines.of(text, start, end)
    starts, at, after_blank, held = lines.starts, 0, True, False
    while at < len(lines):
        bare = lines.bare[at]
        if not bare:
            after_blank, at = True, at + 1
            continue
        if not held:
            found.places.append((starts[at], _depth(lines, at, after_blank)))
        explicit = bare.startswith("..") and _EXPLICIT.match(bare) is not None
        last = _body_end(lines, at) if explicit or bare.endswith("::") else at
        is_option = held and bare.startswith(":")  # of the directive above
        held = is_option or (last == at and explicit)
        fits = starts[last + 1] - starts[at] <= size
        if last > at and not fits:
            held = True  # the first line of a body goes with what opens it
            if "::" in bare:
                found.leads.append((starts[at], starts[last + 1], bare[:_LEAD_CHARS]))
        after_blank, at = False, (last if fits else at) + 1
    return found


def _depth(lines: Lines, at: int, after_blank: bool) -> int:
    indent = lines.indent(at)
    if not after_blank:
        return ITEM if _ITEM.match(lines.bare[at]) and not indent else DEEP if indent else LINE
    return BLOCK if not indent else ITEM if indent <= 4 else INNER


def _body_end(lines: Lines, at: int) -> int:
    """The last line of what is indented below a line; the line itself if nothing is."""
    last, indent = at, lines.indent(at)
    for index in range(at + 1, len(lines)):
        if lines.bare[index]:
            if lines.indent(index) <= indent:
                break
            last = index
    return last
