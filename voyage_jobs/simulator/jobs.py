"""The Batches API: create, list, retrieve, cancel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from voyage_jobs.core.clock import US
from voyage_jobs.simulator.answers import about_sick
from voyage_jobs.simulator.batches import CANCELLABLE, IN_FLIGHT, Batch, make_plan
from voyage_jobs.simulator.catalog import default_model
from voyage_jobs.simulator.dialects import Voyage, dialect
from voyage_jobs.simulator.endpoints import ENDPOINTS, Endpoint
from voyage_jobs.simulator.faults import FaultScript, Hit
from voyage_jobs.simulator.files import Files, StoredFile
from voyage_jobs.simulator.messages import ApiError, SchemaError
from voyage_jobs.simulator.options import Options
from voyage_jobs.simulator.pages import envelope, page_of, whole_number
from voyage_jobs.simulator.params import Params, parse_params
from voyage_jobs.simulator.runner import NOT_SUPPORTED, Runner
from voyage_jobs.simulator.scan import LineError, Scan, scan
from voyage_jobs.simulator.stamps import Ids, strange

_MOST_PAIRS, _MOST_KEY_CHARS, _MOST_VALUE_CHARS = 16, 64, 512
_MOST_PER_PAGE, _PER_PAGE = 100, 20


class Jobs:
    """All batch jobs of the account."""

    def __init__(
        self,
        *,
        files: Files,
        runner: Runner,
        faults: FaultScript,
        ids: Ids,
        options: Options,
        batch_seconds: float,
    ) -> None:
        self._files = files
        self._runner = runner
        self._faults = faults
        self._ids = ids
        self._options = options
        self._batch_s = batch_seconds
        cancel_s = batch_seconds / 10 if options.cancel_s is None else options.cancel_s
        self._cancel_us = int(cancel_s * US)
        self._batches: dict[str, Batch] = {}
        self._open: dict[str, Batch] = {}
        self._dialect = dialect(options)
        self.most_tokens_in_flight = 0
        """The most that were in flight at any moment, of jobs that found room."""

    def settle(self, now_us: int, most_lines: int | None = None) -> None:
        """Let every job do what is due by now; with `most_lines`, at most that many lines of each."""
        for batch in list(self._open.values()):
            self._runner.advance(batch, now_us, most_lines)
            if batch.finished:
                del self._open[batch.id]

    def create(self, body: Mapping[str, Any], now_us: int) -> dict[str, Any]:
        """Start a job. Raises ApiError: 400, 404 (input file), 410 (model), 429 (limits)."""
        endpoint, request_params, metadata = _read_create(body, self._dialect)
        shared = None if request_params is None else self._params(request_params, endpoint)
        file = self._input_file(body["input_file_id"], now_us)
        refused = self._faults.item("create_refused", self._files.name(file.filename, now_us), now_us)
        if refused is not None:
            raise ApiError(refused["status"], refused["message"])
        self.settle(now_us)
        running = [b for b in self._open.values() if b.status(now_us) in IN_FLIGHT]
        if len(running) >= self._options.max_in_flight_jobs:
            raise ApiError(
                429, f"The limit of {self._options.max_in_flight_jobs} in-flight batches is reached."
            )
        lines = scan(file.blob, endpoint, shared, self._options)
        params = lines.params or self._params({"model": default_model(self._options)}, endpoint)
        full = self._full(running, params, lines.tokens)
        if full is not None and self._options.full_queue_refuses:
            raise ApiError(400, full, code="token_limit_exceeded")
        if full is not None and not self._dialect.full_fails_the_job:
            raise ApiError(429, full)
        number = len(self._batches) + 1
        hits = self._faults.job(number, now_us)
        slow_share = hits["job_slow"]["done_share"] if "job_slow" in hits else None
        invalid = [*self._invalid(lines, hits), *_encoding_errors(params, self._options)]
        batch = Batch(
            id=self._dialect.batch_id.format(separator=self._options.id_separator, made=self._ids.new()),
            number=number,
            endpoint=endpoint,
            params=_as_shown(params, hits),
            input_file_id=file.id,
            metadata=metadata,
            plan=make_plan(now_us, self._batch_s, self._options.window_s, slow_share),
            lines=len(lines),
            tokens=lines.tokens,
            hits=hits,
            invalid=invalid if full is None else [LineError("token_limit_exceeded", full)],
            is_refused_room=full is not None,
        )
        self._batches[batch.id] = self._open[batch.id] = batch
        if full is None:
            in_flight = sum(b.tokens for b in running if not b.is_refused_room) + lines.tokens
            self.most_tokens_in_flight = max(self.most_tokens_in_flight, in_flight)
        self._runner.start(batch, file.blob, lines)
        return self._shown(batch, now_us)

    def retrieve(self, batch_id: str, now_us: int) -> dict[str, Any]:
        """One job. Raises ApiError 404."""
        return self._shown(self._advanced(batch_id, now_us), now_us)

    def page(self, query: Mapping[str, str], now_us: int) -> dict[str, Any]:
        """One page of the list."""
        limit = whole_number(query, "limit", _PER_PAGE, 1, _MOST_PER_PAGE)
        batches = [b for b in self._batches.values() if self._is_listed(b, now_us)]
        if self._options.batches_order == "desc":
            batches.reverse()
        shown, more = page_of(batches, [b.id for b in batches], query.get("after"), limit)
        for batch in shown:
            self._advance(batch, now_us)
        data = [self._shown(batch, now_us) for batch in shown]
        return envelope(data, more, cursor=self._options.list_shows_cursor)

    def cancel(self, batch_id: str, now_us: int) -> dict[str, Any]:
        """Stop a job. Raises ApiError 400 unless it is validating or in progress, 404 if unknown."""
        batch = self._advanced(batch_id, now_us)
        status = batch.status(now_us)
        if status not in CANCELLABLE:
            raise ApiError(400, f"Batch {batch_id} cannot be cancelled: its status is {status}.")
        batch.cancel_us = now_us
        batch.cancelled_us = now_us + self._cancel_us
        batch.invalid = []
        self._advance(batch, now_us)
        return self._shown(batch, now_us)

    def all(self, now_us: int) -> list[dict[str, Any]]:
        """Every job as it is, hidden and sick ones too."""
        self.settle(now_us)
        return [batch.as_json(now_us, self._options) for batch in self._batches.values()]

    def _advanced(self, batch_id: str, now_us: int) -> Batch:
        batch = self._batches.get(batch_id)
        if batch is None or not batch.visible(now_us, to_retrieve=True) or self._is_deleted(batch, now_us):
            raise ApiError(404, f"Batch {batch_id} not found.")
        sick = self._faults.item("job_sick", batch.item, now_us)
        if sick is not None:
            raise about_sick(sick)
        self._advance(batch, now_us)
        return batch

    def _is_deleted(self, batch: Batch, now_us: int) -> bool:
        return self._faults.item("job_deleted", batch.item, now_us) is not None

    def _is_listed(self, batch: Batch, now_us: int) -> bool:
        if not batch.visible(now_us, to_retrieve=False) or self._is_deleted(batch, now_us):
            return False
        return self._faults.item("job_sick", batch.item, now_us, lambda p: not p["listed"]) is None

    def _shown(self, batch: Batch, now_us: int) -> dict[str, Any]:
        """The Batch object, which may have come to be at a strange time."""
        shown = batch.as_json(now_us, self._options)
        hit = self._faults.item("job_created_at", batch.item, now_us)
        if hit is not None:
            shown["created_at"] = strange(hit["value"], batch.plan.created_us, self._options)
        return shown

    def _advance(self, batch: Batch, now_us: int) -> None:
        self._runner.advance(batch, now_us)
        if batch.finished:
            self._open.pop(batch.id, None)

    def _input_file(self, file_id: str, now_us: int) -> StoredFile:
        file = self._files.find(file_id)
        if file is None:
            raise self._dialect.no_input_file(file_id)
        if file.is_pending(now_us, self._options):
            raise ApiError(400, f"File {file_id} is not in the state that is needed.")
        if file.purpose != "batch":
            raise ApiError(400, f"File {file_id} has the purpose '{file.purpose}', not 'batch'.")
        return file

    def _params(self, raw: Mapping[str, Any], endpoint: Endpoint) -> Params:
        return parse_params(_batch_params(raw, self._options), endpoint.kind, self._options)

    def _full(self, running: Sequence[Batch], params: Params, tokens: int) -> str | None:
        """Why there is no room for so many tokens; None if there is. OpenAI counts each model for itself."""
        most, model = self._options.max_in_flight_tokens, params.model.name
        counted = [
            b.tokens
            for b in running
            if not b.is_refused_room
            and (not self._dialect.full_fails_the_job or b.params.model.name == model)
        ]
        return self._dialect.full(model, most) if sum(counted) + tokens > most else None

    def _invalid(self, lines: Scan, hits: Mapping[str, Hit]) -> list[LineError]:
        """The errors that will fail the job's validation."""
        invalid = []
        if self._options.bad_line_fails == "job" or not len(lines):
            invalid = list(lines.errors)
        count, most = lines.inputs(self._options), self._options.max_inputs
        if count > most:
            if self._options.inputs_cap_at == "create":
                raise ApiError(400, f"The input file has {count} inputs; at most {most} are allowed.")
            invalid.append(LineError("too_many_inputs", f"{count} inputs; at most {most} are allowed."))
        hit = hits.get("job_invalid")
        if hit is not None:
            invalid.append(LineError(hit["code"], hit["message"], line=hit["line"]))
        return invalid


