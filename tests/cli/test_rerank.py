"""Reranking: a better order within the budgets, booked whatever comes of the call; without it the order stands."""

from __future__ import annotations

from typing import Any

import httpx
import orjson
import pytest
from client_doubles import client_of
from looking import Looking

from voyage_jobs.errors import BadAnswerError
from voyage_jobs.retrieval.result import Query
from voyage_jobs.retrieval.retriever import Retriever
from voyage_jobs.service.signals import Signals
from voyage_jobs.service.sync import Sync
from voyage_jobs.vendors.base import Reranker

QUESTION = "how to renew a certificate"
TEXTS = {
    "exact.md": "how to renew a certificate",
    "near.md": "certificates are made by the office, which tells how",
    "far.md": "boil leeks and potatoes to make a soup",
}


@pytest.fixture
def run(tmp_path, monkeypatch):
    looking = Looking(tmp_path, monkeypatch)
    for name, text in TEXTS.items():
        looking.world.write(name, text)
    looking.world.run()
    return looking


def calls(run: Looking) -> list[Any]:
    return [each for each in run.world.transport.requests if each.path == "/v1/rerank"]


def spent(run: Looking, *kinds: str) -> int:
    with run.world.state.read() as connection:
        rows = connection.exec_driver_sql("SELECT kind, tokens FROM spend").all()
    return sum(tokens for kind, tokens in rows if kind in kinds)


def with_faults(tmp_path, monkeypatch, fault: str, **params: Any) -> Looking:
    looking = Looking(tmp_path, monkeypatch, faults={fault: {"on": "rerank", **params}})
    for name, text in TEXTS.items():
        looking.world.write(name, text)
    looking.world.run()
    return looking


def test_the_rerankers_order_is_shown_explained_and_booked(run) -> None:
    before = run.world.ledger.sync_tokens
    found = run.json("search", QUESTION, "--rerank", "--mode", "words", "--explain")
    billed = run.world.ledger.sync_tokens - before
    scores = [hit["scores"]["rerank"] for hit in found["hits"]]
    assert scores == sorted(scores, reverse=True)
    assert [hit["ranks"]["rerank"] for hit in found["hits"]] == list(range(1, len(scores) + 1))
    assert [hit["score"] for hit in found["hits"]] == scores
    assert found["reranking"]["model"] == "rerank-2.5"
    assert found["reranking"]["tokens"] == billed == spent(run, "query")
    assert found["reranking"]["usd"] == pytest.approx(billed * 0.05 / 1e6)
    assert found["warnings"] == []
    assert "Reranked 3 by rerank-2.5" in run.text(
        "search", QUESTION, "--rerank", "--mode", "words", "--explain"
    )


def test_the_order_is_that_of_the_scores_and_not_of_the_fusion(run, monkeypatch) -> None:
    best_last = {name: place for place, name in enumerate(("exact.md", "near.md", "far.md"))}

    def backwards(vectors, documents, params):
        scored = sorted(
            ((best_last[next(n for n, t in TEXTS.items() if t == d)], i) for i, d in enumerate(documents)),
            reverse=True,
        )
        data = [{"index": i, "relevance_score": place / 10} for place, i in scored]
        return {"object": "list", "data": data, "model": params.model.name}

    monkeypatch.setattr("voyage_jobs.simulator.endpoints._ranking", backwards)
    plain = [hit["path"] for hit in run.json("search", QUESTION)["hits"]]
    assert plain[0] == "exact.md"
    paths = [hit["path"] for hit in run.json("search", QUESTION, "--rerank")["hits"]]
    assert paths == ["far.md", "near.md", "exact.md"]
    assert [hit["path"] for hit in run.json("search", QUESTION, "--rerank", "-k", "1")["hits"]] == ["far.md"]


