"""poll: how often the provider is asked, and what its words mean."""

from __future__ import annotations

import itertools

import pytest
from step_doors import (
    all_batches,
    attempts,
    document,
    embeddings_by_state,
    newest,
    prose,
    put_off,
    query,
    settle,
    shown,
    tripped,
    turns,
    until,
)
from world import World

from voyage_jobs.core.clock import US
from voyage_jobs.core.retry import POLICIES
from voyage_jobs.core.states import Batch
from voyage_jobs.simulator.batches import Batch as RemoteJob
from voyage_jobs.state import batches
from voyage_jobs.steps.acts import perform
from voyage_jobs.steps.poll import next_look_s, poll

GONE_TRIES = POLICIES["job_gone"].tries
LATE_TRIES = POLICIES["results_late"].tries


def world_of(tmp_path, faults=None, documents=1, **sections):
    world = World(tmp_path, faults=faults, **sections)
    for number in range(documents):
        world.write(f"{number}.md", prose(f"number {number}"))
    return world


def all_running(world, context, count):
    for _ in range(100):
        turns(world, context, 1)
        running = [batch for batch in all_batches(context) if batch.state is Batch.RUNNING]
        if len(running) == count:
            return running
    raise AssertionError(all_batches(context))


def make_due(context):
    with context.store.write() as tx:
        tx.connection.exec_driver_sql("UPDATE batches SET due_at = 0 WHERE state = 'running'")


def test_many_jobs_cost_one_call(tmp_path):
    world = world_of(tmp_path, documents=5, batch_seconds=5_000)
    with world.worker(batching={"max_inputs": 1}) as context:
        all_running(world, context, 5)
        make_due(context)
        before = world.sim.calls.copy()
        assert poll(context)
        assert world.sim.calls - before == {"list_batches": 1}
        assert not poll(context)


def test_few_jobs_are_asked_about_one_by_one(tmp_path):
    world = world_of(tmp_path, documents=2, batch_seconds=5_000)
    with world.worker(batching={"max_inputs": 1}) as context:
        all_running(world, context, 2)
        make_due(context)
        before = world.sim.calls.copy()
        assert poll(context)
        assert world.sim.calls - before == {"retrieve_batch": 2}


def put_looks_off(context, *seconds, code=None):
    """Let the next looks at the jobs that run be due so many seconds from now, in their order."""
    with context.store.write() as tx:
        for batch, due_s in zip(batches.in_state(tx.connection, Batch.RUNNING), seconds, strict=True):
            batches.note(tx, batch.id, due_at=tx.now + int(due_s * US), code=code if due_s else None)


def test_looks_that_fall_due_within_the_interval_are_taken_together(tmp_path):
    world = world_of(tmp_path, documents=5, batch_seconds=5_000)
    with world.worker(batching={"max_inputs": 1}) as context:
        all_running(world, context, 5)
        world.clock.advance(1_000)
        put_looks_off(context, 0, 20, 40, 59, 61)
        before = world.sim.calls.copy()
        assert poll(context)
        world.clock.advance(59)
        assert not poll(context)
        assert world.sim.calls - before == {"list_batches": 1}


def test_a_list_tells_of_every_job_that_is_over(tmp_path):
    world = world_of(tmp_path, documents=5, batch_seconds=5_000)
    with world.worker(batching={"max_inputs": 1}) as context:
        all_running(world, context, 5)
        world.clock.advance(5_000)
        put_looks_off(context, 0, 0, 0, 600, 600)
        before = world.sim.calls.copy()
        assert poll(context)
        assert {batch.state for batch in all_batches(context)} == {Batch.ENDED}
        assert world.sim.calls - before == {"list_batches": 1}


def test_a_look_that_waits_after_a_failure_is_not_taken_sooner(tmp_path):
    world = world_of(tmp_path, documents=5, batch_seconds=5_000)
    with world.worker(batching={"max_inputs": 1}) as context:
        all_running(world, context, 5)
        world.clock.advance(5_000)
        put_looks_off(context, 0, 0, 0, 30, 600, code="results_late")
        poll(context)
        states = [batch.state for batch in all_batches(context)]
        assert states == 3 * [Batch.ENDED] + 2 * [Batch.RUNNING]


