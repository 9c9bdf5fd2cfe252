"""The simulated provider without a word on tokens: it bills as ever, and no answer says what."""

from __future__ import annotations

import json

import httpx

from voyage_jobs.simulator.transport import SimulatorTransport


class Silent(SimulatorTransport):
    """Takes `usage` out of result files and of answers to synchronous calls, or puts `usage` in its place.

    Lines keep their length, so that a file has the size that is told of it: what is put in must be short.
    """

    def __init__(self, simulator, usage=None) -> None:
        super().__init__(simulator)
        self.usage = usage

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = super().handle_request(request)
        path = request.url.path
        if answer.status_code != 200 or not path.endswith(
            ("/content", "/embeddings", "/contextualizedembeddings")
        ):
            return answer
        lines = b"".join(answer.stream).split(b"\n")
        content = b"\n".join(self._silenced(line) for line in lines)
        return httpx.Response(200, headers=answer.headers, content=content, request=request)

    def _silenced(self, line: bytes) -> bytes:
        if not line:
            return line
        said = json.loads(line)
        body = said["response"]["body"] if said.get("response") else said
        body.pop("usage", None)
        if self.usage is not None:
            body["usage"] = self.usage
        written = json.dumps(said, separators=(",", ":")).encode()
        assert len(written) <= len(line), "this would change the size of the file"
        return written.ljust(len(line))
