"""The simulator's Batches API: refusals first, then lifecycle, limits, results and the ledger."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import orjson
import pytest
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st
from simulator_door import PARAMS, Door, jsonl, texts

from voyage_jobs.simulator import count_tokens

HOUR_S = 3600


def bad(**change: Any) -> dict[str, Any]:
    return {**PARAMS, **change}


@pytest.mark.parametrize(
    ("change", "status", "word"),
    [
        ({"endpoint": ...}, 400, "endpoint"),
        ({"endpoint": "/v1/multimodalembeddings"}, 400, "multimodal"),
        ({"completion_window": "24h"}, 400, "12h"),
        ({"request_params": ..., "requests_params": PARAMS}, 400, "request_params"),
        ({"surprise": 1}, 400, "surprise"),
        ({"metadata": {"k": 1}}, 400, "metadata"),
        ({"metadata": {str(n): "" for n in range(17)}}, 400, "16"),
        ({"metadata": {"k" * 65: ""}}, 400, "64"),
        ({"metadata": {"k": "v" * 513}}, 400, "512"),
        ({"params": bad(model=None)}, 400, "model"),
        ({"params": bad(model="gpt")}, 400, "not supported"),
        ({"params": bad(model="rerank-2.5")}, 400, "not supported"),
        ({"params": bad(model=7)}, 400, "type str"),
        ({"params": bad(input=["x"])}, 400, "input"),
        ({"params": bad(top_k=1)}, 400, "top_k"),
        ({"params": bad(output_dimension=100)}, 400, "output_dimension"),
        ({"params": bad(output_dtype="bits")}, 400, "output_dtype"),
        ({"params": bad(input_type="passage")}, 400, "input_type"),
        ({"params": bad(encoding_format="float")}, 400, "encoding_format"),
        ({"params": bad(truncation=1)}, 400, "truncation"),
        ({"params": {"model": "voyage-law-2", "output_dtype": "int8"}}, 400, "output_dtype"),
        ({"input_file_id": "file-unknown"}, 404, "Input file not found"),
    ],
)
def test_create_refuses(change: dict[str, Any], status: int, word: str) -> None:
    door = Door()
    file_id = door.upload(jsonl(texts(1))).json()["id"]
    answer = door.create(change.pop("input_file_id", file_id), change.pop("params", None), **change)

    assert answer.status_code == status
    assert word in answer.json()["detail"]
    assert door.http.get("/batches").json()["data"] == []


def test_create_refuses_bodies_that_are_not_objects_and_files_of_other_purposes() -> None:
    door = Door()
    assert door.http.post("/batches", content=b"{").status_code == 400
    assert door.http.post("/batches", content=b"[]").status_code == 400
    batch = door.finish(door.start(texts(1)))
    assert "purpose" in door.create(batch["output_file_id"]).json()["detail"]


@pytest.mark.parametrize(("reading", "status"), [("400", 400), ("422", 422), ("422_list", 422)])
def test_schema_errors_have_three_readings(reading: str, status: int) -> None:
    door = Door(schema_errors=reading)
    answer = door.http.post("/batches", json={})

    assert answer.status_code == status
    detail = answer.json()["detail"]
    assert (detail[0]["loc"] == ["body", "endpoint"]) if reading == "422_list" else isinstance(detail, str)


def test_unknown_params_may_be_ignored_and_retired_models_name_a_successor() -> None:
    door = Door(unknown_params="ignore", retired_models={"voyage-3": "voyage-4"})
    file_id = door.upload(jsonl(texts(1))).json()["id"]

    assert door.create(file_id, bad(dimensions=3)).status_code == 200
    answer = door.create(file_id, {"model": "voyage-3"})
    assert (answer.status_code, "voyage-4" in answer.json()["detail"]) == (410, True)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
CREATE_KEYS = ["endpoint", "input_file_id", "completion_window", "request_params", "metadata", "file_ids"]
DATA_KEYS = ["input", "inputs", "query", "documents"]
PARAM_KEYS = [
    "model",
    "input_type",
    "output_dimension",
    "output_dtype",
    "encoding_format",
    "truncation",
    "top_k",
]
keys = st.sampled_from(CREATE_KEYS + DATA_KEYS + PARAM_KEYS)
known = st.sampled_from(
    ["/v1/embeddings", "12h", "voyage-4", "voyage-context-3", "rerank-2.5", "float", ["x"], 256]
)
paths = st.sampled_from(["/batches", "/embeddings", "/contextualizedembeddings", "/rerank", "/files/delete"])


@examples(300)
@given(paths, st.dictionaries(keys, known | json_values) | json_values)
def test_whatever_is_sent_is_answered(path: str, body: Any) -> None:
    answer = Door().http.post(path, content=json.dumps(body))

    assert answer.status_code in {200, 400, 404}
    assert isinstance(answer.json(), dict)


def test_in_flight_jobs_and_tokens_are_limited() -> None:
    door = Door(max_in_flight_jobs=2, max_in_flight_tokens=1000)
    file_id = door.upload(jsonl(texts(1))).json()["id"]
    large = door.upload(jsonl({"a": ["x" * 4001]})).json()["id"]

    answer = door.create(large)
    assert (answer.status_code, "tokens" in answer.json()["detail"]) == (429, True)
    assert [door.create(file_id).status_code for _ in range(3)] == [200, 200, 429]
    door.clock.advance(100)
    assert door.create(file_id).status_code == 200


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"{", "invalid_json"),
        (b"", "invalid_json"),
        (b"[]", "invalid_json"),
        (b'{"body": {"input": ["x"]}}', "missing_key"),
        (b'{"custom_id": "x"}', "missing_key"),
        (b'{"custom_id": "x", "body": {"input": ["x"]}, "method": "POST"}', "unknown_key"),
        (b'{"custom_id": "", "body": {"input": ["x"]}}', "invalid_custom_id"),
        (b'{"custom_id": 7, "body": {"input": ["x"]}}', "invalid_custom_id"),
        (b'{"custom_id": "x", "body": []}', "invalid_body"),
        (b'{"custom_id": "x", "body": {"input": "x"}}', "invalid_body"),
        (b'{"custom_id": "x", "body": {"input": []}}', "invalid_body"),
        (b'{"custom_id": "x", "body": {"input": [1]}}', "invalid_body"),
        (b'{"custom_id": "x", "body": {"input": ["x"], "model": "m"}}', "invalid_body"),
        (b'{"custom_id": "id-0", "body": {"input": ["x"]}}', "duplicate_custom_id"),
    ],
)
def test_a_bad_line_fails_the_job_and_is_named(line: bytes, code: str) -> None:
    door = Door()
    batch_id = door.start(jsonl(texts(2)) + line + b"\n")
    assert door.batch(batch_id)["status"] == "validating"
    batch = door.finish(batch_id)

    assert batch["status"] == "failed"
    assert [(e["line"], e["code"]) for e in batch["errors"]["data"]] == [(3, code)]
    assert (batch["output_file_id"], batch["error_file_id"]) == (None, None)
    assert batch["failed_at"] is not None
    assert batch["in_progress_at"] is None
    assert door.simulator.ledger.units() == 0


def test_a_bad_line_may_fail_alone() -> None:
    door = Door(bad_line_fails="line")
    data = jsonl(texts(2)) + b'{"custom_id": "x", "body": 1}\n{\n'
    batch = door.finish(door.start(data))

    assert batch["request_counts"] == {"total": 4, "completed": 2, "failed": 2}
    errors = door.lines(batch["error_file_id"])
    assert {(e["custom_id"], e["response"]["status_code"]) for e in errors} == {("x", 400), (None, 400)}


def test_an_empty_file_fails() -> None:
    door = Door()
    batch = door.finish(door.start(b""))
    assert batch["errors"]["data"][0]["code"] == "empty_file"


def test_the_form_of_lines_has_two_readings() -> None:
    bare = b'\xef\xbb\xbf{"custom_id": "a", "body": {"input": "bare"}}\r\n\r\n'
    data = bare + b'{"custom_id": "b", "body": {"input": ["x"]}}'
    strict, lenient = Door(), Door(blank_lines=True, bare_string_input=True)

    assert strict.finish(strict.start(data))["status"] == "failed"
    batch = lenient.finish(lenient.start(data))
    assert batch["request_counts"] == {"total": 2, "completed": 2, "failed": 0}


def test_too_many_inputs_have_two_times_and_two_units() -> None:
    lines = {"a": ["1", "2"], "b": ["3", "4"]}
    late, early, by_line = (
        Door(max_inputs=3),
        Door(max_inputs=3, inputs_cap_at="create"),
        Door(max_inputs=3, inputs_are="lines"),
    )

    assert late.finish(late.start(lines))["errors"]["data"][0]["code"] == "too_many_inputs"
    assert early.create(early.upload(jsonl(lines)).json()["id"]).status_code == 400
    assert by_line.run(lines).batch["status"] == "completed"


def test_the_lifecycle_follows_the_clock() -> None:
    door = Door()
    batch_id = door.start(texts(10), metadata={"ref": "r"})
    seen = []
    for _ in range(21):
        batch = door.batch(batch_id)
        seen.append((batch["status"], batch["request_counts"]["completed"]))
        door.clock.advance(5)

    assert seen[0] == ("validating", 0)
    assert [word for word, _ in seen[1:18]] == ["in_progress"] * 17
    assert [count for _, count in seen] == sorted(count for _, count in seen)
    assert [word for word, _ in seen[18:]] == ["finalizing"] * 2 + ["completed"]
    assert batch["metadata"] == {"ref": "r"}
    assert batch["model"] == "voyage-4"
    assert batch["in_progress_at"] == "2026-05-28T20:26:45.000000+00:00"
    assert batch["completed_at"] == "2026-05-28T20:28:20.000000+00:00"
    assert batch["expected_completion_at"] == "2026-05-29T04:26:40.000000+00:00"
    assert door.http.get(f"/files/{batch['output_file_id']}").json()["created_at"] == batch["completed_at"]


def test_the_end_is_the_same_however_often_somebody_looks() -> None:
    watched, alone = Door(), Door()
    one, two = watched.start(texts(50)), alone.start(texts(50))
    for _ in range(100):
        watched.clock.advance(1)
        watched.batch(one)
    alone.clock.advance(100)

    assert watched.batch(one) == alone.batch(two)
    assert watched.content(watched.batch(one)["output_file_id"]) == alone.content(
        alone.batch(two)["output_file_id"]
    )


def test_older_samples_of_the_batch_object() -> None:
    door = Door(legacy_batch_keys=True, id_separator="_", timestamps="zoneless", list_shows_cursor=False)
    batch = door.finish(door.start(texts(1)))

    assert "model" not in batch
    assert {"canceling_at", "canceled_at", "partial_finalizing_at", "partially_completed_at"} <= set(batch)
    assert batch["id"].startswith("batch_")
    assert batch["completed_at"] == "2026-05-28 20:28:20"
    assert set(door.http.get("/batches").json()) == {"object", "data"}


def test_lists_of_batches_have_pages_and_either_order() -> None:
    newest, oldest = Door(), Door(batches_order="asc")
    for door in (newest, oldest):
        made = [door.start(texts(1)) for _ in range(3)]
        first = door.http.get("/batches?limit=2").json()
        rest = door.http.get(f"/batches?limit=2&after={first['last_id']}").json()
        got = [b["id"] for b in first["data"] + rest["data"]]
        assert got == (made if door is oldest else made[::-1])
        assert (first["has_more"], rest["has_more"]) == (True, False)
    assert newest.http.get("/batches?limit=101").status_code == 400
    assert newest.http.get("/batches/batch-unknown").status_code == 404


def test_results_have_the_documented_shape_in_another_order() -> None:
    door = Door()
    job = door.run(texts(20))
    line = job.output[0]

    assert set(line) == {"batch_id", "custom_id", "response", "error"}
    assert line["batch_id"] == job.batch["id"]
    assert (line["error"], line["response"]["status_code"]) == (None, 200)
    body = line["response"]["body"]
    assert set(body) == {"object", "data", "model", "usage"}
    assert body["usage"] == {"total_tokens": count_tokens("text number 0")}
    assert (body["data"][0]["object"], body["data"][0]["index"]) == ("embedding", 0)
    assert sorted(job.ids()) == sorted(texts(20))
    assert job.ids() != list(texts(20))
    assert Door(shuffle_output=False).run(texts(20)).ids() == list(texts(20))


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 21, 100])
def test_every_line_is_answered_once(count: int) -> None:
    assert sorted(Door().run(texts(count)).ids()) == sorted(texts(count))


@pytest.mark.parametrize("dtype", ["float", "int8", "uint8", "binary", "ubinary"])
def test_every_dtype_reads_the_same_as_numbers_and_as_base64(dtype: str) -> None:
    lines = {"a": ["the quick brown fox", "jumps"]}
    kinds = {"float": "<f4", "int8": "i1", "binary": "i1", "uint8": "u1", "ubinary": "u1"}
    as_numbers = Door().run(lines, bad(output_dtype=dtype, output_dimension=64)).output[0]
    as_base64 = (
        Door().run(lines, bad(output_dtype=dtype, output_dimension=64, encoding_format="base64")).output[0]
    )
    width = 8 if dtype.endswith("binary") else 64

    for plain, packed in zip(rows(as_numbers), rows(as_base64), strict=True):
        decoded = np.frombuffer(base64.b64decode(packed), kinds[dtype])
        assert len(plain) == width
        assert np.array_equal(np.array(plain, kinds[dtype]), decoded)


def test_bits_are_the_signs_and_binary_is_offset() -> None:
    lines = {"a": ["the quick brown fox"]}

    def get(dtype: str) -> Any:
        return rows(Door().run(lines, bad(output_dtype=dtype, output_dimension=64)).output[0])[0]

    floats = np.array(get("float"))
    assert np.array_equal(np.unpackbits(np.array(get("ubinary"), np.uint8)), floats > 0)
    assert [n - 128 for n in get("ubinary")] == get("binary")
    assert [n - 128 for n in get("uint8")] == get("int8")
    assert max(map(abs, get("int8"))) == 127
    assert np.linalg.norm(floats) == pytest.approx(1, abs=1e-6)


def rows(line: dict[str, Any]) -> list[Any]:
    return [row["embedding"] for row in line["response"]["body"]["data"]]


def test_long_texts_are_cut_or_refused_and_totals_are_capped() -> None:
    lines = {"long": ["x" * 128_004], "short": ["x"], "many": ["x" * 128_000] * 11, "empty": [""]}
    cut = Door().run(lines)
    refused = Door().run(lines, bad(truncation=False))

    assert sorted(cut.ids()) == ["long", "short"]
    assert {line["custom_id"] for line in cut.errors} == {"many", "empty"}
    failure = next(line for line in cut.errors if line["custom_id"] == "many")
    assert failure["error"] is None
    assert set(failure["response"]) == {"status_code", "message"}
    assert "320000" in failure["response"]["message"]
    assert "352000 tokens after truncation" in failure["response"]["message"]
    assert refused.ids() == ["short"]
    assert cut.batch["request_counts"] == {"total": 4, "completed": 2, "failed": 2}


def test_more_than_a_thousand_texts_fail_their_line() -> None:
    job = Door().run({"a": ["x"] * 1001, "b": ["x"] * 1000})

    assert job.ids() == ["b"]
    assert "1001" in job.errors[0]["response"]["message"]


def test_contextualized_embeddings_know_their_document() -> None:
    door = Door()
    lines = [
        {"custom_id": "a", "body": {"inputs": [["shared chunk", "about whales"], ["other"]]}},
        {"custom_id": "b", "body": {"inputs": [["shared chunk", "about trains"]]}},
    ]
    data = b"".join(orjson.dumps(line) + b"\n" for line in lines)
    params = {"model": "voyage-context-3", "output_dimension": 256, "input_type": "document"}
    batch = door.finish(door.start(data, params, endpoint="v1/contextualizedembeddings"))
    output = {line["custom_id"]: line["response"]["body"] for line in door.lines(batch["output_file_id"])}

    assert [[row["index"] for row in doc["data"]] for doc in output["a"]["data"]] == [[0, 1], [0]]
    assert [doc["index"] for doc in output["a"]["data"]] == [0, 1]
    one = np.array(output["a"]["data"][0]["data"][0]["embedding"])
    two = np.array(output["b"]["data"][0]["data"][0]["embedding"])
    assert 0.8 < one @ two < 0.9999
    assert door.simulator.ledger.times_billed(["shared chunk", "about whales"]) == 1


def test_contextualized_limits() -> None:
    door = Door()
    endpoint = "/contextualizedembeddings"
    base = {"model": "voyage-context-3", "input_type": "document"}

    def ask(inputs: Any, **more: Any) -> Any:
        return door.http.post(endpoint, json={**base, "inputs": inputs, **more})

    assert ask(["flat"]).status_code == 400
    assert ask([]).status_code == 400
    assert ask([["x"]], truncation=True).status_code == 400
    assert ask([["x"]], enable_auto_chunking=True, input_type="query").status_code == 400
    assert ask([["x", "y"]], enable_auto_chunking=True).status_code == 400
    assert ask([["x"]], chunk_overlap=512).status_code == 400
    assert ask([["x"]] * 1001).status_code == 400
    assert ask([["x"] * 16_001]).status_code == 400
    assert ask([["x" * 80_000] * 2]).status_code == 400
    assert ask([["x" * 124_000]] * 4).status_code == 400
    assert ask(["flat", "query"], input_type="query").json()["data"][1]["index"] == 1
    chunked = ask(["abcd" * 10], enable_auto_chunking=True, chunk_size=4, chunk_overlap=1).json()
    assert chunked["chunker_version"]
    assert [row["text"] for row in chunked["data"][0]["data"]] == ["abcd" * 4] * 3


def test_rerank_scores_and_limits() -> None:
    door = Door()

    def ask(query: str, documents: list[str], **more: Any) -> Any:
        return door.http.post(
            "/rerank", json={"model": "rerank-2.5", "query": query, "documents": documents, **more}
        )

    documents = ["trains and stations", "whales sing songs", "of the sea"]
    best = ask("whales sing", documents, top_k=2, return_documents=True).json()
    assert best["data"][0]["index"] == 1
    assert len(best["data"]) == 2
    assert best["data"][0]["document"] == "whales sing songs"
    scores = [row["relevance_score"] for row in best["data"]]
    assert scores == sorted(scores, reverse=True)
    assert best["usage"]["total_tokens"] == 3 * count_tokens("whales sing") + sum(
        map(count_tokens, documents)
    )
    assert "document" not in ask("q", documents).json()["data"][0]
    assert ask("q", [""]).status_code == 400
    assert ask("q", ["x"], top_k=0).status_code == 400
    assert ask("q", ["x"] * 1001).status_code == 400
    assert ask("q" * 32_004, ["x"], truncation=False).status_code == 400
    assert ask("q" * 32_004, ["x"]).status_code == 200
    assert ask("q" * 4_000, ["x" * 4] * 601).status_code == 400


def test_rerank_goes_through_a_batch() -> None:
    door = Door()
    line = {"custom_id": "a", "body": {"query": "whales", "documents": ["trains", "whales"]}}
    params = {"model": "rerank-2.5", "top_k": 1}
    batch = door.finish(door.start(orjson.dumps(line) + b"\n", params, endpoint="/v1/rerank"))

    assert door.lines(batch["output_file_id"])[0]["response"]["body"]["data"][0]["index"] == 1


def test_synchronous_requests_are_billed_apart() -> None:
    door = Door()
    for _ in range(2):
        answer = door.http.post("/embeddings", json={"input": "one text", **PARAMS})
        assert answer.json()["usage"]["total_tokens"] == 2
    assert door.simulator.ledger.sync_tokens == 4
    assert door.simulator.ledger.units() == 0
    assert door.http.post("/embeddings", json={"input": [], **PARAMS}).status_code == 400
    assert door.http.post("/embeddings", json=PARAMS).status_code == 400


def test_cancelling_keeps_and_bills_what_is_done() -> None:
    door = Door()
    batch_id = door.start(texts(100))
    door.clock.advance(50)
    done = door.batch(batch_id)["request_counts"]["completed"]
    answer = door.http.post(f"/batches/{batch_id}/cancel").json()

    assert answer["status"] == "cancelling"
    assert door.http.post(f"/batches/{batch_id}/cancel").status_code == 400
    batch = door.finish(batch_id, 10)
    assert batch["status"] == "cancelled"
    assert 0 < done < 100
    assert len(door.lines(batch["output_file_id"])) == done
    left = door.lines(batch["error_file_id"])
    assert {line["error"]["code"] for line in left} == {"batch_cancelled"}
    assert len(left) == 100 - done
    assert door.simulator.ledger.units() == done
    assert batch["finalizing_at"] is None
    assert batch["cancelled_at"] is not None


def test_cancelled_lines_may_be_in_no_file_and_ended_jobs_cannot_be_cancelled() -> None:
    door = Door(cancelled_lines_in_error_file=False, cancel_s=600.0)
    batch_id = door.start(texts(10))
    door.clock.advance(50)
    door.http.post(f"/batches/{batch_id}/cancel")
    assert door.finish(batch_id, 599)["status"] == "cancelling"
    assert door.finish(batch_id, 1)["error_file_id"] is None
    early = door.start(texts(10))
    door.http.post(f"/batches/{early}/cancel")
    assert door.finish(early, 600)["output_file_id"] is None
    ended = door.start(texts(1))
    door.clock.advance(100)
    assert door.http.post(f"/batches/{ended}/cancel").status_code == 400
    assert door.http.post("/batches/batch-unknown/cancel").status_code == 404


@pytest.mark.parametrize("word", ["completed", "expired"])
def test_a_job_that_overruns_its_window_expires_the_rest(word: str) -> None:
    door = Door({"job_slow": {"done_share": 0.3}}, overrun_status=word)
    batch_id = door.start(texts(10))
    assert door.finish(batch_id, 11 * HOUR_S)["status"] == "in_progress"
    batch = door.finish(batch_id, HOUR_S + 100)

    assert batch["status"] == word
    assert batch["request_counts"] == {"total": 10, "completed": 3, "failed": 7}
    assert len(door.lines(batch["output_file_id"])) == 3
    errors = door.lines(batch["error_file_id"])
    assert {(line["response"], line["error"]["code"]) for line in errors} == {(None, "batch_expired")}
    assert door.simulator.ledger.units() == 3


def test_a_job_longer_than_the_window_overruns_by_itself() -> None:
    door = Door(batch_seconds=24 * HOUR_S)
    batch = door.finish(door.start(texts(100)), 48 * HOUR_S)

    assert 0 < batch["request_counts"]["completed"] < 60
    assert sum(batch["request_counts"].values()) == 200


def test_when_nothing_succeeds_there_is_no_output_file() -> None:
    script = {"job_all_failed": {"status": 500}}
    null, empty = Door(script), Door(script, empty_output_file=True)

    job = null.run(texts(3))
    assert (job.batch["status"], job.batch["output_file_id"]) == ("completed", None)
    assert job.batch["request_counts"]["failed"] == 3
    assert empty.run(texts(3)).batch["output_file_id"] is not None


def test_a_deleted_input_file_does_not_stop_its_job() -> None:
    door = Door()
    batch_id = door.start(texts(3))
    door.http.delete(f"/files/{door.batch(batch_id)['input_file_id']}")
    assert door.finish(batch_id)["request_counts"]["completed"] == 3


def test_the_ledger_tells_what_was_bought_twice() -> None:
    door = Door()
    door.run({"a": ["once"], "b": ["twice", "twice"]})
    other = door.run({"a": ["once"]}, bad(output_dimension=16))
    ledger = door.simulator.ledger

    assert list(ledger.billed_more_than_once().values()) == [2]
    assert ledger.times_billed("once") == 2  # two dimensions are two purchases
    assert ledger.times_billed("never") == 0
    assert ledger.batch_tokens == 1 + 2 * 2 + 1
    assert ledger.export()["batches"][other.batch["id"]] == {"requests": 1, "units": 1, "tokens": 1}


def test_speed_makes_a_window_pass_quickly() -> None:
    door = Door(speed=60.0)
    batch_id = door.start(texts(1))
    assert door.finish(batch_id, 1.7)["status"] == "completed"
    assert door.simulator.busy_s > 0
