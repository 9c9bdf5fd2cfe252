"""Results that are paid and cannot be used, or are not what was promised: nothing is bought twice for them."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from sick_vendor import SickWorld, altered_content, altered_json, running, turns_until
from small_world import quick
from step_doors import all_batches, embeddings_by_state, money, newest, put_off, query, turns

from voyage_jobs.core.retry import POLICIES, SIZE_TRIES
from voyage_jobs.core.states import Batch
from voyage_jobs.errors import NeedsOperatorError
from voyage_jobs.service.signals import Signals
from voyage_jobs.service.sync import Ending, Sync
from voyage_jobs.simulator.batches import Batch as RemoteJob
from voyage_jobs.state import costs
from voyage_jobs.state.audit import STATE_RULES
from voyage_jobs.steps import collect
from voyage_jobs.steps.acts import perform
from voyage_jobs.vendors.rest.results import read_results
from voyage_jobs.vendors.result_block import LineOutcome, LineProblem
from voyage_jobs.vendors.voyage.vendor import Voyage

ALL_UNUSABLE = {"line_wrong_dimension": {"jobs": 1}}


@pytest.fixture(autouse=True)
def _quick():
    with quick():
        yield


def booked(context):
    """Tokens by kind of entry in the ledger of this program."""
    return dict(query(context, "SELECT kind, SUM(tokens) FROM spend GROUP BY kind"))


def billed(world):
    """Tokens that the provider billed, for results that it spoilt as well."""
    return world.ledger.batch_tokens + world.ledger.spoilt_tokens


def books_are_right(world, context):
    """Neither `verify` nor `cost --recompute` finds anything in the state, and the bill is the provider's."""
    with context.store.read() as connection:
        found = {code: connection.exec_driver_sql(sql).all() for code, sql in STATE_RULES.items()}
        assert not any(found.values()), found
        assert all(same for _, same in costs.recompute(connection))
    bill = booked(context)
    assert bill["settled"] == billed(world)
    assert bill["reserved"] == bill["released"]
    assert money(context).reserved_tokens == 0
    return True


def parked(world, context):
    turns_until(world, context, lambda: newest(context) and newest(context).state is Batch.PARKED, idle_s=60)
    return newest(context)


# --- all of the first results, or most of a batch ---


def test_the_first_results_of_a_profile_that_are_all_unusable_are_bought_once_and_sending_stops(tmp_path):
    world = SickWorld(tmp_path, 3, faults=ALL_UNUSABLE)
    with world.worker() as context:
        batch = parked(world, context)
        assert "3 of its 3 results cannot be used" in batch.reason
        assert "voyage-jobs retry" in batch.hint
        world.fill(6, first=3)
        turns(world, context, 60, idle_s=600)
        assert len(all_batches(context)) == 1
        assert embeddings_by_state(context) == {"packed": 3, "wanted": 3}
        assert booked(context)["released"] == batch.tokens_estimated
        assert booked(context)["settled"] > 0
        assert books_are_right(world, context)
    assert world.sim.calls["create_batch"] == 1


def test_sync_ends_and_says_why_nothing_more_is_sent(tmp_path):
    world = SickWorld(tmp_path, 3, faults=ALL_UNUSABLE)
    with Signals() as signals, world.worker() as context:
        first = Sync(context, signals).run()
    assert first.ending is Ending.OPERATOR
    assert [problem.code for problem in first.problems] == ["unusable_results"]
    world.fill(6, first=3)
    with Signals() as signals, world.worker() as context:
        second = Sync(context, signals).run()
        ref = newest(context).ref
    assert second.ending is Ending.OPERATOR
    told = {problem.code: problem for problem in second.problems}
    assert set(told) == {"unusable_results"}
    assert told["unusable_results"].message.startswith("3 embeddings still to be sent: ")
    assert ref in told["unusable_results"].message


def test_nothing_is_expedited_while_sending_has_stopped(tmp_path):
    world = SickWorld(tmp_path, 3, faults=ALL_UNUSABLE)
    with world.worker() as context:
        batch = parked(world, context)
        world.fill(4, first=3)
        turns(world, context, 6, idle_s=600)
        for path in ("0.md", "3.md"):
            asked = {"order": world.clock.token(), "source": "docs", "path": path, "also_in_flight": True}
            with pytest.raises(
                NeedsOperatorError, match=f"{batch.ref} cannot be used .*Nothing was sent"
            ) as error:
                perform(context, "expedite", asked, "me")
            assert error.value.hint == batch.hint
        assert len(all_batches(context)) == 1
    assert world.ledger.sync_tokens == 0


@pytest.mark.parametrize(("act", "left"), [("retry", {"held": 6}), ("cancel", {"held": 3, "dropped": 3})])
def test_an_operator_lets_it_go_on_and_the_reservation_is_given_back_once(tmp_path, act, left):
    world = SickWorld(tmp_path, 3, faults=ALL_UNUSABLE)
    with world.worker() as context:
        batch = parked(world, context)
        before = booked(context)
        perform(context, act, {"ref": batch.ref}, "me")
        assert booked(context) == before
        world.fill(6, first=3)
        turns_until(world, context, lambda: embeddings_by_state(context) == left, idle_s=60)
        turns(world, context, 6, idle_s=60)
        assert books_are_right(world, context)


