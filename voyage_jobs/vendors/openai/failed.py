"""Why a job of OpenAI's failed before anything of it ran. Pure.

A job that would bring more tokens into the queue than the account may have there is created, and fails in validation:
its lines are sound, and nothing of it is billed. The words name the limit: "Enqueued token limit reached for
text-embedding-3-small in organization org-... Limit: 3,000,000 enqueued tokens. ...".
"""

from __future__ import annotations

import re

from voyage_jobs.core.bounds import MOST
from voyage_jobs.vendors.remote import Blame, RemoteBatch, Verdict

FULL = "token_limit_exceeded"
_OF_THE_JOB = frozenset(
    {"model_not_found", "mismatched_model", "insufficient_quota", "billing_hard_limit_reached"}
)
"""Codes of what no other job with the same parameters would escape."""
_LIMIT = re.compile(r"\blimit:\s*([0-9][0-9,]{0,17})\b", re.IGNORECASE)


def judge(failed: RemoteBatch) -> Verdict:
    """Nobody's fault where there was no room, the job's where all complaints are about it, else that of lines."""
    full = [error.message for error in failed.errors if error.code == FULL]
    if full:
        return Verdict(Blame.NOBODY, most_tokens=_named_in(full[0]))
    if failed.errors and all(error.code in _OF_THE_JOB for error in failed.errors):
        return Verdict(Blame.JOB)
    return Verdict(Blame.LINES)


def _named_in(message: str) -> int:
    """The limit in the words; as good as none where they name none."""
    found = _LIMIT.search(message)
    return MOST if found is None else min(MOST, int(found[1].replace(",", "")))
