"""One ranking out of several: reciprocal rank fusion, which needs no scores that could be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_K = 60  # of the paper (Cormack and others, 2009): the first places do not decide everything


def fuse(rankings: Mapping[str, Sequence[str]]) -> list[tuple[str, float]]:
    """What stands in any of the rankings, best first, with a score: 1 for what is first in all of them.

    Equal scores keep the order of the first ranking that has them.
    """
    scores: dict[str, float] = {}
    for ranking in rankings.values():
        for rank, name in enumerate(dict.fromkeys(ranking), 1):
            scores[name] = scores.get(name, 0.0) + (_K + 1) / (_K + rank) / len(rankings)
    return sorted(scores.items(), key=lambda item: -item[1])
