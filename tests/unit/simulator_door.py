"""A small client for the simulator's tests: one simulator, one virtual clock, one httpx client."""

from __future__ import annotations

from typing import Any

import httpx
import orjson

from voyage_jobs.core.clock import VirtualClock
from voyage_jobs.simulator import FaultScript, Options, Simulator
from voyage_jobs.simulator.transport import SimulatorTransport

KEY = "pa-test-key"
BASE = "https://api.voyageai.com/v1"
PARAMS = {"model": "voyage-4", "output_dimension": 8, "input_type": "document"}


def jsonl(lines: dict[str, list[str]]) -> bytes:
    """Batch lines for /v1/embeddings: custom id to texts."""
    return b"".join(orjson.dumps({"custom_id": i, "body": {"input": t}}) + b"\n" for i, t in lines.items())


class Door:
    """What the tests do over and over."""

    def __init__(
        self,
        faults: dict[str, Any] | None = None,
        *,
        seed: int = 1,
        batch_seconds: float = 100.0,
        api_key: str | None = KEY,
        **options: Any,
    ) -> None:
        self.clock = VirtualClock(seed=seed)
        self.simulator = Simulator(
            self.clock,
            api_key=api_key,
            seed=seed,
            batch_seconds=batch_seconds,
            faults=FaultScript.from_dict({"faults": faults or {}}),
            options=Options(small_dimensions=True, **options),
        )
        self.transport = SimulatorTransport(self.simulator)
        self.http = httpx.Client(
            base_url=BASE, transport=self.transport, headers={"Authorization": f"Bearer {KEY}"}, timeout=60
        )

    def upload(self, data: bytes, name: str = "in.jsonl", purpose: str = "batch") -> httpx.Response:
        return self.http.post("/files", files={"file": (name, data)}, data={"purpose": purpose})

    def create(self, file_id: str, params: dict[str, Any] | None = None, **more: Any) -> httpx.Response:
        body = {
            "endpoint": "/v1/embeddings",
            "input_file_id": file_id,
            "completion_window": "12h",
            "request_params": PARAMS if params is None else params,
            **more,
        }
        return self.http.post("/batches", json={k: v for k, v in body.items() if v is not ...})

    def start(
        self, data: bytes | dict[str, list[str]], params: dict[str, Any] | None = None, **more: Any
    ) -> str:
        """Upload and create; the batch id."""
        file = self.upload(data if isinstance(data, bytes) else jsonl(data))
        assert file.status_code == 200, file.text
        batch = self.create(file.json()["id"], params, **more)
        assert batch.status_code == 200, batch.text
        return str(batch.json()["id"])

    def batch(self, batch_id: str) -> dict[str, Any]:
        answer = self.http.get(f"/batches/{batch_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def finish(self, batch_id: str, seconds: float = 100.0) -> dict[str, Any]:
        self.clock.advance(seconds)
        return self.batch(batch_id)

    def content(self, file_id: str | None) -> bytes:
        if file_id is None:
            return b""
        answer = self.http.get(f"/files/{file_id}/content", follow_redirects=True)
        assert answer.status_code == 200, answer.text
        return answer.content

    def lines(self, file_id: str | None) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self.content(file_id).splitlines()]

    def run(self, lines: dict[str, list[str]], params: dict[str, Any] | None = None, **more: Any) -> Ended:
        """A whole job: its batch object, its output lines and its error lines."""
        batch = self.finish(self.start(lines, params, **more))
        return Ended(batch, self.lines(batch["output_file_id"]), self.lines(batch["error_file_id"]))


class Ended:
    """A job that is over."""

    def __init__(
        self, batch: dict[str, Any], output: list[dict[str, Any]], errors: list[dict[str, Any]]
    ) -> None:
        self.batch, self.output, self.errors = batch, output, errors

    def ids(self) -> list[str]:
        return [line["custom_id"] for line in self.output]


def texts(count: int) -> dict[str, list[str]]:
    """`count` lines with one text each."""
    return {f"id-{n}": [f"text number {n}"] for n in range(count)}