def test_a_retry_whose_results_are_unusable_too_is_the_only_other_purchase(tmp_path):
    world = SickWorld(tmp_path, 3, faults={"line_wrong_dimension": {}})
    with world.worker() as context:
        first = parked(world, context)
        perform(context, "retry", {}, "me")
        turns_until(world, context, lambda: newest(context).id > first.id, idle_s=60)
        parked(world, context)
        turns(world, context, 40, idle_s=600)
        assert len(all_batches(context)) == 2
        assert booked(context)["settled"] == billed(world)
    assert world.sim.calls["create_batch"] == 2


def test_a_batch_that_is_mostly_unusable_stops_sending_even_after_good_ones(tmp_path):
    faults = {"line_wrong_dimension": {"jobs": 2, "nth": list(range(1, 9))}}
    world = SickWorld(tmp_path, 2, faults=faults)
    with world.worker() as context:
        turns_until(world, context, lambda: len(world.names()) == 2, idle_s=60)
        world.fill(14, first=2)
        batch = parked(world, context)
        assert "8 of its 12 results cannot be used" in batch.reason
        assert embeddings_by_state(context) == {"held": 6, "packed": 8}  # what is good is held
        turns(world, context, 10, idle_s=60)
        assert len(world.names()) == 6
        world.fill(20, first=14)
        turns(world, context, 40, idle_s=600)
        assert world.sim.calls["create_batch"] == 2
        assert money(context).reserved_tokens == 0
        assert booked(context)["settled"] == billed(world)

        assert perform(context, "retry", {}, "me")["batches"] == 1
        turns_until(world, context, lambda: len(world.names()) == 20, idle_s=60)
        assert embeddings_by_state(context) == {"held": 20}
        assert books_are_right(world, context)
        assert [each.inputs for each in all_batches(context)] == [2, 12, 8 + 6]
    assert not world.ledger.billed_more_than_once()


@pytest.mark.parametrize(("unusable", "stops"), [(5, False), (6, False), (7, True)])
def test_half_of_a_batch_is_not_most_of_it(tmp_path, unusable, stops):
    faults = {"line_wrong_dimension": {"jobs": 1, "nth": list(range(1, unusable + 1))}}
    world = SickWorld(tmp_path, 12, faults=faults)
    with world.worker() as context:
        turns(world, context, 40, idle_s=60)
        assert (all_batches(context)[0].state is Batch.PARKED) is stops
        assert (len(world.names()) == 12) is not stops


def test_ids_that_come_back_changed_are_unusable_as_well(tmp_path):
    world = SickWorld(tmp_path, 3)
    world.transport.altered = altered_content(
        lambda body: re.sub(rb'"custom_id":"[0-9a-f]', b'"custom_id":"z', body)
    )
    with world.worker() as context:
        assert "the ids are not ours" in parked(world, context).reason
        turns(world, context, 40, idle_s=600)
    assert world.sim.calls["create_batch"] == 1


def test_a_batch_that_was_cancelled_is_not_held_up_by_results_nobody_wants(tmp_path):
    world = SickWorld(tmp_path, 3, faults=ALL_UNUSABLE)
    with world.worker() as context:
        (batch,) = running(world, context, 1)
        world.clock.advance(500)
        perform(context, "cancel", {"ref": batch.ref}, "me")
        turns(world, context, 20, idle_s=60)
        assert newest(context).state is Batch.CLOSED
        assert embeddings_by_state(context) == {"dropped": 3}
        assert money(context).reserved_tokens == 0


class OldReader:
    """A reader that understands none of the lines, or not even what they cost."""

    def __init__(self, *, reads_usage=True):
        self.reads_usage = reads_usage

    def __call__(self, path, expectation):
        for block in read_results(path, expectation):
            paid = block.tokens if self.reads_usage else [None] * len(block.tokens)
            problems = [
                LineProblem(number, custom_id, LineOutcome.MALFORMED, "unknown_shape", tokens=tokens)
                for number, (custom_id, tokens) in enumerate(zip(block.custom_ids, paid, strict=True))
            ]
            yield replace(block.keep([False] * len(block.custom_ids)), problems=problems)


@pytest.mark.parametrize("reads_usage", [True, False])
def test_a_newer_release_that_can_read_them_takes_the_kept_files_in_at_no_cost(
    tmp_path, monkeypatch, reads_usage
):
    world = SickWorld(tmp_path, 3)
    with monkeypatch.context() as old, world.worker() as context:
        old.setattr(Voyage, "read", OldReader(reads_usage=reads_usage))
        batch = parked(world, context)
        assert "unknown_shape" in batch.reason
        bill = booked(context)
        assert (
            bill["settled"]
            == batch.tokens_settled
            == (billed(world) if reads_usage else batch.tokens_estimated)
        )
    with world.worker() as context:  # the same release does not try again and again
        turns(world, context, 20, idle_s=600)
        assert newest(context).state is Batch.PARKED
    calls = dict(world.sim.calls)
    monkeypatch.setattr(collect, "__version__", "999.0")
    with world.worker() as context:
        turns_until(world, context, lambda: len(world.names()) == 3, idle_s=60)
        turns(world, context, 6, idle_s=60)
        assert books_are_right(world, context)
        assert not reads_usage or booked(context) == bill
        assert newest(context).state is Batch.CLOSED
    assert world.sim.calls["create_batch"] == calls["create_batch"] == 1
    assert world.sim.calls["file_content"] == calls["file_content"]  # they were kept on this disk
    assert not world.ledger.billed_more_than_once()


