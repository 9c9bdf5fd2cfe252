"""Small sections that stand together under one heading become one piece; a heading is never a piece of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from voyage_jobs.splitting.cuts import cut, weighted
from voyage_jobs.splitting.sections import Region, has_text

_MOST = 2  # a piece of small sections has at most this many times what a piece should have at least


def merged(text: str, regions: Iterable[Region], least: int, most: int) -> Iterator[Region]:
    """The regions, with neighbours under one heading put together where each is shorter than `least` characters.

    What comes of it has at most twice as many, and where it ends the text chooses (`cuts.py`): a section that comes or
    goes moves the ends around it alone. `most` is what a chunk may have.
    """
    run: list[Region] = []
    path: tuple[str, ...] = ()
    for region in _with_bare_ends(text, regions):
        if region.end - region.start >= least:
            if run:
                yield from _cut(text, run, least, most)
                run = []
            yield region
        elif not run:
            run, path = [region], region.path
        elif _go_together(path, region.path):
            run.append(region)
            path = _shared(path, region.path)
        else:
            yield from _cut(text, run, least, most)
            run, path = [region], region.path
    yield from _cut(text, run, least, most)


def _cut(text: str, run: Sequence[Region], least: int, most: int) -> Iterator[Region]:
    if len(run) < 2:
        yield from run
        return
    size = min(_MOST * least, most)
    if run[-1].end - run[0].start <= size:  # as it is for most
        yield _one(run)
        return
    places = weighted(text, ((region.start, len(region.path)) for region in run[1:]))
    ends, _ = cut(places, run[0].start, run[-1].end, lambda _: size, least // 2)
    group: list[Region] = []
    for region in run:
        if region.start in ends or (group and region.end - group[0].start > most):
            yield _one(group)
            group = []
        group.append(region)
    yield _one(group)


def _one(group: Sequence[Region]) -> Region:
    first, last = group[0], group[-1]
    if first is last:
        return first
    path = _common(group)
    return first._replace(end=last.end, path=path, above=first.above[: len(path)], tail=last.tail)


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


def _go_together(path: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether what stands under `path` may be put together with the section `other`: parent and child, or siblings."""
    shared = len(_shared(path, other))
    return shared == len(path) or shared >= max(len(path), len(other)) - 1


def _with_bare_ends(text: str, regions: Iterable[Region]) -> Iterator[Region]:
    """Headings at the end of a document, below which nothing stands, belong to what is above them."""
    before: Region | None = None
    for region in regions:
        if before is not None:
            if not has_text(text, region.head_end, region.end):
                before = before._replace(end=region.end, tail=before.tail or region.start)
                continue
            yield before
        before = region
    if before is not None:
        yield before
