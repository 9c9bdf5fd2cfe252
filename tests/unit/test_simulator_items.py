"""Faults that stay with one job or one file: every call about it is struck, none about others, until the rule ends."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import httpx
import orjson
import pytest
from sim import faults as lives
from simulator_door import PARAMS, Door, jsonl, texts

from voyage_jobs.errors import ConfigError
from voyage_jobs.simulator import FaultScript
from voyage_jobs.simulator.fault_catalog import CATALOG

Seen = Any


def outcome(ask: Callable[[], httpx.Response]) -> Seen:
    """What a call met: its status, or the name of its exception."""
    try:
        return ask().status_code
    except httpx.HTTPError as exc:
        return type(exc).__name__


def two_jobs(fault: str, rule: dict[str, Any] | None = None, **options: Any) -> tuple[Door, str, str]:
    """Two jobs with a failed line each, of which the second is sick."""
    door = Door({fault: {"nth": 2, **(rule or {})}, "line_refused": {"nth": 1}}, **options)
    return door, door.start(texts(3)), door.start(texts(3))


def ended(door: Door, *batch_ids: str) -> list[dict[str, Any]]:
    """The jobs when they are over."""
    door.clock.advance(100)
    return [door.batch(batch_id) for batch_id in batch_ids]


def content(door: Door, file_id: str) -> Callable[[], httpx.Response]:
    return lambda: door.http.get(f"/files/{file_id}/content", follow_redirects=True)


def listed(door: Door) -> list[str]:
    return [batch["id"] for batch in door.http.get("/batches").json()["data"]]


def cure(door: Door) -> None:
    door.simulator.faults.rules = ()


# --- results_sick ---


@pytest.mark.parametrize(
    ("rule", "seen"),
    [
        ({"how": "status"}, 500),
        ({"how": "status", "status": 503, "html": True}, 503),
        ({"how": "bad_gzip"}, "DecodingError"),
        ({"how": "reset"}, "ReadError"),
        ({"how": "reset", "keep_share": 0.0}, "ReadError"),
    ],
)
@pytest.mark.parametrize("redirect_to", [None, "https://storage.test"])
def test_the_results_of_one_job_cannot_be_had(
    rule: dict[str, Any], seen: Seen, redirect_to: str | None
) -> None:
    door, well, sick = two_jobs("results_sick", rule, redirect_to=redirect_to)
    good, bad = ended(door, well, sick)

    for kind in ("output_file_id", "error_file_id"):
        assert [outcome(content(door, bad[kind])) for _ in range(3)] == [seen] * 3
        assert outcome(content(door, good[kind])) == 200
    assert door.simulator.faults.fired["results_sick"] == 6
    cure(door)
    assert [len(door.lines(bad[kind])) for kind in ("output_file_id", "error_file_id")] == [2, 1]


def test_sick_results_say_so_in_json_or_in_html() -> None:
    for html in (False, True):
        door, _, sick = two_jobs("results_sick", {"html": html})
        (bad,) = ended(door, sick)
        answer = content(door, bad["output_file_id"])()
        assert answer.headers["content-type"] == ("text/html" if html else "application/json")


@pytest.mark.parametrize("which", ["output", "error"])
def test_one_of_the_two_files_may_be_sick_alone(which: str) -> None:
    door, _, sick = two_jobs("results_sick", {"which": which})
    (bad,) = ended(door, sick)

    seen = {kind: outcome(content(door, bad[f"{kind}_file_id"])) for kind in ("output", "error")}
    assert seen == {"output": 200, "error": 200, which: 500}
    assert door.simulator.faults.fired["results_sick"] == 1


@pytest.mark.parametrize(("share", "kept"), [(None, -1), (0.5, None), (1.0, -1), (0.0, 0)])
def test_results_may_be_short_with_a_length_that_fits(share: float | None, kept: int | None) -> None:
    door, _, sick = two_jobs("results_sick", {"how": "short", "keep_share": share}, ranges=True)
    (bad,) = ended(door, sick)
    answer = content(door, bad["output_file_id"])()
    rest = door.http.get(f"/files/{bad['output_file_id']}/content", headers={"Range": "bytes=5-"})
    cure(door)
    whole = door.content(bad["output_file_id"])

    assert answer.content == whole[: len(whole) // 2 if kept is None else kept]
    assert int(answer.headers["content-length"]) == len(answer.content)
    if answer.content:
        assert rest.headers["content-range"] == f"bytes 5-{len(answer.content) - 1}/{len(answer.content)}"


def test_an_empty_file_cannot_be_short_nor_be_reset() -> None:
    for how in ("short", "reset"):
        faults = {"results_sick": {"how": how, "which": "output"}, "job_all_failed": {}}
        door = Door(faults, empty_output_file=True)
        (job,) = ended(door, door.start(texts(1)))
        assert door.content(job["output_file_id"]) == b""
        assert "results_sick" not in door.simulator.faults.fired


def test_a_gzip_body_breaks_after_what_it_has_yielded() -> None:
    door, _, sick = two_jobs("results_sick", {"how": "bad_gzip"})
    (bad,) = ended(door, sick)
    got = bytearray()

    def receive(answer: httpx.Response) -> None:
        for piece in answer.iter_bytes(16):
            got.extend(piece)

    with door.http.stream("GET", f"/files/{bad['output_file_id']}/content") as answer:
        with pytest.raises(httpx.DecodingError):
            receive(answer)
    cure(door)
    assert door.content(bad["output_file_id"]).startswith(bytes(got))


# --- jobs ---


@pytest.mark.parametrize(
    ("rule", "seen"), [({"status": 502}, 502), ({"html": True}, 500), ({"how": "reset"}, "ReadError")]
)
@pytest.mark.parametrize("shows", [False, True])
def test_one_job_cannot_be_looked_at(rule: dict[str, Any], seen: Seen, shows: bool) -> None:
    door, well, sick = two_jobs("job_sick", {**rule, "listed": shows})

    assert [outcome(lambda: door.http.get(f"/batches/{sick}")) for _ in range(2)] == [seen, seen]
    assert outcome(lambda: door.http.post(f"/batches/{sick}/cancel")) == seen
    assert listed(door) == ([sick, well] if shows else [well])
    assert door.simulator.faults.fired["job_sick"] == (3 if shows else 4)
    assert door.batch(well)["status"] == "validating"
    cure(door)
    assert (door.batch(sick)["cancelling_at"], listed(door)) == (None, [sick, well])


def test_a_job_is_deleted_after_a_while_and_runs_on_unseen() -> None:
    door, well, sick = two_jobs("job_deleted", {"seconds": 30})
    assert (door.batch(sick)["status"], listed(door)) == ("validating", [sick, well])
    door.clock.advance(30)

    gone = door.http.get(f"/batches/{sick}")
    assert (gone.status_code, gone.json()) == (404, {"detail": f"Batch {sick} not found."})
    assert door.http.post(f"/batches/{sick}/cancel").status_code == 404
    assert listed(door) == [well]
    door.clock.advance(70)
    cure(door)
    assert (door.batch(sick)["status"], listed(door)) == ("completed", [sick, well])


@pytest.mark.parametrize(
    ("value", "stamp"),
    [
        ("1970", "1970-01-01T00:00:00.000000+00:00"),
        ("year1", "0001-01-01T00:00:00+23:59"),
        ("year9999", "9999-12-31T23:59:59.000000+00:00"),
        ("future", "2036-05-27T20:26:40.000000+00:00"),
        ("before_call", "2026-05-28T18:26:40.000000+00:00"),
    ],
)
def test_a_job_has_a_strange_time_in_every_answer(value: str, stamp: str) -> None:
    door = Door({"job_created_at": {"nth": 1, "value": value}})
    created = door.create(door.upload(jsonl(texts(1))).json()["id"]).json()
    well = door.start(texts(1))
    shown = door.http.get("/batches").json()["data"]
    cancelled = door.http.post(f"/batches/{created['id']}/cancel").json()

    answers = [created, door.batch(created["id"]), shown[1], cancelled]
    assert [answer["created_at"] for answer in answers] == [stamp] * 4
    assert [door.batch(well)["created_at"], shown[0]["created_at"]] == [
        "2026-05-28T20:26:40.000000+00:00"
    ] * 2
    assert door.simulator.faults.fired["job_created_at"] == 4
    cure(door)
    assert door.batch(created["id"])["created_at"] == "2026-05-28T20:26:40.000000+00:00"


@pytest.mark.parametrize(("by", "lie"), [(1, 1), (-1, -1), (-1e9, None)])
def test_the_size_of_results_is_a_lie(by: float, lie: int | None) -> None:
    door, well, sick = two_jobs("file_size_lies", {"by": by})
    good, bad = ended(door, well, sick)
    size = len(door.content(bad["output_file_id"]))
    told = {file["id"]: file["bytes"] for file in door.http.get("/files").json()["data"]}
    file_id = bad["output_file_id"]

    assert door.http.get(f"/files/{file_id}").json()["bytes"] == (0 if lie is None else size + lie)
    assert told[file_id] == (0 if lie is None else size + lie)
    assert told[good["output_file_id"]] == len(door.content(good["output_file_id"]))
    assert told[bad["input_file_id"]] == len(door.content(bad["input_file_id"]))
    assert door.simulator.faults.fired["file_size_lies"] == 3
    cure(door)
    assert door.http.get(f"/files/{file_id}").json()["bytes"] == size


@pytest.mark.parametrize("endpoint", ["/v1/embeddings", "/v1/contextualizedembeddings"])
@pytest.mark.parametrize("how", ["wrong_dimension", "ids_changed", "without_data", "format"])
def test_every_line_of_one_job_is_of_no_use(how: str, endpoint: str) -> None:
    door = Door({"job_unusable": {"nth": 1, "how": how}})
    context = endpoint.endswith("contextualizedembeddings")
    params = {"model": "voyage-context-3", "output_dimension": 8} if context else PARAMS
    body: dict[str, Any] = {"inputs": [["a", "b"]]} if context else {"input": ["a", "b"]}
    data = b"".join(orjson.dumps({"custom_id": f"id-{n}", "body": body}) + b"\n" for n in range(5))
    sick, well = (door.start(data, params, endpoint=endpoint) for _ in range(2))
    bad, good = (door.lines(job["output_file_id"]) for job in ended(door, sick, well))

    assert [_is_usable(line, context) for line in good] == [True] * 5
    assert [_is_usable(line, context) for line in bad] == [False] * 5
    assert door.simulator.faults.fired == {"job_unusable": 5}
    assert door.simulator.ledger.spoilt_tokens > 0
    assert set(door.simulator.ledger.billed_more_than_once().values()) <= {5, 10}  # the texts are the same


def _is_usable(line: dict[str, Any], context: bool) -> bool:
    data = line["response"]["body"].get("data", [{}])
    rows = [row for group in data for row in group["data"]] if context and data != [{}] else data
    widths = [len(row.get("embedding", ())) for row in rows]
    return line["custom_id"].startswith("id-") and widths == [8, 8]


def test_a_share_of_the_lines_may_be_of_no_use_and_what_is_written_stays() -> None:
    door = Door({"job_unusable": {"how": "without_data", "share": 0.5}})
    (job,) = ended(door, door.start(texts(200)))
    cure(door)
    lines = door.lines(job["output_file_id"])
    bad = sum("data" not in line["response"]["body"] for line in lines)

    assert 70 < bad < 130
    assert door.simulator.faults.fired == {"job_unusable": bad}


def test_a_job_that_has_not_run_when_the_rule_goes_is_well() -> None:
    door = Door({"job_unusable": {}})
    batch_id = door.start(texts(3))
    cure(door)
    (job,) = ended(door, batch_id)
    assert all("data" in line["response"]["body"] for line in door.lines(job["output_file_id"]))


def test_scores_of_a_reranker_have_no_vectors_to_spoil() -> None:
    for how, fired in (("format", {}), ("wrong_dimension", {}), ("without_data", {"job_unusable": 1})):
        door = Door({"job_unusable": {"how": how}})
        body = {"custom_id": "a", "body": {"query": "q", "documents": ["d"]}}
        ended(door, door.start(orjson.dumps(body), {"model": "rerank-2.5"}, endpoint="/v1/rerank"))
        assert door.simulator.faults.fired == fired


# --- files by their names ---


@pytest.mark.parametrize(
    ("rule", "seen"),
    [
        ({}, "ReadError"),
        ({"how": "status"}, 500),
        ({"how": "status", "status": 502, "html": True}, 502),
        ({"how": "intercepted"}, 302),
        ({"how": "intercepted", "status": 407}, 407),
    ],
)
def test_uploads_under_one_name_fail_again_and_again(rule: dict[str, Any], seen: Seen) -> None:
    door = Door({"upload_sick": {"nth": 2, **rule}})
    names = ["a.jsonl", "b.jsonl", "c.jsonl", "b.jsonl", "a.jsonl"]

    found = [outcome(lambda name=name: door.upload(jsonl(texts(1)), name)) for name in names]  # type: ignore[misc]
    assert found == [200, seen, 200, seen, 200]
    assert door.simulator.faults.fired == {"upload_sick": 2}
    assert {file["filename"] for file in door.http.get("/files").json()["data"]} == {"a.jsonl", "c.jsonl"}
    cure(door)
    assert door.upload(jsonl(texts(1)), "b.jsonl").status_code == 200


def test_jobs_of_one_input_file_are_refused_whoever_uploads_it_again() -> None:
    door = Door({"create_refused": {"nth": 2, "message": "No."}})
    well, sick, again = (
        door.upload(jsonl(texts(1)), name).json()["id"] for name in ("a.jsonl", "b.jsonl", "b.jsonl")
    )

    for file_id in (sick, again, sick):
        answer = door.create(file_id)
        assert (answer.status_code, answer.json()) == (400, {"detail": "No."})
    assert door.create(well).status_code == 200
    assert len(listed(door)) == 1
    cure(door)
    assert door.create(sick).status_code == 200


# --- how long ---


@pytest.mark.parametrize("rule", [{"seconds": 50}, {"until_s": 60}])
def test_sickness_ends_with_its_age_or_with_the_time_of_the_rule(rule: dict[str, Any]) -> None:
    door = Door({"job_sick": rule, "upload_sick": {**rule, "nth": 2}})
    door.clock.advance(10)
    batch_id = door.start(texts(1))
    door.upload(jsonl(texts(1)))

    with pytest.raises(httpx.ReadError):
        door.upload(jsonl(texts(1)), "other.jsonl")
    door.clock.advance(49)
    assert door.http.get(f"/batches/{batch_id}").status_code == 500
    with pytest.raises(httpx.ReadError):
        door.upload(jsonl(texts(1)), "other.jsonl")
    door.clock.advance(1)
    assert door.batch(batch_id)["id"] == batch_id
    assert door.upload(jsonl(texts(1)), "other.jsonl").status_code == 200


def test_sickness_begins_with_the_time_of_the_rule() -> None:
    door = Door({"job_sick": {"from_s": 60}})
    batch_id = door.start(texts(1))
    seen = []
    for _ in range(2):
        seen.append(door.http.get(f"/batches/{batch_id}").status_code)
        door.clock.advance(60)
    seen.append(door.http.get(f"/batches/{batch_id}").status_code)
    assert seen == [200, 500, 500]


def test_a_seed_decides_which_items_are_sick_once_for_all() -> None:
    door = Door({"job_sick": 0.3}, seed=3)
    jobs = [door.start(texts(1)) for _ in range(60)]
    asked = [[door.http.get(f"/batches/{job}").status_code for job in jobs] for _ in range(3)]
    again = Door({"job_sick": 0.3}, seed=3)
    other = Door({"job_sick": 0.3}, seed=4)

    assert asked[0] == asked[1] == asked[2]
    assert 8 < asked[0].count(500) < 30
    for twin, same in ((again, True), (other, False)):
        jobs = [twin.start(texts(1)) for _ in range(60)]
        assert (
            [twin.http.get(f"/batches/{job}").status_code for job in reversed(jobs)][::-1] == asked[0]
        ) is same


def test_the_name_of_a_file_decides_whatever_came_before_it() -> None:
    names = [f"{n}.jsonl" for n in range(60)]

    def uploads(order: list[str]) -> dict[str, int]:
        door = Door({"upload_sick": {"probability": 0.3, "how": "status"}}, seed=3)
        return {name: door.upload(jsonl(texts(1)), name).status_code for name in order}

    first = uploads(names)
    assert uploads(names[::-1]) == first
    assert 8 < list(first.values()).count(500) < 30


@pytest.mark.parametrize(
    ("script", "word"),
    [
        ({"job_sick": {"times": 1}}, "'times'"),
        ({"job_sick": {"how": "rest"}}, "status, reset"),
        ({"results_sick": {"which": "all"}}, "both, output, error"),
        ({"results_sick": {"seconds": "long"}}, "seconds"),
        ({"job_created_at": {"value": "1971"}}, "before_call"),
        ({"job_unusable": {"how": "nan"}}, "ids_changed"),
        ({"file_size_lies": {"by": True}}, "by"),
        ({"intercepted": {"status": 200}}, "302, 403"),
        ({"list_entry_odd": {"what": "no_name"}}, "bare_id"),
        ({"head_trickle": {"how": "slowly"}}, "early_hints"),
        ({"line_usage": {"value": "none"}}, "negative"),
    ],
)
def test_a_wrong_rule_names_what_there_is(script: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        FaultScript.from_dict({"faults": script})


def test_the_simulators_own_view_is_the_truth_and_strikes_nothing() -> None:
    door = Door({"job_sick": {}, "job_deleted": {}, "job_created_at": {}}, batch_seconds=100)
    file_id = door.upload(jsonl(texts(1))).json()["id"]
    door.create(file_id)
    before = dict(door.simulator.faults.fired)

    (job,) = door.simulator.state()["batches"]
    assert job["created_at"].startswith("2026-05-28")
    assert before == {"job_created_at": 1} == door.simulator.faults.fired


def test_the_simulated_lives_draw_rules_that_there_are_for_every_fault() -> None:
    drawn = [lives.draw(random.Random(seed), only=frozenset(CATALOG)) for seed in range(200)]
    assert all(len(lives.script(rules, 1).rules) == len(CATALOG) for rules in drawn)
    for name, fault in CATALOG.items():
        rules = [each[name] for each in drawn]
        for key, words in fault.choices.items():
            assert {rule[key] for rule in rules} == set(words), name
        if fault.scope == "item":
            assert {rule["probability"] for rule in rules} <= {0.1, 0.2, 0.4}
        if fault.params.get("seconds", ...) is None:
            lasting = {rule["seconds"] is None for rule in rules}
            assert lasting == {True, False}, name
