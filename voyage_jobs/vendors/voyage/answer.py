"""A synchronous call for many texts: what to send, and what came back. Pure.

An answer is taken apart into the lines that a results file would have, one for each request in it, and judged by the
reader of those: so every vector meets the same checks, and a bad one does not take its neighbours with it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from voyage_jobs.errors import BadAnswerError
from voyage_jobs.profile import Profile
from voyage_jobs.usage import plausible
from voyage_jobs.vendors.base import Answer, Wanted, most_tokens
from voyage_jobs.vendors.result_block import Expectation
from voyage_jobs.vendors.voyage.models import find
from voyage_jobs.vendors.voyage.results import read_results


def call_body(wanted: Sequence[Wanted], params: Mapping[str, Any], profile: Profile) -> dict[str, Any]:
    """The body to post. `params` are what a job would have as `request_params`."""
    if profile.contextualized:
        return {"inputs": [list(each.texts) for each in wanted], **params}
    return {"input": [each.texts[0] for each in wanted], **params}


def read_answer(body: bytes, wanted: Sequence[Wanted], profile: Profile) -> Answer:
    """Judge an answer, text by text. Raises BadAnswerError if it cannot be told which part answers which text."""
    said, rows = _rows(body, len(wanted))
    lines = io.BytesIO(b"".join(_line(wanted[index].custom_id, row, profile) for index, row in rows))
    counts = {each.custom_id: len(each.texts) for each in wanted}
    blocks = list(read_results(lines, Expectation(profile, counts.get)))
    problems = {p.custom_id: p for block in blocks for p in block.problems if p.custom_id is not None}
    usage = said.get("usage")
    reported = usage.get("total_tokens") if isinstance(usage, dict) else None
    return Answer(blocks, problems, plausible(reported, most_tokens(find(profile.model))))


def _rows(body: bytes, count: int) -> tuple[dict[str, Any], list[tuple[int, dict[str, Any]]]]:
    """The answer, and its parts with the place of the text that each answers."""
    try:
        said = json.loads(body)  # unlike others it knows the NaN that Python servers write
    except (ValueError, RecursionError):
        raise BadAnswerError("it is not JSON") from None
    rows = said.get("data") if isinstance(said, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BadAnswerError("it has no data")
    if len(rows) != count:
        raise BadAnswerError(f"it brings {len(rows)} results for {count} texts")
    places = [row.get("index") for row in rows]
    if not all(type(place) is int for place in places) or sorted(places) != list(range(count)):
        raise BadAnswerError("it does not number its results")
    return said, sorted(zip(places, rows, strict=True), key=lambda each: each[0])


def _line(custom_id: str, row: dict[str, Any], profile: Profile) -> bytes:
    """One part of an answer as a line of a results file. Tokens are told of the whole alone."""
    data = [row if profile.contextualized else {**row, "index": 0}]
    response = {"status_code": 200, "body": {"data": data, "usage": {"total_tokens": 0}}}
    return json.dumps({"custom_id": custom_id, "response": response}).encode() + b"\n"
