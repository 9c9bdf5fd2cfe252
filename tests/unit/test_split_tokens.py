"""The estimate follows its rule, and the bound bounds it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voyage_jobs.core.tokens import estimate_tokens, max_tokens


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 1),
        ("a", 1),
        ("abc", 1),
        ("abcd", 2),
        ("2024", 4),
        ("é", 2),
        ("漢字", 6),
        ("ab 12 é", 6),
        ("🙂", 4),
    ],
)
def test_estimate(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens


@given(st.text(min_size=1))
def test_the_bound_is_the_size_in_utf8(text: str) -> None:
    assert estimate_tokens(text) <= max_tokens(text) == len(text.encode())


def test_prose_is_counted_over() -> None:
    words = "The quick brown fox jumps over the lazy dog and runs away from it. " * 20

    assert estimate_tokens(words) > 1.4 * len(words.split())
