"""A text cut into regions that are split one by one, so that an edit in one leaves the chunks of all others
alone.

A region is a section: a heading and what follows it up to the next heading of any level. Headings with
nothing of their own below go with the section after them, since nobody searches for a bare heading.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from voyage_jobs.readers.reader import Heading


class Region(NamedTuple):
    """What is split on its own: `text[start:end]`."""

    start: int
    head_end: int
    """Where the headings at its start end; `start` if it has none."""
    end: int
    path: tuple[str, ...]
    """The headings that it stands under, its own last."""
    above: tuple[str, ...] = ()
    """Those of them that are not in it."""
    tail: int | None = None
    """Where the headings begin with which it ends, below which nothing stands."""


def regions(
    text: str, start: int, headings: Sequence[Heading], max_head_chars: int, *, ends_joined: bool
) -> list[Region]:
    """The regions of `text` from `start` on, in order and without gaps, those of white space left out.

    Bare headings are kept with what follows as long as they are together no longer than `max_head_chars`; with
    `ends_joined` those that have nothing to go with, as at the end of a document, belong to what is above them.
    """
    ends = [heading.start for heading in headings]
    ends.append(len(text))
    found = [Region(start, start, ends[0], ())] if has_text(text, start, ends[0]) else []
    # Level, start and path of the heading and those around it.
    above: list[tuple[int, int, tuple[str, ...]]] = []
    make = Region._make  # takes half the time of a call with the fields
    bare_from: int | None = None
    for number, (first, head_end, level, title) in enumerate(headings, 1):
        begin, end = first, ends[number]
        while above and above[-1][0] >= level:
            above.pop()
        outside = above[-1][2] if above else ()
        path = (*outside, title) if title else outside
        above.append((level, begin, path))
        if bare_from is not None:
            begin = bare_from
            outside = next((each for _, at, each in reversed(above) if at < begin), ())
        if has_text(text, head_end, end):
            found.append(make((begin, head_end, end, path, outside, None)))
            bare_from = None
        elif end - begin <= max_head_chars and number < len(headings):
            bare_from = begin
        else:
            bare_from = None
            if ends_joined and found:
                found[-1] = found[-1]._replace(end=end, tail=found[-1].tail or begin)
            else:
                found.append(make((begin, head_end, end, path, outside, None)))
    return found


def has_text(text: str, start: int, end: int) -> bool:
    """Whether there is more than white space between two characters."""
    while start < end and text[start] == "\n":
        start += 1  # as nearly all begin: without a copy
    return start < end and not (text[start].isspace() and text[start:end].isspace())