def test_a_newer_release_that_cannot_read_them_either_leaves_them_where_they_are(tmp_path, monkeypatch):
    world = SickWorld(tmp_path, 3)
    monkeypatch.setattr(Voyage, "read", OldReader())
    with world.worker() as context:
        parked(world, context)
        bill = booked(context)
    monkeypatch.setattr(collect, "__version__", "999.0")
    with world.worker() as context:
        turns(world, context, 20, idle_s=600)
        assert newest(context).state is Batch.PARKED
        assert booked(context) == bill
    assert len(world.log.named("batch.unparked")) == 1
    assert world.sim.calls["create_batch"] == 1


# --- files of another size than promised ---


def promised(delta):
    """File objects of results that name another size than the content has."""

    def change(answer):
        return {**answer, "bytes": answer["bytes"] + delta} if "output" in answer["purpose"] else answer

    return altered_json("/files/", change)


@pytest.mark.parametrize("delta", [1, -1, 1000])
def test_a_complete_file_of_another_size_than_promised_is_taken_after_some_tries(tmp_path, delta):
    world = SickWorld(tmp_path, 3)
    world.transport.altered = promised(delta)
    with world.worker() as context:
        turns_until(world, context, lambda: len(world.names()) == 3, idle_s=30)
        assert len(put_off(world, "download")) == SIZE_TRIES
        ((cause,),) = query(context, "SELECT cause FROM transitions WHERE cause LIKE '%promised%'")
        size, came = (int(word) for word in cause.split() if word.isdigit())
        assert size - came == delta
        assert len(all_batches(context)) == 1
    assert world.sim.calls["file_content"] == SIZE_TRIES + 1
    assert not world.ledger.billed_more_than_once()


def test_of_a_file_that_lacks_its_last_brace_the_rest_is_taken_and_the_torn_line_is_not_bought_again(
    tmp_path,
):
    world = SickWorld(tmp_path, 3)
    world.transport.altered = altered_content(lambda body: body[:-2])
    with world.worker() as context:
        batch = parked(world, context)
        assert len(put_off(world, "download")) == POLICIES["download"].tries - 1
        assert "1 of its 3 results are missing" in batch.reason
        assert embeddings_by_state(context) == {"held": 2, "packed": 1}
        turns(world, context, 10)
        assert len(world.names()) == 2
        fetched = world.sim.calls["file_content"]
        turns(world, context, 100, idle_s=600)
        assert fetched < world.sim.calls["file_content"] <= fetched + 6  # once in six hours
        assert len(all_batches(context)) == 1
        world.transport.altered = lambda _, answer: answer
        turns_until(world, context, lambda: len(world.names()) == 3, idle_s=600)
        assert money(context).reserved_tokens == 0
        assert booked(context)["settled"] == billed(world)
    assert world.sim.calls["create_batch"] == 1
    assert not world.ledger.billed_more_than_once()


def test_a_file_of_another_size_is_taken_after_it_was_parked_for_another_cause(tmp_path):
    """Its size was not what kept it: once it can be had, it is taken as it is."""
    world = SickWorld(tmp_path, 3)
    with world.worker() as context:
        running(world, context, 1)
        sick = world.sick("GET", "/content")
        parked(world, context)
        world.transport.altered = promised(1)
        sick.is_well = True
        turns_until(world, context, lambda: len(world.names()) == 3, idle_s=600)
    assert not world.ledger.billed_more_than_once()


# --- times that make no sense ---


@pytest.mark.parametrize("created_at", [
    "1970-01-01T00:00:00Z",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "2126-05-28T20:26:40Z",
    0,
])  # fmt: skip
def test_a_job_made_at_a_time_that_cannot_be_makes_no_deadline(tmp_path, monkeypatch, created_at):
    world = SickWorld(tmp_path, 2, batch_seconds=7200)
    told = RemoteJob.as_json
    monkeypatch.setattr(
        RemoteJob,
        "as_json",
        lambda job, now_us, options: {**told(job, now_us, options), "created_at": created_at},
    )
    with world.worker() as context:
        (batch,) = running(world, context, 1)
        assert batch.deadline_at == pytest.approx(batch.submitted_at + 43_200 * 1e6, abs=60e6)
        turns_until(world, context, lambda: len(world.names()) == 2, idle_s=300)
    assert not world.log.named("batch.parked")
    assert not world.ledger.billed_more_than_once()
