"""`eval --batch`: queries embedded and reranked by jobs, each paid for once, whoever dies in between."""

from __future__ import annotations

import json

import pytest
from looking import Looking

from voyage_jobs.core.clock import now_us
from voyage_jobs.core.states import Batch
from voyage_jobs.evaluation import jobs as jobs_module
from voyage_jobs.server.views import Views
from voyage_jobs.simulator import FaultScript
from voyage_jobs.state import batches, meta

QUESTIONS = [
    {"query": "Renew a certificate before it ends.", "relevant": "cert.md#Renewal"},
    {"query": "Boil leeks and potatoes.", "relevant": "soup.md#Leek"},
    {"query": "Knead flour with water.", "relevant": "bread.md#Dough"},
]
DOCUMENTS = {
    "cert.md": "# Certificates\n\n## Renewal\n\nRenew a certificate before it ends.\n\n## Loss\n\nRevoke a key.",
    "soup.md": "# Soup\n\n## Leek\n\nBoil leeks and potatoes.\n\n## Onion\n\nFry onions in butter.",
    "bread.md": "# Bread\n\n## Dough\n\nKnead flour with water.\n\n## Oven\n\nBake it hot.",
}


@pytest.fixture
def run(tmp_path, monkeypatch):
    looking = Looking(tmp_path, monkeypatch, voyage={"quarantine_s": 300})
    for path, text in DOCUMENTS.items():
        looking.world.write(path, text)
    looking.world.run()
    looking.before = {each["id"] for each in looking.world.sim.jobs.all(now_us(looking.world.clock))}
    return looking


def written(run, questions=QUESTIONS):
    path = run.world.root / "q.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in questions))
    return path


def calls(run, path):
    return [each for each in run.world.transport.requests if each.path == path]


def jobs(run):
    """The endpoints of the jobs of queries at the provider."""
    made = run.world.sim.jobs.all(now_us(run.world.clock))
    return [each["endpoint"] for each in made if each["id"] not in run.before]


def booked(run):
    with run.world.state.read() as connection:
        return connection.exec_driver_sql("SELECT SUM(tokens) FROM spend WHERE kind = 'query'").scalar() or 0


def faults(run, **rules):
    run.world.sim.faults.rules = FaultScript.from_dict({"faults": rules}).rules


def test_queries_are_embedded_and_reranked_by_jobs_at_their_price_and_once(run) -> None:
    path = written(run)
    sync = run.json("eval", path, "--rerank", "--dry-run")["cost"]
    told = run.json("eval", path, "--rerank", "--batch", "--dry-run")["cost"]
    assert [each["usd"] / other["usd"] for each, other in zip(told, sync, strict=True)] == pytest.approx(
        [0.67] * 2
    )
    assert jobs(run) == []
    before = run.world.ledger.batch_tokens
    found = run.json("eval", path, "--rerank", "--batch")
    assert jobs(run) == ["/v1/embeddings", "/v1/rerank"]
    assert not calls(run, "/v1/rerank")
    assert not calls(run, "/v1/embeddings")
    assert booked(run) == run.world.ledger.batch_tokens - before
    again = run.json("eval", path, "--rerank", "--batch")
    assert [each["held"] for each in again["cost"]] == [3, 3]
    assert len(jobs(run)) == 2
    assert again["runs"][1]["metrics"] == found["runs"][1]["metrics"]


def test_jobs_and_calls_give_the_same(run, tmp_path) -> None:
    path = written(run)
    by_jobs = run.json("eval", path, "--rerank", "--batch", "--metrics", "ndcg@10,mrr")
    for folder in (run.world.data_dir / "queries").iterdir():
        folder.rename(tmp_path / folder.name)
    at_once = run.json("eval", path, "--rerank", "--metrics", "ndcg@10,mrr")
    assert len(calls(run, "/v1/rerank")) == 3
    assert [each["metrics"] for each in at_once["runs"]] == [each["metrics"] for each in by_jobs["runs"]]


