"""Results that are wrong although the request was completed (and billed)."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from voyage_jobs.simulator.faults import Hit
from voyage_jobs.simulator.params import Params

_VECTOR_FAULTS = frozenset({"line_wrong_dimension", "line_nan", "line_all_zero", "line_norm"})
SPOILING = _VECTOR_FAULTS | {"line_without_data", "line_not_json", "job_unusable"}
_HUGE = 1 << 63  # one more than SQLite holds
_NAN = struct.pack("<f", float("nan"))


@lru_cache(maxsize=64)
def inapplicable(params: Params) -> frozenset[str]:
    """The line faults that make no sense for these parameters: whole numbers have no NaN, and so on."""
    if params.model.kind == "rerank":
        return _VECTOR_FAULTS
    none: set[str] = set()
    if params.dtype != "float":
        none.update(("line_nan", "line_norm"))
    if params.dtype in ("uint8", "binary"):
        none.add("line_all_zero")
    return frozenset(none)


def unusable(how: str, params: Params) -> bool:
    """Whether results of these parameters can become unusable in that way: scores of a reranker have no vectors."""
    return params.model.kind != "rerank" or how not in ("wrong_dimension", "format")


def with_usage(body: dict[str, Any], value: str) -> dict[str, Any]:
    """A body whose usage is odd."""
    tokens = body["usage"]["total_tokens"]
    if value == "missing":
        return {key: part for key, part in body.items() if key != "usage"}
    if value == "null":
        return body | {"usage": None}
    values = {"string": str(tokens), "negative": -tokens, "huge": _HUGE, "zero": 0}
    return body | {"usage": {"total_tokens": values[value]}}


def spoilt_line(hit: Hit, body: dict[str, Any], write: Callable[[dict[str, Any]], bytes]) -> bytes:
    """The output line of a request with its result spoilt; `write` makes a line of a body."""
    fault = f"line_{hit['how']}" if hit.fault == "job_unusable" else hit.fault
    match fault:
        case "line_ids_changed":
            return write(body)
        case "line_format":
            return write(_renamed(body))
        case "line_without_data":
            return write({key: value for key, value in body.items() if key != "data"})
        case "line_not_json":
            line = write(body)
            return line[: len(line) // 2] + b"\n"
    row = body["data"][0]
    row = row["data"][0] if row["object"] == "list" else row
    row["embedding"] = _spoilt(fault, row["embedding"], hit)
    line = write(body)
    if hit.fault == "line_nan":
        # orjson writes NaN as null; the usual Python server writes the bare word
        line = line.replace(b'"embedding":[null', f'"embedding":[{hit["literal"]}'.encode(), 1)
    return line


def _renamed(body: dict[str, Any]) -> dict[str, Any]:
    """A body with its vectors under another field, as after a change of format."""
    renamed = {"vector" if key == "embedding" else key: value for key, value in body.items()}
    if isinstance(body.get("data"), list):
        renamed["data"] = [_renamed(row) for row in body["data"]]
    return renamed


def _spoilt(fault: str, vector: Any, hit: Hit) -> Any:
    if fault == "line_norm":
        return _scaled(vector, hit["factor"])
    if isinstance(vector, str):
        data = base64.b64decode(vector)
        spoilt = {
            "line_wrong_dimension": data + data,
            "line_all_zero": bytes(len(data)),
            "line_nan": _NAN + data[4:],
        }
        return base64.b64encode(spoilt[fault]).decode()
    if fault == "line_wrong_dimension":
        return np.concatenate([vector, vector])
    changed = np.zeros_like(vector) if fault == "line_all_zero" else vector.copy()
    if fault == "line_nan":
        changed[0] = np.nan
    return changed


def _scaled(vector: Any, factor: float) -> Any:
    """The vector times `factor`, in the precision it has."""
    raw = isinstance(vector, str)
    numbers = np.frombuffer(base64.b64decode(vector), "<f4") if raw else vector
    scaled = (numbers.astype(np.float64) * factor).astype(np.float32)
    return base64.b64encode(scaled.tobytes()).decode() if raw else scaled
