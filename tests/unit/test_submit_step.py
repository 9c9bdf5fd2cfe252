"""submit: from packed to running, whatever the provider answers, and never a second create call in ignorance."""

from __future__ import annotations

import pytest
from step_doors import (
    all_batches,
    attempts,
    embeddings_by_state,
    newest,
    prose,
    put_off,
    query,
    scan,
    settle,
    shown,
    tripped,
    turns,
    until,
)
from world import World

from voyage_jobs.config.key import KeySource
from voyage_jobs.core.retry import POLICIES
from voyage_jobs.core.states import Batch
from voyage_jobs.errors import RefusedError
from voyage_jobs.service import reload
from voyage_jobs.steps.acts import perform
from voyage_jobs.steps.assemble import assemble
from voyage_jobs.steps.submit import submit

QUARANTINE_S = 900
NOT_FOUND_TRIES = POLICIES["input_file"].tries


def world_of(tmp_path, faults, documents=1, **sections):
    world = World(tmp_path, faults=faults, **sections)
    for number in range(documents):
        world.write(f"{number}.md", prose(f"number {number}"))
    return world


def jobs(world):
    return world.sim.state()["batches"]


def published_once(world, documents=1):
    """Everything is in the table and was bought once."""
    assert len(shown(world)) == documents
    assert not world.ledger.billed_more_than_once()
    return True


# Known not to have happened.


def test_a_network_that_is_away_at_create_is_tried_again_by_itself(tmp_path):
    world = world_of(tmp_path, {"request_lost": {"on": "create_batch", "times": 3}})
    with world.worker() as context:
        batch = settle(world, context)
        assert attempts(context, batch) == ["not_happened"] * 3 + ["created"]
    waits = put_off(world, "create_call")
    assert [each["failures"] for each in waits] == [1, 2, 3]
    assert waits[-1]["wait_s"] > 2 * waits[0]["wait_s"]
    assert not world.log.named("circuit.opened")  # one call that fails says nothing about the others
    assert len(jobs(world)) == 1
    assert published_once(world)


def test_a_create_call_that_is_refused_parks_the_batch_with_the_vendors_words(tmp_path):
    faults = {"server_error": {"on": "create_batch", "status": 422, "nth": 1}}
    world = world_of(tmp_path, faults)
    with world.worker() as context:
        batch = until(world, context, Batch.PARKED)
        assert attempts(context, batch) == ["refused"]
        assert "422" in batch.reason
        assert "voyage-jobs retry" in batch.hint
        assert embeddings_by_state(context) == {"packed": 1}
        turns(world, context, 10)
        assert world.sim.calls["create_batch"] == 1

        assert perform(context, "retry", {}, "me")["batches"] == 1
        settle(world, context)
        assert [each.state for each in all_batches(context)] == [Batch.CLOSED, Batch.CLOSED]
    assert published_once(world)


def test_an_input_file_that_is_not_found_yet_is_waited_for(tmp_path):
    world = world_of(tmp_path, {"input_file_not_found": {"times": 2}})
    with world.worker() as context:
        batch = settle(world, context)
        assert attempts(context, batch) == ["refused", "refused", "created"]
        assert world.sim.calls["upload_file"] == 1
    assert published_once(world)


def test_an_input_file_whose_bytes_change_on_the_disk_is_written_again(tmp_path):
    """Of its size, so that only its hash tells: the vector of another text would be shown."""
    world = world_of(tmp_path, None)
    with world.worker() as context:
        batch = until(world, context, Batch.SPOOLED)
        file = context.input_path(batch.ref)
        file.write_bytes(file.read_bytes().replace(b"About", b"About".swapcase()))
        settle(world, context)
    (text,) = shown(world)["0.md"]
    assert world.ledger.times_billed(text) == 1


def test_an_input_file_that_stays_lost_is_uploaded_once_more(tmp_path):
    world = world_of(tmp_path, {"input_file_not_found": {"times": NOT_FOUND_TRIES}})
    with world.worker() as context:
        batch = settle(world, context)
        assert attempts(context, batch) == ["refused"] * NOT_FOUND_TRIES + ["created"]
        assert world.sim.calls["upload_file"] == 2
        assert query(context, "SELECT COUNT(*) FROM remote_files WHERE deleted_at IS NULL") == [(0,)]
    assert published_once(world)


def test_an_input_file_that_is_lost_twice_needs_a_person(tmp_path):
    world = world_of(tmp_path, {"input_file_not_found": {"times": 2 * NOT_FOUND_TRIES}})
    with world.worker() as context:
        batch = until(world, context, Batch.PARKED)
        assert len(attempts(context, batch)) == 2 * NOT_FOUND_TRIES
        assert "does not find the file" in batch.hint
        perform(context, "retry", {"ref": batch.ref}, "me")
        settle(world, context)
    assert published_once(world)


