"""A text put together from the pieces that the table shows: every piece at its place, or nothing."""

from __future__ import annotations

import random

import pytest

from tests.splits import split
from voyage_jobs.splitting.split import SplitOptions
from voyage_jobs.steps.retained_texts import put_together


def test_no_pieces_are_an_empty_text():
    assert put_together([]) == ""


@pytest.mark.parametrize(
    "pieces",
    [
        [(0, 3, "ab")],  # not as long as it says
        [(0, 3, "abc"), (1, 4, "xcd")],  # overlaps, and says something else there
        [(0, 5, "abcde"), (1, 3, "xx")],  # lies within another that says something else
    ],
)
def test_pieces_that_contradict_each_other_are_none(pieces):
    assert put_together(pieces) is None


@pytest.mark.parametrize("overlap", [0, 60])
def test_the_chunks_of_a_document_are_at_their_places(overlap):
    rng = random.Random(7)
    words = "ant bee çat dög 𝄞elk fox".split()  # noqa: SIM905
    text = "\n\n\n".join(f"# {i}\n\n{' '.join(rng.choices(words, k=80))}  " for i in range(20))
    options = SplitOptions(max_chars=200, overlap_chars=overlap)
    chunks = split(text, "a.md", options).chunks
    pieces = [(chunk.start, chunk.end, text[chunk.start : chunk.end]) for chunk in chunks]
    rng.shuffle(pieces)
    made = put_together(pieces)
    assert all(made[start:end] == piece for start, end, piece in pieces)
