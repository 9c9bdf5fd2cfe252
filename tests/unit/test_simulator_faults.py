"""The fault script: its errors first, then every fault it knows, then that a seed repeats a run."""

from __future__ import annotations

import base64
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from simulator_door import KEY, PARAMS, Door, jsonl, texts

from voyage_jobs.errors import ConfigError
from voyage_jobs.simulator import FaultScript, Options
from voyage_jobs.simulator.fault_catalog import CATALOG, INTERCEPTIONS, OPERATIONS, TRIGGERS_OF

DOCUMENT = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text()


def test_the_document_names_every_fault_trigger_and_option_and_its_example_works() -> None:
    names = {*CATALOG, *OPERATIONS, *(f.name for f in fields(Options))}
    names |= {trigger for triggers in TRIGGERS_OF.values() for trigger in triggers}
    names |= {param for fault in CATALOG.values() for param in fault.params}

    assert [name for name in sorted(names) if f"`{name}`" not in DOCUMENT] == []
    example = DOCUMENT.split("```json\n")[1].split("```")[0]
    assert len(FaultScript.from_dict(json.loads(example)).rules) == 7


@pytest.mark.parametrize(
    ("script", "word"),
    [
        ([], "object"),
        ({"fault": {}}, "'faults'"),
        ({"faults": []}, "names of faults"),
        ({"seed": "x"}, "seed"),
        ({"faults": {"answer_lots": 0.1}}, "'answer_lost'"),
        ({"faults": {"answer_lost": "often"}}, "probability"),
        ({"faults": {"answer_lost": 1.5}}, "probability"),
        ({"faults": {"answer_lost": {"probabilty": 0.5}}}, "'probability'"),
        ({"faults": {"answer_lost": {"as": "gone"}}}, "read_timeout"),
        ({"faults": {"answer_lost": {"on": "create_batches"}}}, "'create_batch'"),
        ({"faults": {"answer_lost": {"on": 7}}}, "operation"),
        ({"faults": {"body_cut": {"on": "create_batch"}}}, "operation for body_cut"),
        ({"faults": {"answer_lost": {"nth": "first"}}}, "whole number"),
        ({"faults": {"answer_lost": {"times": -1}}}, "times"),
        ({"faults": {"answer_lost": {"contains": "x"}}}, "contains"),
        ({"faults": {"line_missing": {"contains": 1}}}, "contains"),
        ({"faults": {"line_missing": {"custom_ids": "x"}}}, "custom_ids"),
        ({"faults": {"job_hidden": {"retrieve": 1}}}, "retrieve"),
        ({"faults": {"job_slow": {"done_share": "half"}}}, "done_share"),
        ({"options": {"timestamp": "zoneless"}}, "'timestamps'"),
        ({"options": {"timestamps": "roman"}}, "it is 'rfc3339' or 'zoneless' or 'unix'"),
        ({"options": {"ranges": 1}}, "it is true or false"),
        ({"options": {"max_inputs": None}}, "it is a whole number"),
        ({"options": {"speed": "fast"}}, "it is a number"),
        ({"options": {"redirect_to": 5}}, "it is a text"),
        ({"options": {"retired_models": {"a": 1}}}, "it is an object of texts"),
    ],
)
def test_a_wrong_script_names_what_is_wrong_and_the_nearest(script: Any, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        FaultScript.from_dict(script)


def test_a_script_comes_from_a_file_with_its_options(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    with pytest.raises(ConfigError, match=r"faults\.json"):
        FaultScript.from_file(path)
    path.write_text("{")
    with pytest.raises(ConfigError, match="not valid JSON"):
        FaultScript.from_file(path)
    path.write_text('{"faults": {"nonsense": 1}}')
    with pytest.raises(ConfigError, match=r"faults\.json: Unknown fault"):
        FaultScript.from_file(path)
    options = {
        "timestamps": "zoneless",
        "redirect_to": None,
        "cancel_s": 5,
        "retired_models": {"a": "b"},
        "max_inputs": 7,
        "speed": 2,
        "overrun_status": "expired",
        "redirect_valid_s": 9.5,
    }
    path.write_text(
        json.dumps({"seed": 5, "options": options, "faults": {"line_missing": [0.5, {"nth": [1]}]}})
    )
    script = FaultScript.from_file(path)

    assert script.options == Options(**options)  # type: ignore[arg-type]
    assert (script.seed, len(script.rules)) == (5, 2)


def test_a_lost_request_has_no_effect() -> None:
    door = Door(
        {"request_lost": [{"on": "create_batch", "nth": 1}, {"on": "list_batches", "as": "read_timeout"}]}
    )
    file_id = door.upload(jsonl(texts(1))).json()["id"]

    with pytest.raises(httpx.ConnectError):
        door.create(file_id)
    before = door.clock.mono()
    with pytest.raises(httpx.ReadTimeout):
        door.http.get("/batches")
    assert door.clock.mono() - before == 60
    assert len(door.simulator.state()["batches"]) == 0
    assert door.simulator.faults.fired == {"request_lost": 2}


@pytest.mark.parametrize(
    ("how", "error"), [("read_timeout", httpx.ReadTimeout), ("read_error", httpx.ReadError)]
)
def test_a_lost_answer_follows_its_effect(how: str, error: type[Exception]) -> None:
    door = Door({"answer_lost": {"on": ["create_batch", "upload_file"], "as": how, "times": 2}})

    with pytest.raises(error):
        door.upload(jsonl(texts(1)))
    file_id = door.http.get("/files").json()["data"][0]["id"]
    with pytest.raises(error):
        door.create(file_id)
    assert len(door.http.get("/batches").json()["data"]) == 1


def test_an_effect_may_come_long_after_the_client_gave_up() -> None:
    door = Door({"effect_delayed": {"on": "create_batch", "seconds": 90}})
    file_id = door.upload(jsonl(texts(1))).json()["id"]

    with pytest.raises(httpx.ReadTimeout):
        door.create(file_id)  # takes the client's 60 seconds
    assert door.http.get("/batches").json()["data"] == []
    door.clock.advance(31)
    batches = door.http.get("/batches").json()["data"]
    assert [b["created_at"] for b in batches] == ["2026-05-28T20:28:10.000000+00:00"]


def test_a_delayed_effect_that_is_refused_is_forgotten() -> None:
    door = Door({"effect_delayed": {"on": "create_batch", "seconds": 1}})
    with pytest.raises(httpx.ReadTimeout):
        door.create("file-unknown")
    assert door.http.get("/batches").json()["data"] == []


@pytest.mark.parametrize("after", [False, True])
def test_server_errors_have_html_and_maybe_an_effect(after: bool) -> None:
    door = Door({"server_error": {"on": "create_batch", "status": 502, "after_effect": after}})
    answer = door.create(door.upload(jsonl(texts(1))).json()["id"])

    assert answer.status_code == 502
    assert answer.text.startswith("<html>")
    assert len(door.http.get("/batches").json()["data"]) == int(after)


def test_rate_limits_may_name_a_wait() -> None:
    door = Door({"rate_limited": [{"nth": 1, "retry_after_s": 7}, {"nth": 2}]})
    first, second, third = (door.http.get("/files") for _ in range(3))

    assert [first.status_code, second.status_code, third.status_code] == [429, 429, 200]
    assert (first.headers["retry-after"], "retry-after" in second.headers) == ("7", False)
    unpaid = Door({"unpaid_account": 1.0}).http.get("/files")
    assert unpaid.status_code == 429
    assert "3 RPM" in unpaid.json()["detail"]


@pytest.mark.parametrize("wait_s", [86_400, 1_234_567, 2.5, 1e12])
def test_rate_limits_may_name_a_wait_of_any_length(wait_s: float) -> None:
    answer = Door({"rate_limited": {"retry_after_s": wait_s}}).http.get("/files")
    assert float(answer.headers["retry-after"]) == wait_s
    assert "e" not in answer.headers["retry-after"]


@pytest.mark.parametrize("status", INTERCEPTIONS)
def test_a_proxy_may_answer_and_the_api_hears_nothing(status: int) -> None:
    door = Door({"intercepted": {"on": ["create_batch", "list_batches"], "times": 2, "status": status}})
    door.http.headers["Authorization"] = "Bearer wrong"  # nobody looks at it
    answers = [door.create("file-x"), door.http.get("/batches")]
    door.http.headers["Authorization"] = f"Bearer {KEY}"

    assert [a.status_code for a in answers] == [status, status]
    assert {a.headers["content-type"] for a in answers} == {"text/html"}
    assert all(a.text.startswith("<html>") and "request-id" not in a.headers for a in answers)
    assert ("location" in answers[0].headers) == (status == 302)
    assert door.http.get("/batches").json()["data"] == []
    assert door.simulator.faults.fired == {"intercepted": 2}
    with pytest.raises(ConfigError, match="operation for intercepted"):
        FaultScript.from_dict({"faults": {"intercepted": {"on": "storage"}}})


@pytest.mark.parametrize("html", [False, True])
def test_uploads_above_a_size_are_refused(html: bool) -> None:
    door = Door({"too_large": {"bytes": 5000, "html": html}})
    large = door.upload(b"x" * 5000)

    assert (large.status_code, large.headers["content-type"].endswith("html")) == (413, html)
    assert door.upload(b"x" * 4000).status_code == 200
    assert door.simulator.faults.fired == {"too_large": 1}
    assert len(door.http.get("/files").json()["data"]) == 1


def test_of_several_uploads_the_nth_that_is_too_large_is_refused() -> None:
    door = Door({"too_large": {"bytes": 5000, "nth": 2}})
    sizes = [10, 6000, 10, 7000, 8000]
    assert [door.upload(b"x" * size).status_code for size in sizes] == [200, 200, 200, 413, 200]


@pytest.mark.parametrize("cursor", [True, False])
@pytest.mark.parametrize("what", ["no_status", "no_id", "not_object", "foreign_null"])
def test_a_list_may_hold_an_odd_entry_of_somebody_else(what: str, cursor: bool) -> None:
    door = Door({"list_entry_odd": {"what": what, "nth": [1, 2]}}, list_shows_cursor=cursor)
    assert len(door.http.get("/batches").json()["data"]) == 1
    jobs = [door.start(texts(1)) for _ in range(2)][::-1]
    page = door.http.get("/batches").json()
    odd = page["data"][0]

    assert [entry["id"] for entry in page["data"][1:]] == jobs
    assert page.get("last_id") == (jobs[-1] if cursor else None)
    match what:
        case "not_object":
            assert isinstance(odd, str)
        case "foreign_null":
            assert {key for key, value in odd.items() if value is not None} == {"id"}
        case _:
            assert ("status" in odd, "id" in odd) == (what != "no_status", what != "no_id")
    assert [entry["id"] for entry in door.http.get("/batches").json()["data"]] == jobs
    assert door.simulator.faults.fired == {"list_entry_odd": 2}


def test_a_list_may_tell_nothing_of_a_job_but_its_id() -> None:
    door = Door({"list_entry_odd": {"what": "bare_id"}})
    assert door.http.get("/batches").json()["data"] == []
    assert door.simulator.faults.fired == {}  # there was no job to strike
    jobs = [door.start(texts(1)) for _ in range(3)][::-1]
    pages = [door.http.get("/batches").json()["data"] for _ in range(3)]

    assert [[entry["id"] for entry in page] for page in pages] == [jobs] * 3
    bare = [entry["id"] for page in pages for entry in page if entry == {"id": entry["id"]}]
    assert sorted(bare) == sorted(jobs)
    assert door.simulator.faults.fired == {"list_entry_odd": 3}


@pytest.mark.parametrize("how", ["bytes", "early_hints"])
def test_a_head_that_trickles_outlasts_the_client(how: str) -> None:
    door = Door({"head_trickle": {"on": "create_batch", "how": how}})
    file_id = door.upload(jsonl(texts(1))).json()["id"]
    before = door.clock.mono()

    with pytest.raises(httpx.ReadTimeout):
        door.create(file_id)
    assert door.clock.mono() - before == 60
    assert len(door.http.get("/batches").json()["data"]) == 1
    assert door.simulator.faults.fired == {"head_trickle": 1}


@pytest.mark.parametrize("status", [401, 403])
def test_an_auth_outage_lasts_from_one_time_to_another(status: int) -> None:
    door = Door({"auth_outage": {"status": status, "from_s": 10, "until_s": 20}})
    seen = []
    for _ in range(3):
        seen.append(door.http.get("/files").status_code)
        door.clock.advance(10)

    assert seen == [200, status, 200]


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_body_is_cut(share: float) -> None:
    door = Door({"body_cut": {"nth": 1, "keep_share": share}})
    data = b"0123456789" * 300_000
    file_id = door.upload(data).json()["id"]
    got = bytearray()

    def receive(answer: httpx.Response) -> None:
        for piece in answer.iter_bytes():
            got.extend(piece)

    with door.http.stream("GET", f"/files/{file_id}/content") as answer:
        assert int(answer.headers["content-length"]) == len(data)
        with pytest.raises(httpx.RemoteProtocolError):
            receive(answer)
    assert got == data[: int(len(data) * share)]
    assert door.content(file_id) == data


def test_the_input_file_may_not_be_found_at_first() -> None:
    door = Door({"input_file_not_found": {"nth": [1, 2]}})
    file_id = door.upload(jsonl(texts(1))).json()["id"]
    answers = [door.create(file_id) for _ in range(3)]

    assert [a.status_code for a in answers] == [404, 404, 200]
    assert answers[0].json() == {"detail": "Input file not found"}


def test_a_job_may_be_invalid_and_name_a_line() -> None:
    job = Door({"job_invalid": {"line": 3, "message": "Too long."}}).run(texts(5))

    assert job.batch["status"] == "failed"
    error = {"code": "invalid_line", "line": 3, "message": "Too long.", "param": None}
    assert job.batch["errors"] == {"object": "list", "data": [error]}


@pytest.mark.parametrize("retrieve", [True, False])
def test_a_new_job_may_be_hidden_for_a_while(retrieve: bool) -> None:
    door = Door({"job_hidden": {"seconds": 60, "retrieve": retrieve}})
    batch_id = door.start(texts(1))
    door.clock.advance(59)

    assert door.http.get("/batches").json()["data"] == []
    assert door.http.get(f"/batches/{batch_id}").status_code == (404 if retrieve else 200)
    door.clock.advance(1)
    assert [b["id"] for b in door.http.get("/batches").json()["data"]] == [batch_id]


def test_a_status_may_be_a_word_nobody_knows() -> None:
    door = Door({"job_status": {"instead_of": "in_progress", "word": "queued"}})
    batch_id = door.start(texts(1))
    assert door.finish(batch_id, 50)["status"] == "queued"
    assert door.finish(batch_id, 50)["status"] == "completed"


def one_fault(name: str, params: dict[str, Any] | None = None, **rule: Any) -> tuple[Door, Any]:
    """A job of three lines of which the second, `id-1`, is struck."""
    door = Door({name: {"nth": 2, **rule}})
    job = door.run(texts(3), params)
    assert door.simulator.faults.fired == {name: 1}
    assert sum(job.batch["request_counts"].values()) == 6
    return door, job


def test_a_line_may_be_missing() -> None:
    door, job = one_fault("line_missing")
    assert sorted(job.ids()) == ["id-0", "id-2"]
    assert job.errors == []
    assert door.simulator.ledger.units() == 2


def test_a_line_may_come_twice_but_is_billed_once() -> None:
    door, job = one_fault("line_duplicate")
    assert sorted(job.ids()) == ["id-0", "id-1", "id-1", "id-2"]
    assert door.simulator.ledger.billed_more_than_once() == {}


def test_a_line_may_expire() -> None:
    _, job = one_fault("line_expired")
    assert [(e["custom_id"], e["response"], e["error"]["code"]) for e in job.errors] == [
        ("id-1", None, "batch_expired")
    ]


@pytest.mark.parametrize(("name", "status"), [("line_refused", 400), ("line_server_error", 503)])
def test_a_line_may_fail_with_a_message_and_no_body(name: str, status: int) -> None:
    door, job = one_fault(name, status=status, message="No.")
    assert [e["response"] for e in job.errors] == [{"status_code": status, "message": "No."}]
    assert door.simulator.ledger.units() == 2


def test_a_failure_may_stand_in_the_output_file() -> None:
    _, job = one_fault("line_error_in_output")
    line = next(line for line in job.output if line["custom_id"] == "id-1")
    assert line["response"]["status_code"] == 500
    assert job.batch["error_file_id"] is None


def test_a_line_may_come_that_nobody_asked_for() -> None:
    _, job = one_fault("line_foreign_id", custom_id="stranger")
    assert sorted(job.ids()) == ["id-0", "id-1", "id-2", "stranger"]


def test_a_success_may_have_no_data_or_be_no_json() -> None:
    _, job = one_fault("line_without_data")
    line = next(line for line in job.output if line["custom_id"] == "id-1")
    assert "data" not in line["response"]["body"]
    door = Door({"line_not_json": {"nth": 2}})
    batch = door.finish(door.start(texts(3)))
    broken = 0
    for raw in door.content(batch["output_file_id"]).splitlines():
        try:
            orjson.loads(raw)
        except orjson.JSONDecodeError:
            broken += 1
    assert broken == 1


@pytest.mark.parametrize("encoding", [None, "base64"])
@pytest.mark.parametrize("name", ["line_wrong_dimension", "line_all_zero", "line_nan"])
def test_vectors_may_be_spoilt_in_either_encoding(name: str, encoding: str | None) -> None:
    door = Door({name: {"custom_ids": ["id-1"]}})
    batch = door.finish(door.start(texts(3), {**PARAMS, "encoding_format": encoding}))
    raw = next(line for line in door.content(batch["output_file_id"]).splitlines() if b'"id-1"' in line)
    value = json.loads(raw)["response"]["body"]["data"][0]["embedding"]  # Python's json takes NaN
    vector = np.frombuffer(base64.b64decode(value), "<f4") if encoding else np.array(value)

    assert len(vector) == (16 if name == "line_wrong_dimension" else 8)
    assert np.isnan(vector).any() == (name == "line_nan")
    assert (vector == 0).all() == (name == "line_all_zero")
    ledger = door.simulator.ledger
    assert (ledger.units(), ledger.spoilt_tokens > 0) == (2, True)


@pytest.mark.parametrize("encoding", [None, "base64"])
@pytest.mark.parametrize(("factor", "norm"), [(1e30, 1e30), (1e-42, 1e-42)])
def test_a_vector_may_be_of_a_length_beyond_all_measure(
    encoding: str | None, factor: float, norm: float
) -> None:
    door = Door({"line_norm": {"nth": 2, "factor": factor}})
    batch = door.finish(door.start(texts(3), {**PARAMS, "encoding_format": encoding}))
    norms = {}
    for line in door.lines(batch["output_file_id"]):
        value = line["response"]["body"]["data"][0]["embedding"]
        vector = np.frombuffer(base64.b64decode(value), "<f4") if encoding else np.array(value)
        norms[line["custom_id"]] = np.linalg.norm(vector.astype(np.float64))

    assert norms == {
        "id-0": pytest.approx(1),
        "id-1": pytest.approx(norm, rel=0.01),
        "id-2": pytest.approx(1),
    }
    assert (door.simulator.ledger.units(), door.simulator.ledger.spoilt_tokens > 0) == (2, True)


@pytest.mark.parametrize(
    ("value", "usage"),
    [
        ("missing", ...),
        ("null", None),
        ("string", {"total_tokens": "4"}),
        ("negative", {"total_tokens": -4}),
        ("huge", {"total_tokens": 1 << 63}),
        ("zero", {"total_tokens": 0}),
    ],
)
def test_the_usage_of_a_good_result_may_be_odd(value: str, usage: Any) -> None:
    door, job = one_fault("line_usage", value=value)
    told = {line["custom_id"]: line["response"]["body"].get("usage", ...) for line in job.output}

    assert told == {"id-0": {"total_tokens": 4}, "id-1": usage, "id-2": {"total_tokens": 4}}
    assert all(len(line["response"]["body"]["data"]) == 1 for line in job.output)
    assert (door.simulator.ledger.units(), door.simulator.ledger.spoilt_tokens) == (3, 0)


def test_spoilt_vectors_reach_contextualized_lines_and_null_stands_for_nan() -> None:
    door = Door({"line_nan": {"literal": "null"}})
    line = {"custom_id": "a", "body": {"inputs": [["one", "two"]]}}
    params = {"model": "voyage-context-3", "output_dimension": 8}
    batch = door.finish(door.start(orjson.dumps(line), params, endpoint="/v1/contextualizedembeddings"))
    data = door.lines(batch["output_file_id"])[0]["response"]["body"]["data"][0]["data"]

    assert data[0]["embedding"][0] is None
    assert None not in data[1]["embedding"]


@pytest.mark.parametrize(
    ("name", "dtype"), [("line_nan", "int8"), ("line_all_zero", "binary"), ("line_norm", "int8")]
)
def test_faults_that_make_no_sense_do_not_fire(name: str, dtype: str) -> None:
    door = Door({name: 1.0})
    door.run(texts(2), {**PARAMS, "output_dtype": dtype})
    assert door.simulator.faults.fired == {}


def test_a_text_may_be_poisoned_for_good() -> None:
    door = Door({"line_refused": {"contains": "poison"}})
    job = door.run({"a": ["fine", "poison here"], "b": ["fine as well"]})

    assert job.ids() == ["b"]
    assert [e["custom_id"] for e in door.run({"c": ["poison here"]}).errors] == ["c"]


def test_rules_may_be_narrowed_to_jobs_and_times() -> None:
    door = Door({"line_missing": {"jobs": [2], "times": 1}})
    assert [len(door.run(texts(3)).output) for _ in range(3)] == [3, 2, 3]


def outcome(seed: int) -> tuple[Any, ...]:
    script = {name: {"probability": 0.2} for name, fault in CATALOG.items() if fault.scope == "line"}
    door = Door(script, seed=seed)
    batch = door.finish(door.start(texts(200)))
    return (
        door.content(batch["output_file_id"]),
        door.content(batch["error_file_id"]),
        dict(door.simulator.faults.fired),
    )


def test_a_seed_repeats_a_run_and_every_line_fault_fires() -> None:
    first = outcome(11)

    assert first == outcome(11)
    assert first != outcome(12)
    assert set(first[2]) == {name for name, fault in CATALOG.items() if fault.scope == "line"}


def test_probabilities_are_kept() -> None:
    door = Door({"server_error": {"on": "list_files", "probability": 0.25}})
    failed = sum(door.http.get("/files").status_code == 500 for _ in range(2000))

    assert 430 < failed < 570
    assert door.simulator.faults.fired["server_error"] == failed
