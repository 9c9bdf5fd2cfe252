"""Cuts that the text itself chooses: an edit moves the cuts around it, and no others.

Filling chunk after chunk from the top would move every cut below an inserted line, and all of it would be paid for
again. Here each place that a cut may have carries a weight, made of how good the place is and a hash of the words
around it. What is too long is cut at its lightest place, then either side, and so on. So whether there is a cut at a
place depends on the lighter places next to it alone, not on what stands further away.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from zlib import crc32

from voyage_jobs.splitting.pieces import starts

SENTENCE, WORD, CHARACTER = 6, 7, 8
"""The ranks of places within a line; those of lines are lower (`blocks.py`). The lower, the better."""

_RANK_BITS = 32
_BEFORE, _AFTER = 16, 48  # the characters around a place that its hash is of
_SENTENCES = re.compile("[.!?\u2026][\"')\\]\u201d\u2019\u00bb]*\\s+(?=\\S)|[\u3002\uff01\uff1f](?=\\S)")
_WORDS = re.compile(
    r"(?<=\s)(?=\S)"
)  # without a repetition: a long run of blanks would be tried from each of them

Most = Callable[[int], int]
"""How long a piece may be that starts here."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where a text may be cut, in order, with the weight of each."""

    at: list[int]
    weights: list[int]


def weighted(text: str, ranked: Iterable[tuple[int, int]]) -> Places:
    """Places out of (position, rank) pairs."""
    pairs = list(ranked)
    weights = [
        rank << _RANK_BITS | crc32(text[max(0, at - _BEFORE) : at + _AFTER].encode()) for at, rank in pairs
    ]
    return Places([at for at, _ in pairs], weights)


def cut(
    places: Places, start: int, end: int, most: Most, least: int
) -> tuple[list[int], list[tuple[int, int]]]:
    """Where to cut between `start` and `end`, in order; and what is still too long, since no place in it will do.

    No piece is shorter than `least`.
    """
    found: list[int] = []
    uncut: list[tuple[int, int]] = []
    todo = [(start, end)]
    while todo:
        low, high = todo.pop()
        if high - low <= most(low):
            continue
        at = _lightest(places, low, high, most(low), least)
        if at is None:
            uncut.append((low, high))
        else:
            found.append(at)
            todo += [(low, at), (at, high)]
    return sorted(found), sorted(uncut)


def _lightest(places: Places, low: int, high: int, most: int, least: int) -> int | None:
    """The lightest place with enough on both sides: of one rank rather one that leaves two pieces than three."""
    best = _lightest_in(places, low + least, high - least)
    tight = _lightest_in(places, max(low + least, high - most), min(high - least, low + most))
    if best is None or tight is None:
        return None if best is None else places.at[best]
    same_rank = places.weights[best] >> _RANK_BITS == places.weights[tight] >> _RANK_BITS
    return places.at[tight if same_rank else best]


def _lightest_in(places: Places, first: int, last: int) -> int | None:
    """The lightest place from `first` to `last`; of several, as where a line is repeated, the one in the middle."""
    low, high = bisect_left(places.at, first), bisect_right(places.at, last)
    if low >= high:
        return None
    weights = places.weights[low:high]
    weight = min(weights)
    if weights.count(weight) == 1:
        return low + weights.index(weight)
    middle = (first + last) // 2
    like = (index for index in range(low, high) if places.weights[index] == weight)
    return min(like, key=lambda index: abs(places.at[index] - middle))


def cut_text(text: str, places: Places, start: int, end: int, most: Most, least: int) -> list[int]:
    """The same; where no place will do, also at the ends of sentences, then between words, at last anywhere."""
    found, uncut = cut(places, start, end, most, least)
    for ranked in (_no_further, _sentences, _words, _characters):
        if not uncut:
            break
        parts, uncut = uncut, []
        for low, high in parts:
            inner = _both(places, weighted(text, ranked(text, low, high, most(low))), low, high)
            more, left = cut(inner, low, high, most, 1 if ranked in (_no_further, _characters) else least)
            found += more
            uncut += left
    return _without_crumbs(sorted(found), start, end, most, least)


def _no_further(_text: str, _low: int, _high: int, _most: int) -> Iterator[tuple[int, int]]:
    """The same places, however short what stands before or behind them."""
    return iter(())


def _sentences(text: str, low: int, high: int, _most: int) -> Iterator[tuple[int, int]]:
    return ((match.end(), SENTENCE) for match in _SENTENCES.finditer(text, low, high))


def _words(text: str, low: int, high: int, _most: int) -> Iterator[tuple[int, int]]:
    return ((match.end(), WORD) for match in _WORDS.finditer(text, low, high))


def _characters(text: str, low: int, high: int, most: int) -> Iterator[tuple[int, int]]:
    """Between words, and where a run without any is as long as a piece may be: the library knows what is one sign."""
    yield from _words(text, low, high, most)
    yield from ((at, CHARACTER) for at in starts(text, low, high, most))


def _without_crumbs(found: list[int], start: int, end: int, most: Most, least: int) -> list[int]:
    """Without the cuts around a piece that is shorter than `least` and has room beside a neighbour."""
    kept: list[int] = []
    for index, at in enumerate(found):
        before = kept[-1] if kept else start
        after = found[index + 1] if index + 1 < len(found) else end
        if min(at - before, after - at) >= least or after - before > most(before):
            kept.append(at)
    return kept


def _both(inner: Places, outer: Places, low: int, high: int) -> Places:
    """All places of both between two characters."""
    first, last = bisect_right(outer.at, low), bisect_left(outer.at, high)
    known = set(outer.at[first:last])
    pairs = [*zip(outer.at[first:last], outer.weights[first:last], strict=True)]
    pairs += [(at, weight) for at, weight in zip(inner.at, inner.weights, strict=True) if at not in known]
    pairs.sort()
    return Places([at for at, _ in pairs], [weight for _, weight in pairs])
