"""Metrics against `ir_measures`, and the two tests of chance against what can be worked out by hand."""

from __future__ import annotations

import itertools
import json
import math
import random
from pathlib import Path

import numpy as np
import pytest

from voyage_jobs.evaluation.metrics import Metric, values
from voyage_jobs.evaluation.significance import chance, interval

NAMES = ["ndcg", "ndcg@1", "ndcg@10", "recall@10", "recall@100", "mrr", "mrr@10", "map", "map@10"]
CRANFIELD = Path(__file__).resolve().parents[3] / "shared" / "data" / "cranfield"


def theirs(name: str) -> object:
    import ir_measures

    kind, _, cutoff = name.partition("@")
    measure = {
        "ndcg": ir_measures.nDCG,
        "recall": ir_measures.R,
        "mrr": ir_measures.RR,
        "map": ir_measures.AP,
    }[kind]
    return measure @ int(cutoff) if cutoff else measure


def compare(judged: dict[str, dict[str, int]], runs: dict[str, list[str]]) -> None:
    """Each metric of each query, to a millionth."""
    ir_measures = pytest.importorskip("ir_measures")
    qrels = [ir_measures.Qrel(q, doc, grade) for q, docs in judged.items() for doc, grade in docs.items()]
    run = [
        ir_measures.ScoredDoc(query, doc, float(len(docs) - rank))
        for query, docs in runs.items()
        for rank, doc in enumerate(docs)
    ]
    measures = {theirs(name): name for name in NAMES}
    found = {
        (measures[each.measure], each.query_id): each.value
        for each in ir_measures.iter_calc(measures, qrels, run)
    }
    grades = {q: [judged[q].get(doc, 0) for doc in docs] for q, docs in runs.items()}
    for name in NAMES:
        ours = values(Metric.parse(name), grades, {q: list(docs.values()) for q, docs in judged.items()})
        assert len(ours) == len(judged)
        for query, value in zip(judged, ours, strict=True):
            assert value == pytest.approx(found[name, query], abs=1e-6), (name, query)


@pytest.mark.parametrize("seed", range(50))
def test_metrics_are_those_of_ir_measures(seed: int) -> None:
    dice = random.Random(seed)
    docs = [f"d{number}" for number in range(dice.randrange(5, 300))]
    judged = {
        str(q): {"d0": 1}
        | {doc: dice.randrange(-1, 5) for doc in dice.sample(docs, dice.randrange(1, len(docs)))}
        for q in range(20)
    }
    runs = {q: dice.sample(docs, dice.randrange(0, len(docs))) for q in judged}
    compare(judged, runs)


def test_metrics_of_cranfield_are_those_of_ir_measures() -> None:
    if not CRANFIELD.is_dir():
        pytest.skip("the collection is not here")
    judged: dict[str, dict[str, int]] = {}
    for row in json.loads((CRANFIELD / "cran_qrels.json").read_text()):
        judged.setdefault(row["query_num"], {})[row["id"]] = 5 - row["position"]
    dice = random.Random(1)
    docs = [str(number) for number in range(1, 1401)]
    runs = {q: list(dict.fromkeys([*found, *dice.sample(docs, 90)])) for q, found in judged.items()}
    for found in runs.values():
        dice.shuffle(found)
    compare(judged, runs)


def test_by_hand() -> None:
    assert Metric.parse("mrr").of([0, 0, 1], [1]) == pytest.approx(1 / 3)
    assert Metric.parse("ndcg@10").of([0, 3], [3, 1]) == pytest.approx(
        (3 / math.log2(3)) / (3 + 1 / math.log2(3))
    )
    assert Metric.parse("map").of([1, 0, 1], [1, 1, 1]) == pytest.approx((1 + 2 / 3) / 3)
    assert Metric.parse("recall@2").of([0, 0, 1], [1]) == 0.0


@pytest.mark.parametrize("word", ["recall", "ndcg@0", "precision@5", "ndcg@", "", "ndcg@1x", "map@9999999"])
def test_what_is_no_metric_is_refused_with_those_that_there_are(word: str) -> None:
    with pytest.raises(ValueError, match="there are ndcg@K"):
        Metric.parse(word)


def test_the_names_of_metrics_are_read_back() -> None:
    assert [Metric.parse(name).name for name in NAMES] == NAMES
    assert Metric.parse(" nDCG@10 ").name == "ndcg@10"


# --- chance ---


def exact_chance(differences: np.ndarray) -> float:
    """All exchanges, where there are few."""
    observed = abs(differences.sum()) - 1e-12
    signs = itertools.product((-1, 1), repeat=len(differences))
    return sum(abs(np.dot(each, differences)) >= observed for each in signs) / 2 ** len(differences)


@pytest.mark.parametrize("seed", range(8))
def test_chance_is_that_of_all_exchanges(seed: int) -> None:
    differences = np.random.default_rng(seed).normal(0.2, 1.0, 12)
    assert chance(differences) == pytest.approx(exact_chance(differences), abs=0.015)


def test_no_difference_is_all_chance_and_a_steady_one_is_none() -> None:
    assert chance(np.zeros(50)) == 1.0
    assert chance(np.full(50, 0.1)) < 0.001
    assert chance(np.full(3, 0.1)) > 0.2, "three pairs can say nothing"


def test_the_interval_is_about_two_standard_errors_and_always_the_same() -> None:
    values_ = np.random.default_rng(3).normal(0.5, 0.2, 400)
    low, high = interval(values_)
    assert (low, high) == interval(values_.copy())
    assert high - low == pytest.approx(2 * 1.96 * 0.2 / 20, rel=0.1)
    assert low < values_.mean() < high
    assert interval(np.ones(5)) == (1.0, 1.0)


def test_many_queries_are_drawn_in_portions() -> None:
    many = np.random.default_rng(4).normal(0.0, 1.0, 1_500)
    assert 0.0 < chance(many) <= 1.0
    assert interval(many)[0] < interval(many)[1]


def test_about_one_in_twenty_differences_of_nothing_passes() -> None:
    dice = np.random.default_rng(5)
    passed = sum(chance(dice.normal(0.0, 1.0, 30)) < 0.05 for _ in range(200))
    assert 2 <= passed <= 20
