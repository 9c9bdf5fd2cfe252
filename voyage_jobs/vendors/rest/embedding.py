"""The answer of a synchronous embedding call, as `search` needs it for its query. Pure.

The answer of a synchronous call is the `body` of a line of a results file, so it is judged by the same
reader.
"""

from __future__ import annotations

import io

from voyage_jobs.core.profile import Profile
from voyage_jobs.errors import BadAnswerError
from voyage_jobs.vendors.base import Embedded

_ID = "0"
_FLAWS = {
    "all_zero": "all numbers of one are zero",
    "not_finite": "one has a number that is infinite or NaN",
    "wrong_length": "one does not have length 1, as those of this model have",
}
"""In words, what is wrong with vectors of the right shape; other flaws are told by their code."""


def read_embedded(answer: bytes, count: int, profile: Profile) -> Embedded:
    """The vectors in an answer. Raises BadAnswerError unless they are `count` sound ones, right in width."""
    from voyage_jobs.vendors.rest.results import read_results
    from voyage_jobs.vendors.result_block import Expectation

    # Spread over lines it would be several lines; a line break within a JSON text is never part of a value.
    body = answer.replace(b"\n", b" ")
    line = b'{"custom_id":"%s","response":{"status_code":200,"body":%s}}' % (_ID.encode(), body)
    [block] = read_results(io.BytesIO(line), Expectation(profile, {_ID: count}.get))
    if block.problems:
        code = block.problems[0].code
        raise BadAnswerError(f"its vectors are invalid: {_FLAWS.get(code, code)}")
    return Embedded(block.vectors, block.tokens[0])
