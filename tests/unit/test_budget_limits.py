"""Budgets of a run and of a source: never overdrawn by a token, nobody starved, and told until when."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from step_doors import all_batches, money, prose, query, scan, until
from tokenizer_file import make_tokenizer
from world import World

from voyage_jobs.core.states import Batch
from voyage_jobs.diagnosis.blocker import Mover
from voyage_jobs.diagnosis.causes import blockers
from voyage_jobs.diagnosis.snapshot import gather
from voyage_jobs.service.reload import apply
from voyage_jobs.service.signals import Signals
from voyage_jobs.service.sync import Ending, Sync
from voyage_jobs.state import ledger
from voyage_jobs.steps import budget
from voyage_jobs.steps.assemble import assemble

DAY_S = 86_400
PRICE = 0.0402  # USD for a million tokens of voyage-4 by batch


@pytest.fixture
def exact(tmp_path):
    """A world that counts as its vendor bills, so that a limit can be met to the token. It is noon."""
    file = str(make_tokenizer(tmp_path / "tokenizer.json"))
    world = World(tmp_path, options={"tokenizer": file}, voyage={"tokenizer": file})
    now = datetime.fromtimestamp(world.clock.wall(), UTC)
    world.clock.advance((now.replace(day=10, hour=12, minute=0) - now).total_seconds() % (40 * DAY_S))
    return world


def fill(world, folder, count):
    for number in range(count):
        world.write(f"{number:03}.md", prose(f"{folder.name} {number:03}"), folder=folder)


def two_sources(world, **limits):
    return {
        "sources": [
            {"name": "docs", "path": str(world.docs), **limits},
            {"name": "other", "path": str(world.root / "other")},
        ]
    }


def one_text(world, **sections):
    """The tokens of one text: all have the same length."""
    with world.worker(**sections) as context:
        scan(context)
        ((least, most),) = query(context, "SELECT MIN(tokens), MAX(tokens) FROM embeddings")
        assert least == most
        return least


def sync(world, sections=None, **limits):
    with Signals() as signals, world.worker(**(sections or {})) as context:
        return Sync(context, signals, **limits).run()


def paid_by_source(world):
    with world.worker() as context:
        return dict(
            query(
                context,
                "SELECT s.name, SUM(p.tokens) FROM spend p JOIN sources s ON s.id = p.source_id"
                " WHERE kind = 'settled' GROUP BY s.name",
            )
        )


# --- a run ---


@pytest.mark.parametrize("unit", ["tokens", "usd"])
@pytest.mark.parametrize("by", ["option", "setting"])
def test_a_run_sends_up_to_its_limit_and_says_so(exact, unit, by):
    fill(exact, exact.docs, 6)
    tokens = one_text(exact)
    limit = 4 * tokens if unit == "tokens" else 4 * tokens * PRICE / 1_000_000
    sections = {"budget": {f"run_{unit}": limit}} if by == "setting" else {}
    options = {f"max_{unit}": limit} if by == "option" else {}
    outcome = sync(exact, sections, **options)
    assert outcome.ending is Ending.UNFINISHED
    (problem,) = outcome.problems
    assert problem.code == "budget_reached"
    named = {"option": f"--max-{unit}", "setting": f"budget.run_{unit}"}[by]
    assert f"{named} is used up, the limit of one run" in problem.message
    assert exact.ledger.batch_tokens == 4 * tokens
    assert sync(exact, sections, **options).ending is Ending.DONE  # the next run has its own
    assert exact.ledger.batch_tokens == 6 * tokens


def test_one_token_less_is_one_text_less(exact):
    fill(exact, exact.docs, 6)
    tokens = one_text(exact)
    sync(exact, max_tokens=4 * tokens - 1)
    assert exact.ledger.batch_tokens == 3 * tokens


def test_nothing_is_a_limit_too(exact):
    fill(exact, exact.docs, 2)
    assert sync(exact, max_usd=0.0).problems[0].code == "budget_reached"
    assert exact.ledger.batch_tokens == 0


def test_the_tighter_of_option_and_setting_holds(exact):
    fill(exact, exact.docs, 6)
    tokens = one_text(exact)
    sync(exact, {"budget": {"run_tokens": 2 * tokens}}, max_tokens=5 * tokens)
    assert exact.ledger.batch_tokens == 2 * tokens


def test_what_a_run_has_sent_counts_when_it_is_settled_too(exact):
    """Batches of one text each: the limit is not met afresh as each comes home."""
    fill(exact, exact.docs, 6)
    tokens = one_text(exact)
    sync(exact, {"batching": {"max_inputs": 1, "min_inputs": 1}}, max_tokens=3 * tokens)
    assert exact.ledger.batch_tokens == 3 * tokens


def test_failed_lines_that_are_sent_again_count_each_time(tmp_path):
    world = World(tmp_path, faults={"line_server_error": 1.0}, batching={"max_attempts": 3})
    fill(world, world.docs, 1)
    tokens = one_text(world)
    sync(world, max_tokens=10 * tokens)
    with world.worker() as context:
        assert money(context).reserved_tokens == 0


def test_other_limits_are_taken_up_and_what_was_sent_still_counts(exact):
    fill(exact, exact.docs, 6)
    tokens = one_text(exact)
    with exact.worker(budget={"run_tokens": 2 * tokens}) as context:
        budget.begin_run(context)
        assert assemble(context, eager=True)
        settle(exact, context, left=4)
        apply(context, exact.settings(budget={"run_tokens": 3 * tokens}))
        assert assemble(context, eager=True)
        settle(exact, context, left=3)
        apply(context, exact.settings())
        assert assemble(context, eager=True)
        assert [batch.inputs for batch in all_batches(context)] == [2, 1, 3]


def settle(world, context, *, left):
    until(world, context, Batch.CLOSED)
    assert query(context, "SELECT COUNT(*) FROM embeddings WHERE state = 0") == [(left,)]


@pytest.mark.parametrize("limits", [{"budget": {"daily_usd": 1.0}}, {"budget": {"run_usd": 0.01}}])
def test_what_costs_nothing_is_not_kept_back_by_a_limit_in_dollars(exact, limits):
    fill(exact, exact.docs, 2)
    free = {"prices": {"voyage-4": {"batch_usd_per_million": 0.0}}, **limits}
    assert sync(exact, free).ending is Ending.DONE
    assert exact.ledger.batch_tokens


def test_a_limit_in_dollars_without_a_price_says_what_is_missing(exact):
    fill(exact, exact.docs, 2)
    with exact.worker() as context:
        scan(context)
    settings = exact.settings(budget={"daily_usd": 5.0})
    facts = gather(settings, exact.clock)
    unlisted = facts.settings.voyage.model_copy(update={"model": "my-deployment"})
    [room] = facts.rooms
    facts = replace(
        facts,
        rooms=[room._replace(tokens=0)],
        settings=facts.settings.model_copy(update={"voyage": unlisted}),
    )
    [told] = [each for each in blockers(facts) if each.code == "budget_reached"]
    assert told.message == "No price is known for my-deployment, so budget.daily_usd allows nothing."
    assert 'batch_usd_per_million in [prices."my-deployment"]' in told.next
    assert told.moved_by is Mover.OPERATOR


# --- a source ---


@pytest.mark.parametrize("unit", ["tokens", "usd"])
def test_a_source_keeps_to_its_own_limit_and_others_go_on(exact, unit):
    fill(exact, exact.docs, 5)
    fill(exact, exact.root / "other", 3)
    tokens = one_text(exact)
    limit = 2 * tokens if unit == "tokens" else 2 * tokens * PRICE / 1_000_000
    sections = two_sources(exact, **{f"daily_{unit}": limit})
    outcome = sync(exact, sections)
    (problem,) = outcome.problems
    assert problem.code == "budget_reached"
    assert f"daily_{unit} of source docs is used up" in problem.message
    paid = paid_by_source(exact)
    assert paid["docs"] == 2 * tokens
    assert paid["other"] > 0
    exact.clock.advance(DAY_S)
    sync(exact, sections)
    assert paid_by_source(exact)["docs"] == 4 * tokens


def test_a_long_queue_of_a_source_without_money_starves_nobody(exact):
    """The batch is as short as the queue that stands before the others."""
    fill(exact, exact.docs, 12)
    fill(exact, exact.root / "other", 3)
    sections = {**two_sources(exact, monthly_tokens=1), "batching": {"max_inputs": 4, "min_inputs": 1}}
    sync(exact, sections)
    paid = paid_by_source(exact)
    assert "docs" not in paid
    assert paid["other"] > 0


def test_a_source_may_spend_no_more_than_everybody(exact):
    fill(exact, exact.docs, 5)
    tokens = one_text(exact)
    sections = {**two_sources(exact, daily_tokens=4 * tokens), "budget": {"daily_tokens": 3 * tokens}}
    sync(exact, sections)
    assert exact.ledger.batch_tokens == 3 * tokens


def test_a_text_that_two_sources_share_is_paid_by_the_first(exact):
    exact.write("a.md", prose("the same"))
    exact.write("a.md", prose("the same"), folder=exact.root / "other")
    sync(exact, two_sources(exact))
    assert paid_by_source(exact) == {"docs": exact.ledger.batch_tokens}


# --- atomically, and told ---


def test_what_was_packed_meanwhile_is_seen_when_the_batch_is_reserved(exact, monkeypatch):
    """The check that counts is the one in the transaction that reserves."""
    fill(exact, exact.docs, 4)
    tokens = one_text(exact)
    with exact.worker(budget={"daily_tokens": 4 * tokens}) as context:
        fitting = budget.allowance

        def between(context_, connection):
            found = fitting(context_, connection)
            if found.tokens == 4 * tokens:
                with context.store.write() as tx:
                    ledger.reserve(tx, None, 2 * tokens, PRICE)  # as if another had been packed
            return found

        monkeypatch.setattr("voyage_jobs.steps.assemble.budget.allowance", between)
        assert not assemble(context, eager=True)
        assert all_batches(context) == []
        monkeypatch.undo()
        assert assemble(context, eager=True)
        assert all_batches(context)[0].inputs == 2


def test_status_names_the_limit_that_holds(exact):
    fill(exact, exact.docs, 4)
    sections = two_sources(exact, daily_tokens=1)
    (exact.root / "other").mkdir()
    sync(exact, sections)
    settings = exact.settings(**sections)
    found = {problem.code: problem for problem in blockers(gather(settings, exact.clock))}
    assert "daily_tokens of source docs is used up until 2" in found["budget_reached"].message
    assert "It resumes at 2" in found["budget_reached"].next


def test_the_limit_of_a_run_that_is_over_is_no_problem(exact):
    fill(exact, exact.docs, 4)
    sync(exact, max_tokens=1)
    found = [problem.code for problem in blockers(gather(exact.settings(), exact.clock))]
    assert "budget_reached" not in found


def test_a_price_of_ones_own_is_what_counts(exact):
    fill(exact, exact.docs, 4)
    tokens = one_text(exact)
    sections = {
        "prices": {"voyage-4": {"batch_usd_per_million": 1_000_000}},
        "budget": {"daily_usd": 2.0 * tokens},
    }
    with exact.worker(**sections) as context:
        assert context.price == 1_000_000
        assert assemble(context, eager=True)
        with context.store.read() as connection:
            assert ledger.used_since(connection, 0) == (2 * tokens, 2.0 * tokens)
