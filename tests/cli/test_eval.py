"""`eval`: questions with known answers, what they cost, and how it ends in CI."""

from __future__ import annotations

import json
import math

import pytest
from looking import Looking
from test_reprofile_step import sync

from voyage_jobs.config.profile import profile_of
from voyage_jobs.service.sync import Ending
from voyage_jobs.simulator import FaultScript
from voyage_jobs.state.throwaway import folder_for_copies
from voyage_jobs.steps.acts import perform

DOCUMENTS = {
    "cert.md": "# Certificates\n\n## Renewal\n\nRenew a certificate before it ends.\n\n## Loss\n\nRevoke a key.",
    "soup.md": "# Soup\n\n## Leek\n\nBoil leeks and potatoes.\n\n## Onion\n\nFry onions in butter.",
    "bread.md": "# Bread\n\n## Dough\n\nKnead flour with water.\n\n## Oven\n\nBake it hot.",
}
QUESTIONS = [
    {"query": "Renew a certificate before it ends.", "relevant": "cert.md#Renewal"},
    {"query": "Boil leeks and potatoes.", "relevant": ["soup.md#Leek"]},
    {"query": "Knead flour with water.", "relevant": {"bread.md#Dough": 2, "bread.md#Oven": 1}},
]


@pytest.fixture
def run(tmp_path, monkeypatch):
    looking = Looking(tmp_path, monkeypatch)
    for path, text in DOCUMENTS.items():
        looking.world.write(path, text)
    looking.world.run()
    return looking


def written(run, questions=QUESTIONS, name="q.jsonl"):
    path = run.world.root / name
    path.write_text("".join(json.dumps(each) + "\n" for each in questions))
    return path


def calls(run):
    return [request.path for request in run.world.transport.requests].count("/v1/embeddings")


def test_what_is_found_first_is_worth_one(run):
    told = run.json("eval", written(run), "--run", "words", "--run", "vector", "--run", "hybrid")
    assert [each["run"] for each in told["runs"]] == ["words", "vector", "hybrid"]
    for each in told["runs"]:
        assert each["metrics"]["mrr@10"] == {"value": 1.0, "low": 1.0, "high": 1.0}
        assert each["metrics"]["recall@100"]["value"] <= 1
        assert each["warnings"] == []
        assert each["rows"] == 6
    assert told["collection"] == {
        "name": str(run.world.root / "q.jsonl"),
        "questions": 3,
        "relevant_places": 4,
        "by": "section",
        "left_out": [],
        "not_in_table": [],
    }
    [first, *_] = told["questions"]
    assert first["runs"]["hybrid"]["first_relevant"] == 1
    assert first["runs"]["words"]["metrics"]["ndcg@10"] == 1.0
    assert told["notes"][0].startswith("3 questions are too few")


def test_a_ranking_is_worth_what_its_grades_say(run):
    questions = [{"query": "onions leeks", "relevant": {"soup.md#Onion": 1, "cert.md": 3}}]
    told = run.json("eval", written(run, questions), "--run", "words", "--metrics", "ndcg@10,map,recall@1")
    [only] = told["runs"]
    found = [hit["section"][-1] for hit in run.json("search", "onions leeks", "--mode", "words")["hits"]]
    rank = found.index("Onion") + 1
    ideal = 3 + 1 / math.log2(3)
    assert only["metrics"]["ndcg@10"]["value"] == pytest.approx(1 / math.log2(rank + 1) / ideal, abs=1e-6)
    assert only["metrics"]["map"]["value"] == pytest.approx(1 / rank / 2, abs=1e-6)


def test_each_query_is_paid_for_once(run):
    before = calls(run)
    first = run("eval", written(run), "--run", "vector")
    assert "To embed: 3 queries, about" in first.stderr
    assert "$" in first.stderr
    assert calls(run) == before + 1, "one call for all of them"
    again = run("eval", written(run), "--run", "vector", "--run", "hybrid")
    assert "To embed" not in again.stderr
    more = written(run, [*QUESTIONS, {"query": "new", "relevant": "soup.md"}])
    [bill] = run.json("eval", more)["cost"]
    assert (bill["texts"], bill["held"]) == (1, 3)
    assert calls(run) == before + 2


