"""What answers do not say of tokens is assumed, marked, and counted by every budget."""

from __future__ import annotations

import pytest
from silent import Silent
from step_doors import all_batches, embeddings_by_state, money, prose, query, scan, settle, turns, until
from test_collect_step import CONTEXTUALIZED, ended, give, line
from test_expedite_step import Death, ask, dies_at
from verify_doors import found, repaired, sql
from world import World

from voyage_jobs.core import crash
from voyage_jobs.core.states import Batch
from voyage_jobs.core.usage import MOST_LINE_TOKENS, billed, plausible
from voyage_jobs.state import ledger
from voyage_jobs.steps.collect import collect


@pytest.fixture(autouse=True)
def disarmed():
    yield
    crash.arm(None)


def silent(root, documents=3, usage=None, **sections):
    world = World(root, **sections)
    world.transport = Silent(world.sim, usage)
    for number in range(documents):
        world.write(f"{number}.md", prose(f"number {number}"))
    return world


def estimates(context):
    return query(context, "SELECT SUM(tokens) FROM embeddings")[0][0]


def lines(context):
    return query(context, "SELECT tokens, assumed FROM lines ORDER BY batch_id, line")


def test_one_token_is_the_least_and_a_line_the_most_that_is_assumed():
    assert billed(None, 0) == (1, True)
    assert billed(None, 2**60) == (MOST_LINE_TOKENS, True)
    assert billed(3, 2**60) == (3, False)
    assert plausible(MOST_LINE_TOKENS) == MOST_LINE_TOKENS
    assert plausible(MOST_LINE_TOKENS + 1) is None


# --- batches ---


@pytest.mark.parametrize(
    "usage", [None, {}, {"total_tokens": 0}, {"total_tokens": -1}, {"total_tokens": ""}, []]
)
def test_a_batch_of_which_nothing_is_said_costs_what_was_reserved(tmp_path, usage):
    world = silent(tmp_path, usage=usage)
    with world.worker() as context:
        settle(world, context)
        reserved = estimates(context)
        assert world.ledger.batch_tokens <= reserved
        assert money(context).settled_tokens == money(context).assumed_tokens == reserved
        assert money(context).settled_usd == pytest.approx(reserved * context.price / 1_000_000)
        assert all_batches(context)[0].tokens_settled == reserved
        assert money(context).reserved_tokens == 0
        assert all(assumed for _, assumed in lines(context))
    assert [told["lines"] for told in world.log.named("usage.assumed")] == [3]
    assert found(world) == {}


@pytest.mark.parametrize("voyage", [{}, CONTEXTUALIZED])
def test_a_budget_holds_though_nothing_is_said(tmp_path, voyage):
    world = silent(tmp_path, documents=8, voyage=voyage)
    with world.worker() as context:
        scan(context)
        most = query(context, "SELECT MAX(tokens) FROM embeddings")[0][0]
    limit = int(2.5 * most)
    with world.worker(budget={"daily_tokens": limit}) as context:
        until(world, context, Batch.CLOSED)
        turns(world, context, 40)
        assert [batch.inputs for batch in all_batches(context)] == [2]
        assert 0 < money(context).settled_tokens <= limit
    assert 0 < world.ledger.batch_tokens <= limit


def test_a_source_keeps_to_its_budget_too(tmp_path):
    world = silent(tmp_path, documents=6)
    source = {"name": "docs", "path": str(world.docs), "delete_grace_s": 0}
    with world.worker() as context:
        scan(context)
        most = query(context, "SELECT MAX(tokens) FROM embeddings")[0][0]
    with world.worker(sources=[{**source, "daily_tokens": 2 * most}]) as context:
        until(world, context, Batch.CLOSED)
        turns(world, context, 40)
        assert [batch.inputs for batch in all_batches(context)] == [2]


