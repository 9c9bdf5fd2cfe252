"""A batch that is sent at once, as one synchronous call: what to send, and what came back. Pure.

The request is made of the lines of an input file. The answer is taken apart into the lines that a results file would
have, so it is kept, judged and booked as one: every vector meets the same checks, and a bad one does not take its
neighbours with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from voyage_jobs.core.profile import Profile
from voyage_jobs.core.usage import plausible, shares
from voyage_jobs.errors import BadAnswerError
from voyage_jobs.vendors.base import Wanted
from voyage_jobs.vendors.rest.known import most_billed


def call_body(wanted: Sequence[Wanted], params: Mapping[str, Any], profile: Profile) -> dict[str, Any]:
    """The body to post. `params` are what a job would have as `request_params`."""
    if profile.contextualized:
        return {"inputs": [list(each.texts) for each in wanted], **params}
    return {"input": [each.texts[0] for each in wanted], **params}


def result_lines(body: bytes, wanted: Sequence[Wanted], profile: Profile) -> Iterator[bytes]:
    """An answer as the lines of a results file. Raises BadAnswerError if it cannot be told which part answers what.

    An answer tells its tokens as a whole: they are spread over the lines by what these count. Where it tells none that
    can be, the lines have none either.
    """
    said, rows = _rows(body, len(wanted))
    usage = said.get("usage")
    reported = usage.get("total_tokens") if isinstance(usage, dict) else None
    total = plausible(reported, most_billed(profile))
    billed = None if total is None else shares(total, [each.tokens for each in wanted])
    for index, row in rows:
        yield _line(wanted[index].custom_id, row, None if billed is None else billed[index], profile)


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


def _line(custom_id: str, row: dict[str, Any], tokens: int | None, profile: Profile) -> bytes:
    data = [row if profile.contextualized else {**row, "index": 0}]
    usage = {} if tokens is None else {"usage": {"total_tokens": tokens}}
    response = {"status_code": 200, "body": {"data": data, **usage}}
    return json.dumps({"custom_id": custom_id, "response": response}).encode() + b"\n"