def test_words_cost_nothing_and_need_no_key(run, monkeypatch):
    monkeypatch.delenv("VOYAGE_API_KEY")
    before = calls(run)
    assert run.json("eval", written(run), "--run", "words")["cost"] == []
    assert calls(run) == before


def test_a_dry_run_tells_the_price_and_sends_nothing(run):
    before = calls(run)
    told = run.json("eval", written(run), "--dry-run")
    assert told["dry_run"]
    assert told["cost"][0]["usd"] > 0
    assert "To embed: 3 queries" in run("eval", written(run), "--dry-run").stderr
    assert calls(run) == before


def test_what_a_budget_does_not_allow_is_not_sent(run):
    before = calls(run)
    result = run("eval", written(run), code=2, budget={"daily_tokens": 1})
    assert "budget.daily_tokens allows 0 tokens" in result.stderr
    assert "Nothing was sent" in result.stderr
    assert calls(run) == before
    run("eval", written(run), budget={"daily_tokens": 1_000_000})


def test_a_refused_key_is_an_error_here_not_a_search_by_words(run, monkeypatch):
    monkeypatch.setenv("VOYAGE_API_KEY", "wrong-key-of-somebody-else")
    assert "refuses the API key" in run("eval", written(run), code=5).stderr


def test_damaged_vectors_of_queries_are_asked_for_again(run):
    run("eval", written(run))
    [segment] = (run.world.data_dir / "queries").glob("*/*.arrow")
    segment.write_bytes(segment.read_bytes()[:100])
    assert "To embed: 3 queries" in run("eval", written(run)).stderr


def test_a_long_list_of_queries_goes_in_several_calls(run):
    questions = [{"query": f"question {number}", "relevant": "soup.md"} for number in range(300)]
    before = calls(run)
    told = run.json("eval", written(run, questions), "--run", "vector", "--metrics", "mrr")
    assert calls(run) == before + 3
    assert told["notes"] == []
    assert len(told["questions"]) == 300


def test_a_bound_that_does_not_hold_ends_with_1(run):
    path = written(run, [*QUESTIONS, {"query": "nothing of the kind", "relevant": "gone.md"}])
    result = run(
        "eval", path, "--run", "words", "--fail-under", "mrr@10=0.9", "--fail-under", "map=0.1", code=1
    )
    assert "Failed: words has mrr@10 0.7500, less than 0.9." in result.stderr
    told = run.json("eval", path, "--run", "words", "--fail-under", "mrr@10=0.9", code=1)
    assert [(each["run"], each["metric"], each["bound"]) for each in told["failed"]] == [
        ("words", "mrr@10", 0.9)
    ]
    run("eval", path, "--run", "words", "--fail-under", "mrr@10=0.75")


def test_people_see_the_runs_and_the_worst_questions(run):
    path = written(run, [*QUESTIONS, {"query": "nothing of the kind", "relevant": "gone.md#Away"}])
    shown = run.text("eval", path, "--run", "words")
    assert "4 questions, 5 relevant sections" in " ".join(shown.split())
    assert "Not in the table: gone.md#Away. No search can find them." in shown
    assert "words" in shown
    assert "0.000" in shown
    assert "none" in shown
    assert "nothing of the kind" in shown
    assert "too few" in shown