def test_only_what_ran_and_says_nothing_is_assumed(tmp_path):
    """A line that was refused, or that is not in the results, is billed what it says, else nothing."""
    world = silent(tmp_path, documents=6)
    data = [{"object": "embedding", "embedding": [0.0] * 8, "index": 0}]
    with world.worker() as context:
        batch, keys = ended(world, context)
        give(
            context,
            batch,
            output=[
                line(keys[0]),
                line(keys[1], body={"data": data, "usage": {"total_tokens": 2**53}}),
                line(keys[2], body={"data": data, "usage": {"total_tokens": 9.0}}),
            ],
            error=[
                line(keys[3], status=400, body={"detail": "x", "usage": {"total_tokens": 2**62}}),
                line(keys[4], status=500, body={"detail": "x", "usage": {"total_tokens": 3}}),
            ],
        )
        collect(context)
        (reserved,) = query(context, "SELECT tokens FROM embeddings WHERE hex(key) = :k", k=keys[1].upper())[
            0
        ]
        assert lines(context) == [(7, 0), (reserved, 1), (9, 0), (None, 0), (3, 0), (None, 0)]
        assert money(context).settled_tokens == reserved + 7 + 9 + 3
        assert money(context).assumed_tokens == reserved
    assert found(world) == {}


def test_an_absurd_number_of_tokens_reaches_no_sum(tmp_path):
    world = silent(tmp_path, documents=2)
    for _ in range(2):
        with world.worker() as context:
            batch, keys = ended(world, context)
            body = {
                "data": [{"object": "embedding", "embedding": [1.0] + [0.0] * 7, "index": 0}],
                "usage": {"total_tokens": 2**63 - 1},
            }
            give(context, batch, output=[line(key, body=body) for key in keys])
            assert collect(context)
            assert money(context).settled_tokens < 10_000
        world.write("more.md", prose("more"))


def test_the_mark_is_booked_again_with_the_money(tmp_path):
    world = silent(tmp_path)
    world.run()
    before = sql(world, "SELECT kind, tokens, assumed, source_id FROM spend ORDER BY kind")
    sql(world, "UPDATE spend SET assumed = 0")
    assert repaired(world) == ({"spend_wrong": 1}, {})
    assert sql(world, "SELECT kind, tokens, assumed, source_id FROM spend ORDER BY kind") == before
    sql(world, "UPDATE spend SET tokens = tokens + 5 WHERE kind = 'settled'")
    assert repaired(world) == ({"spend_wrong": 1}, {})
    assert sql(world, "SELECT kind, tokens, assumed, source_id FROM spend ORDER BY kind") == before


# --- synchronous calls ---


@pytest.mark.parametrize("usage", [None, {"total_tokens": 0}, {"total_tokens": -1}])
def test_a_call_of_which_nothing_is_said_costs_what_was_reserved(tmp_path, usage):
    world = silent(tmp_path, documents=1, usage=usage)
    with world.worker() as context:
        scan(context)
        answer = ask(world, context, "0.md")
        reserved = estimates(context)
        assert answer["expedited"]["tokens"] == reserved >= world.ledger.sync_tokens > 0
        assert money(context).expedited_tokens == money(context).assumed_tokens == reserved
        assert lines(context) == [(reserved, 1)]
    assert world.log.named("usage.assumed")
    assert found(world) == {}
    sql(world, "UPDATE spend SET assumed = 0")
    assert repaired(world) == ({"spend_wrong": 1}, {})
    assert sql(world, "SELECT assumed FROM spend WHERE kind = 'expedited'") == [(reserved,)]


def test_an_answer_that_is_taken_in_after_a_death_says_nothing_either(tmp_path):
    world = silent(tmp_path, documents=1)
    with pytest.raises(Death), world.worker() as context:
        scan(context)
        dies_at(world, context, "sync.spooled", path="0.md")
        raise Death
    with world.worker() as context:
        collect(context)
        assert embeddings_by_state(context) == {"held": 1}
        assert lines(context) == [(estimates(context), 1)]
        with context.store.read() as connection:
            assert ledger.totals(connection).assumed_tokens == estimates(context)