@pytest.mark.parametrize("options", [
    {"list_shows_cursor": False},
    {"batches_order": "asc"},
    {"timestamps": "zoneless", "legacy_batch_keys": True, "id_separator": "_"},
])  # fmt: skip
def test_every_reading_of_the_list_will_do(tmp_path, options):
    world = world_of(tmp_path, documents=4, options=options)
    world.run(batching={"max_inputs": 1})
    assert len(shown(world)) == 4
    assert not world.ledger.billed_more_than_once()


def test_a_job_that_the_list_does_not_show_is_asked_for_by_itself(tmp_path):
    world = world_of(tmp_path, {"job_hidden": {"nth": 2, "seconds": 4000, "retrieve": False}}, documents=4)
    world.run(batching={"max_inputs": 1})
    assert len(shown(world)) == 4
    assert world.sim.calls["create_batch"] == 4


@pytest.mark.parametrize("word", ["some_new_word", "partial_finalizing", "canceling", "queued"])
def test_unknown_and_older_words_mean_going_on(tmp_path, word):
    world = world_of(tmp_path, {"job_status": {"instead_of": "in_progress", "word": word}})
    with world.worker() as context:
        until(world, context, Batch.RUNNING)
        turns(world, context, 5, idle_s=20)
        assert (newest(context).state, newest(context).remote_status) == (Batch.RUNNING, word)
        settle(world, context)
    assert len(shown(world)) == 1


@pytest.mark.parametrize("word", ["partially_completed", "expired"])
def test_older_words_for_the_end_are_collected(tmp_path, word):
    world = world_of(tmp_path, {"job_status": {"instead_of": "completed", "word": word}})
    world.run()
    assert len(shown(world)) == 1


HOUR_S = 3600.0


def renamed(tmp_path, monkeypatch, word, **shown):
    """A world whose jobs, once they are over, are called `word`, with these fields as they are not."""
    world = world_of(tmp_path, documents=2, batch_seconds=60)
    told = RemoteJob.as_json

    def as_json(job, now_us, options):
        answer = told(job, now_us, options)
        return {**answer, "status": word, **shown} if answer["status"] == "completed" else answer

    monkeypatch.setattr(RemoteJob, "as_json", as_json)
    return world


def hours_past_the_window(world, context, hours):
    """Let time pass until so many hours after the end of the job's window, and look."""
    late_s = newest(context).deadline_at / US + hours * HOUR_S - world.clock.wall()
    world.clock.advance(late_s)
    turns(world, context, 4)
    return newest(context)


def test_a_word_for_the_end_that_nobody_knows_is_collected_an_hour_past_the_window(tmp_path, monkeypatch):
    world = renamed(tmp_path, monkeypatch, "archived")
    with world.worker() as context:
        until(world, context, Batch.RUNNING)
        turns(world, context, 40, idle_s=300)
        assert (newest(context).state, newest(context).remote_status) == (Batch.RUNNING, "archived")
        assert newest(context).due_at > world.clock.wall() * US - 700 * US
        assert hours_past_the_window(world, context, 0.9).state is Batch.RUNNING
        hours_past_the_window(world, context, 1.1)
        assert settle(world, context).state is Batch.CLOSED
    assert len(shown(world)) == 2
    assert not world.ledger.billed_more_than_once()


@pytest.mark.parametrize(("word", "told"), [("archived", "does not know"), ("in_progress", "still reports")])
def test_a_job_that_never_ends_is_parked_half_a_day_past_the_window(tmp_path, monkeypatch, word, told):
    world = renamed(tmp_path, monkeypatch, word, output_file_id=None, error_file_id=None)
    with world.worker() as context:
        until(world, context, Batch.RUNNING)
        assert hours_past_the_window(world, context, 11.9).state is Batch.RUNNING
        parked = hours_past_the_window(world, context, 12.1)
        assert parked.state is Batch.PARKED
        assert told in parked.reason
        assert f"'{word}'" in parked.reason
        assert f"`voyage-jobs retry {parked.ref}`" in parked.hint

        world.clock.advance(60)  # what was sent is not sent again by itself, and asked about seldom
        asked = world.sim.calls["retrieve_batch"]
        turns(world, context, 20, idle_s=60)
        assert newest(context).state is Batch.PARKED
        assert 1 <= world.sim.calls["retrieve_batch"] - asked <= 3

        monkeypatch.undo()  # the provider mends its word: nobody needs to do anything
        assert until(world, context, Batch.CLOSED, idle_s=300).reason is None
    assert len(shown(world)) == 2
    assert not world.ledger.billed_more_than_once()


