"""reconcile: a create call whose outcome nobody knows is looked for before anything else is done."""

from __future__ import annotations

import itertools

import pytest
from client_doubles import job_spec
from step_doors import UNREADABLE_LIST, attempts, newest, parked_in_doubt, prose, settle, shown, turns, until
from world import World

from voyage_jobs.core.states import Batch
from voyage_jobs.state import batches, create_calls
from voyage_jobs.steps.acts import perform

QUARANTINE_S = 900


def world_of(tmp_path, faults, **sections):
    world = World(tmp_path, faults=faults, **sections)
    world.write("a.md", prose("a"))
    return world


def resume(world):
    """Another process takes over and brings everything to its end."""
    with world.worker() as context:
        settle(world, context)


def jobs(world):
    return world.sim.state()["batches"]


def times_of_creates(context):
    """Seconds since the first, and the outcome, of every create call."""
    with context.store.read() as connection:
        found = create_calls.attempts_of(connection, newest(context).id)
    return [(each.sent_at - found[0].sent_at) / 1e6 for each in found], [str(each.state) for each in found]


LOST_AFTER = [
    {"answer_lost": {"on": "create_batch", "nth": 1}},
    {"answer_lost": {"on": "create_batch", "nth": 1, "as": "read_error"}},
    {"server_error": {"on": "create_batch", "nth": 1, "after_effect": True}},
    {"server_error": {"on": "create_batch", "nth": 1, "after_effect": True, "status": 502}},
    {"server_error": {"on": "create_batch", "nth": 1, "after_effect": True, "status": 200}},  # an HTML page
]
LOST_BEFORE = [
    {"request_lost": {"on": "create_batch", "nth": 1, "as": "read_timeout"}},
    {"request_lost": {"on": "create_batch", "nth": 1, "as": "read_error"}},
    {"server_error": {"on": "create_batch", "nth": 1}},
    {"server_error": {"on": "create_batch", "nth": 1, "status": 200}},
]


@pytest.mark.parametrize("faults", LOST_AFTER)
@pytest.mark.parametrize("restart", [False, True])
def test_a_job_that_was_made_after_all_is_adopted(tmp_path, faults, restart):
    world = world_of(tmp_path, faults)
    with world.worker() as context:
        until(world, context, Batch.CREATING)
        if not restart:
            settle(world, context)
    if restart:
        resume(world)
    with world.worker() as context:
        assert attempts(context, newest(context)) == ["created"]
    assert world.sim.calls["create_batch"] == 1
    assert len(jobs(world)) == 1
    assert len(shown(world)) == 1


@pytest.mark.parametrize("faults", LOST_BEFORE)
@pytest.mark.parametrize("restart", [False, True])
def test_a_job_that_was_never_made_is_tried_again_after_the_quarantine(tmp_path, faults, restart):
    world = world_of(tmp_path, faults)
    with world.worker() as context:
        until(world, context, Batch.CREATING)
        if not restart:
            settle(world, context)
    if restart:
        world.clock.advance(60)
        resume(world)
    with world.worker() as context:
        after, states = times_of_creates(context)
        assert states == ["lost", "created"]
        assert after[1] >= QUARANTINE_S
    assert len(jobs(world)) == 1
    assert not world.ledger.billed_more_than_once()


def test_a_call_that_takes_effect_late_is_adopted_not_repeated(tmp_path):
    world = world_of(tmp_path, {"effect_delayed": {"on": "create_batch", "nth": 1, "seconds": 800}})
    resume(world)
    assert len(jobs(world)) == 1
    assert world.sim.calls["create_batch"] == 1
    assert not world.ledger.billed_more_than_once()


def test_a_list_that_lags_is_waited_for(tmp_path):
    faults = {
        "answer_lost": {"on": "create_batch", "nth": 1},
        "job_hidden": {"nth": 1, "seconds": 700},
    }
    world = world_of(tmp_path, faults)
    resume(world)
    assert len(jobs(world)) == 1
    assert world.sim.calls["create_batch"] == 1


@pytest.mark.parametrize("step_s", [7200, -7200])
@pytest.mark.parametrize("restart", [False, True])
def test_a_clock_that_is_set_does_not_shorten_the_quarantine(tmp_path, step_s, restart):
    """The job shows up a quarter of an hour less a moment later: it must not have been given up by then."""
    world = world_of(tmp_path, {"effect_delayed": {"on": "create_batch", "nth": 1, "seconds": 890}})
    with world.worker() as context:
        until(world, context, Batch.CREATING)
        world.clock.step(step_s)
        if not restart:
            settle(world, context)
    if restart:
        resume(world)
    assert len(jobs(world)) == 1
    assert world.sim.calls["create_batch"] == 1
    assert not world.ledger.billed_more_than_once()


def test_however_many_calls_are_lost_each_sure_no_is_followed_by_another(tmp_path):
    """And what a lost call asked for after all, an hour later, is stopped: it would be paid twice."""
    faults = {
        "request_lost": {"on": "create_batch", "nth": [1, 2], "as": "read_timeout"},
        "effect_delayed": {"on": "create_batch", "nth": 3, "seconds": 4000},
    }
    world = world_of(tmp_path, faults, batch_seconds=10_000)
    with world.worker() as context:
        settle(world, context, idle_s=300)
        after, states = times_of_creates(context)
        assert states == ["lost", "lost", "lost", "created"]
        gaps = [later - earlier for earlier, later in itertools.pairwise(after)]
        assert min(gaps) >= QUARANTINE_S
        assert gaps == sorted(gaps)  # and ever longer
        kept = newest(context)
    assert not world.log.named("batch.parked")
    made = {job["id"]: job["status"] for job in jobs(world)}
    assert made.pop(kept.remote_id) == "completed"
    assert list(made.values()) == ["cancelled"]
    assert len(shown(world)) == 1
    assert not world.ledger.billed_more_than_once()


