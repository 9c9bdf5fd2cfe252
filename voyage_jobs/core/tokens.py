"""How many tokens a text may have, without a tokenizer: an estimate that errs upwards, and a sure bound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

_ONE_EACH = b"0123456789" + bytes(range(128, 256))

Count: TypeAlias = Callable[[Sequence[str]], list[int]]
"""Counts the tokens of each text."""


def estimate_tokens(text: str) -> int:
    """About how many tokens, rather too many than too few; at least 1.

    Every digit counts one (some tokenizers never join them), three other ASCII characters count one, every
    byte of anything else counts one. Voyage's rule of thumb is five characters to a token, so that
    English prose is counted well over; long runs of random letters, such as keys and hashes, may be counted
    under.
    """
    raw = text.encode()
    plain = len(raw.translate(None, _ONE_EACH))
    return len(raw) - plain + (plain + 2) // 3 or 1


def estimate_each(texts: Sequence[str]) -> list[int]:
    """The estimate of every text."""
    return list(map(estimate_tokens, texts))


def max_tokens(text: str) -> int:
    """More tokens than this are impossible: tokenizers that fall back to bytes make no token of less than
    one."""
    return len(text.encode())
