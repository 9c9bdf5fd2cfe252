"""Reranking, in a call as `search` makes it and in batches: what to send, and what came back. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from voyage_jobs.core.profile import RERANK
from voyage_jobs.core.usage import plausible
from voyage_jobs.errors import BadAnswerError
from voyage_jobs.vendors.base import Reranked, Wanted
from voyage_jobs.vendors.rest.lines import object_in, written
from voyage_jobs.vendors.rest.wire import parse_json


def rerank_body(query: str, texts: Sequence[str], model: str) -> dict[str, Any]:
    """The body to post. What is longer than the model's context is cut by Voyage, not refused."""
    return {"query": query, "documents": list(texts), "model": model, "truncation": True}


def read_reranked(answer: bytes, count: int) -> Reranked:
    """The scores in an answer, in the order of the texts. Raises BadAnswerError unless each text has one."""
    found = parse_json(answer)
    if not isinstance(found, dict):
        raise BadAnswerError("it is not an object")
    usage = found.get("usage")
    tokens = plausible(usage.get("total_tokens")) if isinstance(usage, dict) else None
    return Reranked(scores_in(found, count), tokens)


def scores_in(body: dict[str, Any], count: int) -> list[float]:
    """The scores in the body of an answer, in the order of the texts. Raises BadAnswerError unless each has one."""
    rows = body.get("data")
    if not isinstance(rows, list):
        raise BadAnswerError("it has no list of scores")
    scores: dict[int, float] = {}
    for row in rows:
        index, score = (
            (row.get("index"), row.get("relevance_score")) if isinstance(row, dict) else (None, None)
        )
        if type(index) is not int or not 0 <= index < count or index in scores:
            raise BadAnswerError("one of its scores is for a text that was not sent")
        if not isinstance(score, int | float) or isinstance(score, bool) or not math.isfinite(score):
            raise BadAnswerError("one of its scores is not a number")
        scores[index] = float(score)
    if len(scores) != count:
        raise BadAnswerError(f"it has {len(scores)} scores for {count} texts")
    return [scores[at] for at in range(count)]


# --- in batches: the texts of a line are the query and what is scored for it, and each has a row ---


def rerank_line(custom_id: str, texts: Sequence[str]) -> bytes:
    """The line that asks for scores. Raises ValueError for less than a query and a text."""
    if len(texts) < 2:
        raise ValueError(f"{RERANK} has no line for {len(texts)} texts")
    body = {"query": texts[0], "documents": list(texts[1:])}
    return written(custom_id, {"custom_id": custom_id, "body": body}, texts)


def rerank_asked_in(line: bytes) -> Wanted | None:
    """What such a line asks for; None if it is none."""
    read = object_in(line)
    custom_id, body = read.get("custom_id"), read.get("body")
    if not isinstance(custom_id, str) or not isinstance(body, dict):
        return None
    query, documents = body.get("query"), body.get("documents")
    if not isinstance(documents, list) or not documents:
        return None
    texts = [query, *documents]
    return Wanted(custom_id, texts) if all(isinstance(text, str) for text in texts) else None


def scores_answered_in(line: bytes) -> tuple[str, int] | None:
    """The id of a line of a result file, and how many rows it brings; None without an id."""
    read = object_in(line)
    custom_id = read.get("custom_id")
    if not isinstance(custom_id, str):
        return None
    try:
        return custom_id, 1 + len(read["response"]["body"]["data"])
    except (KeyError, IndexError, TypeError):
        return custom_id, 1
