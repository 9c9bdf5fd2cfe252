"""When a batch is worth a job: there are few of these, and a small one keeps a place as long as a full one does. Pure.

One that is full goes at once. Of one that is not it depends on what is known: whether a scan may bring more, how many
jobs are in flight, and how much room they leave. Assembling, `status` and whoever waits for the next batch ask here.
"""

from __future__ import annotations

from typing import Protocol

from voyage_jobs.config.sections import BatchingSettings
from voyage_jobs.core.clock import US

LEAST_SHARE = 40
"""A batch for which the tokens in flight leave less than this part of what they may be waits for more room."""


EAGER_S = 60
"""So long a `sync` waits for more at the least, whatever lingers: it is asked for once, not for what is newest."""


class Backlog(Protocol):
    """What waits to be sent."""

    @property
    def embeddings(self) -> int:
        """How many."""

    @property
    def oldest_at(self) -> int | None:
        """Since when the first of them waits, in microseconds."""


def is_crowded(batching: BatchingSettings, jobs: int, most_tokens: int, tokens: int) -> bool:
    """Whether the `tokens` in flight leave too little room of `most_tokens` for a batch that is worth a job.

    What is left when a job ends and another takes its room would be filled by crumbs, each of them a job, until these
    were as many as there may be. Enough is what fills the room with as many jobs as there may be, and with 40.
    """
    if not jobs:
        return False
    return most_tokens - tokens < most_tokens // min(LEAST_SHARE, batching.max_in_flight_batches)


def waits_until(
    batching: BatchingSettings,
    waiting: Backlog,
    now: int,
    jobs: int,
    *,
    eager: bool,
    more_coming: bool,
    since: int = 0,
) -> int | None:
    """Until when (microseconds) a batch that is not full is put off; None: it may be made now.

    `eager` (`sync`) lingers only while more is coming, and then at least from `since` on. While more is coming, the
    wait grows with the jobs in flight: the fuller the pipe, the dearer a place in it, and the less is gained by haste.
    """
    oldest_at = waiting.oldest_at or 0
    if more_coming and (eager or jobs):
        begun_at, linger_s = oldest_at, batching.linger_s
        if eager:
            begun_at, linger_s = max(oldest_at, since), max(EAGER_S, linger_s)
        until = begun_at + int(linger_s * US) * (1 + jobs)
    elif eager or waiting.embeddings >= batching.min_inputs:
        return None
    else:
        until = oldest_at + int(batching.linger_s * US)
    # A clock that was set back does not make it linger for hours.
    return until if oldest_at <= now < until else None
