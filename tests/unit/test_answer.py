"""Synchronous answers: each text is judged by itself, and what cannot be told apart is refused as a whole."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest

from voyage_jobs.errors import BadAnswerError
from voyage_jobs.profile import Profile
from voyage_jobs.vendors.base import Wanted
from voyage_jobs.vendors.voyage.answer import call_body, read_answer

PLAIN = Profile("/v1/embeddings", "voyage-4", 4, "float", "document")
NESTED = Profile("/v1/contextualizedembeddings", "voyage-context-3", 4, "float", "document")
IDS = ["aa" * 20, "bb" * 20, "cc" * 20]
WANTED = [Wanted(name, [f"text {name}"]) for name in IDS]
WINDOWS = [Wanted(IDS[0], ["one", "two"]), Wanted(IDS[1], ["three"])]


def vector(number, *, as_base64=False):
    """Of length 1; `number` is ten times its first number."""
    first = number / 10
    found = np.array([first, np.sqrt(1 - first * first), 0, 0], "<f4")
    return base64.b64encode(found.tobytes()).decode() if as_base64 else found.tolist()


def rows(*embeddings):
    return [{"object": "embedding", "embedding": each, "index": at} for at, each in enumerate(embeddings)]


def body(data, tokens=12):
    return json.dumps({"object": "list", "data": data, "usage": {"total_tokens": tokens}}).encode()


def found(answer):
    """id -> ten times the first number of each of its vectors."""
    told = {}
    for block in answer.blocks:
        at = 0
        for name, count in zip(block.custom_ids, block.counts, strict=True):
            told[name] = np.rint(10 * block.vectors[at : at + count, 0]).tolist()
            at += count
    return told


# --- what cannot be told apart ---


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "not JSON"),
        (b"<html></html>", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "no data"),
        (b"{}", "no data"),
        (body(None), "no data"),
        (body(["x", "y", "z"]), "no data"),
        (body(rows([1], [2])), "2 results for 3 texts"),
        (body(rows(*[[1]] * 4)), "4 results for 3 texts"),
        (body([{"embedding": [1]}] * 3), "does not number"),
        (body([{"embedding": [1], "index": 0}] * 3), "does not number"),
        (body([{"embedding": [1], "index": at} for at in (True, 0, 2)]), "does not number"),
        (body([{"embedding": [1], "index": at} for at in ("0", "1", "2")]), "does not number"),
    ],
)
def test_an_answer_whose_parts_cannot_be_told_apart_is_refused(answer, why):
    with pytest.raises(BadAnswerError, match=why):
        read_answer(answer, WANTED, PLAIN)


# --- text by text ---


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ([1.0, 1.0, 1.0], "wrong_dimension"),
        ([1.0] * 5, "wrong_dimension"),
        ([0.0] * 4, "all_zero"),
        ([1.0] * 4, "wrong_length"),
        ([1e30] * 4, "wrong_length"),
        ([1e-42] * 4, "wrong_length"),
        ([1.0, 1.0, 1.0, float("nan")], "not_finite"),
        ([1.0, 1.0, 1.0, float("inf")], "not_finite"),
        ([1.0, 1.0, 1.0, None], "not_numbers"),
        (None, "no_vectors"),
        ("%%%", "bad_base64"),
        (base64.b64encode(b"123").decode(), "wrong_dimension"),
    ],
)
def test_a_bad_vector_does_not_take_its_neighbours_with_it(bad, code):
    answer = read_answer(body(rows(vector(1), bad, vector(3))), WANTED, PLAIN)
    assert found(answer) == {IDS[0]: [1.0], IDS[2]: [3.0]}
    assert {name: problem.code for name, problem in answer.problems.items()} == {IDS[1]: code}
    assert answer.tokens == 12


@pytest.mark.parametrize("as_base64", [False, True])
def test_the_index_says_which_text_is_answered(as_base64):
    data = rows(*(vector(n, as_base64=as_base64) for n in (1, 2, 3)))[::-1]
    answer = read_answer(body(data), WANTED, PLAIN)
    assert found(answer) == {IDS[0]: [1.0], IDS[1]: [2.0], IDS[2]: [3.0]}
    assert answer.problems == {}


@pytest.mark.parametrize(
    "usage", [None, {}, [], *({"total_tokens": n} for n in (-1, 0, "many", True, 1.5, 320_001, 2**63, None))]
)
def test_tokens_that_are_not_told_are_none(usage):
    said = json.dumps({"data": rows(vector(1), vector(2), vector(3)), "usage": usage}).encode()
    assert read_answer(said, WANTED, PLAIN).tokens is None


def test_windows_are_answered_window_by_window():
    data = [
        {"object": "list", "index": 1, "data": rows(vector(3))},
        {"object": "list", "index": 0, "data": rows(vector(1), vector(2))[::-1]},
    ]
    answer = read_answer(body(data), WINDOWS, NESTED)
    assert found(answer) == {IDS[0]: [1.0, 2.0], IDS[1]: [3.0]}


def test_a_window_with_a_vector_too_few_is_bad_as_a_whole():
    data = [{"index": 0, "data": rows(vector(1))}, {"index": 1, "data": rows(vector(3))}]
    answer = read_answer(body(data), WINDOWS, NESTED)
    assert found(answer) == {IDS[1]: [3.0]}
    assert answer.problems[IDS[0]].code == "wrong_count"


# --- what is posted ---


def test_what_is_posted_is_what_a_job_would_ask_for():
    params = {"model": "voyage-4", "truncation": False}
    assert call_body(WANTED[:2], params, PLAIN) == {
        "input": [f"text {IDS[0]}", f"text {IDS[1]}"],
        "model": "voyage-4",
        "truncation": False,
    }
    assert call_body(WINDOWS, {"model": "m"}, NESTED) == {"inputs": [["one", "two"], ["three"]], "model": "m"}