def test_a_process_that_dies_is_followed_by_one_that_goes_on(run, monkeypatch) -> None:
    """At every turn; each time by Ctrl-C, which leaves the state as a kill does: nothing is written on the way out."""
    path, before = written(run), run.world.ledger.batch_tokens
    deaths, left, turn = 0, [0], jobs_module.Pipeline.turn

    def mortal(pipeline):
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        return turn(pipeline)

    monkeypatch.setattr(jobs_module.Pipeline, "turn", mortal)
    while True:
        left[0] = 1 + deaths % 3
        try:
            run.json("eval", path, "--run", "vector", "--run", "vector:rerank", "--batch")
            break
        except (AssertionError, KeyboardInterrupt):
            deaths += 1
            assert deaths < 40
    assert deaths > 3
    assert len(jobs(run)) == 2
    assert booked(run) == run.world.ledger.batch_tokens - before, "booked once"


def test_a_lost_answer_of_a_create_call_is_looked_for_and_not_sent_again(run) -> None:
    faults(run, answer_lost={"on": "create_batch", "times": 1})
    run.json("eval", written(run), "--run", "vector", "--batch")
    assert len(jobs(run)) == 1
    faults(run, request_lost={"on": "create_batch", "times": 1})
    run.json("eval", written(run, [{"query": "new", "relevant": "soup.md"}]), "--run", "vector", "--batch")


def test_what_a_budget_does_not_allow_is_not_sent(run) -> None:
    before = booked(run)
    result = run("eval", written(run), "--batch", code=2, budget={"daily_tokens": 1})
    assert "Nothing was sent" in result.stderr
    assert (jobs(run), booked(run)) == ([], before)


def test_a_refused_query_is_told_and_what_came_is_kept(run) -> None:
    faults(run, line_refused={"contains": "Knead", "message": "no bread"})
    result = run("eval", written(run), "--run", "vector", "--batch", code=1)
    assert "1 query failed" in result.stderr
    assert "no bread" in result.stderr
    faults(run)
    told = run.json("eval", written(run), "--run", "vector", "--batch")
    assert told["cost"][0]["texts"] == 1
    assert len(jobs(run)) == 2


def parked(run):
    """A batch of queries that is parked; its ref, as the error tells it."""
    faults(run, input_file_not_found={"until_s": 86_400 * 365})
    told = run("eval", written(run), "--run", "vector", "--batch", code=6).stderr
    assert " of the queries is parked: " in told
    ref = told.split("Batch ")[1].split()[0]
    assert f"`voyage-jobs retry {ref}`" in told
    assert f"`voyage-jobs cancel {ref}`" in told
    faults(run)
    return ref


@pytest.fixture
def acting(run, monkeypatch):
    monkeypatch.setattr("voyage_jobs.core.clock.SystemClock", lambda: run.world.clock)
    return run


def test_a_parked_batch_of_queries_is_tried_again(acting) -> None:
    ref = parked(acting)
    said = acting("retry", ref[:8]).stdout
    assert said.startswith(
        "1 batch of queries given up, to be sent in another. The same `voyage-jobs eval` with"
    )
    acting.json("eval", written(acting), "--run", "vector", "--batch")
    assert acting.json("status")["healthy"]


def test_a_parked_batch_of_queries_is_given_up(acting) -> None:
    ref = parked(acting)
    assert acting("cancel", ref).stdout.startswith(
        f"Batch {ref} of 3 queries is cancelled. The same `voyage-jobs"
    )
    before = len(jobs(acting))
    acting.json("eval", written(acting), "--run", "vector", "--batch")
    assert len(jobs(acting)) == before + 1


def test_a_batch_that_is_waited_for_is_cancelled_by_another_command(acting, monkeypatch) -> None:
    """The process that waits carries it out: it comes to an end, and says why."""
    path, turn, asked = written(acting), jobs_module.Pipeline.turn, []

    def asking(pipeline):
        with pipeline.context.store.read() as connection:
            running = [each.ref for each in batches.in_state(connection, Batch.RUNNING)]
        if running and not asked:
            asked.extend(running)
            with pipeline.context.store.write() as tx:
                meta.ask(tx, "somebody", "cancel", {"ref": running[0]})
        return turn(pipeline)

    monkeypatch.setattr(jobs_module.Pipeline, "turn", asking)
    told = acting("eval", path, "--run", "vector", "--batch", code=1).stderr
    assert "3 queries cancelled by an operator." in told
    assert "The same command asks for them again." in told
    acting.json("eval", path, "--run", "vector", "--batch")


