"""The simulated provider behind a hand that changes its answers on the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx

from voyage_jobs.simulator.transport import SimulatorTransport

Change = Callable[[bytes], bytes]


class Changed(SimulatorTransport):
    """Answers of GET requests go through `change(path, body)`; None leaves one as it is. Nothing else is touched.

    So everything has the effect that the simulator and its ledger know; only what is read of it is changed.
    """

    def __init__(self, simulator, change: Callable[[str, bytes], bytes | None]) -> None:
        super().__init__(simulator)
        self.change = change

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = super().handle_request(request)
        if request.method != "GET" or answer.status_code != 200:
            return answer
        body = b"".join(answer.stream)
        changed = self.change(request.url.path.removeprefix("/v1"), body)
        headers = {name: value for name, value in answer.headers.items() if name != "content-length"}
        return httpx.Response(
            200, headers=headers, content=body if changed is None else changed, request=request
        )


def rewritten(body: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """The JSON object in a body, changed in place."""
    said = json.loads(body)
    change(said)
    return json.dumps(said).encode()
