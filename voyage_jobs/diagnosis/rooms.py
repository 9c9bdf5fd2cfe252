"""What may still be spent: by this run, today, this month, by each source; all that is reserved counts as spent.

A day and a month are those of UTC. At the edge the rest waits; nothing goes another, dearer way.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from voyage_jobs.config.sections import BudgetSettings
from voyage_jobs.config.settings import Settings
from voyage_jobs.config.source_sections import SourceSettings
from voyage_jobs.core.clock import US
from voyage_jobs.state import fresh, ledger, meta, sources

_SPANS = ("daily", "monthly")
FRESH = "fresh."
"""With this begin the keys of the fresh lane's allowance."""
_ANY = 1 << 60


class Room(NamedTuple):
    """One limit: its key, the tokens it still allows (below 0: overdrawn), when it starts again (microseconds UTC).

    `anew_at` is None for the limit of a run: the next run has its own. `source_id` is None for limits on everything.
    `limit` and `used` are in the unit that the key names; what is reserved counts as used. `by_option`: the limit is
    that of an option of `sync`, not of the configuration.
    """

    key: str
    tokens: int
    anew_at: int | None
    source_id: int | None = None
    limit: float = 0
    used: float = 0
    by_option: bool = False

    @property
    def setting(self) -> str:
        """What you would raise, as the configuration or the command line names it."""
        if self.by_option:
            return f"--max-{self.key.removeprefix('run_')}"
        if self.key.startswith(FRESH):
            return self.key
        if self.source_id is None:
            return f"budget.{self.key}"
        source, _, key = self.key.rpartition(".")
        return f"{key} of source {source}"


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


def _run_rooms(connection: Any, price: float | None) -> Iterator[Room]:
    note = meta.get(connection, meta.RUN_BUDGET)
    run = {} if note is None else json.loads(note)
    if run.get("usd") is None and run.get("tokens") is None:
        return
    used = ledger.used_by_batches(connection, run["after_batch"])
    for unit, room, limit, spent in _rooms(used, run["usd"], run["tokens"], price):
        yield Room(f"run_{unit}", room, None, None, limit, spent, unit in run.get("by_option", ()))


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


def fresh_rooms(connection: Any, settings: Settings, price: float | None, now: int) -> Iterator[Room]:
    """The day's allowance of the fresh lane, and what is left of it. `price`: USD per million tokens of a call.

    That of documents is a number of these, and allows any tokens until it is used up.
    """
    limits, anew_at = settings.fresh, next_start_us(now, month=False)
    used = fresh.used_since(connection, _day_start_us(now))
    spent = (used.tokens, used.usd)
    for unit, room, limit, so_far in _rooms(spent, limits.daily_usd, limits.daily_tokens, price):
        yield Room(f"{FRESH}daily_{unit}", room, anew_at, None, limit, so_far)
    if limits.daily_documents is not None:
        room = _ANY if used.documents < limits.daily_documents else 0
        yield Room(f"{FRESH}daily_documents", room, anew_at, None, limits.daily_documents, used.documents)


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
        anew_at = next_start_us(now, month=monthly)
        used = ledger.used_since(connection, since, source_id, until=anew_at)
        for unit, room, limit, spent in _rooms(used, usd_limit, token_limit, price):
            yield Room(f"{span}_{unit}", room, anew_at, source_id, limit, spent)


def _rooms(
    used: tuple[int, float], usd_limit: float | None, token_limit: int | None, price: float | None
) -> Iterator[tuple[str, int, float, float]]:
    """(unit, tokens left, limit, used). Where no price is known, a limit in USD allows nothing, rather than anything;
    what costs nothing it does not limit."""
    tokens, usd = used
    if token_limit is not None:
        yield "tokens", token_limit - tokens, token_limit, tokens
    if usd_limit is not None:
        yield "usd", _bought(usd_limit - usd, price), usd_limit, usd


def _bought(usd: float, price: float | None) -> int:
    """How many tokens so much buys."""
    if price is None:
        return 0
    return int(usd / price * 1_000_000 + 1e-6) if price else _ANY
