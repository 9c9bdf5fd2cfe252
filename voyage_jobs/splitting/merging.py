"""Small sections that stand together under one heading become one piece; a heading is never a piece of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from voyage_jobs.splitting.cuts import Places, cut
from voyage_jobs.splitting.sections import Region, has_text

_MOST = 2  # a piece of small sections has at most this many times what a piece should have at least


def merged(text: str, regions: Sequence[Region], least: int, most: int) -> Iterator[Region]:
    """The regions, with neighbours under one heading put together where each is shorter than `least` characters.

    What comes of it has at most twice as many, and where it ends the text chooses (`cuts.py`): a section that comes or
    goes moves the ends around it alone. `most` is what a chunk may have.
    """
    run: list[Region] = []
    path: tuple[str, ...] = ()  # the headings above all of the run
    for region in _with_bare_ends(text, regions):
        if region.end - region.start >= least:
            if run:
                yield from _cut(text, run, path, least, most)
                run = []
            yield region
            continue
        if run:
            shared = _shared(path, region.path)
            if _go_together(path, region.path, len(shared)):
                run.append(region)
                path = shared
                continue
            yield from _cut(text, run, path, least, most)
        run, path = [region], region.path
    if run:
        yield from _cut(text, run, path, least, most)


def _cut(text: str, run: list[Region], path: tuple[str, ...], least: int, most: int) -> Iterator[Region]:
    size = min(_MOST * least, most)
    if len(run) == 1 or run[-1].end - run[0].start <= size:  # as it is for most
        yield _one(run, path)
        return
    places = Places(text, ((region.start, len(region.path)) for region in run[1:]))
    ends, _ = cut(places, run[0].start, run[-1].end, lambda _: size, least // 2)
    group: list[Region] = []
    for region in run:
        if region.start in ends or (group and region.end - group[0].start > most):
            yield _one(group, _common(group))
            group = []
        group.append(region)
    yield _one(group, _common(group))


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


def _go_together(path: tuple[str, ...], other: tuple[str, ...], shared: int) -> bool:
    """Whether what stands under `path` may be put together with the section `other`: parent and child, or siblings."""
    return shared == len(path) or shared >= max(len(path), len(other)) - 1


def _with_bare_ends(text: str, regions: Sequence[Region]) -> list[Region]:
    """Headings at the end of a document, below which nothing stands, belong to what is above them."""
    found = [*regions[:1]]
    for region in regions[1:]:
        if has_text(text, region.head_end, region.end):
            found.append(region)
        else:
            before = found[-1]
            found[-1] = before._replace(end=region.end, tail=before.tail or region.start)
    return found
