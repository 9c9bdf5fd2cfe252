"""What may still be spent today and this month, counted with everything that is reserved and not settled yet."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from voyage_jobs.clock import US, now_us
from voyage_jobs.config.sections import BudgetSettings
from voyage_jobs.store import ledger

if TYPE_CHECKING:
    from voyage_jobs.steps.context import Context


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


def tokens_left(context: Context, connection: Any) -> int | None:
    """Estimated tokens that the budget still allows; None if there is no budget. Never below 0.

    A budget in USD needs a price: with a model whose price is not known it allows nothing, rather than anything.
    """
    budget, now = context.settings.budget, now_us(context.clock)
    left = [room for _, room, _ in rooms(connection, budget, context.price, now)]
    return max(0, min(left)) if left else None


def rooms(
    connection: Any, budget: BudgetSettings, price: float | None, now: int
) -> Iterator[tuple[str, int, int]]:
    """(config key, tokens it still allows, when it starts anew) for every limit that is set. `price`: per million."""
    for span, since, usd_limit, token_limit in (
        ("daily", _day_start_us(now), budget.daily_usd, budget.daily_tokens),
        ("monthly", _month_start_us(now), budget.monthly_usd, budget.monthly_tokens),
    ):
        if usd_limit is None and token_limit is None:
            continue
        tokens, usd = ledger.used_since(connection, since)
        anew = next_start_us(now, month=span == "monthly")
        if token_limit is not None:
            yield f"{span}_tokens", token_limit - tokens, anew
        if usd_limit is not None:
            room = int((usd_limit - usd) / price * 1_000_000) if price else 0
            yield f"{span}_usd", room, anew
