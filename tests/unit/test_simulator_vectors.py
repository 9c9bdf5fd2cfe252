"""Vectors and token counts: deterministic, unit length, near where texts share words."""

from __future__ import annotations

import numpy as np
import pytest
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st

from voyage_jobs.simulator import count_tokens
from voyage_jobs.simulator import vectors as vectors_module
from voyage_jobs.simulator.tokens import truncated
from voyage_jobs.simulator.vectors import Embedder, in_context


def embed(*texts: str, space: str = "voyage-4", dimension: int = 1024) -> np.ndarray:
    return Embedder(space, dimension).embed(texts)


def test_shared_words_bring_texts_near() -> None:
    query, near, inflected, far = embed(
        "how to rotate an api key",
        "Rotate the API key: create a new key, then delete the old one.",
        "rotating keys",
        "Sea otters sleep in kelp forests.",
    )

    assert query @ near > 0.5
    assert query @ near > query @ inflected > query @ far
    assert query @ far < 0.2


def test_a_vector_does_not_depend_on_what_was_embedded_before() -> None:
    texts = [" ".join(f"word{n * k % 97}" for k in range(60)) for n in range(200)]
    forwards, backwards = Embedder("voyage-4", 64), Embedder("voyage-4", 64)
    forwards.embed(texts)
    backwards.embed([" ".join(reversed(t.split())) for t in reversed(texts)])

    assert np.array_equal(forwards.embed(texts), backwards.embed(texts))
    assert np.array_equal(forwards.embed(texts)[7:8], backwards.embed(texts[7:8]))


@pytest.mark.parametrize("dimension", [8, 256, 1024, 2048])
def test_vectors_have_length_one_whatever_the_text(dimension: int) -> None:
    vectors = embed("", "!!!", "a", "日本語の文章", "x" * 100_000, "é" * 10, dimension=dimension)

    assert vectors.dtype == np.float32
    assert vectors.shape == (6, dimension)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(6), abs=1e-5)


def test_a_vector_depends_on_its_text_alone() -> None:
    embedder = Embedder("voyage-4", 256)
    together = embedder.embed(["one two", "three", "one two three"])
    later = embedder.embed(["new words", "one two three"])

    assert np.array_equal(together[2], later[1])
    assert np.array_equal(together[2], Embedder("voyage-4", 256).embed(["one two three"])[0])


def test_no_two_texts_share_a_vector() -> None:
    vectors = embed("One two", "one two", "two one", "one, two")
    assert len({vector.tobytes() for vector in vectors}) == 4
    assert (vectors @ vectors.T).min() > 0.99


def test_spaces_are_apart() -> None:
    assert abs(float(embed("some words here")[0] @ embed("some words here", space="voyage-code-3")[0])) < 0.3


def test_a_large_vocabulary_is_forgotten_without_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = Embedder("voyage-4", 256)
    before = embedder.embed(["alpha beta"])
    monkeypatch.setattr(vectors_module, "_MAX_WORDS", 100)
    embedder.embed([f"w{n} " * 3 for n in range(3000)])

    assert np.array_equal(embedder.embed(["alpha beta"]), before)


def test_chunks_in_context_lean_to_their_document() -> None:
    plain = embed("whales", "trains", "stations")
    leaning = in_context(plain)

    assert leaning[0] @ leaning[1] > plain[0] @ plain[1]
    assert (np.diag(leaning @ plain.T) > 0.9).all()


@examples(200)
@given(st.text(), st.integers(1, 20))
def test_truncation_cuts_at_the_limit_and_never_within_a_character(text: str, limit: int) -> None:
    cut = truncated(text, limit)

    assert text.startswith(cut)
    assert count_tokens(cut) <= limit
    if cut != text:
        assert count_tokens(text[: len(cut) + 1]) > limit


def test_tokens_are_bytes_by_four() -> None:
    assert [count_tokens(t) for t in ("", "abcd", "abcde", "éé", "ééé")] == [1, 1, 2, 1, 2]
