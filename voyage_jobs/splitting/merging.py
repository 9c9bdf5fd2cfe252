"""Small sections that stand together under one heading become one piece; a heading is never a piece of its own."""

from __future__ import annotations

from collections.abc import Sequence

from voyage_jobs.splitting.cuts import Places, cut
from voyage_jobs.splitting.sections import Region

_MOST = 2  # a piece of small sections has at most this many times what a piece should have at least


def merged(text: str, regions: Sequence[Region], least: int, most: int) -> list[Region]:
    """The regions, with neighbours under one heading put together where each is shorter than `least` characters.

    What comes of it has at most twice as many, and where it ends the text chooses (`cuts.py`): a section that comes or
    goes moves the ends around it alone. `most` is what a chunk may have.
    """
    found: list[Region] = []
    run: list[Region] = []
    path: tuple[str, ...] = ()  # the headings above all of the run
    for region in regions:
        is_small = region.end - region.start < least
        if run and is_small:
            other, depth = region.path, len(path)
            is_below = other[:depth] == path
            if is_below or (len(other) <= depth and other[: depth - 1] == path[:-1]):  # a child, or a sibling
                run.append(region)
                path = path if is_below else path[:-1]
                continue
        if run:
            found += _cut(text, run, path, least, most)
        if is_small:
            run, path = [region], region.path
        else:
            run = []
            found.append(region)
    return found + _cut(text, run, path, least, most) if run else found


def _cut(text: str, run: list[Region], path: tuple[str, ...], least: int, most: int) -> list[Region]:
    size = min(_MOST * least, most)
    if len(run) == 1:  # as it is for most
        return run
    if run[-1].end - run[0].start <= size:
        return [_one(run, path)]
    places = Places(text, ((region.start, len(region.path)) for region in run[1:]))
    ends, _ = cut(places, run[0].start, run[-1].end, lambda _: size, least // 2)
    found: list[Region] = []
    group: list[Region] = []
    for region in run:
        if region.start in ends or (group and region.end - group[0].start > most):
            found.append(_one(group, _common(group)))
            group = []
        group.append(region)
    return [*found, _one(group, _common(group))]


def _one(group: Sequence[Region], path: tuple[str, ...]) -> Region:
    first, last = group[0], group[-1]
    if first is last:
        return first
    return Region(first.start, first.head_end, last.end, path, first.above[: len(path)], last.tail)


def _common(group: Sequence[Region]) -> tuple[str, ...]:
    """The headings above all of these: where there are several, those of their parent."""
    path = group[0].path
    for region in group[1:]:
        path = _shared(path, region.path)
    return path


def _shared(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    if one == other[: len(one)]:
        return one
    same = 0
    for mine, theirs in zip(one, other, strict=False):
        if mine != theirs:
            break
        same += 1
    return one[:same]