def test_batches_of_queries_are_listed_marked_and_explained(run) -> None:
    run("eval", written(run), "--run", "vector", "--batch")
    listed = run.json("batches", "--all")["batches"]
    assert [each["asks_for"] for each in listed] == ["queries", "documents"]
    assert "(queries)" in run.text("batches", "--all")
    of_queries, of_documents = (each["ref"] for each in listed)
    for ref in (of_queries, of_queries[:8], listed[0]["batch_id"]):
        assert run.json("why", ref)["ref"] == of_queries
    assert "3 texts" in run.text("why", of_queries)
    told = run.json("history", of_queries)
    assert (told["kind"], told["ref"], told["facts"]["asks_for"]) == ("batch", of_queries, "queries")
    world = run.world
    assert Views(world.settings(), world.clock).history(of_queries, None)["facts"] == told["facts"]
    assert run.json("history", of_documents)["facts"]["asks_for"] == "documents"
    assert of_queries[:8] in run.text("history", of_queries)
    assert run.json("why", of_documents)["ref"] == of_documents


def test_why_of_a_batch_of_queries_names_the_command_that_resumes_it(run, monkeypatch) -> None:
    monkeypatch.setattr(run.world.clock, "wait", lambda *_: 1 / 0)
    with pytest.raises(AssertionError):
        run("eval", written(run), "--run", "vector", "--batch")
    [batch] = run.json("batches")["batches"]
    told = run.json("why", batch["ref"])
    assert told["next"] == "The same `voyage-jobs eval --batch` command resumes it."


def test_a_ref_of_nobody_is_still_an_error(acting) -> None:
    parked(acting)
    assert "There is no batch ffffff." in acting("cancel", "ffffff", code=2).stderr


def test_a_refused_key_is_told_and_nothing_waits_for_it(run, monkeypatch) -> None:
    monkeypatch.setenv("VOYAGE_API_KEY", "wrong-key-of-somebody-else")
    assert "refuses the API key" in run("eval", written(run), "--batch", code=5).stderr


def test_documents_and_queries_know_nothing_of_each_other(run) -> None:
    """Another state, another lock: a daemon may be at work, and neither takes the other's jobs for its own."""
    with run.world.worker():
        run.json("eval", written(run), "--run", "vector", "--batch")
    run.world.write("late.md", "# Late\n\nCame later.")
    run.world.run()
    assert run.json("status")["healthy"]
    assert run.json("eval", written(run), "--run", "vector", "--batch")["cost"][0]["texts"] == 0


def test_a_provider_without_jobs_says_so_and_is_asked_at_once(tmp_path, monkeypatch) -> None:
    run = Looking(tmp_path, monkeypatch, provider={"type": "local"})
    run.world.write("soup.md", DOCUMENTS["soup.md"])
    run.world.run()
    result = run("eval", written(run, QUESTIONS[1:2]), "--run", "vector", "--batch")
    assert "has no batch jobs of all-MiniLM-L6-v2-int8: it is asked at once" in result.stderr
    assert "vector" in result.stdout


def test_a_state_that_was_just_begun_is_taken_up(run) -> None:
    """A process died as soon as there was a file: there is nothing in it yet."""
    run("eval", written(run), "--run", "vector", "--batch")
    [folder] = (run.world.data_dir / "queries" / "jobs").iterdir()
    for path in (*folder.glob("state.db*"), *(folder / "vectors").glob("*/*")):
        path.unlink()
    (folder / "state.db").touch()
    told = run.json("eval", written(run), "--run", "vector", "--batch")
    assert told["cost"][0]["texts"] == 3
    assert len(jobs(run)) <= 2
