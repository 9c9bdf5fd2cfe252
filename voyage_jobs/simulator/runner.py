"""Works off the lines of jobs: whenever somebody looks, exactly those lines are done that are due by then."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from voyage_jobs.simulator.batches import Batch
from voyage_jobs.simulator.blobs import Blob, BlobStore
from voyage_jobs.simulator.dialects import dialect
from voyage_jobs.simulator.endpoints import Workload
from voyage_jobs.simulator.faults import FaultParams, FaultScript, Hit
from voyage_jobs.simulator.files import Files, Purpose
from voyage_jobs.simulator.ledger import Ledger
from voyage_jobs.simulator.messages import ApiError
from voyage_jobs.simulator.options import Options
from voyage_jobs.simulator.params import Params
from voyage_jobs.simulator.scan import Scan, read_line
from voyage_jobs.simulator.spoil import SPOILING, inapplicable, spoilt_line, unusable, with_usage
from voyage_jobs.simulator.vectors import Floats

_BLOCK_TEXTS = 256
_GOLDEN = 0.6180339887
NOT_SUPPORTED = "Argument 'encoding_format' is not supported by our API."


@dataclass(frozen=True)
class _Work:
    """The bytes of a job that is not over: where its lines are, and its results so far."""

    input: Blob
    scan: Scan
    output: Blob
    errors: Blob

    def line(self, index: int) -> bytes:
        """One line of the input, from 0."""
        return self.input.read(self.scan.starts[index], self.scan.lengths[index])


@dataclass(frozen=True)
class _Pending:
    """A request whose vectors are made together with those of its neighbours."""

    custom_id: str
    params: Params
    work: Workload
    hit: Hit | None


class Runner:
    """Advances batches; `embed` turns texts into vectors for the given parameters."""

    def __init__(
        self,
        files: Files,
        blobs: BlobStore,
        ledger: Ledger,
        faults: FaultScript,
        options: Options,
        embed: Callable[[list[str], Params], Floats],
    ) -> None:
        self._files = files
        self._blobs = blobs
        self._ledger = ledger
        self._faults = faults
        self._options = options
        self._embed = embed
        self._work: dict[str, _Work] = {}
        self._dialect = dialect(options)

    def start(self, batch: Batch, input_blob: Blob, lines: Scan) -> None:
        """Take on a new job."""
        self._work[batch.id] = _Work(input_blob, lines, self._blobs.new(), self._blobs.new())

    def advance(self, batch: Batch, now_us: int, most: int | None = None) -> None:
        """Do what is due by `now_us`, at most `most` lines of it, and close the job when it is over."""
        if batch.finished:
            return
        until_us = now_us if batch.cancel_us is None else min(now_us, batch.cancel_us)
        due = 0 if batch.invalid else batch.plan.lines_done(batch.lines, until_us)
        stop = due if most is None else min(due, batch.done + most)
        if stop > batch.done:
            self._work_off(batch, range(batch.done, stop))
            batch.done = stop
        if stop == due and now_us >= batch.ends_us():
            self._close(batch)

    def _work_off(self, batch: Batch, positions: range) -> None:
        pending: list[_Pending] = []
        texts = 0
        for position in positions:
            item = self._request(batch, line_at(batch, position, self._options))
            if item is None:
                continue
            pending.append(item)
            texts += len(item.work.texts)
            if texts >= _BLOCK_TEXTS:
                self._answer(batch, pending)
                pending, texts = [], 0
        if pending:
            self._answer(batch, pending)

    def _request(self, batch: Batch, index: int) -> _Pending | None:
        """Read one line; None if it has been answered already because it fails or is lost."""
        job = self._work[batch.id]
        raw = job.line(index)
        if index in job.scan.bad:
            self._fail(batch, _custom_id(raw), self._dialect.failure(400, job.scan.bad[index]))
            return None
        shared = None if self._dialect.params_in_lines else batch.params
        custom_id, groups, params = read_line(raw, batch.endpoint, shared, self._options)
        flat = [text for group in groups for text in group]
        hit = (
            batch.hits.get("job_all_failed")
            or self._unusable(batch, index + 1)
            or self._faults.line(batch.number, index + 1, custom_id, flat, inapplicable(batch.params))
        )
        if batch.params.as_base64 and self._options.encoding_format == "rejected_by_line":
            self._fail(batch, custom_id, self._dialect.failure(400, NOT_SUPPORTED))
            return None
        try:
            work = batch.endpoint.prepare(groups, params)
        except ApiError as error:
            self._fail(batch, custom_id, self._dialect.failure(error.status, error.detail))
            return None
        if hit is not None and self._faulty(batch, custom_id, hit):
            return None
        return _Pending(custom_id, params, work, hit)

    def _unusable(self, batch: Batch, number: int) -> Hit | None:
        """Whether the job spoils this line, for those who look now; the rule's time is that of the job's creation."""

        def fits(params: FaultParams) -> bool:
            drawn = self._faults.chance("job_unusable", batch.number, number)
            return drawn < params["share"] and unusable(params["how"], batch.params)

        return self._faults.item("job_unusable", batch.item, batch.plan.created_us, fits)

    def _faulty(self, batch: Batch, custom_id: str, hit: Hit) -> bool:
        """Apply a fault that keeps a line from being answered; True if it was one."""
        match hit.fault:
            case "line_missing":
                batch.completed += 1
            case "line_expired":
                self._fail(batch, custom_id, _EXPIRED)
            case "line_refused":
                self._refuse(batch, custom_id, hit)
            case "line_server_error" | "job_all_failed":
                self._fail(batch, custom_id, self._dialect.failure(hit["status"], hit["message"]))
            case "line_error_in_output":
                self._fail_in_output(batch, custom_id, self._dialect.failure(hit["status"], hit["message"]))
            case _:
                return False
        return True

    def _refuse(self, batch: Batch, custom_id: str, hit: Hit) -> None:
        """A line that is refused, in one of the shapes that the pages leave open."""
        refusal = self._dialect.failure(hit["status"], hit["message"])
        match self._options.refused_lines:
            case "message":
                self._fail(batch, custom_id, refusal)
            case "body":
                response = {"status_code": hit["status"], "body": {"detail": hit["message"]}}
                self._fail(batch, custom_id, {"response": response, "error": None})
            case "output":
                self._fail_in_output(batch, custom_id, refusal)

    def _fail_in_output(self, batch: Batch, custom_id: str, outcome: dict[str, Any]) -> None:
        batch.failed += 1
        self._work[batch.id].output.append(self._line(batch, custom_id, outcome))

    def _answer(self, batch: Batch, pending: Iterable[_Pending]) -> None:
        """Embed the texts of all pending requests at once and write their lines."""
        for params, alike in itertools.groupby(pending, key=lambda item: item.params):
            self._answer_alike(batch, params, list(alike))

    def _answer_alike(self, batch: Batch, params: Params, pending: list[_Pending]) -> None:
        vectors = self._embed([text for item in pending for text in item.work.texts], params)
        at = 0
        for item in pending:
            count = len(item.work.texts)
            body = item.work.answer(vectors[at : at + count])
            at += count
            body["usage"] = self._dialect.usage(item.work.tokens)
            spoilt = item.hit is not None and item.hit.fault in SPOILING
            self._ledger.bill(params.fingerprint, batch.id, item.work.units, spoilt=spoilt)
            batch.completed += 1
            self._work[batch.id].output.append(self._lines(batch, item, body))

    def _lines(self, batch: Batch, item: _Pending, body: dict[str, Any]) -> bytes:
        """The output line of a request, or lines where a fault adds one."""
        fault = item.hit.fault if item.hit is not None else None
        if item.hit is not None and fault in SPOILING:
            changed = fault == "job_unusable" and item.hit["how"] == "ids_changed"
            shown_id = f"changed-{item.custom_id}" if changed else item.custom_id
            return spoilt_line(
                item.hit, body, lambda b: self._line(batch, shown_id, self._dialect.success(b))
            )
        if item.hit is not None and fault == "line_usage":
            body = with_usage(body, item.hit["value"])
        line = self._line(batch, item.custom_id, self._dialect.success(body))
        if fault == "line_duplicate":
            return line + line
        if item.hit is not None and fault == "line_foreign_id":
            return line + self._line(batch, item.hit["custom_id"], self._dialect.success(body))
        return line

    def _fail(self, batch: Batch, custom_id: str | None, outcome: dict[str, Any]) -> None:
        batch.failed += 1
        self._work[batch.id].errors.append(self._line(batch, custom_id, outcome))

    def _line(self, batch: Batch, custom_id: str | None, outcome: dict[str, Any]) -> bytes:
        line = self._dialect.line(batch.id, custom_id, outcome)
        return orjson.dumps(line, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)

    def _close(self, batch: Batch) -> None:
        """The job is over: give the rest of its lines up and make its result files."""
        batch.finished = True
        if not batch.invalid:
            self._give_up_rest(batch)
            job = self._work[batch.id]
            if job.output.size or (self._options.empty_output_file and batch.cancel_us is None):
                batch.output_file_id = self._result(batch, job.output, "batch-output")
            if job.errors.size or self._options.empty_error_file:
                batch.error_file_id = self._result(batch, job.errors, "batch-error")
        del self._work[batch.id]  # from now on the bytes live as long as their files

    def _give_up_rest(self, batch: Batch) -> None:
        """Write the lines that were not worked off into the error file."""
        stop_us = batch.cancel_us
        if stop_us is not None and (
            stop_us < batch.plan.validated_us or not self._options.cancelled_lines_in_error_file
        ):
            return
        for position in range(batch.done, batch.lines):
            raw = self._work[batch.id].line(line_at(batch, position, self._options))
            self._fail(batch, _custom_id(raw), _EXPIRED if stop_us is None else _CANCELLED)

    def _result(self, batch: Batch, blob: Blob, purpose: Purpose) -> str:
        name = f"batch_{batch.id}_{purpose.removeprefix('batch-')}"
        return self._files.add(name, purpose, blob, batch.ends_us(), batch.item).id


_EXPIRED = {
    "response": None,
    "error": {
        "code": "batch_expired",
        "message": "The request was not executed before the window ended.",
    },
}
_CANCELLED = {
    "response": None,
    "error": {
        "code": "batch_cancelled",
        "message": "The request was not executed: the batch was cancelled.",
    },
}


def line_at(batch: Batch, position: int, options: Options) -> int:
    """Which line of the input comes at this position of the results.

    A stride that shares no factor with the number of lines visits each line once, far from its neighbours.
    """
    total = batch.lines
    if not options.shuffle_output or total < 2:
        return position
    stride = max(1, int(total * _GOLDEN))
    while math.gcd(stride, total) != 1:
        stride += 1
    return (total - 1 - position * stride + batch.number) % total


def _custom_id(raw: bytes) -> str | None:
    """The custom id of a line that may be anything."""
    try:
        found = orjson.loads(raw).get("custom_id")
    except (orjson.JSONDecodeError, AttributeError):
        return None
    return found if isinstance(found, str) else None
