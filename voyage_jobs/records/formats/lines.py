"""JSON lines: an object on each."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO

import orjson

from voyage_jobs.records.recipe import Recipe
from voyage_jobs.records.rows import MAX_RECORD_BYTES, Fault, Lack, Row


def rows(file: BinaryIO, _recipe: Recipe) -> Iterator[Row | Fault]:
    """A row for each line that is not blank."""
    read = partial(file.readline, MAX_RECORD_BYTES + 1)
    for at, line in enumerate(iter(read, b""), 1):
        if len(line) > MAX_RECORD_BYTES and not line.endswith(b"\n"):
            while (rest := read()) and not rest.endswith(b"\n"):
                pass
            yield Fault(at, Lack.TOO_LARGE, f"more than {MAX_RECORD_BYTES:,} bytes")
            continue
        said = line.removeprefix(codecs.BOM_UTF8) if at == 1 else line
        if said and not said.isspace():
            yield _row(at, said)


def _row(at: int, line: bytes) -> Row | Fault:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError as exc:
        lack = Lack.BROKEN if line.endswith(b"\n") else Lack.CUT_SHORT
        return Fault(at, lack, f"no valid JSON at character {exc.pos}")
    if not isinstance(found, dict):
        return Fault(at, Lack.BROKEN, "no object")
    return Row(at, found)
