"""What people ask for: it is carried out once, on record with who asked, and nonsense is told plainly."""

from __future__ import annotations

import pytest
from sqlalchemy import event
from state_rows import history
from step_doors import (
    all_batches,
    embeddings_by_state,
    money,
    newest,
    prose,
    query,
    scan,
    settle,
    shown,
)
from world import World

from voyage_jobs.core.clock import US
from voyage_jobs.core.states import Batch
from voyage_jobs.errors import ConfigError
from voyage_jobs.state import circuits, meta
from voyage_jobs.steps.acts import carry_out, perform
from voyage_jobs.steps.assemble import assemble
from voyage_jobs.steps.submit import submit


@pytest.fixture
def packed(world):
    """A packed batch of two lines, in an open context."""
    world.write("a.md", prose("a"))
    world.write("b.md", prose("b"))
    with world.worker() as context:
        scan(context)
        assemble(context, eager=True)
        yield world, context


@pytest.mark.parametrize("state", [Batch.PACKED, Batch.SPOOLED, Batch.UPLOADED])
def test_a_batch_without_a_job_is_cancelled_at_once(packed, state):
    world, context = packed
    while newest(context).state is not state:
        submit(context)
    batch = newest(context)
    answer = {"ref": batch.ref, "state": "cancelled", "texts": 2, "answered": 0}
    assert perform(context, "cancel", {"ref": batch.ref}, "anna") == answer
    assert embeddings_by_state(context) == {"dropped": 2}
    assert money(context).reserved_tokens == 0
    assert history(context.store, "batch")[-1] == (str(state), "cancelled", "cancelled by anna")
    settle(world, context)
    assert len(all_batches(context)) == 1
    assert world.sim.calls["create_batch"] == 0

    assert perform(context, "retry", {"ref": batch.ref[:8]}, "anna") == {"batches": 0, "embeddings": 2}
    settle(world, context)
    assert len(shown(world)) == 2


def test_cancelling_twice_is_told(packed):
    _, context = packed
    perform(context, "cancel", {"ref": newest(context).ref}, "me")
    with pytest.raises(ConfigError, match="nothing to cancel"):
        perform(context, "cancel", {"ref": newest(context).ref}, "me")


def test_a_batch_that_is_done_cannot_be_cancelled(packed):
    world, context = packed
    settle(world, context)
    with pytest.raises(ConfigError, match="closed: there is nothing to cancel"):
        perform(context, "cancel", {"ref": newest(context).remote_id}, "me")


@pytest.mark.parametrize("command", ["cancel", "retry"])
def test_a_batch_that_does_not_exist_is_told(packed, command):
    _, context = packed
    with pytest.raises(ConfigError, match="There is no batch zzz"):
        perform(context, command, {"ref": "zzz"}, "me")


@pytest.mark.parametrize("word", ["%", "_", "'"])
def test_a_word_that_means_something_in_sql_means_nothing_here(packed, word):
    _, context = packed
    with pytest.raises(ConfigError, match="no batch"):
        perform(context, "cancel", {"ref": word}, "me")
    assert newest(context).state is Batch.PACKED


def test_no_word_is_told(packed):
    _, context = packed
    with pytest.raises(ConfigError, match="The ref of the batch is empty"):
        perform(context, "cancel", {"ref": ""}, "me")


def test_a_word_that_fits_two_batches_is_told(world):
    for number in range(40):
        world.write(f"{number}.md", f"# {number}\n\ntext {number}")
    with world.worker(batching={"max_inputs": 1}) as context:
        scan(context)
        for _ in range(40):
            assemble(context, eager=True)
            for _ in range(5):
                submit(context)
        firsts = [batch.ref[0] for batch in all_batches(context)]
        twice = next(letter for letter in firsts if firsts.count(letter) > 1)
        with pytest.raises(ConfigError, match="batches begin with"):
            perform(context, "cancel", {"ref": twice}, "me")


def test_a_retry_opens_every_lane(packed):
    _, context = packed
    with context.store.write() as tx:
        for name in (circuits.VENDOR, circuits.CREATE, circuits.DISK):
            circuits.trip(tx, name, tx.now + 900 * US, 5, "x", "closed", None)
    perform(context, "retry", {}, "me")
    assert query(context, "SELECT COUNT(*) FROM lanes") == [(0,)]


def test_a_retry_of_one_batch_leaves_the_failures_of_others(tmp_path):
    world = World(tmp_path, faults={"line_refused": {}})
    world.write("a.md", prose("a"))
    world.run()
    world.write("b.md", prose("b"))
    with world.worker() as context:
        settle(world, context)
        first, second = all_batches(context)
        world.sim.faults.rules = ()
        assert perform(context, "retry", {"ref": second.ref}, "me")["embeddings"] == 1
        assert embeddings_by_state(context) == {"wanted": 1, "failed": 1}
        settle(world, context)
        assert list(shown(world)) == ["b.md"]
        assert perform(context, "retry", {"ref": first.ref}, "me")["embeddings"] == 1
        settle(world, context)
    assert sorted(shown(world)) == ["a.md", "b.md"]


def test_a_retry_with_nothing_to_do_does_nothing(world):
    with world.worker() as context:
        assert perform(context, "retry", {}, "me") == {"batches": 0, "embeddings": 0}


def test_requests_are_carried_out_and_answered_in_order(packed):
    _, context = packed
    ref = newest(context).ref
    with context.store.write() as tx:
        first = meta.ask(tx, "anna", "cancel", {"ref": ref})
        second = meta.ask(tx, "ben", "cancel", {"ref": ref})
        third = meta.ask(tx, "ben", "retry", {})
    assert carry_out(context)
    with context.store.read() as connection:
        answers = [meta.result_of(connection, number) for number in (first, second, third)]
    assert answers[0] == {"ref": ref, "state": "cancelled", "texts": 2, "answered": 0}
    assert "nothing to cancel" in answers[1]["error"]
    assert answers[1]["exit_code"] == 2
    assert answers[2] == {"batches": 0, "embeddings": 2}
    assert not carry_out(context)


def test_a_request_of_another_version_is_answered_and_stops_nothing(world):
    with world.worker() as context:
        with context.store.write() as tx:
            asked = meta.ask(tx, "me", "juggle", {})
        assert carry_out(context)
        with context.store.read() as connection:
            assert "does not know how to juggle" in meta.result_of(connection, asked)["error"]


def test_a_retry_of_many_is_a_matter_of_few_statements(world):
    """A row each, or the whole document for each of its chunks, would keep the state locked for minutes."""
    for number in range(3):
        world.write(f"{number}.md", prose(f"document {number}", sections=400))
    with world.worker() as context:
        scan(context)
        perform(context, "cancel", {"source": "docs"}, "me")
        assert embeddings_by_state(context) == {"dropped": 1_200}
        asked = []
        with context.store.write() as tx:
            event.listen(tx.connection.engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
        assert perform(context, "retry", {}, "me")["embeddings"] == 1_200
        assert 0 < len(asked) < 60
        assert embeddings_by_state(context) == {"wanted": 1_200}
        causes = [cause for _, _, cause in history(context.store, "embedding")]
        assert causes.count("retry by me") == 1_200
        settle(world, context)
    assert sum(map(len, shown(world).values())) == 1_200
