"""Tokens as answers report them: which numbers can be believed, and what is booked where none can.

A provider reports the tokens of a request, and bills these. Where a request ran and its answer
reports none that can be, nobody knows the bill. Then the tokens that were reserved for it are booked, and marked as
assumed: a budget that counts what it does not know as nothing is no budget.

Every number that is booked lies within these bounds, so that no sum of them can leave 64 bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

MOST_LINE_TOKENS = 1_000_000
"""The most tokens of one request, hence of one line: the largest cap that any model is documented with."""

MOST_BATCH_TOKENS = 100_000 * MOST_LINE_TOKENS
"""The most tokens of a batch, or of anything else that is booked at once."""


class Billed(NamedTuple):
    """What a request that ran is booked with; `assumed`: its answer does not say what it was billed."""

    tokens: int
    assumed: bool


def plausible(reported: Any, most: int = MOST_LINE_TOKENS) -> int | None:
    """A reported number of tokens: a whole number from 1 to `most`; None for anything that cannot be one.

    0 cannot be one: no text that is sent is empty, and every text has a token at least.
    """
    whole = type(reported) is int or (type(reported) is float and reported.is_integer())
    return int(reported) if whole and 1 <= reported <= most else None


def billed(reported: int | None, reserved: int, most: int = MOST_LINE_TOKENS) -> Billed:
    """The tokens to book for a request that ran: as reported, else as reserved."""
    if reported is not None:
        return Billed(reported, assumed=False)
    return Billed(max(1, min(reserved, most)), assumed=True)


def shares(total: int, weights: Sequence[int]) -> list[int] | None:
    """A reported total spread over the texts of one request by their weights: whole numbers that add up to it.

    A text that nobody has counted (0) weighs as one token. None if it cannot be the total of so many texts, since every
    text has a token at least.
    """
    left = total - len(weights)
    if left < 0:
        return None
    weights = [max(1, weight) for weight in weights]
    heavy, before, found = sum(weights), 0, []
    for weight in weights:
        found.append(1 + left * (before + weight) // heavy - left * before // heavy)
        before += weight
    return found
