"""Synchronous answers: each text is judged by itself, and what cannot be distinguished is refused as a whole."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voyage_jobs.core.profile import Profile
from voyage_jobs.core.usage import shares
from voyage_jobs.errors import BadAnswerError
from voyage_jobs.vendors.base import Wanted
from voyage_jobs.vendors.rest.answer import call_body, result_lines
from voyage_jobs.vendors.rest.lines import asked_in, input_line
from voyage_jobs.vendors.rest.results import read_results
from voyage_jobs.vendors.result_block import Expectation

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


def judged(answer, wanted, profile):
    """The answer as the reader of results files has it: its blocks."""
    lines = io.BytesIO(b"".join(result_lines(answer, wanted, profile)))
    counts = {each.custom_id: len(each.texts) for each in wanted}
    return list(read_results(lines, Expectation(profile, counts.get)))


def problems(blocks):
    return {problem.custom_id: problem.code for block in blocks for problem in block.problems}


def tokens(blocks):
    told = [tokens for block in blocks for tokens in block.tokens]
    return told + [problem.tokens for block in blocks for problem in block.problems]


def found(blocks):
    """id -> ten times the first number of each of its vectors."""
    told = {}
    for block in blocks:
        at = 0
        for name, count in zip(block.custom_ids, block.counts, strict=True):
            told[name] = np.rint(10 * block.vectors[at : at + count, 0]).tolist()
            at += count
    return told


# --- what cannot be distinguished ---


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
        list(result_lines(answer, WANTED, PLAIN))


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
    answer = judged(body(rows(vector(1), bad, vector(3))), WANTED, PLAIN)
    assert found(answer) == {IDS[0]: [1.0], IDS[2]: [3.0]}
    assert problems(answer) == {IDS[1]: code}
    assert sum(tokens(answer)) == 12


@pytest.mark.parametrize("as_base64", [False, True])
def test_the_index_says_which_text_is_answered(as_base64):
    data = rows(*(vector(n, as_base64=as_base64) for n in (1, 2, 3)))[::-1]
    answer = judged(body(data), WANTED, PLAIN)
    assert found(answer) == {IDS[0]: [1.0], IDS[1]: [2.0], IDS[2]: [3.0]}
    assert problems(answer) == {}


@pytest.mark.parametrize(
    "usage", [None, {}, [], *({"total_tokens": n} for n in (-1, 0, "many", True, 1.5, 320_001, 2**63, None))]
)
def test_tokens_that_are_not_told_are_none(usage):
    said = json.dumps({"data": rows(vector(1), vector(2), vector(3)), "usage": usage}).encode()
    assert tokens(judged(said, WANTED, PLAIN)) == [None, None, None]


def test_tokens_are_spread_over_the_lines_by_what_these_count():
    wanted = [Wanted(name, ["text"], weight) for name, weight in zip(IDS, (1, 2, 7), strict=True)]
    said = body(rows(vector(1), vector(2), vector(3)), tokens=13)
    assert tokens(judged(said, wanted, PLAIN)) == [2, 3, 8]
    assert tokens(judged(body(rows(vector(1), vector(2), vector(3)), tokens=2), wanted, PLAIN)) == [None] * 3


@given(st.lists(st.integers(1, 120_000), min_size=1, max_size=128), st.integers(0, 10**6))
def test_what_is_spread_adds_up(weights, more):
    found = shares(len(weights) + more, weights)
    assert sum(found) == len(weights) + more
    assert min(found) >= 1
    assert shares(len(weights) - 1, weights) is None


def test_windows_are_answered_window_by_window():
    data = [
        {"object": "list", "index": 1, "data": rows(vector(3))},
        {"object": "list", "index": 0, "data": rows(vector(1), vector(2))[::-1]},
    ]
    answer = judged(body(data), WINDOWS, NESTED)
    assert found(answer) == {IDS[0]: [1.0, 2.0], IDS[1]: [3.0]}


def test_a_window_with_a_vector_too_few_is_bad_as_a_whole():
    data = [{"index": 0, "data": rows(vector(1))}, {"index": 1, "data": rows(vector(3))}]
    answer = judged(body(data), WINDOWS, NESTED)
    assert found(answer) == {IDS[1]: [3.0]}
    assert problems(answer) == {IDS[0]: "wrong_count"}


# --- what is posted ---


def test_what_is_posted_is_what_a_job_would_ask_for():
    params = {"model": "voyage-4", "truncation": False}
    assert call_body(WANTED[:2], params, PLAIN) == {
        "input": [f"text {IDS[0]}", f"text {IDS[1]}"],
        "model": "voyage-4",
        "truncation": False,
    }
    assert call_body(WINDOWS, {"model": "m"}, NESTED) == {"inputs": [["one", "two"], ["three"]], "model": "m"}


@pytest.mark.parametrize(("profile", "wanted"), [(PLAIN, WANTED), (NESTED, WINDOWS)])
def test_a_request_is_made_of_the_lines_of_an_input_file(profile, wanted):
    lines = [input_line(each.custom_id, profile.endpoint, each.texts) for each in wanted]
    assert [asked_in(line) for line in lines] == wanted
