"""How good one ranking is: nDCG, recall, reciprocal rank and average precision, as trec_eval defines them. Pure.

A ranking is the list of grades of what stands in it, best first; what nobody judged has grade 0. Grades above 0 are
relevant. Each metric is a number from 0 to 1, where 1 is a ranking that could not be better.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

_NAME = re.compile(r"(ndcg|recall|mrr|map)(?:@([1-9][0-9]{0,5}))?")


class Metric(NamedTuple):
    """`ndcg`, `recall`, `mrr` or `map`, of the first `cutoff` places (None: of all)."""

    kind: str
    cutoff: int | None

    @classmethod
    def parse(cls, word: str) -> Metric:
        """A metric by its name, such as `ndcg@10` or `map`. Raises ValueError, with the names that there are."""
        found = _NAME.fullmatch(word.strip().lower())
        if found is None or (found[1] == "recall" and found[2] is None):
            raise ValueError(
                f"{word!r} is no metric; there are ndcg@K, recall@K, mrr@K, map@K, ndcg, mrr and map"
            )
        return cls(found[1], int(found[2]) if found[2] else None)

    @property
    def name(self) -> str:
        """As it was asked for."""
        return self.kind if self.cutoff is None else f"{self.kind}@{self.cutoff}"

    def of(self, grades: Sequence[int], judged: Sequence[int]) -> float:
        """The value for a ranking with these grades; `judged` are all grades that the query has, in any order."""
        gains = np.maximum(np.asarray(grades[: self.cutoff], dtype=np.float64), 0)
        ideal = np.sort(np.maximum(np.asarray(judged, dtype=np.float64), 0))[::-1]
        if not gains.any() or not ideal.any():
            return 0.0
        return float(_BY_KIND[self.kind](gains, ideal, self.cutoff))


def _ndcg(gains: np.ndarray, ideal: np.ndarray, cutoff: int | None) -> float:
    return _dcg(gains) / _dcg(ideal[:cutoff])


def _dcg(gains: np.ndarray) -> float:
    return float((gains / np.log2(np.arange(2, len(gains) + 2))).sum())


def _recall(gains: np.ndarray, ideal: np.ndarray, _: int | None) -> float:
    return np.count_nonzero(gains) / np.count_nonzero(ideal)


def _reciprocal_rank(gains: np.ndarray, _ideal: np.ndarray, _: int | None) -> float:
    return 1.0 / (int(np.argmax(gains > 0)) + 1)


def _average_precision(gains: np.ndarray, ideal: np.ndarray, _: int | None) -> float:
    relevant = gains > 0
    precision = np.cumsum(relevant) / np.arange(1, len(gains) + 1)
    return float(precision[relevant].sum()) / np.count_nonzero(ideal)


_BY_KIND = {"ndcg": _ndcg, "recall": _recall, "mrr": _reciprocal_rank, "map": _average_precision}


def values(
    metric: Metric, rankings: Mapping[str, Sequence[int]], judged: Mapping[str, Sequence[int]]
) -> np.ndarray:
    """The values of all queries in `judged`, in its order. A query without a ranking found nothing."""
    return np.array([metric.of(rankings.get(query, ()), grades) for query, grades in judged.items()])