def test_our_own_clock_does_not_make_a_job_late(tmp_path, monkeypatch):
    world = renamed(tmp_path, monkeypatch, "archived", output_file_id=None, error_file_id=None)
    with world.worker() as context:
        batch = until(world, context, Batch.RUNNING)
        world.clock.step(365 * 86_400)
        turns(world, context, 4)
        assert (newest(context).state, newest(context).deadline_at) == (Batch.RUNNING, batch.deadline_at)


def test_polls_keep_their_distance_and_it_grows(tmp_path):
    world = world_of(tmp_path, batch_seconds=20_000)
    with world.worker(polling={"interval_s": 30, "max_interval_s": 400}) as context:
        until(world, context, Batch.RUNNING)
        seen, polls = [], world.sim.calls["retrieve_batch"]
        for _ in range(400):
            turns(world, context, 1)
            if world.sim.calls["retrieve_batch"] != polls:
                polls = world.sim.calls["retrieve_batch"]
                seen.append(world.clock.mono())
    gaps = [after - before for before, after in itertools.pairwise(seen)]
    assert len(gaps) > 10
    assert min(gaps[4:]) >= 30 - 1e-6  # clocks count in floating point; after the early looks
    assert max(gaps) <= 400 + 15  # and a wait of the loop at most
    assert gaps[-1] > 5 * gaps[0]


@pytest.mark.parametrize("age_s", [-5_000, 60, 100, 600, 5_000, 50_000])
def test_the_next_look_stays_within_the_bounds(tmp_path, age_s):
    world = world_of(tmp_path)
    with world.worker(polling={"interval_s": 60, "max_interval_s": 600}) as context:
        batch = until(world, context, Batch.RUNNING)
        now = batch.submitted_at + age_s * US
        waits = [next_look_s(context, batch, now) for _ in range(100)]
    assert min(waits) >= 60
    assert max(waits) <= 600
    if 600 < age_s < 6_000:
        assert len(set(waits)) > 50  # jitter
        assert sum(waits) / 100 == pytest.approx(age_s / 10, rel=0.1)


def test_a_young_job_is_looked_at_after_5_10_20_and_40_seconds(tmp_path):
    world = world_of(tmp_path, batch_seconds=5_000)
    with world.worker(polling={"interval_s": 60, "max_interval_s": 600}) as context:
        batch = until(world, context, Batch.RUNNING)
        assert (batch.due_at - batch.submitted_at) / US == pytest.approx(5, abs=1)
        waits, age_s = [], 5
        while age_s < 75:
            waits.append(next_look_s(context, batch, batch.submitted_at + age_s * US))
            age_s += waits[-1]
    assert waits == [10, 20, 40]


def test_a_restart_does_not_poll_sooner(tmp_path):
    world = world_of(tmp_path, batch_seconds=5_000)
    with world.worker() as context:
        until(world, context, Batch.RUNNING)
        turns(world, context, 8)
        due = newest(context).due_at
    polls = world.sim.calls["retrieve_batch"]
    for _ in range(3):
        with world.worker() as context:
            turns(world, context, 1)
            assert newest(context).due_at == due
    assert world.sim.calls["retrieve_batch"] == polls


def test_a_job_that_is_gone_needs_a_person_after_some_tries(tmp_path):
    world = world_of(tmp_path, {"server_error": {"on": "retrieve_batch", "status": 404}})
    with world.worker() as context:
        batch = until(world, context, Batch.PARKED, idle_s=60)
        assert world.sim.calls["retrieve_batch"] == GONE_TRIES
        assert batch.remote_id in batch.reason
        assert "paid again" in batch.hint
        assert embeddings_by_state(context) == {"packed": 1}
        turns(world, context, 20, idle_s=60)  # it may only be out of sight: it is looked for, seldom
        assert GONE_TRIES < world.sim.calls["retrieve_batch"] <= GONE_TRIES + 4
        assert newest(context).state is Batch.PARKED

        perform(context, "retry", {"ref": batch.ref}, "me")
        world.sim.faults.rules = ()
        settle(world, context)
        assert [attempts(context, each) for each in all_batches(context)] == [["created"], ["created"]]
    assert len(shown(world)) == 1


