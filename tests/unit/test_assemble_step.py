"""pack: what goes into one batch, when, and what keeps anything from going."""

from __future__ import annotations

import json
import shutil
from unittest import mock

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
    tripped,
    turns,
    until,
)
from world import World

from voyage_jobs.core.states import Batch
from voyage_jobs.diagnosis.causes import blockers
from voyage_jobs.diagnosis.snapshot import gather
from voyage_jobs.errors import DiskFullError
from voyage_jobs.service.signals import Signals
from voyage_jobs.service.sync import Ending, Sync
from voyage_jobs.state import batches, calibration
from voyage_jobs.steps.acts import perform
from voyage_jobs.steps.assemble import assemble
from voyage_jobs.steps.disk import note_full
from voyage_jobs.steps.pipeline import Pipeline
from voyage_jobs.steps.submit import submit


def fill(world, count, sections=1):
    for number in range(count):
        world.write(f"{number:03}.md", prose(f"number {number}", sections))


def sent(world, context):
    """Let everything that is packed reach the provider."""
    for _ in range(8):
        submit(context)
    with context.store.read() as connection:
        return batches.in_state(connection, Batch.RUNNING)


def assemble_all(world, context, most=50):
    """Pack and send until nothing more goes; the batches that were made."""
    for _ in range(most):
        if not assemble(context, eager=True):
            break
        sent(world, context)
    return all_batches(context)


# How much.


def test_a_batch_holds_no_more_inputs_than_allowed(world):
    fill(world, 7)
    with world.worker(batching={"max_inputs": 3}) as context:
        scan(context)
        assert [batch.inputs for batch in assemble_all(world, context)] == [3, 3, 1]


def test_a_batch_holds_no_more_bytes_than_allowed(world):
    for number in range(6):
        world.write(
            f"{number}.md", f"# {number}\n\n" + " ".join(f"{number} word {at}" for at in range(2_000))
        )
    with world.worker(batching={"max_bytes": 65_536}, splitting={"max_chars": 8000}) as context:
        scan(context)
        made = assemble_all(world, context)
        assert len(made) > 1
        assert all(batch.spool_bytes <= 65_536 for batch in made)
        assert sum(batch.inputs for batch in made) == query(context, "SELECT COUNT(*) FROM embeddings")[0][0]
        for batch in made:
            lines = context.input_path(batch.ref).read_bytes().splitlines()
            assert len(lines) == batch.inputs
            assert all(json.loads(line)["custom_id"] for line in lines)


def test_tokens_in_flight_are_limited_and_go_on_when_a_job_ends(world):
    fill(world, 6)
    with world.worker() as context:
        scan(context)
        (each,) = query(context, "SELECT MAX(tokens) FROM embeddings")[0]
    with world.worker(batching={"max_in_flight_tokens": 4 * each}) as context:
        assemble_all(world, context)
        flying = sum(batch.tokens_estimated for batch in all_batches(context))
        assert 2 * each < flying <= 4 * each
        assert embeddings_by_state(context)["wanted"] > 0
        settle(world, context)
    assert len(shown(world)) == 6


def test_jobs_in_flight_are_limited_and_go_on_when_a_job_ends(world):
    fill(world, 5)
    with world.worker(batching={"max_in_flight_batches": 2, "max_inputs": 1}) as context:
        scan(context)
        assert len(assemble_all(world, context)) == 2
        assert not assemble(context, eager=True)
        settle(world, context)
        assert len(all_batches(context)) == 5
    assert len(shown(world)) == 5


def test_two_documents_with_the_same_text_ask_once(world):
    world.write("a.md", prose("same"))
    world.write("b.md", prose("same"))
    world.run()
    assert world.ledger.units() == 1
    assert shown(world)["a.md"] == shown(world)["b.md"]


# When.


def test_a_few_chunks_linger_and_many_go_at_once(world):
    fill(world, 3)
    with world.worker(batching={"min_inputs": 5, "linger_s": 300}) as context:
        scan(context)
        assert not assemble(context)
        world.clock.advance(299)
        assert not assemble(context)
        fill(world, 6)
        scan(context)
        assert assemble(context)
        assert newest(context).inputs == 6


def test_the_oldest_does_not_wait_longer_than_the_linger_time(world):
    fill(world, 1)
    with world.worker(batching={"min_inputs": 5, "linger_s": 300}) as context:
        scan(context)
        world.clock.advance(300)
        assert assemble(context)


def test_a_clock_set_back_does_not_make_it_linger_for_hours(world):
    fill(world, 1)
    with world.worker() as context:
        scan(context)
        world.clock.step(-7200)
        assert assemble(context)


def test_while_more_is_coming_a_batch_that_is_not_full_waits_the_longer_the_more_jobs_are_in_flight(world):
    fill(world, 3)
    with world.worker(batching={"max_inputs": 6, "min_inputs": 2, "linger_s": 300}) as context:
        scan(context)
        assert assemble(context, more_coming=True)  # nothing is in flight: the first results come early
        sent(world, context)
        world.write("more.md", prose("more", 3))
        scan(context)
        world.clock.advance(599)
        assert not assemble(context, more_coming=True)
        world.clock.advance(1)
        assert assemble(context, more_coming=True)
        sent(world, context)
        world.write("most.md", prose("most", 6))
        scan(context)
        assert assemble(context, more_coming=True)
        assert [batch.inputs for batch in all_batches(context)] == [3, 3, 6]


