"""A failure belongs to the thing it happened to: one sick file, job, upload or list keeps nothing else waiting."""

from __future__ import annotations

import itertools

import httpx
import pytest
from sick_vendor import ONE_EACH, SickWorld, batch_of, running, turns_until
from small_world import quick
from step_doors import all_batches, newest, put_off, tripped, turns

from voyage_jobs.core.retry import POLICIES
from voyage_jobs.core.states import Batch
from voyage_jobs.service.signals import Signals
from voyage_jobs.service.sync import Ending, Sync

JOB_S = 600.0


@pytest.fixture(autouse=True)
def _quick():
    with quick():
        yield


def world_of(tmp_path, documents, **options):
    return SickWorld(tmp_path, documents, batch_seconds=JOB_S, **options)


def names(*numbers):
    return {f"{number}.md" for number in numbers}


def bought_once(world, texts):
    assert not world.ledger.billed_more_than_once()
    assert world.ledger.units() == texts
    return True


# --- results ---


def test_results_that_cannot_be_had_keep_back_no_others(tmp_path):
    world = world_of(tmp_path, 6)
    with world.worker(batching=ONE_EACH) as context:
        sick_one = running(world, context, 6)[0]
        world.clock.advance(JOB_S)
        sick = world.sick("GET", f"/{world.jobs()[0]['output_file_id']}/content")
        world.clock.advance(context.settings.polling.max_interval_s)
        turns(world, context, 6)
        assert world.names() == names(1, 2, 3, 4, 5)
        assert not tripped(context)

        turns_until(world, context, lambda: batch_of(context, sick_one.ref).state is Batch.PARKED, idle_s=60)
        assert sick.calls == POLICIES["download"].tries
        gaps = [later - earlier for earlier, later in itertools.pairwise(sick.at)]
        assert gaps[5] > 8 * gaps[0]
        parked = batch_of(context, sick_one.ref)
        assert "could not be fetched in 12 tries" in parked.reason
        assert "(500)" in parked.reason
        assert "paid for" in parked.hint
        assert "voyage-jobs retry" in parked.hint

        turns(world, context, 20, idle_s=600)  # asked for now and then, and never bought again
        assert sick.calls == POLICIES["download"].tries
        sick.is_well = True
        turns_until(world, context, lambda: len(world.names()) == 6, idle_s=600)
        assert batch_of(context, sick_one.ref).reason is None
        assert len(all_batches(context)) == 6
    assert world.log.named("batch.unparked")
    assert bought_once(world, 6)


def test_results_are_not_given_up_while_voyage_answers_nobody(tmp_path):
    """An outage of a day is no fault of one file: nothing is parked by it."""
    world = world_of(tmp_path, 1)
    with world.worker() as context:
        running(world, context, 1)
        world.clock.advance(JOB_S)
        outage = world.sick("GET", "")
        turns(world, context, 150, idle_s=600)
        assert newest(context).state in (Batch.RUNNING, Batch.ENDED)
        outage.is_well = True
        turns_until(world, context, lambda: world.names() == names(0), idle_s=60)
    assert not world.log.named("batch.parked")
    assert bought_once(world, 1)


# --- jobs ---


def test_a_job_that_cannot_be_looked_at_keeps_back_no_others(tmp_path):
    faults = {"job_hidden": {"nth": 1, "seconds": 1e9, "retrieve": False}}  # the list leaves it out
    world = world_of(tmp_path, 5, faults=faults)
    with world.worker(batching=ONE_EACH) as context:
        first = running(world, context, 5)[0]
        sick = world.sick("GET", f"/batches/{first.remote_id}")
        turns_until(world, context, lambda: world.names() == names(1, 2, 3, 4), idle_s=30)
        assert world.clock.mono() < 2 * JOB_S
        assert not tripped(context)
        turns_until(world, context, lambda: batch_of(context, first.ref).failures >= 6, idle_s=10)
        assert (batch_of(context, first.ref).state, batch_of(context, first.ref).code) == (
            Batch.RUNNING,
            "poll",
        )
        gaps = [later - earlier for earlier, later in itertools.pairwise(sick.at)]
        assert gaps[-1] > 4 * gaps[0]
        sick.is_well = True
        turns_until(world, context, lambda: len(world.names()) == 5, idle_s=60)
    assert bought_once(world, 5)


