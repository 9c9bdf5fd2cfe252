"""`cost`: what was paid, what is reserved, what reuse saved; and whether the books agree with the lines."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from voyage_jobs.config.prices import batch_price, prices_as_of, sync_price
from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import Clock, iso, now_us
from voyage_jobs.state import costs, orders
from voyage_jobs.state.costs import Cost
from voyage_jobs.state.door import open_state

_SUMS = ("paid", "reserved", "saved", "expedited", "maybe_paid", "assumed", "fresh")
_MOST_NAMED = 20


def cost(settings: Settings, clock: Clock, by: str, since: int) -> dict[str, Any]:
    """The report, in the shape that docs/money.md promises. `since`: microseconds. Raises StateError."""
    with open_state(settings).read() as connection:
        found = costs.costs(connection, by, since)
        unknown, twice = orders.never_known(connection, since), orders.paid_twice(connection, since)
    return {
        "as_of": iso(now_us(clock)),
        "since": iso(since) if since else None,
        "by": by,
        "rows": [asdict(each) for each in found],
        "total": _total(found),
        "maybe_paid": asdict(unknown),
        "paid_twice": asdict(twice),
        "price": {
            "batch_per_million": batch_price(settings),
            "synchronous_per_million": sync_price(settings),
            "as_of": prices_as_of(settings),
        },
    }


def _total(found: list[Cost]) -> dict[str, Any]:
    total: dict[str, Any] = {}
    for word in _SUMS:
        total[f"{word}_tokens"] = sum(getattr(each, f"{word}_tokens") for each in found)
        dollars = [getattr(each, f"{word}_usd") for each in found]
        total[f"{word}_usd"] = None if None in dollars else sum(dollars)
    return total


def recompute(settings: Settings, clock: Clock) -> dict[str, Any]:
    """The settled cost summed up again from the lines of all batches, and where the books say otherwise."""
    wrong, batches, booked, counted = [], set(), 0, 0
    with open_state(settings).read() as connection:
        for each, same in costs.recompute(connection):
            batches.add(each.ref)
            booked += each.booked_tokens
            counted += each.line_tokens
            if not same:
                wrong.append(each)
    return {
        "as_of": iso(now_us(clock)),
        "batches": len(batches),
        "booked_tokens": booked,
        "line_tokens": counted,
        "equal": not wrong,
        "differing": len(wrong),
        "differences": [asdict(each) for each in wrong[:_MOST_NAMED]],
    }
