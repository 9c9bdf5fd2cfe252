"""Cuts that the text itself chooses: an edit moves the cuts around it, and no others.

Filling chunk after chunk from the top would move every cut below an inserted line, and all of it would be paid for
again. Here each place that a cut may have carries a weight, made of how good the place is and a hash of the words
around it. What is too long is cut at its lightest place, then either side, and so on. So whether there is a cut at a
place depends on the lighter places next to it alone, not on what stands further away.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableSequence, Sequence
from typing import cast
from zlib import crc32

from voyage_jobs.splitting.pieces import starts

SENTENCE, WORD, CHARACTER = 6, 7, 8
"""The ranks of places within a line; those of lines are lower (`blocks.py`). The lower, the better."""

_BEFORE, _AFTER = 16, 48  # the characters around a place that its hash is of
_SENTENCES = re.compile("[.!?\u2026][\"')\\]\u201d\u2019\u00bb]*\\s+(?=\\S)|[\u3002\uff01\uff1f](?=\\S)")
_WORDS = re.compile(
    r"(?<=\s)(?=\S)"
)  # without a repetition: a long run of blanks would be tried from each of them

_LARGE_CHARS = 1_000_000
"""Of longer texts places and hashes are kept in arrays, with a tenth of the memory; of short ones lists are faster."""

Most = Callable[[int], int]
"""How long a piece may be that starts here."""


class _Layer:
    """The places of one rank, in order. Their hashes are made once two of them are compared, which few ever are."""

    __slots__ = ("_seen", "_text", "_weights", "at", "rank")

    def __init__(self, text: str, rank: int, at: Sequence[int], seen: Sequence[int]) -> None:
        self.rank = rank
        self.at = at
        self._text = text
        self._seen = seen  # where the words stand that the hash of each is of
        self._weights: Sequence[int] = ()

    def lightest(self, low: int, high: int, middle: int) -> int:
        """The lightest of those with these indices; of several, as where a line is repeated, the one in the middle."""
        if high - low == 1:
            return self.at[low]
        if not self._weights:
            self._weights = _hashes(self._text, self._seen)
        like = _least(self._weights[low:high])
        if len(like) == 1:
            return self.at[low + like[0]]
        beyond = bisect_left(like, middle, key=lambda index: self.at[low + index])
        nearest = (self.at[low + index] for index in like[max(0, beyond - 1) : beyond + 1])
        return min(nearest, key=lambda at: abs(at - middle))


class Places:
    """Where a text may be cut: out of (position, rank) pairs, of which those of one rank are in order.

    Where a piece is not measured in characters, `seen` has the character for each position.
    """

    __slots__ = ("_layers",)

    def __init__(
        self, text: str, ranked: Iterable[tuple[int, int]], seen: Mapping[int, int] | None = None
    ) -> None:
        large = len(text) > _LARGE_CHARS
        found: dict[int, MutableSequence[int]] = {}
        for at, rank in ranked:
            if rank in found:
                found[rank].append(at)
            else:
                found[rank] = array("Q", (at,)) if large else [at]
        self._layers = [
            _Layer(text, rank, at, at if seen is None else [seen[each] for each in at])
            for rank, at in sorted(found.items())
        ]

    def lightest(self, first: int, last: int) -> tuple[int, int] | None:
        """Rank and position of the lightest place from `first` to `last`."""
        for layer in self._layers:
            low, high = bisect_left(layer.at, first), bisect_right(layer.at, last)
            if low < high:
                return layer.rank, layer.lightest(low, high, (first + last) // 2)
        return None


def _least(weights: Sequence[int]) -> Sequence[int]:
    """The indices of the least of them, in order."""
    if isinstance(weights, array):
        import numpy as np

        many = np.frombuffer(weights, np.uint32)
        return cast(Sequence[int], np.flatnonzero(many == many.min()))
    weight = min(weights)
    if weights.count(weight) == 1:
        return (weights.index(weight),)
    return [index for index, each in enumerate(weights) if each == weight]


def _hashes(text: str, places: Sequence[int]) -> Sequence[int]:
    """That of the words around each of these characters, which are in order."""
    first = max(0, places[0] - _BEFORE)
    part = text[first : places[-1] + _AFTER]
    if part.isascii():
        raw, before, after = part.encode(), first + _BEFORE, _AFTER - first
        found = (crc32(raw[at - before if at > before else 0 : at + after]) for at in places)
    else:
        found = (crc32(text[max(0, at - _BEFORE) : at + _AFTER].encode()) for at in places)
    return array("I", found) if len(text) > _LARGE_CHARS else list(found)


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
    best = places.lightest(low + least, high - least)
    if best is None:
        return None
    tight = places.lightest(max(low + least, high - most), min(high - least, low + most))
    return tight[1] if tight is not None and tight[0] == best[0] else best[1]


def cut_text(text: str, places: Places, start: int, end: int, most: Most, least: int) -> list[int]:
    """The same; where no place will do, also at the ends of sentences, then between words, at last anywhere."""
    found, uncut = cut(places, start, end, most, least)
    # The last one twice: a piece that begins within a block has less room than the one that it was cut from.
    for ranked in (None, _sentences, _words, _characters, _characters):
        if not uncut:
            break
        parts, uncut = uncut, []
        at_least = 1 if ranked in (None, _characters) else least
        for (
            low,
            high,
        ) in parts:  # none of the places before is left in them, but where that is too close to an end
            finer = Places(text, ranked(text, low, high, most(low))) if ranked else places
            more, left = cut(finer, low, high, most, at_least)
            found += more
            uncut += left
    return _without_crumbs(sorted(found), start, end, most, least)


def _sentences(text: str, low: int, high: int, _most: int) -> Iterator[tuple[int, int]]:
    return ((match.end(), SENTENCE) for match in _SENTENCES.finditer(text, low, high))


def _words(text: str, low: int, high: int, _most: int) -> Iterator[tuple[int, int]]:
    return ((match.end(), WORD) for match in _WORDS.finditer(text, low, high))


def _characters(text: str, low: int, high: int, most: int) -> Iterator[tuple[int, int]]:
    """Between words, and where a run without any is as long as a piece may be: the library knows what is one sign.

    Of the words those alone that a binary search over both lists, one behind the other, does not pass over: it is an
    accident of the first version, and without it such texts would be cut elsewhere and paid for again.
    """
    found = [*_words(text, low, high, most), *((at, CHARACTER) for at in starts(text, low, high, most))]
    places = [at for at, _ in found]
    yield from found[bisect_right(places, low) : bisect_left(places, high)]


def _without_crumbs(found: list[int], start: int, end: int, most: Most, least: int) -> list[int]:
    """Without the cuts around a piece that is shorter than `least` and has room beside a neighbour."""
    kept: list[int] = []
    for index, at in enumerate(found):
        before = kept[-1] if kept else start
        after = found[index + 1] if index + 1 < len(found) else end
        if min(at - before, after - at) >= least or after - before > most(before):
            kept.append(at)
    return kept