def test_other_failures_do_not_use_up_the_patience_with_a_file_not_found(tmp_path):
    """Only refusals count: a file not found once, after many other failures, is no reason to call an operator."""
    faults = {
        "request_lost": {"on": "create_batch", "nth": list(range(1, 2 * NOT_FOUND_TRIES))},
        "input_file_not_found": {"nth": 2 * NOT_FOUND_TRIES},
    }
    world = world_of(tmp_path, faults)
    with world.worker() as context:
        batch = settle(world, context)
        assert attempts(context, batch)[-2:] == ["refused", "created"]
        assert world.sim.calls["upload_file"] == 1
    assert published_once(world)


def test_too_many_jobs_in_flight_wait_until_one_of_ours_ends_while_polling_goes_on(tmp_path):
    world = world_of(tmp_path, {}, 2, options={"max_in_flight_jobs": 1}, batch_seconds=600)
    with world.worker(batching={"max_inputs": 1}, voyage={"create_retry_s": 1800}) as context:
        first = until(world, context, Batch.RUNNING)
        for _ in range(30):
            turns(world, context, 1)
            if "create" in tripped(context):
                break
        circuit = tripped(context)["create"]
        assert circuit.code == "in_flight_limit"
        assert circuit.until_at == pytest.approx((world.clock.wall() + 1800) * 1e6, abs=30e6)
        assert "vendor" not in tripped(context)
        assert attempts(context, newest(context)) == ["not_happened"]
        calls, polls = world.sim.calls["create_batch"], world.sim.calls["retrieve_batch"]

        while next(b.state for b in all_batches(context) if b.ref == first.ref) is Batch.RUNNING:
            assert world.sim.calls["create_batch"] == calls
            turns(world, context, 1, idle_s=60)
        assert world.sim.calls["retrieve_batch"] > polls
        assert world.sim.calls["create_batch"] == calls + 1  # in the same turn
        assert world.clock.wall() * 1e6 < circuit.until_at - 600e6
        assert not tripped(context)
        settle(world, context)
        assert not tripped(context)
    assert published_once(world, 2)


def test_a_provider_that_names_a_time_is_not_asked_for_a_job_before_that(tmp_path):
    faults = {"rate_limited": {"on": "create_batch", "nth": 2, "retry_after_s": 1500}}
    world = world_of(tmp_path, faults, 2, batch_seconds=600)
    with world.worker(batching={"max_inputs": 1}) as context:
        first = until(world, context, Batch.RUNNING)
        until(world, context, Batch.UPLOADED)
        began = world.clock.wall()
        while next(b.state for b in all_batches(context) if b.ref == first.ref) is Batch.RUNNING:
            turns(world, context, 1, idle_s=30)
        assert "create" in tripped(context)
        assert newest(context).state is Batch.UPLOADED
        until(world, context, Batch.RUNNING, idle_s=30)
        assert world.clock.wall() - began >= 1500


@pytest.mark.parametrize(("most_s", "least_s"), [(3600, 3600), (86_400, 7200)])
def test_a_longer_wish_of_the_vendor_is_honoured_up_to_the_limit(tmp_path, most_s, least_s):
    faults = {"rate_limited": {"on": "create_batch", "nth": 1, "retry_after_s": 7200}}
    world = world_of(tmp_path, faults)
    with world.worker(voyage={"create_retry_s": 1800, "max_retry_after_s": most_s}) as context:
        began = world.clock.wall()
        until(world, context, Batch.RUNNING, idle_s=60)
        assert least_s <= world.clock.wall() - began < least_s + 1800


def test_the_limit_of_a_wish_is_taken_up_while_running(tmp_path):
    world = world_of(tmp_path, {"rate_limited": {"on": "upload_file", "nth": 1, "retry_after_s": 3600}})
    with world.worker() as context:
        reload.apply(context, world.settings(voyage={"max_retry_after_s": 60}))
        began = world.clock.wall()
        until(world, context, Batch.RUNNING, idle_s=5)
        assert 60 <= world.clock.wall() - began < 600


@pytest.mark.parametrize(("fault", "code"), [
    ({"auth_outage": {"status": 401, "until_s": 3000}}, "auth"),
    ({"auth_outage": {"status": 403, "until_s": 3000}}, "auth"),
    ({"unpaid_account": {"until_s": 3000}}, "quota"),
])  # fmt: skip
def test_a_refused_key_or_account_pauses_and_goes_on_by_itself(tmp_path, fault, code):
    world = world_of(tmp_path, fault)
    with world.worker() as context:
        turns(world, context, 20, idle_s=60)
        circuit = tripped(context)["vendor"]
        assert (circuit.code, bool(circuit.hint)) == (code, True)
        assert newest(context).state in (Batch.SPOOLED, Batch.UPLOADING)
        calls = world.sim.calls.total()
        assert calls < 15  # it waits, and ever longer
        settle(world, context)
        assert not tripped(context)
    assert published_once(world)


