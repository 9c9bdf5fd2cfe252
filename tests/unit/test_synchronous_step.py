"""A batch of mode `sync` without an order: `submit` sends it as one request, and it is collected like any other."""

from __future__ import annotations

import pytest
from step_doors import (
    all_batches,
    attempts,
    embeddings_by_state,
    money,
    newest,
    prose,
    query,
    scan,
    settle,
    shown,
)
from verify_doors import found
from world import World

from voyage_jobs.core import crash
from voyage_jobs.core.states import Batch, Mode
from voyage_jobs.simulator import FaultScript
from voyage_jobs.state import backlog, circuits
from voyage_jobs.steps import synchronous
from voyage_jobs.steps.acts import perform
from voyage_jobs.steps.collect import collect
from voyage_jobs.steps.submit import submit


class Death(BaseException):
    """The process is gone."""


def dies_at(point):
    def hook(name):
        if name == point:
            raise Death(name)

    return hook


def world_of(root, **options):
    world = World(root, **options)
    world.write("a.md", prose("a", 3))
    return world


def make(context):
    """A batch of everything that waits, to be sent at once."""
    scan(context)
    with context.store.read() as connection:
        wanted = list(backlog.wanted(connection, context.profile_id, 0, 100))
    with context.store.write() as tx:
        return synchronous.make(context, tx, wanted)


def test_it_is_sent_collected_and_published_like_any_other(tmp_path):
    world = world_of(tmp_path)
    with world.worker() as context:
        batch = make(context)
        assert (batch.mode, batch.order_ref, batch.state) == (Mode.SYNC, None, Batch.PACKED)
        settle(world, context)
        (batch,) = all_batches(context)
        assert (batch.state, batch.tokens_settled) == (Batch.CLOSED, world.ledger.sync_tokens)
        assert attempts(context, batch) == ["created"]
        assert money(context).expedited_tokens == world.ledger.sync_tokens
        assert money(context).reserved_tokens == 0
        assert list(context.spool.iterdir()) == []
    assert len(shown(world)["a.md"]) == 3
    assert world.sim.calls["upload_file"] == world.sim.calls["create_batch"] == 0
    assert found(world) == {}


def test_a_death_before_it_was_sent_leaves_it_to_the_next_process(tmp_path):
    world = world_of(tmp_path)
    with world.worker() as context:
        make(context)
        submit(context)
        assert newest(context).state is Batch.SPOOLED
    with world.worker() as context:
        assert newest(context).state is Batch.SPOOLED
        settle(world, context)
    assert world.sim.calls["embeddings"] == 1
    assert len(shown(world)["a.md"]) == 3


def test_an_input_file_that_is_lost_is_written_again(tmp_path):
    world = world_of(tmp_path)
    with world.worker() as context:
        batch = make(context)
        submit(context)
        context.input_path(batch.ref).unlink()
        settle(world, context)
        assert attempts(context, newest(context)) == ["created"]


@pytest.mark.parametrize(
    "faults",
    [
        {"rate_limited": {"on": "embeddings", "times": 2}},
        {"request_lost": {"on": "embeddings", "as": "connect_error", "times": 2}},
        {"auth_outage": {"on": "embeddings", "times": 2}},
    ],
)
def test_what_is_known_not_to_have_happened_is_sent_again_after_a_wait(tmp_path, faults):
    world = world_of(tmp_path, faults=faults)
    with world.worker() as context:
        make(context)
        settle(world, context)
        (batch,) = all_batches(context)
        assert attempts(context, batch) == ["not_happened", "not_happened", "created"]
        assert money(context).maybe_paid_tokens == 0
    assert set(world.ledger.billed_at_both_prices().values()) <= {1}


def test_a_lost_answer_is_never_asked_for_again_under_its_batch(tmp_path):
    world = world_of(tmp_path, faults={"answer_lost": {"on": "embeddings", "times": 1}})
    with world.worker() as context:
        batch = make(context)
        submit(context)
        submit(context)
        assert attempts(context, batch) == ["lost"]
        assert embeddings_by_state(context) == {"wanted": 3}
        assert money(context).maybe_paid_tokens == batch.tokens_estimated
        settle(world, context)  # by an ordinary batch
        assert newest(context).mode is Mode.BATCH
    assert world.sim.calls["embeddings"] == 1


def test_what_the_provider_refuses_is_parked_alone(tmp_path):
    world = world_of(tmp_path)
    with world.worker() as context:
        make(context)
        submit(context)
        query_params = '{"model":"voyage-4","output_dimension":7}'
        with context.store.write() as tx:
            tx.connection.exec_driver_sql("UPDATE batches SET request_params = ?", (query_params,))
        submit(context)
        parked = newest(context)
        assert (parked.state, parked.code) == (Batch.PARKED, "send_refused")
        assert attempts(context, parked) == ["not_happened"]
        submit(context)
        collect(context)
        assert newest(context).state is Batch.PARKED
        perform(context, "retry", {"ref": parked.ref}, "anna")
        settle(world, context)
    assert len(shown(world)["a.md"]) == 3


