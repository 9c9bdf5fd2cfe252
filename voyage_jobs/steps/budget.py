"""The limits of a run, and what the next batch may cost: `diagnosis/rooms.py` says what each limit still allows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from voyage_jobs.core.clock import now_us
from voyage_jobs.diagnosis.rooms import Room, rooms
from voyage_jobs.state import batches, meta

if TYPE_CHECKING:
    from voyage_jobs.state.backlog import WantedEmbedding
    from voyage_jobs.steps.context import Context

# --- a run ---


def begin_run(
    context: Context, usd: float | None = None, tokens: int | None = None, inputs: int | None = None
) -> None:
    """From here on, until the next run begins, these limits and those of the configuration hold for what is sent.

    That of `inputs` is noted here, and kept to by who assembles.
    """
    set_ = _limits_set(context)
    limits = {"usd": tighter(usd, set_["usd"]), "tokens": tighter(tokens, set_["tokens"])}
    by_option = [unit for unit in limits if limits[unit] != set_[unit]]
    with context.store.write() as tx:
        newest = batches.newest(tx.connection, 1)
        after = newest[0].id if newest else 0
        run = {"after_batch": after, **limits, "inputs": inputs, "by_option": by_option}
        meta.put(tx, meta.RUN_BUDGET, json.dumps(run))


def assembled_earlier(connection: Any) -> int | None:
    """The newest batch of an earlier run, if this one has limits: what was not sent up to it is assembled again,
    within them."""
    run = json.loads(meta.get(connection, meta.RUN_BUDGET) or "{}")
    limited = any(run.get(unit) is not None for unit in ("usd", "tokens", "inputs"))
    return run["after_batch"] if limited else None


def renew_run(context: Context) -> None:
    """Take up other limits of a run in the middle of it; what it has sent still counts."""
    with context.store.write() as tx:
        note = meta.get(tx.connection, meta.RUN_BUDGET)
        if note is not None:
            run = {**json.loads(note), **_limits_set(context), "by_option": []}
            meta.put(tx, meta.RUN_BUDGET, json.dumps(run))


def _limits_set(context: Context) -> dict[str, float | None]:
    limits = context.settings.budget
    return {"usd": limits.run_usd, "tokens": limits.run_tokens}


def tighter(one: float | None, other: float | None) -> float | None:
    """The smaller of two limits, either of which may be none."""
    return min((limit for limit in (one, other) if limit is not None), default=None)


class Allowance:
    """What the next batch may cost. `tokens` is None without a limit; `take` keeps each source within its own."""

    def __init__(self, found: list[Room]) -> None:
        left = [room.tokens for room in found if room.source_id is None]
        self.tokens = max(0, min(left)) if left else None
        self._left: dict[int, int] = {}
        for room in found:
            if room.source_id is not None:
                least = min(room.tokens, self._left.get(room.source_id, room.tokens))
                self._left[room.source_id] = least
        self.shut = {source_id for source_id, tokens in self._left.items() if tokens <= 0}
        """Sources that may send nothing, or nothing more."""

    def take(self, source_id: int | None, tokens: int) -> bool:
        """Spend tokens of a source, if it has them; else it is shut, so that what comes later does not overtake."""
        if source_id is None or source_id not in self._left:
            return True
        if source_id in self.shut or tokens > self._left[source_id]:
            self.shut.add(source_id)
            return False
        self._left[source_id] -= tokens
        return True


def allowance(context: Context, connection: Any) -> Allowance:
    """What may be sent now."""
    return at_price(context, connection, context.price)


def at_price(context: Context, connection: Any, price: float | None) -> Allowance:
    """The same at another price, in USD per million tokens: that of synchronous calls."""
    return Allowance(list(rooms(connection, context.settings, price, now_us(context.clock))))


def allows(allowance: Allowance, members: Sequence[WantedEmbedding]) -> bool:
    """Whether so much may be sent, all of it: asked once more in the transaction that reserves."""
    total = sum(member.tokens for member in members)
    if allowance.tokens is not None and total > allowance.tokens:
        return False
    return all(allowance.take(member.source_id, member.tokens) for member in members)


def tokens_left(context: Context, connection: Any) -> int | None:
    """Tokens that the limits on everything still allow; None if there is none. Never below 0."""
    return allowance(context, connection).tokens
