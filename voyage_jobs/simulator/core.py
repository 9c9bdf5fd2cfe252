"""The simulator itself: who may call, which fault strikes, which part answers.

There is no thread and no timer. Every change is a function of the clock and is worked out when somebody
looks; a lock makes that safe for a server with many threads. Time is the clock's monotonic time counted
from its wall time at the start, so that a client whose wall clock is set cannot move the provider's.
"""

from __future__ import annotations

import heapq
import ipaddress
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from voyage_jobs.core.clock import US, Clock, SystemClock, now_us
from voyage_jobs.simulator.answers import (
    about_sick,
    intercepted,
    odd_list,
    refused,
    server_error,
    too_many_requests,
)
from voyage_jobs.simulator.blobs import BlobStore
from voyage_jobs.simulator.content import Contents, cut
from voyage_jobs.simulator.dialects import dialect
from voyage_jobs.simulator.endpoints import ENDPOINTS
from voyage_jobs.simulator.faults import FaultScript, Hit
from voyage_jobs.simulator.files import Files
from voyage_jobs.simulator.jobs import Jobs
from voyage_jobs.simulator.ledger import Ledger
from voyage_jobs.simulator.messages import (
    ApiError,
    InsteadError,
    Loss,
    Request,
    Response,
    SchemaError,
    Trickle,
)
from voyage_jobs.simulator.multipart import read_form
from voyage_jobs.simulator.options import Options
from voyage_jobs.simulator.params import Params, parse_params, read_object
from voyage_jobs.simulator.routes import Route, find_route
from voyage_jobs.simulator.runner import Runner
from voyage_jobs.simulator.spoil import inapplicable, spoilt_line
from voyage_jobs.simulator.stamps import Ids, http_date
from voyage_jobs.simulator.vectors import Embedder, Floats

_SYNC = {
    "embeddings": ENDPOINTS["/v1/embeddings"],
    "contextualized_embeddings": ENDPOINTS["/v1/contextualizedembeddings"],
    "rerank": ENDPOINTS["/v1/rerank"],
}
_RERANK_DIMENSION = 256


def _dumped(body: dict[str, Any]) -> bytes:
    return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)