def _batch_params(raw: Mapping[str, Any], options: Options) -> Mapping[str, Any]:
    """`request_params` as this reading of the API takes them."""
    if "encoding_format" not in raw or options.encoding_format not in ("ignored", "rejected"):
        return raw
    if options.encoding_format == "rejected":
        raise SchemaError(NOT_SUPPORTED, "encoding_format")
    return {key: value for key, value in raw.items() if key != "encoding_format"}


def _encoding_errors(params: Params, options: Options) -> list[LineError]:
    late = params.as_base64 and options.encoding_format == "rejected_in_job"
    return [LineError("invalid_request_params", NOT_SUPPORTED)] if late else []


def _as_shown(params: Params, hits: Mapping[str, Hit]) -> Params:
    """The parameters with the encoding in which the results come."""
    return replace(params, as_base64=not params.as_base64) if "job_encoding" in hits else params


def _read_create(
    body: Mapping[str, Any], speaks: Voyage
) -> tuple[Endpoint, Mapping[str, Any] | None, Mapping[str, str] | None]:
    """The endpoint, `request_params` (None where lines have them) and metadata of a create call, all keys checked."""
    for key, kind in (("endpoint", str), ("input_file_id", str), ("completion_window", str)):
        if not isinstance(body.get(key), kind):
            raise SchemaError(f"Argument '{key}' is required and must be of type {kind.__name__}.", key)
    if not speaks.params_in_lines and not isinstance(body.get("request_params"), dict):
        raise SchemaError("Argument 'request_params' is required and must be an object.", "request_params")
    unknown = sorted(set(body) - speaks.create_keys)
    if unknown:
        raise SchemaError(f"Argument '{unknown[0]}' is not supported by our API.", unknown[0])
    path = "/" + body["endpoint"].removeprefix("/")
    if path not in speaks.endpoints:
        raise ApiError(
            400, f"Endpoint '{body['endpoint']}' is not one of {', '.join(sorted(speaks.endpoints))}."
        )
    if body["completion_window"] != speaks.window:
        raise ApiError(400, f"Argument 'completion_window' must be '{speaks.window}'.")
    return ENDPOINTS[path], body.get("request_params"), _metadata(body.get("metadata"))


def _metadata(raw: Any) -> Mapping[str, str] | None:
    if raw is None:
        return None
    if not isinstance(raw, dict) or not all(isinstance(value, str) for value in raw.values()):
        raise SchemaError("Argument 'metadata' must be an object of strings.", "metadata")
    if len(raw) > _MOST_PAIRS:
        raise ApiError(400, f"Argument 'metadata' has {len(raw)} pairs; at most {_MOST_PAIRS} are allowed.")
    for key, value in raw.items():
        if len(key) > _MOST_KEY_CHARS or len(value) > _MOST_VALUE_CHARS:
            raise ApiError(400, "Keys of 'metadata' have at most 64 characters and values at most 512.")
    return raw