def test_in_a_narrow_window_names_stay_whole(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    shown = run("eval", written(run), "--run", "words", "--run", "hybrid").stdout
    assert max(map(len, shown.splitlines()[1:])) <= 40, "the first line is a path, which stays whole"
    for name in ("words", "hybrid", "ndcg@10", "recall@100", "difference"):
        assert name in shown
    assert "…" not in shown


def test_whole_documents_may_count(run):
    questions = [{"query": "Fry onions in butter.", "relevant": "soup.md#Leek"}]
    section = run.json("eval", written(run, questions), "--run", "words")
    assert section["runs"][0]["metrics"]["mrr@10"]["value"] < 1
    document = run.json("eval", written(run, questions), "--run", "words", "--by", "document")
    assert document["collection"]["by"] == "document"
    assert document["runs"][0]["metrics"]["mrr@10"]["value"] == 1


def test_an_older_version_of_the_table_is_asked_as_it_was(run):
    version = run.json("eval", written(run), "--run", "words")["runs"][0]["table_version"]
    run.world.write("soup.md", "# Soup\n\nGone.")
    run.world.run()
    told = run.json("eval", written(run), "--run", f"words@{version}", "--run", "words")
    old, new = told["runs"]
    assert (old["run"], old["table_version"], old["metrics"]["mrr@10"]["value"]) == (
        f"words@{version}",
        version,
        1.0,
    )
    assert new["metrics"]["mrr@10"]["value"] < 1
    assert "no version 9999" in run("eval", written(run), "--run", "words@9999", code=2).stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--run", "semantic"), "'semantic' is no run"),
        (("--run", "words@"), "'words@' is no run"),
        (("--run", "words@nowhere"), "nowhere"),
        (("--metrics", "precision@5"), "'precision@5' is no metric"),
        (("--fail-under", "mrr"), "is not METRIC=VALUE"),
        (("--fail-under", "mrr=2"), "is not between 0 and 1"),
        (("--fail-under", "mrr=nan"), "is not between 0 and 1"),
        (("--fail-under", "accuracy=0.5"), "'accuracy' is no metric"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(run, options, said):
    assert said in " ".join(run("eval", written(run), *options, code=2).stderr.split())


def test_without_a_table_it_says_what_fills_it(tmp_path, monkeypatch):
    run = Looking(tmp_path, monkeypatch)
    assert "There is no table 'chunks'" in run("eval", written(run), code=2).stderr


# --- comparing ---


def test_modes_side_by_side_are_compared_with_the_first(run):
    told = run.json("eval", written(run), "--run", "words", "--run", "vector", "--run", "hybrid")
    pairs = [(each["run"], each["baseline"], each["questions"]) for each in told["comparisons"]]
    assert pairs == [("vector", "words", 3), ("hybrid", "words", 3)]
    shown = run.text("eval", written(run), "--run", "words", "--run", "hybrid")
    assert "hybrid against words, 3 questions:" in shown
    assert "95 % interval" in shown


def worse(run):
    """The answers lose their words, and what was no answer gets them."""
    run.world.write(
        "soup.md", "# Soup\n\n## Onion\n\nBoil leeks and potatoes.\n\n## Leek\n\nSomething with leeks."
    )
    run.world.run()


def test_a_change_that_makes_answers_worse_is_noticed(run):
    base = run.world.root / "base.trec"
    path = written(run)
    run("eval", path, "--run", "words", "--save", base)
    assert base.read_text().splitlines()[0].split()[5] == "words"
    against = ("eval", path, "--run", "words", "--against", base)
    run(*against, "--max-drop", "mrr@10=0.01")
    worse(run)
    result = run(*against, "--max-drop", "mrr@10=0.01", "--save", base, code=1)
    assert "words lost 0.1667 of mrr@10 against words as saved, more than 0.01" in " ".join(
        result.stderr.split()
    )
    assert "Boil leeks and potatoes." in result.stdout
    assert "1. -> 2." in result.stdout
    told = run.json(*against, "--max-drop", "mrr@10=0.01", code=1)
    assert told["comparisons"][0]["metrics"]["mrr@10"]["worse"] == 1, "what failed was not kept"
    run(*against, "--max-drop", "mrr@10=0.9", "--save", base)
    run(*against, "--max-drop", "mrr@10=0.01")


def test_a_drop_needs_something_to_compare_with(run):
    assert (
        "--against FILE, or a second --run"
        in run("eval", written(run), "--max-drop", "mrr=0.1", code=2).stderr
    )
    other = run.world.root / "other.trec"
    other.write_text("unknown Q0 a.md 1 1 bm25\n")
    assert (
        "none of the questions"
        in run("eval", written(run), "--run", "words", "--against", other, code=2).stderr
    )


# --- other tables ---


OTHER = {"voyage": {"output_dimension": 512}}


def begin(run):
    target = profile_of(run.world.settings(**OTHER)).to_json()
    with run.world.worker(**OTHER) as context:
        perform(context, "reprofile", {"do": "begin", "target": target}, "me")


def test_a_new_model_is_measured_before_the_switch(run):
    """All that is there of it: a text that is refused keeps the switch back."""
    new = ("eval", written(run), "--run", "hybrid", "--run", "hybrid@new", "--run", "words@new")
    assert "No table is being built" in run(*new, code=2).stderr
    begin(run)
    assert "Nothing of the table for voyage-4, 512 x float" in run(*new, code=2, **OTHER).stderr
    run.world.write("late.md", "# Late\n\nA text that is refused.")
    rule = {"line_refused": {"contains": "A text that is refused"}}
    run.world.sim.faults.rules = FaultScript.from_dict({"faults": rule}).rules
    assert sync(run.world, **OTHER).ending is Ending.OPERATOR
    told = run.json(*new, **OTHER)
    now, vectors, words = told["runs"]
    assert (now["profile"], now["rows"]) == ("voyage-4, 256 x float, input_type document", 6)
    assert (vectors["profile"], vectors["rows"]) == ("voyage-4, 512 x float, input_type document", 6)
    assert vectors["metrics"]["mrr@10"]["value"] == words["metrics"]["mrr@10"]["value"] == 1.0
    assert "not complete: 3 of 4 documents are in it" in vectors["warnings"][0]
    assert [each["held"] for each in told["cost"]] == [0, 0], "each model has vectors of its own"
    assert [each["held"] for each in run.json(*new, **OTHER)["cost"]] == [3, 3]
    assert list(folder_for_copies().glob("voyage-jobs-eval-*")) == []


def test_the_table_of_before_a_switch_is_there_as_long_as_it_is_kept(run):
    assert "No previous table is kept" in run("eval", written(run), "--run", "words@previous", code=2).stderr
    begin(run)
    run.world.run(**OTHER)
    told = run.json("eval", written(run), "--run", "vector@previous", "--run", "vector", **OTHER)
    assert [each["profile"][10:13] for each in told["runs"]] == ["256", "512"]
    assert [each["metrics"]["mrr@10"]["value"] for each in told["runs"]] == [1.0, 1.0]


def test_another_configuration_is_another_table(run):
    """As for two splitters: a data folder of its own."""
    data = run.world.root / "other"
    sections = {"data_dir": str(data), "splitting": {"max_chars": 200}}
    run.world.write("soup.md", "# Soup\n\n## Leek\n\nBoil leeks and potatoes.\n\n" + "More words. " * 30)
    run.world.run()
    run.world.data_dir, kept = data, run.world.data_dir
    run.world.run(**sections)
    file = run.world.config_file(**sections)
    other = file.rename(file.with_name("other.toml"))
    run.world.data_dir = kept
    told = run.json("eval", written(run), "--run", "hybrid", "--run", f"hybrid@{other}")
    one, two = told["runs"]
    assert two["rows"] > one["rows"]
    assert two["run"] == f"hybrid@{other}"
    assert len(told["cost"]) == 1, "the same model: paid for once"
    assert not (data / "queries").exists()
    assert (
        "'nowhere.toml' is no table"
        in run("eval", written(run), "--run", "words@nowhere.toml", code=2).stderr
    )


# --- making a file of questions ---


def test_sections_are_drawn_and_questions_written(run):
    path = run.world.root / "made.jsonl"
    assert "4 sections in" in run("eval", "make", path, "-n", 4).stdout
    made = [json.loads(line) for line in path.read_text().splitlines()]
    assert len({each["relevant"] for each in made}) == 4
    assert all(each["query"] == "" and each["about"] for each in made)
    assert "4 questions not written yet" in run("eval", path, code=2).stderr
    made[0]["query"] = made[0]["about"]
    told = run.json("eval", written(run, made), "--run", "words")
    assert told["runs"][0]["metrics"]["mrr@10"]["value"] == 1.0
    assert told["collection"]["not_in_table"] == []
    assert "already exists" in run("eval", "make", path, code=2).stderr
    again = run.json("eval", "make", path, "-n", 100, "--force")
    assert again["sections"] == 6
    kept = {json.loads(line)["relevant"] for line in path.read_text().splitlines()}
    assert {each["relevant"] for each in made} <= kept
    assert "there is docs" in run("eval", "make", path, "--source", "dosc", "--force", code=2).stderr


# --- reranking ---


def reranks(run):
    return [request.path for request in run.world.transport.requests].count("/v1/rerank")


def test_runs_with_and_without_a_reranker_are_compared_at_a_price_that_is_said_first(run):
    path = written(run)
    dry = run.json("eval", path, "--run", "words", "--rerank", "--dry-run")
    assert [(each["what"], each["model"], each["texts"]) for each in dry["cost"]] == [
        ("rerank", "rerank-2.5", 3)
    ]
    assert dry["cost"][0]["usd"] > 0
    assert reranks(run) == 0
    assert "To rerank: 3 queries, about" in run("eval", path, "--rerank", "--dry-run").stderr, (
        "nothing is known yet"
    )
    before = run.world.ledger.sync_tokens
    told = run.json("eval", path, "--run", "words", "--rerank")
    assert [(each["run"], each["rerank"]) for each in told["runs"]] == [
        ("words", None),
        ("words:rerank", "rerank-2.5"),
    ]
    [pair] = told["comparisons"]
    assert (pair["run"], pair["baseline"]) == ("words:rerank", "words")
    assert reranks(run) == 3
    billed = run.world.ledger.sync_tokens - before
    assert billed == pytest.approx(dry["cost"][0]["tokens"], rel=1.0)
    with run.world.state.read() as connection:
        booked = connection.exec_driver_sql("SELECT SUM(tokens) FROM spend WHERE kind = 'query'").scalar()
    assert booked == billed, "it counts in the budgets, as that of a search does"


def test_what_was_reranked_is_paid_for_once_whatever_model_is_named(run):
    path = written(run)
    first = run.json("eval", path, "--run", "hybrid:rerank", "--run", "hybrid")
    again = run.json("eval", path, "--run", "hybrid:rerank-2.5", "--run", "hybrid")
    assert reranks(run) == 3
    assert [each["held"] for each in again["cost"]] == [3, 3]
    assert again["runs"][0]["metrics"] == first["runs"][0]["metrics"]
    run.json("eval", path, "--run", "hybrid:rerank-2.5-lite")
    assert reranks(run) == 6, "another model"
    run.world.write("soup.md", "# Soup\n\n## Leek\n\nBoil leeks and potatoes and carrots.")
    run.world.run()
    [_, bill] = run.json("eval", path, "--run", "hybrid:rerank", "--dry-run")["cost"]
    assert bill["texts"] == 3, "other texts"


def test_the_order_is_that_of_search(run):
    path = written(run, [{"query": "how to fry potatoes", "relevant": "soup.md#Leek"}])
    out = run.world.root / "run.trec"
    run("eval", path, "--run", "words:rerank", "--save", out)
    places = [line.split()[2] for line in out.read_text().splitlines()]
    hits = run.json("search", "how to fry potatoes", "--mode", "words", "--rerank", "-k", 100)["hits"]
    assert [place.split("#")[1].replace(">", " > ") for place in places] == [
        " > ".join(hit["section"]) for hit in hits
    ]


def test_a_provider_that_asks_to_wait_is_asked_again_and_one_that_refuses_keeps_what_has_come(run):
    path = written(run)
    limit = {"rate_limited": {"on": "rerank", "times": 2, "retry_after_s": 7}}
    run.world.sim.faults.rules = FaultScript.from_dict({"faults": limit}).rules
    told = run.json("eval", path, "--run", "words:rerank")
    assert told["runs"][0]["warnings"] == []
    assert reranks(run) == 5
    result = run("eval", path, "--run", "words:rerank-2.5-lite", code=2, budget={"daily_tokens": 1})
    assert "Nothing was sent" in result.stderr
    assert reranks(run) == 5


def test_a_provider_without_a_reranker_says_so(run):
    result = run("eval", written(run), "--run", "words:rerank", code=2, provider={"type": "local"})
    assert "has no reranker" in result.stderr
    assert "'words:' is no run" in run("eval", written(run), "--run", "words:", code=2).stderr
    assert "voyage-4 is no reranker" in run("eval", written(run), "--run", "words:voyage-4", code=2).stderr
