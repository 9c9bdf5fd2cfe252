"""Doubles for the provider's side of HTTP: scripted answers in process, and scripted bytes on a real socket."""

import socket
import threading
from collections.abc import Iterator

import httpx

from voyage_jobs.core.clock import VirtualClock
from voyage_jobs.core.profile import EMBEDDINGS
from voyage_jobs.vendors.remote import METADATA_REF, JobSpec
from voyage_jobs.vendors.voyage.client import VoyageClient

KEY = "pa-TheKeyThatNobodyMaySee0123456789"
BASE = "https://api.voyageai.com/v1"
DATE = "Sat, 01 Aug 2026 12:00:00 GMT"
DATE_US = 1_785_585_600_000_000


class FixedKey:
    def __init__(self, key: str = KEY) -> None:
        self.key = key

    def __call__(self) -> str:
        return self.key

    def describe(self) -> str:
        return "the variable VOYAGE_API_KEY"


class Body(httpx.SyncByteStream):
    """A body of given blocks; an exception among them is raised when its turn comes."""

    def __init__(self, *blocks: bytes | Exception) -> None:
        self.blocks = blocks

    def __iter__(self) -> Iterator[bytes]:
        for block in self.blocks:
            if isinstance(block, Exception):
                raise block
            yield block


class Script(httpx.BaseTransport):
    """Gives one answer after the other (response, exception, function of the request); keeps the requests."""

    def __init__(self, *answers) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        answer = self.answers.pop(0)
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, Exception):
            raise answer
        return answer


def job_spec(
    file_id: str = "file-1", ref: str | None = None, *, endpoint: str = EMBEDDINGS, **params
) -> JobSpec:
    """A job for an uploaded file, as a step would ask for it."""
    metadata = {} if ref is None else {METADATA_REF: ref}
    return JobSpec(endpoint, file_id, {"model": "voyage-4", **params}, metadata, ref or "")


def client_of(*answers, base: str = BASE, key: FixedKey | None = None, **options) -> VoyageClient:
    """A client over a script; the script is `client.script`."""
    script = (
        answers[0] if len(answers) == 1 and isinstance(answers[0], httpx.BaseTransport) else Script(*answers)
    )
    options.setdefault("clock", VirtualClock())
    client = VoyageClient(base, key or FixedKey(), transport=script, **options)
    client.script = script
    return client


class RawServer:
    """A TCP server that sends scripted bytes, one script per connection; keeps what it was sent."""

    def __init__(self, *scripts: bytes) -> None:
        self.received: list[bytes] = []
        self._scripts = scripts
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.base = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> "RawServer":
        self._thread.start()
        return self

    def __exit__(self, *exc) -> None:
        self._thread.join(10)
        self._socket.close()

    def _serve(self) -> None:
        for script in self._scripts:
            connection, _ = self._socket.accept()
            with connection:
                got = b""
                while b"\r\n\r\n" not in got and (block := connection.recv(65536)):
                    got += block
                self.received.append(got)
                connection.sendall(script)