def test_a_job_that_is_there_again_goes_on_by_itself(tmp_path):
    """The key of another project was set for a while: its jobs are not those of this one."""
    world = world_of(tmp_path, {"server_error": {"on": "retrieve_batch", "status": 404}})
    with world.worker() as context:
        until(world, context, Batch.PARKED, idle_s=60)
        world.sim.faults.rules = ()
        until(world, context, Batch.CLOSED, idle_s=120)
        settle(world, context)
        assert [attempts(context, each) for each in all_batches(context)] == [["created"]]
    assert len(shown(world)) == 1
    assert not world.ledger.billed_more_than_once()


@pytest.mark.parametrize("counts", [{}, {"request_counts": None}])
@pytest.mark.parametrize("looks", [1, LATE_TRIES - 1])
def test_a_file_of_results_that_is_named_late_is_waited_for(tmp_path, monkeypatch, looks, counts):
    """`completed`, five of five or uncounted, and no output file yet: they are paid for, so nothing is sent again at
    once."""
    world = world_of(tmp_path, documents=5)
    told = RemoteJob.as_json
    hidden = []

    def as_json(job, now_us, options):
        shown = told(job, now_us, options)
        if shown["status"] == "completed" and len(hidden) < looks:
            hidden.append(shown)
            shown |= {"output_file_id": None, **counts}
        return shown

    monkeypatch.setattr(RemoteJob, "as_json", as_json)
    with world.worker() as context:
        settle(world, context)
        assert len(hidden) == looks
        assert len(all_batches(context)) == 1
    assert len(shown(world)) == 5
    assert not world.ledger.billed_more_than_once()


@pytest.mark.parametrize("counts", [{}, {"request_counts": None}])
def test_results_that_are_never_named_are_sent_for_again(tmp_path, monkeypatch, counts):
    world = world_of(tmp_path, documents=2)
    told = RemoteJob.as_json
    first = []

    def as_json(job, now_us, options):
        shown = told(job, now_us, options)
        first.append(job.id)
        return shown | ({"output_file_id": None, **counts} if job.id == first[0] else {})

    monkeypatch.setattr(RemoteJob, "as_json", as_json)
    with world.worker() as context:
        settle(world, context)
        assert len(all_batches(context)) == 2
    waits = put_off(world, "results_late")
    assert [each["failures"] for each in waits] == list(range(1, LATE_TRIES))
    assert len(shown(world)) == 2


def test_a_job_that_is_gone_for_a_moment_is_not_given_up(tmp_path):
    world = world_of(
        tmp_path, {"server_error": {"on": "retrieve_batch", "status": 404, "times": GONE_TRIES - 1}}
    )
    with world.worker() as context:
        assert settle(world, context).state is Batch.CLOSED
    assert len(shown(world)) == 1


@pytest.mark.parametrize("fault", [
    {"request_lost": {"on": "retrieve_batch", "times": 3}},
    {"answer_lost": {"on": "retrieve_batch", "times": 3}},
    {"server_error": {"on": "retrieve_batch", "times": 3}},
    {"server_error": {"on": "retrieve_batch", "times": 3, "status": 200}},  # an HTML page
    {"server_error": {"on": "retrieve_batch", "times": 3, "status": 422}},
])  # fmt: skip
def test_a_poll_that_fails_says_nothing_about_the_job_and_keeps_back_no_other_call(tmp_path, fault):
    world = world_of(tmp_path, fault)
    with world.worker() as context:
        until(world, context, Batch.RUNNING)
        turns(world, context, 4, idle_s=20)
        batch = newest(context)
        assert (batch.state, batch.code) == (Batch.RUNNING, "poll")
        assert batch.failures
        assert batch.error
        assert batch.failing_since
        assert not tripped(context)
        settle(world, context)
        assert newest(context).error is None
    assert len(shown(world)) == 1
    assert not world.ledger.billed_more_than_once()