def test_a_refused_key_at_create_is_known_not_to_have_made_a_job(tmp_path):
    world = world_of(tmp_path, {"auth_outage": {"on": "create_batch", "times": 1}})
    with world.worker() as context:
        batch = settle(world, context)
        assert attempts(context, batch) == ["not_happened", "created"]
        assert world.sim.calls["list_batches"] == 0
    assert published_once(world)


def test_a_missing_key_pauses_and_goes_on_when_there_is_one(world, monkeypatch):
    secret = world.root / "key"
    key = world.settings().api_key()
    monkeypatch.setattr("world.KeySource", lambda *_, **__: KeySource({"VOYAGE_API_KEY_FILE": str(secret)}))
    world.write("a.md", prose("a"))
    with world.worker() as context:
        turns(world, context, 20)
        assert tripped(context)["vendor"].code == "auth"
        assert world.sim.calls.total() == 0
        secret.write_text(key)
        settle(world, context)
    assert published_once(world)


# Uploads.


@pytest.mark.parametrize("fault", [
    {"request_lost": {"on": "upload_file", "times": 2}},
    {"answer_lost": {"on": "upload_file", "times": 2}},
    {"server_error": {"on": "upload_file", "times": 2, "after_effect": True}},
    {"rate_limited": {"on": "upload_file", "times": 2, "retry_after_s": 30}},
])  # fmt: skip
def test_an_upload_that_fails_is_simply_made_again_and_leaves_nothing(tmp_path, fault):
    world = world_of(tmp_path, fault)
    with world.worker() as context:
        batch = settle(world, context)
        assert attempts(context, batch) == ["created"]
        assert world.sim.calls["upload_file"] == 3
        world.clock.advance(2 * QUARANTINE_S)
        turns(world, context, 5)
    assert world.sim.state()["files"] == 0
    assert published_once(world)


@pytest.mark.parametrize(
    "operation", ["upload_file", "retrieve_batch", "retrieve_file", "file_content", "delete_file"]
)
@pytest.mark.parametrize("status", [302, 403, 404, 407, 410])
def test_a_login_page_in_between_is_waited_out_and_nobody_is_called(tmp_path, operation, status):
    fault = {"on": operation, "status": status, "page": True, "times": 3}
    world = world_of(tmp_path, {"server_error": fault})
    with world.worker() as context:
        settle(world, context)
        assert not tripped(context)
    assert published_once(world)
    assert len(world.ledger.export()["batches"]) == 1


@pytest.mark.parametrize("status", [302, 403, 404, 407])
def test_a_create_call_that_a_login_page_answered_may_have_had_an_effect(tmp_path, status):
    fault = {"on": "create_batch", "status": status, "page": True, "nth": 1, "after_effect": True}
    world = world_of(tmp_path, {"server_error": fault})
    with world.worker() as context:
        batch = settle(world, context)
        assert attempts(context, batch) == ["created"]
    assert published_once(world)
    assert len(world.ledger.export()["batches"]) == 1


@pytest.mark.parametrize("status", [400, 422])
def test_an_upload_that_is_refused_needs_a_person(tmp_path, status):
    world = world_of(tmp_path, {"server_error": {"on": "upload_file", "status": status, "times": 1}})
    with world.worker() as context:
        batch = until(world, context, Batch.PARKED)
        assert f"({status})" in batch.reason
        assert "voyage-jobs retry" in batch.hint
        assert attempts(context, batch) == []


# Restarts.


@pytest.mark.parametrize("state", [
    Batch.PACKED, Batch.SPOOLED, Batch.UPLOADED, Batch.RUNNING, Batch.ENDED, Batch.COLLECTED,
])  # fmt: skip
def test_a_restart_in_any_state_goes_on_where_it_was(world, state):
    world.write("a.md", prose("a"))
    with world.worker() as context:
        scan(context)
        assert assemble(context, eager=True)
        while newest(context).state not in (state, Batch.RUNNING):
            submit(context)
        if newest(context).state is not state:
            until_without_tidy(world, context, state)
        assert newest(context).state is state
    world.run()
    assert world.sim.calls["create_batch"] == 1
    assert world.sim.calls["upload_file"] == 1
    assert published_once(world)


def until_without_tidy(world, context, state):
    from voyage_jobs.steps.collect import collect
    from voyage_jobs.steps.poll import poll

    for step in [poll, poll, poll, poll, collect]:
        world.clock.advance(100)
        if newest(context).state is not state:
            step(context)


def test_what_is_on_the_wire_names_the_batch_and_never_the_key_in_a_url(world):
    world.write("a.md", prose("a"))
    world.run()
    (job,) = jobs(world)
    with world.worker() as context:
        assert job["metadata"] == {
            "voyage_jobs_ref": newest(context).ref,
            "voyage_jobs_state": context.state_id,
            "voyage_jobs_generation": "1",
        }
        with pytest.raises(RefusedError):  # both files are gone from the provider
            context.client.get_file(job["output_file_id"])
    key = world.settings().api_key()
    for request in world.transport.requests:
        assert key not in request.path + request.query
        assert request.headers["authorization"] == f"Bearer {key}"