def test_what_is_configured_holds_for_searches_by_meaning_only(run) -> None:
    search = {"search": {"rerank_model": "rerank-2.5-lite"}}
    assert run.json("search", QUESTION, **search)["reranking"]["model"] == "rerank-2.5-lite"
    assert (
        run.json("search", QUESTION, "--rerank-model", "rerank-2", **search)["reranking"]["model"]
        == "rerank-2"
    )
    asked = len(calls(run))
    assert run.json("search", QUESTION, "--no-rerank", **search)["reranking"] is None
    assert run.json("search", QUESTION, "--mode", "words", **search)["reranking"] is None
    assert run.json("search", QUESTION)["reranking"] is None
    assert run.json("search", "zzz", "--mode", "words", "--rerank")["hits"] == []
    assert len(calls(run)) == asked
    run("search", QUESTION, "--no-rerank", "--rerank-model", "rerank-2", code=2)
    assert "no reranker" in run("search", QUESTION, search={"rerank_model": "voyage-4"}, code=2).stderr


@pytest.mark.parametrize(
    ("fault", "params", "paid", "maybe"),
    [
        ("server_error", {"status": 503}, False, True),
        ("rate_limited", {}, False, False),
        ("auth_outage", {}, False, False),
        ("request_lost", {}, False, False),
        ("answer_lost", {}, False, True),
        ("body_cut", {}, False, True),
        ("answer_spoilt", {"how": "without_data"}, False, True),
        ("answer_spoilt", {"how": "not_json"}, False, True),
        ("head_trickle", {}, False, True),
        ("intercepted", {"status": 302}, False, True),
    ],
)
def test_where_it_fails_the_order_stands(tmp_path, monkeypatch, fault, params, paid, maybe) -> None:
    run = with_faults(tmp_path, monkeypatch, fault, **params)
    plain = run.json("search", QUESTION)
    found = run.json("search", QUESTION, "--rerank")
    assert [hit["chunk_id"] for hit in found["hits"]] == [hit["chunk_id"] for hit in plain["hits"]]
    assert found["reranking"] is None
    assert [warning[:26] for warning in found["warnings"]] == ["Not reranked by rerank-2.5"]
    assert (spent(run, "query") > 0, spent(run, "maybe_paid") > 0) == (paid, maybe)


def test_no_room_in_a_budget_and_no_call(run) -> None:
    budget = {"daily_tokens": run.world.ledger.batch_tokens + 10}
    found = run.json("search", QUESTION, "--rerank", budget=budget)
    assert found["warnings"] == ["Not reranked by rerank-2.5: a budget has no room for it."]
    assert (found["mode"], found["hits"][0]["path"]) == ("hybrid", "exact.md")
    assert calls(run) == []
    assert spent(run, "query") == 0
    enough = {"daily_tokens": run.world.ledger.batch_tokens + 300}
    assert run.json("search", QUESTION, "--rerank", budget=enough)["reranking"] is not None
    assert spent(run, "query") > 0


def test_what_was_reranked_counts_in_budgets_and_on_the_bill(run) -> None:
    paid = run.json("status")["tokens"]["settled"]
    tokens = run.json("search", QUESTION, "--rerank")["reranking"]["tokens"]
    assert run.json("status")["tokens"]["settled"] == paid + tokens
    rows = {row["name"]: row["paid_tokens"] for row in run.json("cost", "--by", "model")["rows"]}
    assert rows["search (rerank)"] == tokens
    [budget] = run.json("status", budget={"daily_tokens": 1_000_000})["budgets"]
    assert budget["used"] == paid + tokens
    assert run.json("verify")["clean"] is True


def test_a_model_that_is_refused_leaves_no_doubt_on_the_bill(run) -> None:
    found = run.json("search", QUESTION, "--rerank-model", "nobodys")
    assert "nobodys is not supported" in found["warnings"][0]
    assert spent(run, "query") == 0
    assert run.json("cost", "--by", "model")["total"]["paid_usd"] is not None
    assert run.json("status")["cost_usd"]["settled"] is not None