class Simulator:
    """Stands in for Voyage's Files, Batches, embeddings, contextualized embeddings and rerank APIs, or for OpenAI's
    Files, Batches and embeddings (`Options.vendor`).

    `batch_seconds` is how long a job takes. Without an `api_key` any key is good. `options` go before those
    of the fault script. `storage_dir` takes the bytes of large files (a temporary folder if not given).
    """

    def __init__(
        self,
        clock: Clock,
        *,
        api_key: str | None = None,
        seed: int = 0,
        batch_seconds: float = 30.0,
        faults: FaultScript | None = None,
        options: Options | None = None,
        storage_dir: Path | None = None,
    ) -> None:
        self.clock = clock
        self.faults = faults if faults is not None else FaultScript.none()
        if self.faults.seed is None:
            self.faults.seed = seed
        self.options = options or self.faults.options or Options()
        self._dialect = dialect(self.options)
        self.ledger = Ledger()
        self.calls: Counter[str] = Counter()
        self._api_key = api_key
        self.faults.began_us = self._began_us = now_us(clock)
        self._began_mono = clock.mono()
        self._skipped_us = 0
        self._lock = threading.RLock()
        self._delayed: list[tuple[int, int, Callable[[int], Response]]] = []
        self._stopwatch = SystemClock()
        self._busy_s = 0.0
        self._embedders: dict[tuple[str, int], Embedder] = {}
        ids = Ids(seed)
        self.blobs = BlobStore(storage_dir)
        """Where the bodies of requests go, and results."""
        self.files = Files(ids, self.options, self.faults)
        runner = Runner(self.files, self.blobs, self.ledger, self.faults, self.options, self._embed)
        self.jobs = Jobs(
            files=self.files,
            runner=runner,
            faults=self.faults,
            ids=ids,
            options=self.options,
            batch_seconds=batch_seconds,
        )
        self._contents = Contents(ids, self.options, self.faults)

    def now_us(self) -> int:
        """The provider's time in microseconds since 1970 UTC."""
        passed_s = (self.clock.mono() - self._began_mono) * self.options.speed
        return self._began_us + int(passed_s * US) + self._skipped_us

    def advance(self, seconds: float) -> None:
        """Let time pass at the provider alone; the clock is not touched."""
        with self._lock:
            self._skipped_us += int(seconds * US)

    def tick(self, most_lines: int) -> None:
        """Do a bounded part of the work that is due, so that a server spreads it out."""
        with self._lock:
            self._begin_call(most_lines)

    def settle(self) -> None:
        """Do all the work that is due, as if somebody had looked (before reading the ledger)."""
        with self._lock:
            self._begin_call(None)

    @property
    def busy_s(self) -> float:
        """Real seconds spent answering, to be taken off a client's own time."""
        return self._busy_s

    def handle(self, request: Request) -> Response:
        """Answer one request. Never raises for anything the client can send."""
        began = self._stopwatch.mono()
        try:
            response = self._answer(request)
        except ApiError as error:
            response = self._refusal(error)
        response.headers.setdefault("date", http_date(self.now_us()))
        with self._lock:
            if not response.by_another:
                response.headers.setdefault("request-id", f"req-{sum(self.calls.values())}")
            self._busy_s += self._stopwatch.mono() - began
        return response

    def _answer(self, request: Request) -> Response:
        if request.path.startswith("/_simulator/"):
            return self._control(request)
        route = find_route(request.method, request.path)
        with self._lock:
            now = self._begin_call(None)
            self.calls[route.operation] += 1
            redirects = route.operation == "file_content" and self.options.redirect_to is not None
            without = frozenset({"body_cut"} if redirects else ())
            hit = self.faults.call(route.operation, now, without, request.body.size)
        if hit is not None and hit.fault == "request_lost":
            return Response(0, lost=Loss(hit["as"]))
        if hit is not None and hit.fault == "intercepted":
            return intercepted(hit["status"])
        self._authorize(route, request, hit)
        if hit is None:
            return self._perform(route, request, now)
        return self._faulty(hit, route, request, now)

    def _begin_call(self, most_lines: int | None) -> int:
        """Bring the provider up to the present; the present."""
        now = self.now_us()
        while self._delayed and self._delayed[0][0] <= now:
            due_us, _, effect = heapq.heappop(self._delayed)
            try:
                effect(due_us)
            except ApiError:
                continue  # the client has long hung up
        self.files.drop_expired(now)
        self.jobs.settle(now, most_lines)
        return now

    def _authorize(self, route: Route, request: Request, hit: Hit | None) -> None:
        if route.operation == "storage":
            return
        if hit is not None and hit.fault == "auth_outage":
            raise ApiError(hit["status"], "Provided API key is invalid.")
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise ApiError(401, "Please provide your API key as 'Authorization: Bearer <key>'.")
        if self._api_key is not None and key != self._api_key:
            raise ApiError(self.options.wrong_key_status, "Provided API key is invalid.")

    def _faulty(self, hit: Hit, route: Route, request: Request, now: int) -> Response:
        """Answer a call that a fault strikes."""
        match hit.fault:
            case "rate_limited" | "unpaid_account":
                raise too_many_requests(hit, self._dialect)
            case "too_large":
                raise refused(413, f"The body is larger than {hit['bytes']} bytes.", html=hit["html"])
            case "input_file_not_found":
                asked = read_object(request.body.read()).get("input_file_id")
                raise self._dialect.no_input_file(str(asked))
            case "not_deleted" if route.operation == "delete_file":
                return Response.json({"id": route.ident, "object": "file", "deleted": False})
            case "not_deleted":
                asked = read_object(request.body.read()).get("file_ids")
                return Response.json({"success": False, "error_file_ids": asked})
            case "effect_delayed":
                return self._delay(hit, route, request, now)
            case "server_error" if not hit["after_effect"]:
                return self._failure(hit)
        try:
            response = self._perform(route, request, now, hit)
        except ApiError as error:
            response = self._refusal(error)
        match hit.fault:
            case "answer_lost":
                return Response(0, lost=Loss(hit["as"]))
            case "server_error":
                return self._failure(hit)
            case "head_trickle":
                response.trickle = Trickle(hit["seconds"], endless=hit["how"] == "early_hints")
            case "body_cut" if response.length:
                return cut(response, hit["keep_share"])
        return response

    def _failure(self, hit: Hit) -> Response:
        """An HTML page, as of a gateway; the API itself refuses (4xx) in JSON, unless the script asks for a page."""
        status = hit["status"]
        if 400 <= status < 500 and not hit["page"]:
            return self._refusal(ApiError(status, "The request was refused."))
        return server_error(status)

    def _delay(self, hit: Hit, route: Route, request: Request, now: int) -> Response:
        """Take the request, let it have its effect later, and never answer."""
        with self._lock:
            due = now + int(hit["seconds"] * US)
            order = self.calls.total()
            heapq.heappush(self._delayed, (due, order, lambda at: self._perform(route, request, at)))
        return Response(0, lost=Loss.READ_TIMEOUT)

    def _perform(self, route: Route, request: Request, now: int, hit: Hit | None = None) -> Response:
        if route.operation == "upload_file":
            return self._upload(request, now)
        body = request.body.read() if request.method == "POST" else b""
        with self._lock:
            if route.operation in _SYNC:
                return self._sync(route.operation, read_object(body), hit)
            match route.operation:
                case "file_content":
                    return self._contents.of(self.files.get(route.ident), request, now)
                case "storage":
                    return self._contents.stored(route.ident, request, now)
            answer = self._object(route, request, body, now)
            if hit is not None and hit.fault == "list_entry_odd":
                turn = self.faults.fired[hit.fault]
                if not odd_list(answer, hit["what"], turn):
                    self.faults.withdraw(hit)
            return Response.json(answer)

    def _object(self, route: Route, request: Request, body: bytes, now: int) -> dict[str, Any]:
        """The answer of an operation on files and batches."""
        match route.operation:
            case "list_files":
                return self.files.page(request.query, now)
            case "retrieve_file":
                return self.files.shown(self.files.get(route.ident), now)
            case "delete_file":
                self.files.delete(route.ident)
                return {"id": route.ident, "object": "file", "deleted": True}
            case "bulk_delete_files":
                return self._bulk_delete(read_object(body))
            case "create_batch":
                return self.jobs.create(read_object(body), now)
            case "list_batches":
                return self.jobs.page(request.query, now)
            case "retrieve_batch":
                return self.jobs.retrieve(route.ident, now)
            case "cancel_batch":
                return self.jobs.cancel(route.ident, now)
        raise AssertionError(f"no such operation: {route.operation}")

    def _upload(self, request: Request, now: int) -> Response:
        """Store an upload; only its registration holds the lock."""
        form = read_form(request.headers.get("content-type", ""), request.body)
        most = self.options.max_file_bytes
        if request.body.size > most:
            raise ApiError(self.options.file_too_large_status, f"The file is larger than {most} bytes.")
        if form.filename is None:
            raise SchemaError("Argument 'file' is required.", "file")
        if form.fields.get("purpose") != "batch":
            raise SchemaError("Argument 'purpose' is required and must be 'batch'.", "purpose")
        if not form.filename.endswith(".jsonl"):
            raise ApiError(400, "Only .jsonl files are supported.")
        with self._lock:
            sick = self.faults.item("upload_sick", self.files.name(form.filename, now), now)
            if sick is not None:
                raise about_sick(sick)
            shown = self.files.add(form.filename, "batch", request.body, now).as_json(self.options)
        if not self.options.upload_shows_expires_at:
            del shown["expires_at"]
        return Response.json(shown)

    def _bulk_delete(self, body: dict[str, Any]) -> dict[str, Any]:
        file_ids = body.get("file_ids")
        if not isinstance(file_ids, list) or not all(isinstance(file_id, str) for file_id in file_ids):
            raise SchemaError("Argument 'file_ids' must be a list of strings.", "file_ids")
        unknown = self.files.delete_all(file_ids)
        return {"success": False, "error_file_ids": unknown} if unknown else {"success": True}

    def _sync(self, operation: str, body: dict[str, Any], hit: Hit | None) -> Response:
        """A synchronous request: the batch endpoints with input and parameters in one body."""
        endpoint = _SYNC[operation]
        if endpoint.path not in self._dialect.endpoints:
            raise ApiError(404, "Not Found")
        data = {key: value for key, value in body.items() if key in endpoint.data_keys}
        rest = {key: value for key, value in body.items() if key not in endpoint.data_keys}
        params = parse_params(rest, endpoint.kind, self.options)
        work = endpoint.prepare(endpoint.read(data, params, bare_string=True), params)
        answer = work.answer(self._embed(list(work.texts), params))
        answer["usage"] = self._dialect.usage(work.tokens)
        spoils = hit is not None and hit.fault == "answer_spoilt"
        as_line = Hit(f"line_{hit['how']}", {"literal": "NaN"}) if hit is not None and spoils else None
        if as_line is None or as_line.fault in inapplicable(params):
            self.ledger.bill_sync(params.fingerprint, work.units)
            return Response.json(answer)
        self.ledger.bill_sync(params.fingerprint, work.units, spoilt=True)
        return Response.of(spoilt_line(as_line, answer, _dumped), "application/json")

    def _embed(self, texts: list[str], params: Params) -> Floats:
        key = (params.model.space, params.dimension or _RERANK_DIMENSION)
        embedder = self._embedders.get(key)
        if embedder is None:
            embedder = self._embedders[key] = Embedder(*key)
        return embedder.embed(texts)

    def _refusal(self, error: ApiError) -> Response:
        if isinstance(error, InsteadError):
            return error.response
        status, body = self._dialect.refusal(error, self.options)
        response = Response.json(body, status)
        response.headers.update(error.headers)
        return response

    def _control(self, request: Request) -> Response:
        """The simulator's own doors, for callers on the same machine only."""
        if not ipaddress.ip_address(request.peer).is_loopback:
            raise ApiError(403, "The simulator's own endpoints answer to this machine only.")
        match request.method, request.path:
            case "GET", "/_simulator/ledger":
                with self._lock:
                    self._begin_call(None)
                    return Response.json(self.ledger.export())
            case "GET", "/_simulator/state":
                return Response.json(self.state())
            case "POST", "/_simulator/advance":
                seconds = read_object(request.body.read()).get("seconds")
                if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds < 0:
                    raise SchemaError("Argument 'seconds' must be a number that is not negative.", "seconds")
                self.advance(seconds)
                return Response.json(self.state())
        raise ApiError(404, "Not Found")

    def state(self) -> dict[str, Any]:
        """Everything there is, as plain data."""
        with self._lock:
            now = self._begin_call(None)
            return {
                "now": http_date(now),
                "batches": self.jobs.all(now),
                "files": len(self.files),
                "most_tokens_in_flight": self.jobs.most_tokens_in_flight,
                "calls": dict(self.calls),
                "faults_fired": dict(self.faults.fired),
                "busy_s": round(self._busy_s, 3),
            }
