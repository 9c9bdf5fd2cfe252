"""Whether a difference may be chance: the paired randomisation test, and intervals by the bootstrap. Pure.

Both draw from a generator with a fixed seed, so the same numbers give the same answer.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

LEAST_QUERIES = 25
"""With fewer, nothing can be concluded."""
SURE = 0.05
"""A difference is called significant if chance alone would make one as large less often than this."""
_SEED = 20_090
_SAMPLES = 10_000
_AT_ONCE = 1_000_000  # numbers drawn at once: memory does not grow with the number of queries
_SLACK = 1e-12  # sums of the same numbers in another order
_SHARES = (2.5, 97.5)


def interval(values: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of the mean of `values` (one for each query), by 10,000 samples with replacement."""
    dice, count = np.random.default_rng(_SEED), len(values)
    means = [values[dice.integers(0, count, (rows, count))].mean(axis=1) for rows in _portions(count)]
    low, high = np.percentile(np.concatenate(means), _SHARES)
    return float(low), float(high)


def chance(differences: np.ndarray) -> float:
    """The p-value of the mean difference of pairs: how often 10,000 random exchanges within pairs make it as large."""
    dice, count = np.random.default_rng(_SEED), len(differences)
    observed = abs(float(differences.sum())) - _SLACK
    as_large = 0
    for rows in _portions(count):
        signs = dice.integers(0, 2, (rows, count), dtype=np.int8) * 2 - 1
        as_large += int((np.abs(signs @ differences) >= observed).sum())
    return (as_large + 1) / (_SAMPLES + 1)


def _portions(count: int) -> Iterator[int]:
    """How many of the samples to draw at a time."""
    most, left = max(1, _AT_ONCE // max(1, count)), _SAMPLES
    while left:
        yield min(most, left)
        left -= min(most, left)
