"""The HTTP door: losses on the wire, streaming both ways, its own endpoints, a clean end."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from simulator_door import PARAMS, jsonl, texts

from voyage_jobs.core.clock import VirtualClock
from voyage_jobs.simulator import FaultScript, Options, Request, Simulator
from voyage_jobs.simulator.server import HttpServer

KEY = {"Authorization": "Bearer k"}


@contextmanager
def running(faults: dict[str, Any] | None = None, **options: Any) -> Iterator[tuple[Simulator, httpx.Client]]:
    script = FaultScript.from_dict({"faults": faults or {}})
    options = {"small_dimensions": True, **options}
    simulator = Simulator(VirtualClock(), batch_seconds=100, faults=script, options=Options(**options))
    with (
        HttpServer(simulator) as server,
        httpx.Client(base_url=f"http://127.0.0.1:{server.port}", headers=KEY, timeout=5) as http,
    ):
        yield simulator, http


def upload(http: httpx.Client, data: bytes) -> str:
    answer = http.post("/v1/files", files={"file": ("in.jsonl", data)}, data={"purpose": "batch"})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def create(http: httpx.Client, file_id: str) -> httpx.Response:
    body = {
        "endpoint": "/v1/embeddings",
        "input_file_id": file_id,
        "completion_window": "12h",
        "request_params": PARAMS,
    }
    return http.post("/v1/batches", json=body)


def test_losses_happen_on_the_wire() -> None:
    faults = {
        "request_lost": {"on": "create_batch", "nth": 1},
        "answer_lost": {"on": "create_batch", "nth": 2, "as": "read_timeout"},
        "body_cut": {"nth": 1},
    }
    with running(faults) as (simulator, http):
        file_id = upload(http, jsonl(texts(3)))
        with pytest.raises(httpx.RemoteProtocolError):
            create(http, file_id)
        http.timeout = httpx.Timeout(0.3)
        with pytest.raises(httpx.ReadTimeout):
            create(http, file_id)
        http.timeout = httpx.Timeout(5)
        assert len(http.get("/v1/batches").json()["data"]) == 1
        with pytest.raises(httpx.RemoteProtocolError):
            http.get(f"/v1/files/{file_id}/content")
        assert http.get(f"/v1/files/{file_id}/content").content == jsonl(texts(3))
        assert simulator.faults.fired == {"request_lost": 1, "answer_lost": 1, "body_cut": 1}


def test_an_upload_may_be_streamed_in_chunks() -> None:
    boundary = "xx"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
    tail = f'\r\n--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--{boundary}--\r\n'
    block = b"x" * 99_991

    def pieces() -> Iterator[bytes]:
        yield head.encode()
        for _ in range(40):
            yield block
        yield tail.encode()

    with running() as (_, http):
        content_type = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        answer = http.post("/v1/files", content=pieces(), headers=content_type)
        assert answer.json()["bytes"] == 40 * len(block)
        with http.stream("GET", f"/v1/files/{answer.json()['id']}/content") as content:
            assert sum(map(len, content.iter_bytes())) == 40 * len(block)


def test_a_refused_upload_leaves_the_connection_usable() -> None:
    with running(max_file_bytes=10) as (_, http):
        data = {"file": ("in.jsonl", b"x" * 3_000_000)}
        assert http.post("/v1/files", files=data, data={"purpose": "batch"}).status_code == 413
        assert http.get("/v1/files", headers={"Authorization": "Basic x"}).status_code == 401
        assert http.get("/v1/files").json()["data"] == []


@pytest.mark.parametrize(
    ("body", "start"), [(b"zz\r\n", b"HTTP/1.1 400 "), (b"-1\r\n", b"HTTP/1.1 400 "), (b"5\r\nab", b"")]
)
def test_broken_chunks_get_a_refusal_and_cut_ones_nothing(body: bytes, start: bytes) -> None:
    with (
        running() as (_, http),
        socket.create_connection((http.base_url.host, http.base_url.port or 0), timeout=5) as raw,
    ):
        raw.sendall(
            b"POST /v1/batches HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n" + body
        )
        raw.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
        assert answer[: len(b"HTTP/1.1 400 ")] == start
        assert (b"connection: close" in answer) == bool(start)


def test_other_methods_and_heads() -> None:
    with running() as (_, http):
        assert http.put("/v1/files").status_code == 405
        assert http.head("/v1/files").status_code == 405
        assert http.get("/v1/files").status_code == 200


def test_contents_may_stand_on_another_host() -> None:
    with running() as (_, http):
        port = http.base_url.port
    with running(redirect_to=f"http://localhost:{port}") as (_, http):
        hop = http.get(f"/v1/files/{upload(http, b'hello')}/content")
        assert hop.status_code == 302
        path = hop.headers["location"].removeprefix(f"http://localhost:{port}")
        assert http.get(path).status_code == 400
        assert httpx.get(f"{http.base_url}{path}").content == b"hello"


def test_its_own_endpoints_show_and_move_things() -> None:
    with running() as (_, http):
        del http.headers["Authorization"]
        keyed = httpx.Client(base_url=http.base_url, headers=KEY)
        with keyed:
            create(keyed, upload(keyed, jsonl({"a": ["one", "one"]})))
        state = http.post("/_simulator/advance", json={"seconds": 100}).json()
        assert [b["status"] for b in state["batches"]] == ["completed"]
        ledger = http.get("/_simulator/ledger").json()
        assert (ledger["units"], ledger["units_billed"], ledger["billed_more_than_once"]) == (1, 2, 1)
        assert http.get("/_simulator/state").json()["calls"] == {"upload_file": 1, "create_batch": 1}
        assert http.post("/_simulator/advance", json={"seconds": -1}).status_code == 400
        assert http.post("/_simulator/advance", json={"seconds": True}).status_code == 400
        assert http.get("/_simulator/secrets").status_code == 404


def test_its_own_endpoints_answer_to_this_machine_only() -> None:
    simulator = Simulator(VirtualClock())
    for peer, status in (("127.0.0.1", 200), ("::1", 200), ("192.0.2.7", 403)):
        assert simulator.handle(Request("GET", "/_simulator/state", peer=peer)).status == status


def test_work_is_done_between_looks() -> None:
    simulator = Simulator(VirtualClock(), batch_seconds=100, options=Options(small_dimensions=True))
    with HttpServer(simulator) as server, httpx.Client(headers=KEY) as http:
        http.base_url = httpx.URL(f"http://127.0.0.1:{server.port}")
        create(http, upload(http, jsonl(texts(10))))
        simulator.advance(100)
        for _ in range(3):
            simulator.tick(most_lines=4)
        assert simulator.ledger.units() == 10


def test_memory_stays_flat_while_large_files_come_and_go() -> None:
    program = (
        "from voyage_jobs.core.clock import SystemClock\n"
        "from voyage_jobs.simulator import Simulator\n"
        "from voyage_jobs.simulator.server import serve\n"
        "serve(Simulator(SystemClock()), '127.0.0.1', 0, lambda port: print(port, flush=True))\n"
    )
    form = 'Content-Disposition: form-data; name="'
    head = f'--xx\r\n{form}purpose"\r\n\r\nbatch\r\n--xx\r\n{form}file"; filename="a.jsonl"\r\n\r\n'
    block, times = b"x" * (1 << 20), 100

    def pieces() -> Iterator[bytes]:
        yield head.encode()
        for _ in range(times):
            yield block
        yield b"\r\n--xx--\r\n"

    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = f"http://127.0.0.1:{int(process.stdout.readline())}/v1/files"
        with httpx.Client(headers=KEY, timeout=60) as http:
            assert http.get(url).status_code == 200
            before = most_memory_mib(process.pid)
            kind = {"Content-Type": "multipart/form-data; boundary=xx"}
            file = http.post(url, content=pieces(), headers=kind).json()
            assert file["bytes"] == times * len(block)
            with http.stream("GET", f"{url}/{file['id']}/content") as content:
                assert sum(map(len, content.iter_bytes())) == file["bytes"]
            assert most_memory_mib(process.pid) - before < 20
        process.terminate()
        assert process.wait(10) == 0


def most_memory_mib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) >> 10


def test_serve_ends_on_sigterm_with_connections_open() -> None:
    program = (
        "from voyage_jobs.core.clock import SystemClock\n"
        "from voyage_jobs.simulator import Simulator\n"
        "from voyage_jobs.simulator.server import serve\n"
        "serve(Simulator(SystemClock()), '127.0.0.1', 0, lambda port: print(port, flush=True))\n"
        "import sys\n"
        "assert 'httpx' not in sys.modules and 'lancedb' not in sys.modules\n"
        "print('done')\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with httpx.Client(headers=KEY) as http:
            assert http.get(f"http://127.0.0.1:{port}/v1/files").status_code == 200
            process.send_signal(signal.SIGTERM)
            assert process.stdout.read() == "done\n"
        assert process.wait(10) == 0


def test_a_taken_port_is_an_error() -> None:
    with running() as (_, http), pytest.raises(OSError, match="in use"):
        HttpServer(Simulator(VirtualClock()), port=http.base_url.port or 0)
