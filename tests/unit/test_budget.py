"""Budgets: what is reserved counts as spent, a new day brings new money, and an unknown price allows nothing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from step_doors import all_batches, money, prose, query, scan, shown, until

from voyage_jobs.core.clock import US, now_us
from voyage_jobs.core.states import Batch
from voyage_jobs.diagnosis.rooms import next_start_us
from voyage_jobs.diagnosis.rooms import rooms as every_room
from voyage_jobs.state import ledger
from voyage_jobs.steps import budget
from voyage_jobs.steps.acts import perform
from voyage_jobs.steps.assemble import assemble

DAY_S = 86_400


def fill(world, count):
    for number in range(count):
        world.write(f"{number:03}.md", prose(f"number {number}"))


def at_noon(world):
    now = datetime.fromtimestamp(world.clock.wall(), UTC)
    world.clock.advance((now.replace(day=10, hour=12) - now).total_seconds() % (40 * DAY_S))


def rooms(context):
    with context.store.read() as connection:
        found = every_room(connection, context.settings, context.price, now_us(context.clock))
        return {room.key: room.tokens for room in found}


def price_of_one(world):
    with world.worker() as context:
        scan(context)
        (tokens,) = query(context, "SELECT MAX(tokens) FROM embeddings")[0]
        return tokens, context.price


def test_without_a_budget_there_is_no_limit(world):
    with world.worker() as context, context.store.read() as connection:
        assert budget.tokens_left(context, connection) is None


@pytest.mark.parametrize("span", ["daily", "monthly"])
@pytest.mark.parametrize("unit", ["tokens", "usd"])
def test_a_budget_stops_packing_before_it_is_overdrawn(world, span, unit):
    at_noon(world)
    fill(world, 5)
    tokens, price = price_of_one(world)
    limit = 2.5 * tokens
    values = {f"{span}_{unit}": int(limit) if unit == "tokens" else limit * price / 1_000_000}
    with world.worker(budget=values) as context:
        until(world, context, Batch.RUNNING)
        assert [batch.inputs for batch in all_batches(context)] == [2]
        assert money(context).settled_tokens + money(context).reserved_tokens <= limit
        until(world, context, Batch.CLOSED)
        while assemble(context, eager=True):  # what the estimate left over
            until(world, context, Batch.CLOSED)
        spent = money(context)
        assert 0 < spent.settled_tokens <= limit
        assert spent.reserved_tokens == 0
        before = len(all_batches(context))
        world.clock.advance(DAY_S)
        assert assemble(context, eager=True) is (span == "daily")
        if span == "monthly":
            world.clock.advance(31 * DAY_S)
            assert assemble(context, eager=True)
        assert len(all_batches(context)) == before + 1


def test_what_is_reserved_counts_as_spent(world):
    fill(world, 3)
    tokens, _ = price_of_one(world)
    with world.worker(budget={"daily_tokens": 10 * tokens}) as context:
        before = rooms(context)["daily_tokens"]
        assert assemble(context, eager=True, most_inputs=2)
        reserved = money(context).reserved_tokens
        assert reserved > 0
        assert rooms(context)["daily_tokens"] == before - reserved


def test_a_reservation_of_yesterday_still_counts_today(world):
    at_noon(world)
    fill(world, 2)
    tokens, _ = price_of_one(world)
    with world.worker(budget={"daily_tokens": 10 * tokens}) as context:
        assemble(context, eager=True, most_inputs=1)
        reserved = money(context).reserved_tokens
        world.clock.advance(DAY_S)
        assert rooms(context)["daily_tokens"] == 10 * tokens - reserved


@pytest.mark.parametrize("span", ["daily", "monthly"])
def test_what_was_paid_while_the_clock_was_ahead_counts_for_the_day_that_it_named(world, span):
    at_noon(world)
    fill(world, 2)
    limit = {f"{span}_tokens": 10_000}
    world.clock.step(400 * DAY_S)
    world.run()
    with world.worker(budget=limit) as context:
        assert rooms(context)[f"{span}_tokens"] < 10_000
        world.clock.step(-400 * DAY_S)
        assert rooms(context)[f"{span}_tokens"] == 10_000


def test_the_nearer_limit_counts(world):
    with world.worker(budget={"daily_tokens": 500, "monthly_tokens": 100, "daily_usd": 1000}) as context:
        with context.store.read() as connection:
            assert budget.tokens_left(context, connection) == 100


def test_a_budget_in_dollars_needs_a_price(world):
    fill(world, 1)
    with world.worker(voyage={"model": "voyage-9-unheard-of"}, budget={"daily_usd": 100}) as context:
        assert context.price is None
        scan(context)
        assert not assemble(context, eager=True)
        assert rooms(context) == {"daily_usd": 0}


def test_a_budget_in_tokens_does_not_need_one(world):
    fill(world, 1)
    with world.worker(voyage={"model": "voyage-9-unheard-of"}, budget={"daily_tokens": 10_000}) as context:
        scan(context)
        assert assemble(context, eager=True)
        with context.store.read() as connection:
            totals = ledger.totals(connection)
        assert totals.reserved_usd is None  # not known, and not 0


def test_a_budget_of_nothing_sends_nothing(world):
    fill(world, 1)
    with world.worker(budget={"daily_tokens": 0}) as context:
        scan(context)
        assert not assemble(context, eager=True)


def test_settling_gives_the_reservation_back(world):
    fill(world, 3)
    world.run()
    with world.worker() as context:
        spent = money(context)
        assert spent.reserved_tokens == 0
        assert spent.settled_tokens == world.ledger.batch_tokens
        assert spent.settled_usd == pytest.approx(spent.settled_tokens * context.price / 1e6)
        kinds = dict(query(context, "SELECT kind, SUM(tokens) FROM spend GROUP BY kind"))
        assert kinds["reserved"] == kinds["released"] >= kinds["settled"]


def test_cancelling_gives_the_reservation_back(world):
    fill(world, 2)
    with world.worker() as context:
        scan(context)
        assemble(context, eager=True)
        assert money(context).reserved_tokens > 0
        perform(context, "cancel", {"ref": all_batches(context)[0].ref}, "me")
        assert money(context).reserved_tokens == 0
    assert shown(world) == {}


@pytest.mark.parametrize(("now", "day", "month"), [
    ("2026-02-28T23:59:59", "2026-03-01", "2026-03-01"),
    ("2024-02-28T00:00:00", "2024-02-29", "2024-03-01"),
    ("2026-12-31T12:00:00", "2027-01-01", "2027-01-01"),
    ("2026-01-31T12:00:00", "2026-02-01", "2026-02-01"),
])  # fmt: skip
def test_a_budget_starts_anew_with_the_utc_day_and_month(now, day, month):
    def us(word):
        return int(datetime.fromisoformat(word).replace(tzinfo=UTC).timestamp() * US)

    assert next_start_us(us(now), month=False) == us(day)
    assert next_start_us(us(now), month=True) == us(month)