def test_a_list_that_is_unreadable_for_a_week_needs_a_person_and_a_late_job_is_adopted_all_the_same(tmp_path):
    world = world_of(tmp_path, UNREADABLE_LIST)
    with world.worker() as context:
        batch = parked_in_doubt(world, context)
        assert attempts(context, batch) == ["lost"]
        assert "the list of jobs could not be read" in batch.reason
        assert "(500)" in batch.reason
        assert "voyage-jobs retry" in batch.hint
        assert world.sim.calls["create_batch"] == 1

        world.sim.faults.rules = ()
        until(world, context, Batch.CLOSED, idle_s=300)
        assert attempts(context, newest(context)) == ["created"]
    assert len(jobs(world)) == 1
    assert len(shown(world)) == 1
    assert not world.ledger.billed_more_than_once()


def test_a_parked_batch_whose_calls_were_all_answered_is_not_looked_for(tmp_path):
    world = world_of(tmp_path, {"server_error": {"on": "create_batch", "status": 400, "nth": 1}})
    with world.worker() as context:
        until(world, context, Batch.PARKED)
        turns(world, context, 20, idle_s=100)
    assert world.sim.calls["list_batches"] == 0


def test_of_two_jobs_for_one_batch_the_older_is_kept_and_the_other_stopped(tmp_path):
    """The first call takes effect after its quarantine, when the second has made a job already."""
    world = world_of(
        tmp_path,
        {"effect_delayed": {"on": "create_batch", "nth": 1, "seconds": 1000}},
        batch_seconds=3000,
    )
    with world.worker() as context:
        settle(world, context)
        kept = newest(context)
        assert attempts(context, kept) == ["lost", "created"]
        with context.store.read() as connection:
            assert batches.count_duplicates(connection) == 1
    made = {job["id"]: job["status"] for job in jobs(world)}
    assert made.pop(kept.remote_id) == "completed"
    assert list(made.values()) == ["cancelled"]
    assert not world.ledger.billed_more_than_once()
    assert len(world.log.named("batch.duplicate")) >= 1


def test_two_jobs_that_show_up_together(tmp_path):
    """Both calls were lost and both took effect: the older job is adopted, the younger cancelled."""
    faults = {
        "effect_delayed": [
            {"on": "create_batch", "nth": 1, "seconds": 1000},
            {"on": "create_batch", "nth": 2, "seconds": 80},
        ]
    }
    world = world_of(tmp_path, faults, batch_seconds=3000)
    with world.worker() as context:
        settle(world, context)
        kept = newest(context)
    made = jobs(world)
    assert len(made) == 2
    oldest = min(made, key=lambda job: job["created_at"])
    assert kept.remote_id == oldest["id"]
    assert not world.ledger.billed_more_than_once()
    assert len(shown(world)) == 1


def test_a_job_without_our_mark_is_known_by_its_input_file(tmp_path, monkeypatch):
    """Should the provider drop the metadata, the input file still belongs to one batch alone."""
    world = world_of(tmp_path, {"answer_lost": {"on": "create_batch", "nth": 1}})
    monkeypatch.setattr("voyage_jobs.steps.submit.METADATA_REF", "of_another_program")
    resume(world)
    assert len(jobs(world)) == 1
    assert world.sim.calls["create_batch"] == 1


def test_jobs_of_others_are_left_alone(tmp_path):
    world = world_of(tmp_path, {"answer_lost": {"on": "create_batch", "nth": 2}})
    other = World(tmp_path / "other")
    other.sim, other.transport, other.clock = world.sim, world.transport, world.clock
    other.write("b.md", prose("b"))
    with other.worker() as context:
        until(other, context, Batch.RUNNING)
    world.run()
    assert len(jobs(world)) == 2
    assert [job["status"] for job in jobs(world)] == ["completed", "completed"]
    other.run()
    assert len(shown(other)) == len(shown(world)) == 1


def test_a_batch_that_a_person_cancels_while_its_job_is_looked_for_is_not_created_again(tmp_path):
    world = world_of(tmp_path, {"request_lost": {"on": "create_batch", "nth": 1, "as": "read_timeout"}})
    with world.worker() as context:
        batch = until(world, context, Batch.CREATING)
        assert perform(context, "cancel", {"ref": batch.ref}, "me")["state"] == "cancelling"
        settle(world, context)
        assert newest(context).state is Batch.CLOSED
    assert world.sim.calls["create_batch"] == 1
    assert not jobs(world)


def test_many_pages_of_other_jobs_are_read_to_the_end(tmp_path):
    """The list is asked for a hundred at a time; ours stands on the last page."""
    options = {"batches_order": "asc", "max_in_flight_jobs": 1000}
    world = world_of(tmp_path, {"answer_lost": {"on": "create_batch", "nth": 106}}, options=options)
    others = tmp_path / "other.jsonl"
    others.write_text('{"custom_id": "x", "body": {"input": ["x"]}}\n')
    with world.worker() as context:
        other = job_spec(context.client.upload(others, "other.jsonl").id)
        for _ in range(105):
            context.client.create_batch(other)
        settle(world, context)
        assert attempts(context, newest(context)) == ["created"]
    assert len(jobs(world)) == 106
