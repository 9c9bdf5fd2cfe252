"""Building the input file of a batch: one JSONL line for each embedding that is asked for.

A line has exactly the two keys that the Voyage batch guide names, `custom_id` and `body`, and the body holds
nothing but the input: model, dimension and the rest are parameters of the job.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from voyage_jobs import durable
from voyage_jobs.crash import crash_point
from voyage_jobs.profile import CONTEXTUALIZED, EMBEDDINGS

# Legal inside a JSON string, yet taken for the end of a line by tools that split text the Unicode way.
_UNICODE_LINE_ENDS = ("\u2028", "\u2029", "\u0085")


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """An input file on disk: its size in `bytes`, its number of `lines` and its SHA-256."""

    path: Path
    bytes: int
    lines: int
    sha256_hex: str


def input_line(custom_id: str, endpoint: str, texts: Sequence[str]) -> bytes:
    """The line that asks for one embedding, with its newline.

    `texts` is the one text of an embedding of /v1/embeddings, or all chunk texts of a window, in order, of
    /v1/contextualizedembeddings. Raises ValueError for another endpoint or number of texts, or for a text
    that has no UTF-8 form.
    """
    body: dict[str, Any]
    if endpoint == EMBEDDINGS and len(texts) == 1:
        body = {"input": list(texts)}
    elif endpoint == CONTEXTUALIZED and texts:
        body = {"inputs": [list(texts)]}
    else:
        raise ValueError(f"{endpoint} has no line for {len(texts)} texts")
    try:
        line = orjson.dumps({"custom_id": custom_id, "body": body}, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError as exc:
        raise ValueError(f"the input of {custom_id} cannot be written as JSON: {exc}") from exc
    for text in texts:
        if not text.isascii() and any(end in text for end in _UNICODE_LINE_ENDS):
            return _escaped(line)
    return line


def _escaped(line: bytes) -> bytes:
    for end in _UNICODE_LINE_ENDS:
        line = line.replace(end.encode(), b"\\u%04x" % ord(end))
    return line


def write_input(path: Path, lines: Iterable[bytes]) -> WrittenFile:
    """Write the lines durably; the same lines make the same bytes. `DiskFullError` leaves nothing behind."""
    digest = hashlib.sha256()
    size = count = 0
    with durable.writing(path, private=True) as out:
        for line in lines:
            out.write(line)
            digest.update(line)
            size += len(line)
            count += 1
        crash_point("spool.written")
    crash_point("spool.renamed")
    return WrittenFile(path=path, bytes=size, lines=count, sha256_hex=digest.hexdigest())
