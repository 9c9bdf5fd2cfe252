"""An object store for tests: moto's S3 behind a port of this process, which counts its calls and fails on request."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIATESTSTORE", "AWS_SECRET_ACCESS_KEY": "a-secret-that-nobody-may-see"}
BUCKET = "tables"


@dataclass
class Faults:
    """Shares of calls: answered 503; of manifests, those whose answer is cut once they are written."""

    unavailable: float = 0.0
    cut: float = 0.0
    ignores_conditions: bool = False
    """Whether a write that must not find anything overwrites what is there."""
    denied: bool = False
    rng: random.Random = field(default_factory=lambda: random.Random(1))


class Place(str):
    """An address that tests take apart and put together as they do paths."""

    def __truediv__(self, name: str) -> Place:
        return Place(f"{self}/{name}")


class ObjectStore:
    """A store of objects. `calls` counts by method and kind; `done` counts what faults struck."""

    def __init__(self) -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import WSGIRequestHandler, make_server

        class Quiet(WSGIRequestHandler):
            protocol_version = "HTTP/1.1"

            def log(self, *_: Any) -> None: ...

        self.faults = Faults()
        self.calls: Counter[str] = Counter()
        self.struck: Counter[str] = Counter()
        self._inner = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=Quiet)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self._places = 0
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        _request("PUT", f"{self.url}/{BUCKET}")

    @property
    def environment(self) -> dict[str, str]:
        """Variables that lead everything that knows S3 to this store."""
        return {
            **CREDENTIALS,
            **{key.upper(): value for key, value in self.options.items()},
            "AWS_ALLOW_HTTP": "true",
        }

    @property
    def options(self) -> dict[str, str]:
        """What is no secret, for `[lancedb.storage_options]`."""
        return {"aws_endpoint": self.url, "aws_region": "us-east-1"}

    def place(self) -> Place:
        """An address that nobody has used."""
        self._places += 1
        return Place(f"s3://{BUCKET}/place-{self._places}-{time.monotonic_ns()}")

    def delete(self, address: str) -> None:
        """Take one object away, as a lifecycle rule might."""
        _request("DELETE", f"{self.url}/{address.removeprefix('s3://')}")

    def put(self, address: str, body: bytes) -> None:
        """Write one object over whatever is there."""
        _request("PUT", f"{self.url}/{address.removeprefix('s3://')}", content=body)

    @contextmanager
    def failing(self, **faults: Any) -> Iterator[Counter[str]]:
        """Strike during this block; what was struck."""
        self.faults, self.struck = Faults(**faults), Counter()
        try:
            yield self.struck
        finally:
            self.faults = Faults()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        method, path, faults = environ["REQUEST_METHOD"], environ["PATH_INFO"], self.faults
        kind = "LIST" if "list-type=2" in environ["QUERY_STRING"] else method
        self.calls[kind] += 1
        if faults.denied or faults.rng.random() < faults.unavailable:
            self.struck["denied" if faults.denied else "unavailable"] += 1
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start("403 Forbidden" if faults.denied else "503 Slow Down", [("content-length", "0")])
            return [b""]
        if faults.ignores_conditions:
            environ.pop("HTTP_IF_NONE_MATCH", None)
        if method == "PUT" and path.endswith(".manifest") and faults.rng.random() < faults.cut:
            self.struck["cut"] += 1
            b"".join(self._inner(environ, lambda *_, **__: None))
            environ["werkzeug.socket"].shutdown(2)
            raise ConnectionAbortedError
        found: Iterable[bytes] = self._inner(environ, start)
        return found


def _request(method: str, url: str, **content: Any) -> None:
    import httpx

    head = {"Authorization": "AWS4-HMAC-SHA256 Credential=AKIATESTSTORE/20260101/us-east-1/s3/aws4_request"}
    httpx.request(method, url, headers=head, **content).raise_for_status()


def times(home: Any, in_a_folder: int, in_the_store: int) -> int:
    """How often a test does something: each call of the store takes the time of a dozen of a disk's."""
    return in_the_store if isinstance(home, Place) else in_a_folder


def files(folder: Any) -> dict[str, int]:
    """The files directly in a folder of a table, or below it in the store, with their sizes."""
    if isinstance(folder, Place):
        from voyage_jobs.core.object_uri import ObjectUri
        from voyage_jobs.table.objects import Remote

        above, _, name = folder.rpartition("/")
        uri, _, table = above.rpartition("/")
        address = ObjectUri(uri, {**store().options, "allow_http": "true"})
        return Remote(address, table.removesuffix(".lance")).sizes(name)
    return {path.name: path.stat().st_size for path in folder.iterdir()}


_running: list[ObjectStore] = []


def store() -> ObjectStore:
    """The one of this process, begun when it is first asked for; skips where its packages are not installed."""
    if not _running:
        pytest.importorskip("moto.server", reason="the object store of the tests needs the extra `dev`")
        pytest.importorskip("obstore", reason="it is a new dependency")
        _running.append(ObjectStore())
    return _running[0]


def home(kind: str, folder: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Where a test puts its table: the folder, or a fresh place in the store, to which the environment leads."""
    if kind == "local":
        return folder
    here = store()
    for name, value in here.environment.items():
        monkeypatch.setenv(name, value)
    return here.place()
