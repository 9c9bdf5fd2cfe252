"""How many tokens may be in flight, where the provider has refused a job for want of room: what that taught.

It holds for one provider and one `batching.max_in_flight_tokens`, and for a time: an account may come to have more.
"""

from __future__ import annotations

import orjson
from sqlalchemy import Connection

from voyage_jobs.core.clock import US
from voyage_jobs.state import meta
from voyage_jobs.state.store import Tx

NAMED_S, GUESSED_S = 7 * 86_400, 86_400
"""How long a limit is kept that the provider named, and one that was concluded."""
LEAST = 10_000
"""No conclusion goes below this, so that a single text always fits."""


def learn(tx: Tx, provider: str, configured: int, named: int, ours: int) -> bool:
    """A job was refused for want of room, `ours` tokens having been in flight with it. Whether `named` explains it.

    If so, it is the limit. Else the account has other jobs, or tokens are counted otherwise there: three quarters of
    what was too much are tried.
    """
    explains = named < ours
    most, kept_s = (named, NAMED_S) if explains else (max(LEAST, ours * 3 // 4), GUESSED_S)
    until = tx.now + kept_s * US
    told = {"provider": provider, "configured": configured, "most": most, "until": until}
    meta.put(tx, meta.MOST_IN_FLIGHT, orjson.dumps(told).decode())
    return explains


def most(connection: Connection, provider: str, configured: int, now: int) -> int:
    """The tokens that may be in flight: as configured, or fewer."""
    found = meta.get(connection, meta.MOST_IN_FLIGHT)
    if found is None:
        return configured
    told = orjson.loads(found)
    is_now = now < told["until"] < now + 2 * NAMED_S * US  # else it was learnt while the clock was far ahead
    holds = (told["provider"], told["configured"]) == (provider, configured) and is_now
    return min(configured, int(told["most"])) if holds else configured