def test_a_job_that_cannot_be_looked_at_half_a_day_past_its_window_is_parked_and_goes_on_by_itself(tmp_path):
    world = world_of(tmp_path, 2)
    with world.worker(batching=ONE_EACH) as context:
        first = running(world, context, 2)[0]
        sick = world.sick("GET", f"/batches/{first.remote_id}")
        turns_until(world, context, lambda: batch_of(context, first.ref).state is Batch.PARKED, idle_s=600)
        assert world.clock.wall() > first.deadline_at / 1e6 + 43_200
        assert "still cannot be read" in batch_of(context, first.ref).reason
        assert world.names() == names(1)
        sick.is_well = True
        turns_until(world, context, lambda: len(world.names()) == 2, idle_s=60)
    assert bought_once(world, 2)


def test_a_list_that_cannot_be_read_keeps_back_no_job(tmp_path):
    world = world_of(tmp_path, 5, faults={"server_error": {"on": "list_batches"}})
    with world.worker(batching=ONE_EACH) as context:
        running(world, context, 5)
        turns_until(world, context, lambda: len(world.names()) == 5, idle_s=30)
        assert not tripped(context)
    assert world.clock.mono() < 2 * JOB_S
    assert 1 <= world.sim.calls["list_batches"] < 8  # it is asked forever more seldom
    assert world.log.named("list.failed")
    assert bought_once(world, 5)


def test_a_job_that_somebody_deleted_is_parked_and_what_is_new_goes(tmp_path):
    world = world_of(tmp_path, 1, faults={"job_hidden": {"nth": 1, "seconds": 1e9}})
    world.run(8, quiet=False)
    world.fill(4, first=1)
    with Signals() as signals, world.worker() as context:
        outcome = Sync(context, signals).run()
        lost, other = all_batches(context)
        assert (lost.state, lost.inputs, other.inputs) == (Batch.PARKED, 1, 3)
        assert lost.remote_id in lost.reason
        assert "paid again" in lost.hint
        assert [each["failures"] for each in put_off(world, "job_gone")] == [1, 2, 3, 4]
    assert world.names() == names(1, 2, 3)
    assert outcome.ending is Ending.OPERATOR
    (problem,) = outcome.problems  # and nothing is said to be left that is not
    assert problem.code == "parked"
    assert problem.message.startswith(f"Batch {lost.ref} is parked with 1 text: ")
    assert world.sim.calls["create_batch"] == 2


# --- what is on its way out ---


def test_an_upload_that_is_always_reset_keeps_nothing_waiting(tmp_path):
    world = world_of(tmp_path, 4)
    sick = world.sick("POST", "/files", lambda: httpx.ReadError("reset"), b"number 0,")
    with world.worker(batching=ONE_EACH) as context:
        turns_until(world, context, lambda: world.names() == names(1, 2, 3), idle_s=30)
        assert world.clock.mono() < 3 * JOB_S
        assert not tripped(context)
        world.fill(6, first=4)  # what comes later goes as well
        turns_until(world, context, lambda: world.names() == names(1, 2, 3, 4, 5), idle_s=30)
        ill = all_batches(context)[0]
        assert (ill.state, ill.code) == (Batch.UPLOADING, "upload")
        assert ill.failures == sick.calls > 4
        gaps = [later - earlier for earlier, later in itertools.pairwise(sick.at)]
        assert gaps[-1] > 8 * gaps[0]

        turns_until(world, context, lambda: all_batches(context)[0].state is Batch.PARKED, idle_s=3600)
        assert sick.calls == POLICIES["upload"].tries
        assert "could not be uploaded in 60 tries" in all_batches(context)[0].reason
        assert "Nothing was paid" in all_batches(context)[0].hint
    assert bought_once(world, 5)


