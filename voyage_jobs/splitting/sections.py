"""A text cut into regions that are split one by one, so that an edit in one leaves the chunks of all others
alone.

A region is a section: a heading and what follows it up to the next heading of any level. Headings with
nothing of their own below go with the section after them, since nobody searches for a bare heading.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


def regions(text: str, start: int, headings: Sequence[Heading], max_head_chars: int) -> Iterator[Region]:
    """The regions of `text` from `start` on, in order and without gaps, those of white space left out.

    Bare headings are kept with what follows as long as they are together no longer than `max_head_chars`.
    """
    first = headings[0].start if headings else len(text)
    if has_text(text, start, first):
        yield Region(start, start, first, ())
    above: list[Heading] = []
    bare_from: int | None = None
    for number, heading in enumerate(headings):
        while above and above[-1].level >= heading.level:
            above.pop()
        above.append(heading)
        end = headings[number + 1].start if number + 1 < len(headings) else len(text)
        begin = heading.start if bare_from is None else bare_from
        bare_from = None
        is_last = number + 1 == len(headings)
        if is_last or has_text(text, heading.end, end) or end - begin > max_head_chars:
            path = tuple([each.text for each in above if each.text])
            if begin < heading.start:
                outside = tuple([each.text for each in above if each.text and each.start < begin])
            else:
                outside = path[:-1] if heading.text else path
            yield Region(begin, heading.end, end, path, outside)
        else:
            bare_from = begin


def has_text(text: str, start: int, end: int) -> bool:
    """Whether there is more than white space between two characters."""
    return start < end and not text[start:end].isspace()
