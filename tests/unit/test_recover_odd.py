"""Claiming jobs from files and lists that are odd: nothing is taken on that is not ours, nothing of ours is left."""

from __future__ import annotations

import json
import shutil

import pytest
from fuzz.vendor import Changed, rewritten
from small_world import Small, quick
from step_doors import attempts, embeddings_by_state, newest, prose, settle, until
from test_recover import lose_state, recover, sync, write_some
from verify_doors import state
from world import World

from voyage_jobs.config.provider import request_params
from voyage_jobs.core.states import Batch
from voyage_jobs.segments import SegmentStore
from voyage_jobs.service.sync import Ending
from voyage_jobs.simulator import FaultScript
from voyage_jobs.steps.acts import perform
from voyage_jobs.steps.recover_all import recover_all
from voyage_jobs.vendors.remote import JobSpec

WINDOWS = {"model": "voyage-context-3", "endpoint": "/v1/contextualizedembeddings"}


def only_job(world):
    (job,) = world.sim.jobs.all(world.sim.now_us())
    return job


def test_jobs_without_a_mark_are_somebody_elses(world):
    write_some(world, "first")
    sync(world, wait=False)
    job = only_job(world)
    with world.worker() as context:
        params = request_params(context.settings)
        context.client.create_batch(JobSpec(job["endpoint"], job["input_file_id"], params, {}, ""))
    lose_state(world)
    answer = recover(world)
    assert (answer["jobs"], answer["jobs_left"]) == ([job["metadata"]["voyage_jobs_ref"]], {})
    assert world.sim.calls["cancel_batch"] == 0


def test_a_job_that_failed_validation_is_left(tmp_path):
    world = World(tmp_path, faults={"job_invalid": {"nth": 1, "line": 1}})
    write_some(world, "first")
    sync(world, wait=False)
    world.clock.advance(3600)
    world.sim.settle()
    lose_state(world)
    assert list(recover(world)["jobs_left"].values()) == ["it failed validation: nothing ran"]
    assert sync(world).ending is Ending.DONE
    assert len(world.table_rows()) == 8


def test_files_that_are_refused_for_another_reason_stop_the_claim(world):
    write_some(world, "first")
    sync(world, wait=False)
    lose_state(world)
    world.sim.faults = FaultScript.from_dict(
        {"faults": {"server_error": {"on": "file_content", "status": 422, "times": 1}}}
    )
    assert "422" in recover(world)["vendor"]
    assert len(recover(world)["jobs"]) == 1
    assert sync(world).work.embeddings_sent == 0


def without_input_file(said):
    for job in said.get("data", [said]):
        job["input_file_id"] = None


@pytest.mark.parametrize("voyage", [{}, WINDOWS], ids=["single", "windows"])
def test_where_the_job_does_not_name_its_input_file_the_results_tell(tmp_path, voyage):
    world = World(tmp_path, voyage=voyage, dimension=256)
    write_some(world, "first")
    sync(world, wait=False)
    lose_state(world)
    world.clock.advance(86_400)
    world.sim.settle()
    world.transport = Changed(
        world.sim,
        lambda path, body: rewritten(body, without_input_file) if path.startswith("/batches") else None,
    )
    assert len(recover(world)["jobs"]) == 1
    outcome = sync(world)
    assert (outcome.ending, outcome.work.embeddings_sent) == (Ending.DONE, 0)
    assert not world.ledger.billed_more_than_once()
    assert len(world.table_rows()) == 8


@pytest.mark.parametrize(
    "noise",
    [
        b"not json",
        b"[1, 2]",
        b'{"custom_id": 7}',
        b'{"custom_id": "abcd"}',
        b'{"custom_id": "' + b"ab" * 20 + b'"}',
        b'{"custom_id": "' + b"ab" * 20 + b'", "body": {"input": []}}',
        b'{"custom_id": "' + b"ab" * 20 + b'", "body": {"input": ["another text"]}}',
        b'{"custom_id": "' + b"ab" * 20 + b'", "body": {"inputs": [["a"], ["b"]]}}',
    ],
)
def test_an_input_file_with_a_line_that_is_not_ours_makes_no_job_of_ours(world, noise):
    write_some(world, "first")
    sync(world, wait=False)
    name = only_job(world)["input_file_id"]
    lose_state(world)
    world.transport = Changed(
        world.sim,
        lambda path, body: body + noise + b"\n" if path == f"/files/{name}/content" else None,
    )
    assert list(recover(world)["jobs_left"].values()) == ["it was made under other settings"]


def test_result_lines_that_say_nothing_are_read_over(tmp_path):
    """Of a window without vectors it is not known how many it would have had: one, and it is asked for again."""
    world = World(tmp_path, voyage=WINDOWS, dimension=256)
    write_some(world, "first")
    sync(world, wait=False)
    lose_state(world)
    world.clock.advance(86_400)
    world.sim.settle()
    job = only_job(world)
    world.sim.files.delete(job["input_file_id"])

    def odd(path, body):
        if path != f"/files/{job['output_file_id']}/content":
            return None
        first, *rest = body.splitlines(keepends=True)
        empty = json.dumps({"custom_id": json.loads(first)["custom_id"], "response": None, "error": "odd"})
        return b"\n".join([b"<html>", b'"x"', empty.encode(), *rest])

    world.transport = Changed(world.sim, odd)
    assert len(recover(world)["jobs"]) == 1
    world.transport = Changed(world.sim, lambda path, body: None)
    assert sync(world).ending is Ending.DONE
    assert len(world.table_rows()) == 8


def test_a_batch_in_doubt_whose_pack_is_here_is_over(tmp_path):
    """The state was put back to the moment before the create call; since then the job was made and collected."""
    with quick():
        small = Small(tmp_path)
        small.write("a.md", prose("a"))
        small.dies_at("attempt.committed")
        with state(small) as connection:  # its last transactions are still in the log
            connection.execute("VACUUM INTO ?", (str(small.root / "kept.db"),))
        small.later()
        assert list(small.served()) == ["a.md"]
        lose_state(small)
        shutil.copy(small.root / "kept.db", small.data_dir / "state.db")
        with small.worker() as context:
            assert recover_all(context)["embeddings"] == 1
            assert newest(context).state is Batch.CANCELLED
            assert attempts(context, newest(context)) == ["created"]
            settle(small, context)
            assert embeddings_by_state(context) == {"held": 1}
        assert len(small.sim.state()["batches"]) == 1


def test_a_parked_batch_whose_job_shows_up_is_taken_on(tmp_path):
    with quick():
        small = Small(tmp_path, faults={"server_error": {"on": "create_batch", "status": 422, "nth": 1}})
        small.write("a.md", prose("a"))
        with small.worker() as context:
            batch = until(small, context, Batch.PARKED)
            params, marks = request_params(context.settings), {"voyage_jobs_ref": batch.ref}
            asked = JobSpec("/v1/embeddings", batch.input_file_id, params, marks, batch.ref)
            context.client.create_batch(asked)
            answer = perform(context, "recover", {}, "me")
            assert answer["jobs"] == [batch.ref]
            assert newest(context).state is Batch.RUNNING
            settle(small, context)
        assert list(small.served()) == ["a.md"]
        assert not small.ledger.billed_more_than_once()


def test_a_pack_without_rows_is_none(world):
    write_some(world, "first")
    sync(world)
    with world.worker() as context:
        segments = SegmentStore(context.settings.paths.vectors)
        with segments.writer(context.profile, "0123456789abcdef0123") as writer:
            writer.close()
    lose_state(world)
    answer = recover(world)
    assert answer["embeddings"] == 8
    assert sync(world).work.embeddings_sent == 0
