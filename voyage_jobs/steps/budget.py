"""What may still be spent: by this run, today, this month, by each source; all that is reserved counts as spent.

A day and a month are those of UTC. At the edge the rest waits; nothing goes another, dearer way.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from voyage_jobs.clock import US, now_us
from voyage_jobs.config.sections import BudgetSettings, SourceSettings
from voyage_jobs.config.settings import Settings
from voyage_jobs.state import batches, ledger, notes, sources

if TYPE_CHECKING:
    from voyage_jobs.steps.context import Context

_SPANS = ("daily", "monthly")


class Room(NamedTuple):
    """One limit: its key, the tokens it still allows (below 0: overdrawn), when it starts anew (microseconds UTC).

    `anew_at` is None for the limit of a run: the next run has its own. `source_id` is None for limits on everything.
    `limit` and `used` are in the unit that the key names; what is reserved counts as used.
    """

    key: str
    tokens: int
    anew_at: int | None
    source_id: int | None = None
    limit: float = 0
    used: float = 0


def _day_start_us(now: int) -> int:
    day = datetime.fromtimestamp(now / US, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return int(day.timestamp() * US)


def _month_start_us(now: int) -> int:
    month = datetime.fromtimestamp(now / US, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return int(month.timestamp() * US)


def next_start_us(now: int, *, month: bool) -> int:
    """When the next UTC day or month begins."""
    if not month:
        return _day_start_us(now) + int(timedelta(days=1).total_seconds() * US)
    beyond = datetime.fromtimestamp(_month_start_us(now) / US, UTC) + timedelta(days=32)
    return int(beyond.replace(day=1).timestamp() * US)


# --- a run ---


def begin_run(context: Context, usd: float | None = None, tokens: int | None = None) -> None:
    """From here on, until the next run begins, these limits and those of the configuration hold for what is sent."""
    limits = context.settings.budget
    with context.store.write() as tx:
        newest = batches.newest(tx.connection, 1)
        run = {
            "after_batch": newest[0].id if newest else 0,
            "usd": tighter(usd, limits.run_usd),
            "tokens": tighter(tokens, limits.run_tokens),
        }
        notes.put(tx, notes.RUN_BUDGET, json.dumps(run))


def renew_run(context: Context) -> None:
    """Take up other limits of a run in the middle of it; what it has sent still counts."""
    limits = context.settings.budget
    with context.store.write() as tx:
        note = notes.get(tx.connection, notes.RUN_BUDGET)
        if note is not None:
            run = {**json.loads(note), "usd": limits.run_usd, "tokens": limits.run_tokens}
            notes.put(tx, notes.RUN_BUDGET, json.dumps(run))


def tighter(one: float | None, other: float | None) -> float | None:
    """The smaller of two limits, either of which may be none."""
    return min((limit for limit in (one, other) if limit is not None), default=None)


def _run_rooms(connection: Any, price: float | None) -> Iterator[Room]:
    note = notes.get(connection, notes.RUN_BUDGET)
    run = {} if note is None else json.loads(note)
    if run.get("usd") is None and run.get("tokens") is None:
        return
    used = ledger.used_by_batches(connection, run["after_batch"])
    for unit, room, limit, spent in _rooms(used, run["usd"], run["tokens"], price):
        yield Room(f"run_{unit}", room, None, None, limit, spent)


# --- what is left ---


def rooms(connection: Any, settings: Settings, price: float | None, now: int) -> Iterator[Room]:
    """Every limit that is set, with what it still allows. `price`: USD per million tokens."""
    yield from _run_rooms(connection, price)
    yield from _span_rooms(connection, settings.budget, price, now, None)
    known = {row.name: row.id for row in sources.all_sources(connection)}
    for source in settings.sources:
        if source.limited and source.name in known:
            source_id = known[source.name]
            for room in _span_rooms(connection, source, price, now, source_id):
                yield room._replace(key=f"{source.name}.{room.key}")


def _span_rooms(
    connection: Any,
    limits: BudgetSettings | SourceSettings,
    price: float | None,
    now: int,
    source_id: int | None,
) -> Iterator[Room]:
    for span in _SPANS:
        usd_limit, token_limit = getattr(limits, f"{span}_usd"), getattr(limits, f"{span}_tokens")
        if usd_limit is None and token_limit is None:
            continue
        monthly = span == "monthly"
        since = _month_start_us(now) if monthly else _day_start_us(now)
        used = ledger.used_since(connection, since, source_id)
        anew_at = next_start_us(now, month=monthly)
        for unit, room, limit, spent in _rooms(used, usd_limit, token_limit, price):
            yield Room(f"{span}_{unit}", room, anew_at, source_id, limit, spent)


def _rooms(
    used: tuple[int, float], usd_limit: float | None, token_limit: int | None, price: float | None
) -> Iterator[tuple[str, int, float, float]]:
    """(unit, tokens left, limit, used). A limit in USD allows nothing where no price is known, rather than anything."""
    tokens, usd = used
    if token_limit is not None:
        yield "tokens", token_limit - tokens, token_limit, tokens
    if usd_limit is not None:
        left = int((usd_limit - usd) / price * 1_000_000 + 1e-6) if price else 0
        yield "usd", left, usd_limit, usd


def setting_of(room: Room) -> str:
    """What a person would raise, as the configuration names it."""
    if room.source_id is None:
        return f"budget.{room.key}"
    source, _, key = room.key.rpartition(".")
    return f"{key} of source {source}"


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


def tokens_left(context: Context, connection: Any) -> int | None:
    """Tokens that the limits on everything still allow; None if there is none. Never below 0."""
    return allowance(context, connection).tokens
