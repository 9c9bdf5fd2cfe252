"""The lines of files: what asks for one embedding is written, and read back where a state was lost.

A line has exactly the two keys that the Voyage batch guide names, `custom_id` and `body`, and the body holds
nothing but the input: model, dimension and the rest are parameters of the job.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from voyage_jobs.core.profile import CONTEXTUALIZED, EMBEDDINGS, Profile
from voyage_jobs.vendors.base import Wanted

# Legal inside a JSON string, yet taken for the end of a line by tools that split text the Unicode way.
_UNICODE_LINE_ENDS = ("\u2028", "\u2029", "\u0085")


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
    return written(custom_id, {"custom_id": custom_id, "body": body}, texts)


def written(custom_id: str, asked: dict[str, Any], texts: Sequence[str]) -> bytes:
    """A line of JSON that no tool takes for two. Raises ValueError for a text that has no UTF-8 form."""
    try:
        line = orjson.dumps(asked, option=orjson.OPT_APPEND_NEWLINE)
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


def asked_in(line: bytes) -> Wanted | None:
    """What a line of an input file asks for; None if it is none."""
    read = object_in(line)
    custom_id, body = read.get("custom_id"), read.get("body")
    if not isinstance(custom_id, str) or not isinstance(body, dict):
        return None
    texts = body.get("input")
    if texts is None and isinstance(body.get("inputs"), list) and len(body["inputs"]) == 1:
        texts = body["inputs"][0]
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        return None
    return Wanted(custom_id, texts)


def answered_in(line: bytes, profile: Profile) -> tuple[str, int] | None:
    """The id of a line of a result file, and how many vectors it brings: 1 where it brings none; None without an id."""
    read = object_in(line)
    custom_id = read.get("custom_id")
    if not isinstance(custom_id, str):
        return None
    if not profile.contextualized:
        return custom_id, 1
    try:
        return custom_id, max(1, len(read["response"]["body"]["data"][0]["data"]))
    except (KeyError, IndexError, TypeError):
        return custom_id, 1


def object_in(line: bytes) -> dict[str, Any]:
    """The object in a line of JSON; an empty one if there is none."""
    try:
        read = orjson.loads(line)
    except orjson.JSONDecodeError:
        return {}
    return read if isinstance(read, dict) else {}