def test_where_nothing_can_be_booked_nobody_is_asked(run) -> None:
    (run.world.data_dir / "state.db").rename(run.world.root / "aside.db")
    found = run.json("search", QUESTION, "--rerank", "--mode", "words")
    assert "could not be booked" in found["warnings"][0]
    assert calls(run) == []


def test_an_answer_without_usage_is_booked_as_asked_and_marked(tmp_path, monkeypatch) -> None:
    run = Looking(tmp_path, monkeypatch)
    run.world.write("a.md", TEXTS["exact.md"])
    run.world.run()
    calls_, send = [], run.world.transport.handle_request

    def silent(request: httpx.Request) -> httpx.Response:
        answer = send(request)
        if request.url.path.endswith("/rerank"):
            calls_.append(1)
            body = orjson.loads(answer.read())
            del body["usage"]
            return httpx.Response(200, json=body)
        return answer

    monkeypatch.setattr(run.world.transport, "handle_request", silent)
    found = run.json("search", QUESTION, "--rerank")
    assert found["reranking"]["tokens"] == spent(run, "query") > 0
    assert run.json("status")["tokens"]["assumed"] == found["reranking"]["tokens"]
    assert len(calls_) == 1


def test_one_client_serves_all_searches(run, monkeypatch) -> None:
    from voyage_jobs.retrieval import calls as module

    made, connect = [], module.connect
    monkeypatch.setattr(module, "connect", lambda *args: made.append(1) or connect(*args))
    retriever = Retriever(run.world.settings(), run.world.clock, run.world.transport)
    for _ in range(3):
        assert retriever.search(Query(QUESTION, rerank=True)).reranking is not None
    assert made == [1]


# --- the call itself ---


def rows(*scores: Any) -> list[dict[str, Any]]:
    return [{"index": at, "relevance_score": score} for at, score in scores]


def test_scores_are_in_the_order_of_the_texts() -> None:
    answer = {"data": rows((1, 0.75), (0, 0.25)), "usage": {"total_tokens": 7}}
    client = client_of(httpx.Response(200, json=answer))
    assert isinstance(client, Reranker)
    found = client.rerank("q", ["a", "b"], "rerank-2.5")
    assert (found.scores, found.tokens) == ([0.25, 0.75], 7)
    [request] = client.script.requests
    assert request.url.path == "/v1/rerank"
    assert orjson.loads(request.content) == {
        "query": "q",
        "documents": ["a", "b"],
        "model": "rerank-2.5",
        "truncation": True,
    }


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        [],
        rows((0, 0.5)),
        rows((0, 0.5), (0, 0.25)),
        rows((0, 0.5), (2, 0.25)),
        rows((0, 0.5), (-1, 0.25)),
        rows((0, 0.5), ("1", 0.25)),
        rows((0, 0.5), (True, 0.25)),
        rows((0, 0.5), (1, None)),
        rows((0, 0.5), (1, "0.25")),
        rows((0, 0.5), (1, True)),
        [1, 2],
    ],
)
def test_scores_that_do_not_check_out_are_none(data) -> None:
    client = client_of(httpx.Response(200, json={"data": data}))
    with pytest.raises(BadAnswerError, match="rerank texts"):
        client.rerank("q", ["a", "b"], "rerank-2.5")


def test_what_sync_paid_is_told_although_a_search_before_it_has_no_price(run) -> None:
    assert run.json("search", QUESTION, "--rerank-model", "rerank-3")["reranking"]["usd"] is None
    assert run.json("status")["cost_usd"]["settled"] is None
    run.world.write("new.md", "another office tells another story")
    with Signals() as signals, run.world.worker() as context:
        work = Sync(context, signals).run().work
    assert work.settled_tokens > 0
    assert work.settled_usd == pytest.approx(work.settled_tokens * context.price / 1_000_000)
    assert run.json("sync")["cost_usd"]["settled"] == 0
