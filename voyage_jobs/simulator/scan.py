"""Validation of an input file: every line is read once, its place is remembered, its faults are named."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any

import orjson

from voyage_jobs.simulator.blobs import Blob
from voyage_jobs.simulator.dialects import dialect
from voyage_jobs.simulator.endpoints import Endpoint, Groups
from voyage_jobs.simulator.messages import ApiError, SchemaError
from voyage_jobs.simulator.options import Options
from voyage_jobs.simulator.params import Params, parse_params

_MOST_ERRORS = 100
_BOM = b"\xef\xbb\xbf"


class LineError(Exception):
    """A line that fails validation. The codes are the simulator's own: the provider lists none."""

    def __init__(self, code: str, message: str, line: int | None = None, param: str | None = None) -> None:
        self.code, self.message, self.line, self.param = code, message, line, param
        super().__init__(message)

    def as_json(self) -> dict[str, Any]:
        """One entry of a batch's `errors`."""
        return {"code": self.code, "line": self.line, "message": self.message, "param": self.param}


@dataclass
class Scan:
    """What is known of an input file: where its lines are, what they hold, which are bad (from 0)."""

    starts: array[int] = field(default_factory=lambda: array("q"))
    lengths: array[int] = field(default_factory=lambda: array("q"))
    texts: int = 0
    tokens: int = 0
    errors: list[LineError] = field(default_factory=list)
    bad: dict[int, str] = field(default_factory=dict)
    params: Params | None = None
    """Of the job, or else of its first line that is right."""

    def __len__(self) -> int:
        return len(self.starts)

    def inputs(self, options: Options) -> int:
        """How many inputs the cap per batch counts."""
        return self.texts if options.inputs_are == "texts" else len(self)


def read_line(
    line: bytes, endpoint: Endpoint, params: Params | None, options: Options
) -> tuple[str, Groups, Params]:
    """The custom id, the texts and the parameters of one line, which are its own if the job has none.

    Raises LineError.
    """
    keys = dialect(options).line_keys
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as exc:
        raise LineError("invalid_json", f"The line is not valid JSON: {exc}.") from None
    if not isinstance(value, dict):
        raise LineError("invalid_json", "The line is not a JSON object.")
    for key in keys:
        if key not in value:
            raise LineError("missing_key", f"The line has no '{key}'.", param=key)
    extra = sorted(set(value) - set(keys))
    if extra:
        raise LineError("unknown_key", f"The line has an unknown key '{extra[0]}'.", param=extra[0])
    custom_id, body = value["custom_id"], value["body"]
    if not isinstance(custom_id, str) or not custom_id:
        raise LineError("invalid_custom_id", "'custom_id' must be a non-empty string.", param="custom_id")
    if not isinstance(body, dict):
        raise LineError("invalid_body", "'body' must be an object.", param="body")
    if "url" in keys and (value["method"], value["url"]) != ("POST", endpoint.path):
        raise LineError("mismatched_endpoint", f"The line is not for POST {endpoint.path}.", param="url")
    try:
        if params is None:
            rest = {key: body.pop(key) for key in body.keys() - endpoint.data_keys}
            params = parse_params(rest, endpoint.kind, options)
        return custom_id, endpoint.read(body, params, bare_string=options.bare_string_input), params
    except SchemaError as exc:
        raise LineError("invalid_body", exc.detail, param=exc.field_name) from None
    except ApiError as exc:
        raise LineError(exc.code or "invalid_body", exc.detail) from None


def scan(blob: Blob, endpoint: Endpoint, params: Params | None, options: Options) -> Scan:
    """Read a whole input file in one pass."""
    result = Scan(params=params)
    seen: set[str] = set()
    for offset, raw in blob.lines():
        line = raw.removeprefix(_BOM) if offset == 0 and options.blank_lines else raw
        if options.blank_lines and not line.strip():
            continue
        result.starts.append(offset + len(raw) - len(line))
        result.lengths.append(len(line))
        try:
            custom_id, groups, own = read_line(line, endpoint, params, options)
            _check_new(custom_id, seen)
            _check_model(result, own)
            _count(result, groups, own)
        except LineError as error:
            error.line = len(result)
            result.bad[len(result) - 1] = error.message
            if len(result.errors) < _MOST_ERRORS:
                result.errors.append(error)
    if not len(result):
        result.errors.append(LineError("empty_file", "The input file has no lines."))
    return result


def _check_new(custom_id: str, seen: set[str]) -> None:
    if custom_id in seen:
        raise LineError("duplicate_custom_id", f"'{custom_id}' is not unique.", param="custom_id")
    seen.add(custom_id)


def _check_model(result: Scan, own: Params) -> None:
    result.params = result.params or own
    if own.model != result.params.model:
        first = result.params.model.name
        raise LineError("mismatched_model", f"All lines of a batch name one model; the first is {first}.")


def _count(result: Scan, groups: Groups, params: Params) -> None:
    """Add a line's texts and tokens; a reranker's query counts once per document."""
    tokens = [[min(params.tokens.count(text), params.model.context) for text in group] for group in groups]
    result.texts += sum(map(len, groups))
    if params.model.kind == "rerank":
        result.texts -= 1
        tokens[0][0] *= len(groups[1])
    result.tokens += sum(map(sum, tokens))