def test_a_batch_that_is_cancelled_before_it_is_sent_costs_nothing(tmp_path):
    world = world_of(tmp_path)
    with world.worker() as context:
        batch = make(context)
        perform(context, "cancel", {"ref": batch.ref}, "anna")
        settle(world, context)
        assert embeddings_by_state(context) == {"dropped": 3}
    assert world.sim.calls["embeddings"] == 0


def test_answers_that_cannot_be_used_are_paid_once_and_stop_sending(tmp_path):
    world = World(tmp_path, faults={"answer_spoilt": {"how": "nan"}})
    world.write("a.md", prose("a", 1))
    with world.worker() as context:
        make(context)
        for _ in range(3):
            submit(context)
        collect(context)
        parked = newest(context)
        assert (parked.state, parked.code) == (Batch.PARKED, "unusable")
        world.sim.faults = FaultScript.from_dict({"faults": {}})
        collect(context)
        submit(context)
        assert world.sim.calls["embeddings"] == 1
        perform(context, "retry", {"ref": parked.ref}, "anna")
        settle(world, context)
        with context.store.read() as connection:
            assert circuits.tripped(connection) == {}
    assert len(shown(world)["a.md"]) == 1
    assert found(world) == {}


def test_one_request_is_one_line_of_the_costs(tmp_path):
    world = world_of(tmp_path)
    with world.worker() as context:
        make(context)
        settle(world, context)
        (row,) = query(context, "SELECT kind, tokens, assumed FROM spend WHERE kind = 'expedited'")
        assert row == ("expedited", world.ledger.sync_tokens, 0)
        assert query(context, "SELECT SUM(tokens), MIN(tokens) > 0 FROM lines") == [
            (world.ledger.sync_tokens, 1)
        ]


def test_a_pack_that_is_whole_is_taken_in_though_the_answer_that_it_was_made_of_is_damaged(tmp_path):
    world = world_of(tmp_path)
    with world.worker() as context:
        batch = make(context)
        submit(context)
        submit(context)
        crash.arm(dies_at("segment.renamed"))
        with pytest.raises(Death):
            collect(context)
        crash.arm(None)
        path = context.result_path(batch.ref, synchronous.RESULT)
        path.write_bytes(bytes(path.stat().st_size))
    with world.worker() as context:
        settle(world, context)
        (batch,) = all_batches(context)
        assert batch.tokens_settled == money(context).expedited_tokens == world.ledger.sync_tokens
        assert money(context).maybe_paid_tokens == money(context).reserved_tokens == 0
    assert len(shown(world)["a.md"]) == 3
    assert found(world) == {}


def test_an_answer_that_is_on_the_bill_and_lost_later_is_not_booked_as_maybe_paid_besides(tmp_path):
    """It could not be read, and vanished when a later release wanted to read it."""
    world = World(tmp_path, faults={"answer_spoilt": {"how": "nan"}})
    world.write("a.md", prose("a", 1))
    with world.worker() as context:
        make(context)
        for _ in range(2):
            submit(context)
        collect(context)
        parked = newest(context)
        assert (parked.state, parked.code) == (Batch.PARKED, "unusable")
        with context.store.write() as tx:
            tx.connection.exec_driver_sql("UPDATE batches SET error = '0.0.1', due_at = 0")
        collect(context)
        assert newest(context).state is Batch.ENDED
        context.result_path(parked.ref, synchronous.RESULT).unlink()
        collect(context)
        assert newest(context).state is Batch.CANCELLED
        assert money(context).expedited_tokens == parked.tokens_settled > 0
        assert (money(context).maybe_paid_tokens, money(context).reserved_tokens) == (0, 0)
        world.sim.faults = FaultScript.from_dict({"faults": {}})
        settle(world, context)
    assert found(world) == {}


def test_texts_whose_tokens_nobody_counted_are_answered_like_any_other(tmp_path):
    """Their vectors came out of a segment that this state did not know, and that an older release lost."""
    world = world_of(tmp_path)
    world.run()
    with world.worker() as context:
        (segment,) = context.segments.names()
    for file in world.data_dir.glob("state.db*"):
        file.unlink()
    world.run()
    with world.worker() as context:
        assert query(context, "SELECT SUM(tokens) FROM embeddings") == [(0,)]
        context.segments.remove(segment)
    with world.worker() as context:
        assert embeddings_by_state(context) == {"wanted": 3}
        with context.store.write() as tx:
            tx.connection.exec_driver_sql("UPDATE embeddings SET tokens = 0")
        make(context)
        for _ in range(2):
            submit(context)
        assert newest(context).state is Batch.ENDED
        settle(world, context)
        assert newest(context).tokens_settled == world.ledger.sync_tokens
    assert found(world) == {}