def test_what_is_not_full_goes_when_nothing_more_is_coming(world):
    fill(world, 3)
    with world.worker(batching={"max_inputs": 6, "min_inputs": 2}) as context:
        scan(context)
        assert assemble(context)
        sent(world, context)
        world.write("more.md", prose("more", 3))
        scan(context)
        assert not assemble(context, more_coming=True)
        assert assemble(context)


def test_many_sources_are_one_batch_of_sync(world):
    listed = []
    for number in range(12):
        world.write("a.md", prose(f"of source {number}"), folder=world.root / f"s{number}")
        listed.append({"name": f"s{number}", "path": str(world.root / f"s{number}")})
    with Signals() as signals, world.worker(sources=listed) as context:
        assert Sync(context, signals).run().ending is Ending.DONE
        assert [batch.inputs for batch in all_batches(context)] == [12]


def test_sync_does_not_wait_for_the_end_of_a_scan_to_send_what_is_full(world):
    fill(world, 9)
    with (
        world.worker(batching={"max_inputs": 4}) as context,
        mock.patch("voyage_jobs.steps.scan_slices.SLICE_DOCUMENTS", 4),
    ):
        pipeline = Pipeline(context, eager=True, scan_once=True)
        for _ in range(2):
            pipeline.turn()
        assert pipeline.scanning == "docs"
        assert [batch.inputs for batch in all_batches(context)] == [4]


