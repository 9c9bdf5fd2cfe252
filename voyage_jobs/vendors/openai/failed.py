"""Why a job of OpenAI's failed before anything of it ran. Pure.

A job that would bring more tokens into the queue than the account may have there is created, and fails in validation
(in some regions of Azure the create call is refused, under the same code): its lines are sound, and nothing of it is
billed. The words name the limit: OpenAI's "Enqueued token limit reached for text-embedding-3-small in organization
org-... Limit: 3,000,000 enqueued tokens. ...", Azure's "The number of enqueued tokens has surpassed the configured
limit of 30K for the deployment ...".
"""

from __future__ import annotations

import re

from voyage_jobs.core.bounds import MOST
from voyage_jobs.errors import NoRoomError
from voyage_jobs.vendors.remote import Blame, RemoteBatch, Verdict

_OF_THE_MODEL = frozenset({"model_not_found"})
_OF_THE_JOB = frozenset(
    {"mismatched_model", "model_mismatch", "url_mismatch", "insufficient_quota", "billing_hard_limit_reached"}
)
"""Codes of what no other job with the same parameters would escape."""
_LIMIT = re.compile(r"\blimit(?::| of)\s*([0-9][0-9,]{0,17}(?:\.[0-9]{1,3})?)\s?([KMB]?)\b", re.IGNORECASE)
_TIMES = {"": 1, "K": 1_000, "M": 1_000_000, "B": 1_000_000_000}


def judge(failed: RemoteBatch) -> Verdict:
    """Nobody's fault where there was no room, the model's or the job's where all complaints are about these, else that
    of lines."""
    full = [error.message for error in failed.errors if error.code == NoRoomError.code]
    if full:
        return Verdict(Blame.NOBODY, most_tokens=_named_in(full[0]))
    for blame, codes in ((Blame.MODEL, _OF_THE_MODEL), (Blame.JOB, _OF_THE_JOB)):
        if failed.errors and all(error.code in codes for error in failed.errors):
            return Verdict(blame)
    return Verdict(Blame.LINES)


def _named_in(message: str) -> int:
    """The limit in the words; as good as none where they name none."""
    found = _LIMIT.search(message)
    if found is None:
        return MOST
    return min(MOST, int(float(found[1].replace(",", "")) * _TIMES[found[2].upper()]))
