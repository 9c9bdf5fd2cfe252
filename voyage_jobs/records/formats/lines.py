"""JSON lines: an object on each."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, BinaryIO

import orjson

from voyage_jobs.records.recipe import Recipe
from voyage_jobs.records.rows import MAX_RECORD_BYTES, NESTED, Fault, Lack, Row
from voyage_jobs.records.template import value_of

_LEAST, _MOST = -(2.0**63), 2.0**64  # a whole number beyond is read as one with a point


def rows(file: BinaryIO, recipe: Recipe) -> Iterator[Row | Fault]:
    """A row for each line that is not blank."""
    inner = [each for each in recipe.fields if "." in each]
    read = partial(file.readline, MAX_RECORD_BYTES + 1)
    for at, line in enumerate(iter(read, b""), 1):
        if len(line) > MAX_RECORD_BYTES and not line.endswith(b"\n"):
            while (rest := read()) and not rest.endswith(b"\n"):
                pass
            yield Fault(at, Lack.TOO_LARGE, f"more than {MAX_RECORD_BYTES:,} bytes")
            continue
        said = line.removeprefix(codecs.BOM_UTF8) if at == 1 else line
        if said and not said.isspace():
            yield _row(at, said, inner)


def _row(at: int, line: bytes, inner: Sequence[str]) -> Row | Fault:
    try:
        found = orjson.loads(line)
        if isinstance(found, dict) and _is_rounded(found, inner):
            found = json.loads(line)
    except RecursionError:
        return Fault(at, Lack.BROKEN, NESTED)
    except ValueError as exc:
        if not isinstance(exc, json.JSONDecodeError):
            return Fault(at, Lack.BROKEN, "a number of thousands of digits")
        lack = Lack.BROKEN if line.endswith(b"\n") else Lack.CUT_SHORT
        return Fault(at, lack, f"no valid JSON at character {exc.pos}")
    if not isinstance(found, dict):
        return Fault(at, Lack.BROKEN, "no object")
    return Row(at, found)


def _is_rounded(values: Mapping[str, Any], inner: Sequence[str]) -> bool:
    asked = [value_of(values, each) for each in inner]
    for value in (*values.values(), *asked) if inner else values.values():
        if type(value) is float and not _LEAST <= value < _MOST:
            return True
    return False
