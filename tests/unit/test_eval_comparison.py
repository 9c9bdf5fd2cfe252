"""Runs side by side and kept in files: ties as trec_eval breaks them, what changed, and when a drop is one."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from test_eval_metrics import NAMES, theirs

from voyage_jobs.errors import ConfigError
from voyage_jobs.evaluation import run_file
from voyage_jobs.evaluation.collection import Collection, Question
from voyage_jobs.evaluation.comparison import baseline_for, compared, comparisons_of, dropped
from voyage_jobs.evaluation.metrics import Metric
from voyage_jobs.evaluation.places import Place, Target
from voyage_jobs.evaluation.run import Run
from voyage_jobs.evaluation.scored import Scored

METRICS = [Metric.parse(name) for name in NAMES]
ANSWER = Target("", "a.md")


def asked(count: int) -> Collection:
    return Collection("q", tuple(Question(f"q{n}", f"question {n}", {ANSWER: 1}) for n in range(count)))


def ranked(name: str, ranks: list[int]) -> Run:
    """A run that finds the answer of each question at a rank, from 1; 0: not at all."""
    others = [Place("docs", f"{n}.md") for n in range(20)]
    return Run(
        name,
        {
            f"q{n}": (*others[: rank - 1], Place("docs", "a.md")) if rank else ()
            for n, rank in enumerate(ranks)
        },
    )


def scored(run: Run, collection: Collection) -> Scored:
    return Scored.of(run, collection, METRICS)


def difference(ranks: list[int], before: list[int]) -> dict:
    collection = asked(len(ranks))
    return compared(
        scored(ranked("new", ranks), collection), scored(ranked("old", before), collection), collection
    )


# --- comparing ---


def test_a_steady_gain_is_significant_and_its_questions_are_named() -> None:
    found = difference([1] * 30, [2] * 29 + [0])
    mrr = found["metrics"]["mrr"]
    assert mrr["difference"] == pytest.approx((29 * 0.5 + 1) / 30, abs=1e-6)
    assert (mrr["better"], mrr["same"], mrr["worse"], mrr["significant"]) == (30, 0, 0, True)
    assert mrr["low"] <= mrr["difference"] <= mrr["high"]
    assert found["changed"][0] == {
        "id": "q29",
        "query": "question 29",
        "difference": 1.0,
        "first_relevant": [None, 1],
    }
    assert len(found["changed"]) == 10


def test_what_goes_up_and_down_alike_is_chance() -> None:
    found = difference([1, 2] * 20, [2, 1] * 20)["metrics"]["mrr"]
    assert (found["difference"], found["significant"]) == (0.0, False)
    assert found["p"] > 0.9


def test_the_same_is_the_same() -> None:
    found = difference([1, 3, 0], [1, 3, 0])
    assert found["changed"] == []
    assert found["metrics"]["map"] == {
        "difference": 0.0, "low": 0.0, "high": 0.0, "p": 1.0, "significant": False, "better": 0, "same": 3, "worse": 0,
    }  # fmt: skip


def test_few_questions_are_never_significant() -> None:
    assert not difference([1] * 24, [0] * 24)["metrics"]["mrr"]["significant"]
    assert difference([1] * 25, [0] * 25)["metrics"]["mrr"]["significant"]


def test_only_questions_that_both_were_asked_are_compared() -> None:
    collection = asked(4)
    found = compared(
        scored(ranked("new", [1, 1, 1, 1]), collection), scored(ranked("old", [2, 2]), collection), collection
    )
    assert (found["questions"], found["not_in_both"]) == (2, 2)
    assert found["metrics"]["mrr"]["difference"] == 0.5
    assert {each["id"] for each in found["changed"]} == {"q0", "q1"}
    with pytest.raises(ConfigError, match="none of the questions"):
        compared(scored(ranked("new", [1]), collection), scored(Run("old", {}), collection), collection)


def test_runs_are_compared_with_the_first_or_with_their_like_in_a_file() -> None:
    collection = asked(2)
    runs = [scored(ranked(name, [1, 2]), collection) for name in ("words", "hybrid")]
    assert [(each["run"], each["baseline"]) for each in comparisons_of(runs, None, collection, METRICS)] == [
        ("hybrid", "words")
    ]
    saved = [ranked("hybrid", [2, 2]), ranked("words", [0, 0])]
    pairs = [(each["run"], each["baseline"]) for each in comparisons_of(runs, saved, collection, METRICS)]
    assert pairs == [("words", "words as saved"), ("hybrid", "hybrid as saved")]
    assert baseline_for(runs[0].run, saved[:1]).name == "hybrid"
    with pytest.raises(ConfigError, match="none of them is vector: hybrid, words"):
        baseline_for(ranked("vector", [1]), saved)


@pytest.mark.parametrize(
    ("ranks", "before", "most", "fails"),
    [
        ([2] * 40, [1] * 40, 0.4, True),
        ([2] * 40, [1] * 40, 0.5, False),
        ([1] * 40, [2] * 40, 0.0, False),
        ([2] * 21 + [1] * 19, [1] * 21 + [2] * 19, 0.0, False),  # may be chance
        ([2] * 3, [1] * 3, 0.4, True),  # too few to tell
    ],
)
def test_a_drop_counts_if_it_is_no_chance_or_cannot_be_told(ranks, before, most, fails) -> None:
    failure = dropped(difference(ranks, before), "mrr", most)
    assert (failure is not None) is fails
    if failure:
        assert "against old" in failure["message"]
        assert failure["value"] == -0.5


# --- files ---


def test_a_run_is_kept_and_read_back(tmp_path: Path) -> None:
    run = Run(
        "hybrid@my table.toml",
        {
            "q 1": (Place("docs", "a b.md", ("What > is", "it #1")), Place("docs", "ü\udcff.md")),
            "q2": (),
            "q3": tuple(Place("docs", f"{n}.md") for n in range(100)),
        },
    )
    run_file.save(tmp_path / "run", [run, Run("words", {"q2": (Place("", "c.md"),)})])
    first, second = run_file.read(tmp_path / "run")
    assert (first.name, first.rankings) == (run.name, run.rankings)
    assert (second.name, second.rankings) == ("words", {"q2": (Place("", "c.md"),)})


def test_no_name_comes_twice_in_a_ranking_that_is_kept(tmp_path: Path) -> None:
    """trec_eval refuses one that does; chunks of one section, or of a document without any, are told apart."""
    places = (
        *[Place("docs", "a.md", ("A", "B#2"))] * 3,
        *[Place("", "b.txt")] * 2,
        Place("docs", "a.md", ("A", "B")),
    )
    run_file.save(tmp_path / "run", [Run("words", {"q": places, "other": places[:1]})])
    lines = (tmp_path / "run").read_text().splitlines()
    assert [line.split()[2] for line in lines] == [
        *("docs:a.md#A>B%232", "docs:a.md#A>B%232#2", "docs:a.md#A>B%232#3", "b.txt", "b.txt##2"),
        *("docs:a.md#A>B", "docs:a.md#A>B%232"),
    ]
    [read] = run_file.read(tmp_path / "run")
    assert read.rankings == {"q": places, "other": places[:1]}


@pytest.mark.parametrize("seed", range(50))
def test_ties_are_broken_as_trec_eval_breaks_them(seed: int, tmp_path: Path) -> None:
    ir_measures = pytest.importorskip("ir_measures")
    dice = random.Random(seed)
    docs = [f"d{number}" for number in range(dice.randrange(2, 150))]
    questions = tuple(
        Question(str(q), str(q), {Target("", doc): dice.randrange(1, 4) for doc in dice.sample(docs, 2)})
        for q in range(8)
    )
    lines = [
        f"{q} Q0 {doc} 0 {dice.choice((0.1, 0.1000000001, 0.5, 3, -2))} other\n"
        for q in range(8)
        for doc in dice.sample(docs, dice.randrange(1, len(docs)))
    ]
    (tmp_path / "run").write_text("".join(lines))
    [run] = run_file.read(tmp_path / "run")
    collection = Collection("q", questions)
    ours = scored(run, collection).values
    qrels = [
        ir_measures.Qrel(q.id, place.path, grade) for q in questions for place, grade in q.judged.items()
    ]
    # Its RR@10 comes from the script of MS MARCO, which leaves ties as they stand in the file.
    measures = {theirs(name): name for name in NAMES if name != "mrr@10"}
    for each in ir_measures.iter_calc(measures, qrels, ir_measures.read_trec_run(str(tmp_path / "run"))):
        value = ours[measures[each.measure]][int(each.query_id)]
        assert value == pytest.approx(each.value, abs=1e-6), (measures[each.measure], each.query_id)


@pytest.mark.parametrize("line", ["1 Q0 a 1 x run", "1 Q0 a 1 nan run", "1 Q0 a 1 0.5", "words"])
def test_what_is_no_run_is_told_with_its_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "run").write_text(f"1 Q0 a 1 0.5 run\n\n{line}\n")
    with pytest.raises(ConfigError, match="line 3: this is no line of a run"):
        run_file.read(tmp_path / "run")


def test_an_empty_file_and_a_folder_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("\n")
    with pytest.raises(ConfigError, match="holds no run"):
        run_file.read(tmp_path / "run")
    with pytest.raises(ConfigError, match="cannot be written"):
        run_file.save(tmp_path / "nowhere" / "run", [])