@pytest.mark.parametrize("fault", [
    {"rate_limited": {"on": "retrieve_batch", "times": 3, "retry_after_s": 500}},
    {"auth_outage": {"on": "retrieve_batch", "times": 3}},
    {"unpaid_account": {"on": "retrieve_batch", "times": 3}},
])  # fmt: skip
def test_a_poll_that_is_refused_because_of_the_account_makes_every_call_wait(tmp_path, fault):
    world = world_of(tmp_path, fault)
    with world.worker() as context:
        until(world, context, Batch.RUNNING)
        turns(world, context, 4, idle_s=20)
        assert newest(context).state is Batch.RUNNING
        assert tripped(context)["vendor"].failures
        settle(world, context)
        assert not tripped(context)
    assert len(shown(world)) == 1
    assert not world.ledger.billed_more_than_once()


def test_a_clock_set_back_while_nothing_ran_does_not_keep_a_job_waiting(tmp_path):
    world = world_of(tmp_path, batch_seconds=5_000)
    with world.worker() as context:
        until(world, context, Batch.RUNNING)
        turns(world, context, 8)
    world.clock.step(-10 * 3600)
    with world.worker(polling={"max_interval_s": 600}) as context:
        assert newest(context).due_at <= (world.clock.wall() + 600) * US


# Cancelling.


def test_a_person_cancels_and_what_was_finished_is_kept(tmp_path):
    world = world_of(tmp_path, documents=20, batch_seconds=1000)
    with world.worker() as context:
        batch = until(world, context, Batch.RUNNING)
        world.clock.advance(600)
        answer = perform(context, "cancel", {"ref": batch.ref[:6]}, "me")
        assert (answer["ref"], answer["state"]) == (batch.ref, "cancelling")
        settle(world, context)
        held = embeddings_by_state(context)
        assert held["held"] > 0
        assert held["dropped"] > 0
        assert held["held"] + held["dropped"] == 20
        assert len(all_batches(context)) == 1  # the rest is not sent by itself
        assert len(shown(world)) == held["held"]

        assert perform(context, "retry", {}, "me")["embeddings"] == held["dropped"]
        settle(world, context)
    assert len(shown(world)) == 20
    assert not world.ledger.billed_more_than_once()


@pytest.mark.parametrize("listed", [True, False])
def test_a_job_cancelled_by_others_is_collected_and_the_rest_sent_again(tmp_path, listed):
    """Somebody uses the provider's dashboard: finished lines are paid and kept, the others are wanted as before."""
    options = {"cancelled_lines_in_error_file": listed}
    world = world_of(tmp_path, documents=20, batch_seconds=1000, options=options)
    with world.worker() as context:
        batch = until(world, context, Batch.RUNNING)
        world.clock.advance(600)
        context.client.cancel_batch(batch.remote_id)
        settle(world, context)
        assert len(all_batches(context)) == 2
    assert len(shown(world)) == 20
    assert not world.ledger.billed_more_than_once()


def test_a_cancellation_that_comes_too_late_is_no_trouble(tmp_path):
    world = world_of(tmp_path)
    with world.worker() as context:
        batch = until(world, context, Batch.RUNNING)
        world.clock.advance(500)  # the job is over, and we do not know it yet
        perform(context, "cancel", {"ref": batch.ref}, "me")
        settle(world, context)
        assert embeddings_by_state(context) == {"held": 1}
        assert document(context, "0.md").state == "present"
    assert len(shown(world)) == 1
    assert world.log.named("cancel.refused")


def test_a_job_cancelled_before_it_began_leaves_nothing_and_costs_nothing(tmp_path):
    world = world_of(tmp_path, batch_seconds=1000)
    with world.worker() as context:
        batch = until(world, context, Batch.RUNNING)
        perform(context, "cancel", {"ref": batch.ref}, "me")
        settle(world, context)
        assert embeddings_by_state(context) == {"dropped": 1}
        assert query(context, "SELECT kind, SUM(tokens) FROM spend WHERE kind = 'settled'") == [
            ("settled", 0)
        ]
    assert world.ledger.batch_tokens == 0
