"""The task of reading one file by its reader: what a child process carries out for an isolated one."""

from __future__ import annotations

import importlib
import operator
from typing import Any, BinaryIO

import orjson

from voyage_jobs.engine.child import MEMORY_BYTES
from voyage_jobs.readers.reader import Reader, Refusal, Refused
from voyage_jobs.readers.reading import read_here
from voyage_jobs.readers.registry import Registered

MOST_CHARS = 32 << 20


def read(request: bytes, file: BinaryIO) -> dict[str, Any]:
    """The text of a file, or why there is none. The request is (module, class, options) of its reader."""
    try:
        found = read_here(_registered(request), file)
        if len(found.text) > MOST_CHARS:
            return {"refused": [Refusal.LIMIT, f"its text has more than {MOST_CHARS:,} characters"]}
        return {"text": found}
    except Refused as refused:
        return {"refused": [refused.reason, refused.detail]}
    except MemoryError:
        return {"refused": [Refusal.MEMORY, f"more than {MEMORY_BYTES:,} bytes"], "spent": True}


def _registered(request: bytes) -> Registered:
    """The reader that is asked for, by where its class is."""
    module, name, options = orjson.loads(request)
    kind = operator.attrgetter(name)(importlib.import_module(module))
    reader: Reader = kind()
    return Registered(reader, options=options)
