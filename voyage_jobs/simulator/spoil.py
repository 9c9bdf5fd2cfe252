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

_VECTOR_FAULTS = frozenset({"line_wrong_dimension", "line_nan", "line_all_zero"})
SPOILING = _VECTOR_FAULTS | {"line_without_data", "line_not_json"}
_NAN = struct.pack("<f", float("nan"))


@lru_cache(maxsize=64)
def inapplicable(params: Params) -> frozenset[str]:
    """The line faults that make no sense for these parameters: whole numbers have no NaN, and so on."""
    if params.model.kind == "rerank":
        return _VECTOR_FAULTS
    none = set()
    if params.dtype != "float":
        none.add("line_nan")
    if params.dtype in ("uint8", "binary"):
        none.add("line_all_zero")
    return frozenset(none)


def spoilt_line(hit: Hit, body: dict[str, Any], write: Callable[[dict[str, Any]], bytes]) -> bytes:
    """The output line of a request with its result spoilt; `write` makes a line of a body."""
    match hit.fault:
        case "line_without_data":
            return write({key: value for key, value in body.items() if key != "data"})
        case "line_not_json":
            line = write(body)
            return line[: len(line) // 2] + b"\n"
    row = body["data"][0]
    row = row["data"][0] if row["object"] == "list" else row
    row["embedding"] = _spoilt(hit.fault, row["embedding"])
    line = write(body)
    if hit.fault == "line_nan":
        # orjson writes NaN as null; the usual Python server writes the bare word
        line = line.replace(b'"embedding":[null', f'"embedding":[{hit["literal"]}'.encode(), 1)
    return line


def _spoilt(fault: str, vector: Any) -> Any:
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