def test_uploads_that_fail_alike_stop_calls_for_a_while_and_never_those_that_are_well(tmp_path):
    """Two that fail are a shared cause until a third succeeds; what has failed least is tried first."""
    world = world_of(tmp_path, 5)
    world.sick("POST", "/files", lambda: httpx.ReadError("reset"), b"number 0,")
    world.sick("POST", "/files", lambda: httpx.ReadError("reset"), b"number 1,")
    with world.worker(batching=ONE_EACH) as context:
        turns_until(world, context, lambda: world.names() == names(2, 3, 4), idle_s=30)
        assert world.log.named("circuit.opened")
    assert bought_once(world, 3)


def test_an_outage_of_create_calls_heals_by_itself(tmp_path):
    outage_s = 6 * 3600.0
    world = world_of(
        tmp_path, 5, faults={"server_error": {"on": "create_batch", "status": 503, "until_s": outage_s}}
    )
    with world.worker(batching={"max_inputs": 2}) as context:
        turns_until(world, context, lambda: len(world.names()) == 5, idle_s=60, most=1500)
        made = all_batches(context)
    assert world.clock.mono() > outage_s
    assert world.clock.mono() < outage_s + 3 * 3600
    assert len(world.jobs()) == len(made)
    assert world.sim.calls["create_batch"] < 60
    assert not world.log.named("batch.parked")
    assert not world.log.named("batch.duplicate")
    assert bought_once(world, 5)


# --- what is left at the provider ---


def test_a_file_that_cannot_be_deleted_keeps_no_other_from_being_deleted(tmp_path):
    world = world_of(tmp_path, 4)
    with world.worker(batching=ONE_EACH) as context:
        first = running(world, context, 4)[0]
        sick = world.sick("DELETE", f"/files/{first.input_file_id}")
        turns_until(world, context, lambda: len(world.names()) == 4, idle_s=60)
        turns(world, context, 10, idle_s=60)
        assert world.sim.state()["files"] == 1
        assert not tripped(context)
        tried = sick.calls
        turns(world, context, 60, idle_s=600)
        assert tried < sick.calls < 14  # ten hours later
        sick.is_well = True
        turns_until(world, context, lambda: world.sim.state()["files"] == 0, idle_s=3600)


# --- `sync` ---


def test_sync_does_not_wait_for_an_upload_that_fails_on_while_voyage_answers(tmp_path):
    world = world_of(tmp_path, 3)
    sick = world.sick("POST", "/files", lambda: httpx.ReadError("reset"), b"number 0,")
    with Signals() as signals, world.worker(batching=ONE_EACH) as context:
        outcome = Sync(context, signals).run()
        ref = all_batches(context)[0].ref
    assert world.names() == names(1, 2)
    assert outcome.ending is Ending.UNFINISHED
    told = {problem.code: problem.message for problem in outcome.problems}
    assert set(told) == {"failing", "in_flight"}
    assert f"Batch {ref} (uploading) failed 8 times in a row" in told["failing"]
    assert sick.calls == 8


@pytest.mark.parametrize("texts", [1, 3])
def test_sync_waits_for_the_end_of_an_outage_however_often_calls_fail(tmp_path, texts):
    world = world_of(tmp_path, texts)
    outage = [world.sick(method, "", lambda: httpx.ConnectError("no route")) for method in ("POST", "GET")]
    outage_s = 4 * 3600.0

    def watch(_rest):
        for each in outage:
            each.is_well = world.clock.mono() > outage_s

    with Signals() as signals, world.worker(batching=ONE_EACH) as context:
        outcome = Sync(context, signals, watch=watch).run()
        assert not tripped(context)
    assert outage_s < world.clock.mono() < outage_s + 2_700  # though single calls waited an hour by then
    assert outcome.ending is Ending.DONE
    assert len(world.names()) == texts
    assert sum(each.calls for each in outage) < 200
    assert bought_once(world, texts)
