"""How many tokens a text may have, without a tokenizer: an estimate that errs upwards, and a sure bound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

_DIGITS = b"0123456789"

Count: TypeAlias = Callable[[Sequence[str]], list[int]]
"""Counts the tokens of each text."""


def estimate_tokens(text: str) -> int:
    """About how many tokens, rather too many than too few; at least 1.

    Every digit counts one (some tokenizers never join them), three other ASCII characters count one, every
    byte of anything else counts one. Voyage's rule of thumb is five characters to a token, so that
    English prose is counted well over; long runs of random letters, such as keys and hashes, may be counted
    under.
    """
    if text.isascii():
        raw, other = text.encode(), 0
    else:
        raw = text.encode("ascii", "ignore")
        other = max_tokens(text) - len(raw)
    plain = len(raw.translate(None, _DIGITS))
    digits = len(raw) - plain
    return max(1, other + digits + -(-plain // 3))


def estimate_each(texts: Sequence[str]) -> list[int]:
    """The estimate of every text."""
    return list(map(estimate_tokens, texts))


def max_tokens(text: str) -> int:
    """More tokens than this are impossible: tokenizers that fall back to bytes make no token of less than
    one."""
    return len(text.encode())
