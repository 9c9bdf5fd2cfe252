"""Both doors show the same: each fault, met in process and over HTTP."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from simulator_door import PARAMS, jsonl, texts

from voyage_jobs.core.clock import VirtualClock
from voyage_jobs.simulator import FaultScript, Options, Simulator
from voyage_jobs.simulator.server import HttpServer
from voyage_jobs.simulator.transport import SimulatorTransport

KEY = {"Authorization": "Bearer k"}
OF_A_CONNECTION = {"connection", "server"}


def vendor(faults: dict[str, Any], **options: Any) -> Simulator:
    script = FaultScript.from_dict({"faults": faults})
    options = {"small_dimensions": True, "ranges": True, **options}
    return Simulator(VirtualClock(), batch_seconds=100, faults=script, options=Options(**options))


@contextmanager
def in_process(simulator: Simulator) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url="http://simulator.test", transport=SimulatorTransport(simulator), headers=KEY
    ) as http:
        yield http


@contextmanager
def over_http(simulator: Simulator, timeout_s: float = 5.0) -> Iterator[httpx.Client]:
    with HttpServer(simulator) as server:
        address = f"http://127.0.0.1:{server.port}"
        with httpx.Client(base_url=address, headers=KEY, timeout=timeout_s) as http:
            yield http


def met(http: httpx.Client, method: str, path: str, **more: Any) -> Any:
    """What one call met: status, headers and bytes as they came, or the name of the exception."""
    try:
        with http.stream(method, path, **more) as answer:
            raw = b"".join(answer.iter_raw())
            headers = {name: value for name, value in answer.headers.items() if name not in OF_A_CONNECTION}
            return answer.status_code, headers, raw
    except httpx.HTTPError as exc:
        return type(exc).__name__


def story(http: httpx.Client, simulator: Simulator) -> list[Any]:
    """Everything that a batch goes through, as it was met."""
    seen = []
    # A form with a boundary of its own is the same through both doors.
    form = {"Content-Type": "multipart/form-data; boundary=xx"}
    for name in ("a.jsonl", "b.jsonl"):
        head = f'--xx\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
        tail = '\r\n--xx\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--xx--\r\n'
        body = head.encode() + jsonl(texts(3)) + tail.encode()
        seen.append(met(http, "POST", "/v1/files", content=body, headers=form))
    with simulator._lock:
        files = [file.id for file in simulator.files._files.values()]
    for file_id in files:
        asked = {"endpoint": "/v1/embeddings", "input_file_id": file_id, "completion_window": "12h"}
        seen.append(met(http, "POST", "/v1/batches", json={**asked, "request_params": PARAMS}))
    simulator.advance(100)
    jobs = simulator.state()["batches"]
    seen.append(met(http, "GET", "/v1/batches"))
    for job in jobs:
        seen.append(met(http, "GET", f"/v1/batches/{job['id']}"))
        if job["output_file_id"]:
            path = f"/v1/files/{job['output_file_id']}"
            seen.append(met(http, "GET", path))
            seen.append(met(http, "GET", f"{path}/content"))
            seen.append(met(http, "GET", f"{path}/content", headers={"Range": "bytes=7-"}))
    return seen


@pytest.mark.parametrize(
    "faults",
    [
        {"results_sick": {"nth": 1, "how": how, "keep_share": share}}
        for how, share in (
            ("status", None),
            ("short", None),
            ("short", 0.5),
            ("bad_gzip", None),
            ("reset", 0.5),
        )
    ]
    + [
        {"results_sick": {"html": True}},
        {"job_sick": {"nth": 1}},
        {"job_sick": {"nth": 1, "how": "reset", "listed": True}},
        {"job_deleted": {"nth": 1}},
        {"job_created_at": {"nth": 1, "value": "year1"}},
        {"job_unusable": {"nth": 1, "how": "format"}},
        {"file_size_lies": {"nth": 1, "by": -1}},
        {"upload_sick": {"nth": 1}},
        {"upload_sick": {"nth": 1, "how": "intercepted", "status": 407}},
        {"create_refused": {"nth": 1}},
        {"intercepted": {"on": ["upload_file", "list_batches"]}},
        {"too_large": {"bytes": 10, "nth": 1, "html": True}},
        {"list_entry_odd": {"what": "bare_id"}},
        {"list_entry_odd": {"what": "not_object"}},
        {"rate_limited": {"retry_after_s": 86400}},
        {"line_usage": {"value": "huge"}},
        {"line_norm": {"factor": 1e-42}},
    ],
    ids=lambda faults: next(f"{name}-{'-'.join(map(str, rule.values()))}" for name, rule in faults.items()),
)
def test_both_doors_show_the_same_bytes(faults: dict[str, Any]) -> None:
    here, there = vendor(faults), vendor(faults)
    with in_process(here) as http:
        inside = story(http, here)
    with over_http(there) as http:
        outside = story(http, there)

    (name,) = faults
    assert inside == outside
    assert here.faults.fired == there.faults.fired
    assert here.faults.fired[name] > 0


@contextmanager
def asked(simulator: Simulator) -> Iterator[socket.socket]:
    """A connection on which the list of files has been asked for."""
    with (
        HttpServer(simulator) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=5) as raw,
    ):
        raw.sendall(b"GET /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\n\r\n")
        yield raw


def test_the_end_of_a_head_that_trickles_is_a_whole_answer() -> None:
    with over_http(vendor({"head_trickle": {"seconds": 0}})) as http:
        assert [http.get("/v1/files").json()["data"] for _ in range(2)] == [[], []]


def test_a_head_comes_byte_by_byte() -> None:
    with asked(vendor({"head_trickle": {"seconds": 0.01}})) as raw:
        pieces = [raw.recv(65536) for _ in range(5)]
    assert b"HTTP/1.1 200".startswith(b"".join(pieces)[:12])
    assert len(b"".join(pieces)) < 40


def test_interim_answers_come_without_end() -> None:
    with asked(vendor({"head_trickle": {"how": "early_hints", "seconds": 0.001}})) as raw:
        got = b""
        while len(got) < 3000:
            got += raw.recv(65536)
    assert got.count(b"HTTP/1.1 ") == got.count(b"HTTP/1.1 103") > 30


@pytest.mark.parametrize("how", ["bytes", "early_hints"])
def test_a_client_may_give_up_on_a_head_and_go_on(how: str) -> None:
    simulator = vendor({"head_trickle": {"on": "list_files", "how": how, "seconds": 0.4}})
    with over_http(simulator, timeout_s=0.2) as http:
        assert met(http, "GET", "/v1/files") == "ReadTimeout"
        http.timeout = httpx.Timeout(5)
        assert met(http, "GET", "/v1/batches")[0] == 200