def test_what_a_job_leaves_of_the_room_is_not_filled_with_crumbs(world):
    fill(world, 60)
    with world.worker() as context:
        scan(context)
        (each,) = query(context, "SELECT MAX(tokens) FROM embeddings")[0]
    tight = {"max_in_flight_tokens": 20 * each + each // 2, "max_in_flight_batches": 10, "max_inputs": 20}
    with world.worker(batching=tight) as context:
        assemble_all(world, context)
        made = all_batches(context)
        assert len(made) <= 2  # what is left of the room is less than a tenth of it
        told = gather(world.settings(batching=tight), world.clock)
        assert "in_flight_full" in {each.code for each in blockers(told)}
        settle(world, context)
    assert len(shown(world)) == 60


def test_what_was_billed_tells_how_much_of_the_window_is_left(world):
    """Without a tokenizer tokens are estimated on the high side: the window was filled to two thirds."""
    fill(world, 40)
    world.run()
    for number in range(200):
        world.write(f"more{number}.md", prose(f"more of number {number}"))
    with world.worker() as context:
        scan(context)
        with context.store.read() as connection:
            known = calibration.of_profile(connection, context.profile_id)
        assert known.mean <= known.highest < 0.9
    with world.worker(batching={"max_in_flight_tokens": 2_000}) as context:
        assemble_all(world, context)
        (flying,) = query(
            context, "SELECT SUM(tokens_estimated) FROM batches WHERE state NOT IN ('collected', 'closed')"
        )[0]
        assert 2_000 < flying <= 2_000 / known.highest
        settle(world, context)
    assert len(shown(world)) == 240


@pytest.mark.parametrize("fault", ["line_expired", "line_server_error", "line_refused"])
def test_lines_that_were_not_answered_tell_nothing_of_the_estimate(tmp_path, fault):
    """Else a job that brought little makes the next so large that it is refused for want of room, for ever."""
    some = "lasting " * 20
    world = World(tmp_path, faults={fault: {"contains": "lasting", "jobs": 1}})
    for number in range(60):
        world.write(f"{number}.md", prose(f"number {number} {some if number < 50 else ''}"))
    world.run()
    with world.worker() as context:
        with context.store.read() as connection:
            known = calibration.of_profile(connection, context.profile_id)
        assert 0.6 < known.mean <= known.highest < 0.9
        (held,) = query(context, "SELECT SUM(tokens) FROM embeddings WHERE pack_id IS NOT NULL")[0]
        assert known.estimated_tokens == held


def test_one_batch_at_a_time(world):
    fill(world, 4)
    with world.worker(batching={"max_inputs": 2}) as context:
        scan(context)
        assert assemble(context, eager=True)
        assert not assemble(context, eager=True)  # the first is not on its way yet
        submit(context)
        assert not assemble(context, eager=True)
        sent(world, context)
        assert assemble(context, eager=True)


def test_a_small_first_try(world):
    fill(world, 5)
    with world.worker() as context:
        scan(context)
        assert assemble(context, eager=True, most_inputs=2)
        assert newest(context).inputs == 2


def test_what_nothing_needs_any_more_is_dropped_not_sent(world):
    fill(world, 2)
    with world.worker() as context:
        scan(context)
        world.write("000.md", prose("other"))
        scan(context)
        assemble_all(world, context)
        assert embeddings_by_state(context) == {"packed": 2, "dropped": 1}


def test_texts_that_cannot_be_had_do_not_keep_back_those_behind_them(world):
    """The segment is lost, and the first file has changed since it was published: its old texts are nowhere."""
    world.write("a.md", prose("a", 3))
    world.write("b.md", prose("b", 2))
    world.run()
    shutil.rmtree(world.data_dir / "vectors")
    world.write("a.md", prose("a, edited", 3))
    world.run(batching={"max_inputs": 1})
    assert all("edited" in text for text in shown(world)["a.md"])
    assert len(shown(world)["b.md"]) == 2


def test_a_dropped_chunk_that_is_needed_again_is_wanted_again(world):
    fill(world, 2)
    with world.worker() as context:
        scan(context)
        world.write("000.md", prose("other"))
        scan(context)
        sent(world, context)
        assemble_all(world, context)
        fill(world, 1)
        scan(context)
        assert embeddings_by_state(context)["wanted"] == 1
        settle(world, context)
    assert "number 0" in shown(world)["000.md"][0]


# What keeps everything from going.


def test_a_batch_that_is_parked_keeps_back_nothing_but_its_own_texts(tmp_path):
    world = World(tmp_path, faults={"server_error": {"on": "upload_file", "status": 400, "times": 1}})
    fill(world, 1)
    with world.worker() as context:
        parked = until(world, context, Batch.PARKED)
        fill(world, 3)
        scan(context)
        turns(world, context, 60, idle_s=20)
        assert set(shown(world)) == {"001.md", "002.md"}
        assert [batch.state for batch in all_batches(context)] == [Batch.PARKED, Batch.CLOSED]
        assert perform(context, "retry", {"ref": parked.ref}, "me")["batches"] == 1
        settle(world, context)
        assert [batch.state for batch in all_batches(context)] == [Batch.CLOSED] * 3
        assert money(context).reserved_tokens == 0
    assert len(shown(world)) == 3
    assert not world.ledger.billed_more_than_once()


def test_a_batch_whose_text_is_gone_before_it_was_written_gives_its_lines_back(world):
    fill(world, 2)
    with world.worker() as context:
        scan(context)
        assert assemble(context, eager=True)
        world.write("000.md", prose("other"))  # overtakes what was packed
        scan(context)
        submit(context)
        assert newest(context).state is Batch.CANCELLED
        assert money(context).reserved_tokens == 0
        settle(world, context)
        assert embeddings_by_state(context) == {"held": 2, "dropped": 1}
    assert not world.ledger.times_billed(prose("number 0"))


def test_an_input_file_that_is_lost_is_written_again(world):
    fill(world, 2)
    with world.worker() as context:
        scan(context)
        assemble(context, eager=True)
        submit(context)
        path = context.input_path(newest(context).ref)
        before = path.read_bytes()
        path.write_bytes(before[:10])
        settle(world, context)
        assert attempts(context, newest(context)) == ["created"]
    assert len(shown(world)) == 2


def test_a_short_disk_pauses_packing_and_is_told_and_goes_on_by_itself(world):
    fill(world, 2)
    with world.worker(disk={"min_free_bytes": 1000}) as context:
        context.free_bytes = lambda: 999
        scan(context)
        turns(world, context, 20)
        assert not all_batches(context)
        circuit = tripped(context)["disk"]
        assert (circuit.code, circuit.failures > 1) == ("paused_disk", True)
        assert "0 MiB are free" in circuit.message
        assert "143 MiB are needed" in circuit.message
        assert "batching.max_bytes" in circuit.hint
        context.free_bytes = None
        settle(world, context)
        assert not tripped(context)
    assert len(shown(world)) == 2


def test_a_short_disk_is_over_when_there_is_room_though_nothing_is_to_be_written(world):
    """The trouble came while the table was looked after; all is published, so no step asks for room again."""
    world.write("a.md", prose("a"))
    with world.worker() as context:
        settle(world, context)
        note_full(context, DiskFullError("No room left on the disk while tidying."))
        turns(world, context, 1)
        assert tripped(context)["disk"].code == "paused_disk"
        turns(world, context, 2, idle_s=10)
        assert tripped(context) == {}


def test_results_wait_for_room_while_polling_goes_on(world):
    fill(world, 2)
    with world.worker() as context:
        until(world, context, Batch.RUNNING)
        context.free_bytes = lambda: 0
        until(world, context, Batch.ENDED)
        turns(world, context, 20)
        assert (newest(context).state, newest(context).code) == (Batch.ENDED, "no_room")
        context.free_bytes = None
        settle(world, context)
    assert len(shown(world)) == 2


@pytest.mark.parametrize("dtype", ["float", "int8", "binary"])
def test_the_job_asks_for_what_the_profile_says(tmp_path, dtype):
    world = World(tmp_path, voyage={"output_dtype": dtype, "input_type": ""})
    fill(world, 1)
    with world.worker() as context:
        until(world, context, Batch.RUNNING)
        params = json.loads(newest(context).request_params)
    wanted = {"model": "voyage-4", "output_dimension": 8, "output_dtype": dtype, "truncation": False}
    assert params == wanted
