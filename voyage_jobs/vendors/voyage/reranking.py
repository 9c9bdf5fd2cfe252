"""A rerank call, as `search` makes it: what to send, and what came back. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from voyage_jobs.core.usage import plausible
from voyage_jobs.errors import BadAnswerError
from voyage_jobs.vendors.base import Reranked
from voyage_jobs.vendors.rest.wire import parse_json


def rerank_body(query: str, texts: Sequence[str], model: str) -> dict[str, Any]:
    """The body to post. What is longer than the model's context is cut by Voyage, not refused."""
    return {"query": query, "documents": list(texts), "model": model, "truncation": True}


def read_reranked(answer: bytes, count: int) -> Reranked:
    """The scores in an answer, in the order of the texts. Raises BadAnswerError unless each text has one."""
    found = parse_json(answer)
    rows = found.get("data") if isinstance(found, dict) else None
    if not isinstance(rows, list):
        raise BadAnswerError("it has no list of scores")
    scores: dict[int, float] = {}
    for row in rows:
        index, score = (
            (row.get("index"), row.get("relevance_score")) if isinstance(row, dict) else (None, None)
        )
        if type(index) is not int or not 0 <= index < count or index in scores:
            raise BadAnswerError("one of its scores is of no text that was sent")
        if not isinstance(score, int | float) or isinstance(score, bool) or not math.isfinite(score):
            raise BadAnswerError("one of its scores is no number")
        scores[index] = float(score)
    if len(scores) != count:
        raise BadAnswerError(f"it has {len(scores)} scores for {count} texts")
    usage = found.get("usage")
    tokens = plausible(usage.get("total_tokens")) if isinstance(usage, dict) else None
    return Reranked([scores[at] for at in range(count)], tokens)
