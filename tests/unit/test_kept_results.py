"""Results that are paid for and lie here are never put in the place of others, thrown away, or bought again unasked."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest
from sick_vendor import SickWorld, altered_json, failure, refusal, running, turns_until
from small_world import quick
from step_doors import all_batches, embeddings_by_state, money, newest, query, turns

from voyage_jobs.core.retry import POLICIES
from voyage_jobs.core.states import Batch
from voyage_jobs.steps import collect
from voyage_jobs.steps.acts import perform
from voyage_jobs.steps.recover_segments import embeddings_in
from voyage_jobs.vendors.rest.results import read_results
from voyage_jobs.vendors.result_block import LineOutcome, LineProblem
from voyage_jobs.vendors.voyage.vendor import Voyage


@pytest.fixture(autouse=True)
def _quick():
    with quick():
        yield


class HalfReader:
    """An older release, which understands the last lines of a file alone."""

    def __init__(self, understood: int) -> None:
        self.understood = understood

    def __call__(self, path, expectation):
        for block in read_results(path, expectation):
            count = len(block.custom_ids)
            keep = [at >= count - self.understood for at in range(count)]
            odd = [
                LineProblem(at, block.custom_ids[at], LineOutcome.MALFORMED, "unknown_shape")
                for at in range(count)
                if not keep[at]
            ]
            yield replace(block.keep(keep), problems=odd)


def parked(world, context):
    turns_until(world, context, lambda: any(b.state is Batch.PARKED for b in all_batches(context)), idle_s=60)
    return next(b for b in all_batches(context) if b.state is Batch.PARKED)


def misplaced(context):
    """How many embeddings point at the row of another text."""
    rows = query(
        context,
        "SELECT hex(e.key), e.pack_row, p.name FROM embeddings e JOIN packs p ON p.id = e.pack_id WHERE e.state = 2",
    )
    wrong = 0
    for name in {row[2] for row in rows}:
        reader = context.segments.adopt_one(name).reader
        places = {found.key.hex().upper(): found.row for found in embeddings_in(reader)}
        wrong += sum(places.get(key) != row for key, row, segment in rows if segment == name)
    return wrong


def test_recover_leaves_a_batch_alone_that_is_parked_with_its_results(tmp_path, monkeypatch):
    world = SickWorld(tmp_path, 12)
    with monkeypatch.context() as old, world.worker() as context:
        old.setattr(Voyage, "read", HalfReader(4))
        parked(world, context)
        assert embeddings_by_state(context) == {"held": 4, "packed": 8}
    monkeypatch.setattr(collect, "__version__", "999.0")
    with world.worker() as context:
        perform(context, "recover", {}, "me")
        turns(world, context, 30, idle_s=60)
        assert newest(context).state is Batch.PARKED
        assert not misplaced(context)


def test_the_hint_does_not_promise_what_a_later_release_cannot_do(tmp_path, monkeypatch):
    """Part of it is held in a segment, which is not written again."""
    world = SickWorld(tmp_path, 12)
    monkeypatch.setattr(Voyage, "read", HalfReader(4))
    with world.worker() as context:
        assert "a later release that can read them" not in parked(world, context).hint


def test_what_was_assumed_is_taken_back_with_the_rest(tmp_path, monkeypatch):
    world = SickWorld(tmp_path, 3)
    with monkeypatch.context() as old, world.worker() as context:
        old.setattr(Voyage, "read", HalfReader(0))
        parked(world, context)
        assert money(context).assumed_tokens == money(context).settled_tokens > 0
    monkeypatch.setattr(collect, "__version__", "999.0")
    with world.worker() as context:
        turns_until(world, context, lambda: len(world.names()) == 3, idle_s=60)
        assert (money(context).settled_tokens, money(context).assumed_tokens) == (
            world.ledger.batch_tokens,
            0,
        )


def test_batches_that_are_made_already_are_not_sent_after_results_that_cannot_be_used(tmp_path):
    world = SickWorld(tmp_path, 12, faults={"line_wrong_dimension": {}})
    with world.worker(batching={"max_inputs": 3}) as context:
        running(world, context, 1)
        sick = world.sick(
            "POST", "/batches", lambda: httpx.Response(429, json={"detail": "too many in flight"})
        )
        parked(world, context)
        sick.is_well = True
        turns(world, context, 60, idle_s=600)
        assert len(world.ledger.export()["batches"]) == 1
        perform(context, "retry", {}, "me")
        turns(world, context, 60, idle_s=600)
        assert len(world.ledger.export()["batches"]) > 1


@pytest.mark.parametrize(
    ("how", "told"), [("wrong_dimension", True), ("without_data", False)], ids=["width", "another"]
)
def test_vectors_of_another_width_lead_to_the_setting(tmp_path, how, told):
    world = SickWorld(tmp_path, 3, faults={f"line_{how}": {}})
    with world.worker() as context:
        hint = parked(world, context).hint
        assert ("correct `output_dimension`, give this batch up (`voyage-jobs cancel`)" in hint) == told


def test_of_files_that_are_short_what_is_whole_is_held_and_nothing_is_bought_twice(tmp_path):
    world = SickWorld(tmp_path, 12, faults={"line_missing": {"jobs": 1, "nth": [1]}})
    larger = altered_json(
        "/files/", lambda a: {**a, "bytes": a["bytes"] + 1} if "output" in a["purpose"] else a
    )
    world.transport.altered = larger
    with world.worker() as context:
        turns(world, context, 200, idle_s=1500)
        assert embeddings_by_state(context)["held"] == 11
        perform(context, "retry", {}, "me")
        turns(world, context, 60, idle_s=1500)
        assert len(world.names()) == 12
    assert len(world.ledger.billed_more_than_once()) <= 1  # the line that was lacking, and was paid


def test_a_file_that_does_not_fit_on_the_disk_waits_alone(tmp_path):
    world = SickWorld(tmp_path, 9)
    with world.worker(batching={"max_inputs": 3, "max_bytes": 65_536}) as context:
        (first, *_) = running(world, context, 3)
        world.clock.advance(500)
        job = next(each for each in world.jobs() if each["id"] == first.remote_id)
        huge = altered_json(job["output_file_id"], lambda a: {**a, "bytes": 9_000_000_000_000_000})
        world.transport.altered = huge
        context.free_bytes = lambda: 700_000
        turns(world, context, 60, idle_s=900)
        world.fill(12, first=9)
        turns(world, context, 60, idle_s=900)
        assert len(world.names()) == 9, "all but those of the file that does not fit"
        waiting = next(b for b in all_batches(context) if b.id == first.id)
        assert (waiting.state, waiting.code) == (Batch.ENDED, "no_room")
        context.free_bytes = None  # no such size is believed
        turns(world, context, 60, idle_s=900)
        assert len(world.names()) == 12


def test_a_parked_batch_whose_file_does_not_fit_keeps_its_reason_and_is_looked_at_again(tmp_path):
    world = SickWorld(tmp_path, 3)
    with world.worker() as context:
        running(world, context, 1)
        sick = world.sick("GET", "/content")
        code = parked(world, context).code
        context.free_bytes = lambda: 100
        turns(world, context, 100, idle_s=600)
        assert (newest(context).state, newest(context).code) == (Batch.PARKED, code)
        sick.is_well, context.free_bytes = True, None
        turns_until(world, context, lambda: len(world.names()) == 3, idle_s=600)
    assert not world.ledger.billed_more_than_once()


def test_a_file_that_is_gone_does_not_use_up_the_tries_of_the_other(tmp_path):
    world = SickWorld(tmp_path, 3, faults={"line_refused": {"jobs": 1, "nth": [1]}})
    with world.worker() as context:
        running(world, context, 1)
        world.clock.advance(500)
        (job,) = world.jobs()
        world.sick("GET", job["output_file_id"], lambda: refusal(404, "no such file"))
        world.sick("GET", job["error_file_id"] + "/content", failure)
        turns_until(
            world, context, lambda: all_batches(context)[0].state is Batch.PARKED, idle_s=600, most=400
        )
        batch = all_batches(context)[0]
        assert f"in {POLICIES['download'].tries} tries" in batch.reason


def test_a_job_that_failed_validation_is_not_booked_as_perhaps_paid(tmp_path):
    world = SickWorld(tmp_path, 12, faults={"job_invalid": {"line": 99999, "message": "bad model"}})
    with world.worker() as context:
        for more in range(40):
            turns(world, context, 20, idle_s=600)
            if any(batch.state is Batch.PARKED for batch in all_batches(context)):
                break
            world.fill(14 + 2 * more, first=12 + 2 * more)
        assert "Nothing was billed" in parked(world, context).hint
        perform(context, "retry", {}, "me")
        assert money(context).maybe_paid_tokens == 0
        assert not query(context, "SELECT id FROM spend WHERE kind = 'maybe_paid'")


@pytest.mark.parametrize("digits", ["99999999999999999999", "9223372036854775807", "9" * 150])
def test_no_number_in_the_file_of_the_generation_ends_a_start(tmp_path, digits):
    world = SickWorld(tmp_path, 2)
    with world.worker() as context:
        path, state = context.settings.paths.generation, context.state_id
    path.write_text(f"{state} {digits}\n")
    world.run()
    world.run()
    assert len(world.names()) == 2


@pytest.mark.parametrize("command", ["cancel", "retry"])
def test_what_was_short_and_is_given_up_may_be_on_the_bill(tmp_path, command):
    world = SickWorld(tmp_path, 12, faults={"results_sick": {"how": "short", "keep_share": 0.5}})
    with world.worker() as context:
        turns(world, context, 200, idle_s=1500)
        batch = newest(context)
        assert (batch.state, batch.code) == (Batch.PARKED, "torn")
        perform(context, command, {"ref": batch.ref}, "me")
        totals = money(context)
        assert totals.settled_tokens <= world.ledger.batch_tokens
        assert totals.settled_tokens + totals.maybe_paid_tokens >= world.ledger.batch_tokens
