"""tidy: nothing of ours stays at the provider or in the spool, and nothing of others is touched."""

from __future__ import annotations

import pytest
from step_doors import (
    all_batches,
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
from voyage_jobs.state.store import Store
from voyage_jobs.steps.acts import perform
from voyage_jobs.steps.assemble import assemble
from voyage_jobs.steps.pipeline import Pipeline
from voyage_jobs.steps.submit import submit
from voyage_jobs.steps.tidy import tend


def world_of(tmp_path, faults=None, documents=2, **sections):
    world = World(tmp_path, faults=faults, **sections)
    for number in range(documents):
        world.write(f"{number}.md", prose(f"number {number}"))
    return world


def files_there(world):
    return world.sim.state()["files"]


def test_a_batch_that_is_done_leaves_nothing_behind(tmp_path):
    world = world_of(tmp_path, {"line_refused": {"contains": "number 1,"}})  # an error file, too
    with world.worker() as context:
        settle(world, context)
        assert query(
            context, "SELECT purpose FROM remote_files WHERE deleted_at IS NOT NULL ORDER BY purpose"
        ) == [
            ("batch",),
            ("error",),
            ("output",),
        ]
        assert not list(context.spool.iterdir())
        assert newest(context).state is Batch.CLOSED
    assert files_there(world) == 0


def test_files_may_be_left_at_the_vendor_on_request(tmp_path):
    world = world_of(tmp_path)
    world.run(voyage={"delete_remote_files": False})
    assert files_there(world) == 2
    assert world.sim.calls["delete_file"] == 0
    with world.worker(voyage={"delete_remote_files": False}) as context:
        assert newest(context).state is Batch.CLOSED
        assert not list(context.spool.iterdir())


@pytest.mark.parametrize("fault", [
    {"not_deleted": {"times": 3}},
    {"request_lost": {"on": "delete_file", "times": 3}},
    {"answer_lost": {"on": "delete_file", "times": 3}},
    {"server_error": {"on": "delete_file", "times": 3, "after_effect": True}},
    {"server_error": {"on": "delete_file", "times": 3, "status": 409}},
    {"rate_limited": {"on": "delete_file", "times": 2, "retry_after_s": 30}},
])  # fmt: skip
def test_a_deletion_that_fails_is_made_again(tmp_path, fault):
    world = world_of(tmp_path, fault)
    with world.worker() as context:
        settle(world, context)
        assert not tripped(context)
        assert newest(context).state is Batch.CLOSED
    assert files_there(world) == 0
    assert len(shown(world)) == 2


def test_results_leave_the_disk_although_the_vendor_does_not_delete_its_files(tmp_path):
    world = world_of(tmp_path, {"not_deleted": {}})
    with world.worker() as context:
        until(world, context, Batch.COLLECTED)
        turns(world, context, 2)
        assert newest(context).state is Batch.COLLECTED
        assert list(context.spool.iterdir()) == []


def test_a_deletion_that_is_refused_waits_longer_each_time_and_stops_nothing(tmp_path):
    world = world_of(tmp_path, {"not_deleted": {}})
    with world.worker() as context:
        until(world, context, Batch.COLLECTED)
        turns(world, context, 20, idle_s=60)
        assert len(shown(world)) == 2
        calls = world.sim.calls["delete_file"]
        assert calls < 20
        world.write("new.md", prose("new"))
        world.clock.advance(400)
        turns(world, context, 40)
    assert "new.md" in shown(world)


def test_a_cancelled_batch_takes_its_upload_away(tmp_path):
    world = world_of(tmp_path)
    with world.worker() as context:
        scan(context)
        assemble(context, eager=True)
        while newest(context).state is not Batch.UPLOADED:
            submit(context)
        assert files_there(world) == 1
        perform(context, "cancel", {"ref": newest(context).ref}, "me")
        settle(world, context)
        assert newest(context).state is Batch.CLOSED
    assert files_there(world) == 0


def test_files_and_jobs_of_others_are_left_alone(tmp_path):
    world = world_of(tmp_path)
    with world.worker() as context:
        path = tmp_path / "theirs.jsonl"
        path.write_text('{"custom_id": "x", "body": {"input": ["x"]}}\n')
        theirs = context.client.upload(path, "theirs.jsonl")
        looks_like_ours = context.client.upload(path, "voyage-jobs-ffffffffffffffffffff.jsonl")
        settle(world, context)
        world.clock.advance(2000)
        turns(world, context, 5)
        assert context.client.get_file(theirs.id).filename == "theirs.jsonl"
        assert context.client.get_file(looks_like_ours.id)  # of another folder's state


def test_a_refused_job_leaves_nothing_behind(tmp_path):
    world = world_of(tmp_path, {"job_invalid": {"line": 1, "nth": 1}})
    with world.worker() as context:
        settle(world, context)
        assert {batch.state for batch in all_batches(context)} == {Batch.CLOSED}
    assert files_there(world) == 0


def test_what_failed_and_is_in_no_document_any_more_is_forgotten(tmp_path):
    world = world_of(tmp_path, {"line_refused": {"contains": "number 1,"}})
    world.run()
    world.remove("1.md")
    with world.worker() as context:
        settle(world, context)
        assert query(context, "SELECT COUNT(*) FROM embeddings WHERE state = 3") == [(0,)]


def test_tending_keeps_the_rows_and_folds_the_log_in(tmp_path):
    world = world_of(tmp_path)
    world.run()
    before = world.table_rows()
    with world.worker() as context:
        tend(context)
        log = context.store.path.with_name("state.db-wal")
        assert not log.exists() or log.stat().st_size == 0
    assert world.table_rows() == before


def test_tending_makes_no_table_where_there_is_none(world):
    with world.worker() as context:
        tend(context)
    assert not (world.data_dir / "lancedb" / "chunks.lance").exists()


def test_what_work_left_in_memory_is_let_go_once_it_has_rested_and_not_before(tmp_path, monkeypatch):
    world = world_of(tmp_path)
    shrinks = []
    monkeypatch.setattr(Store, "shrink", lambda store: shrinks.append(world.clock.mono()))
    with world.worker() as context:
        pipeline = Pipeline(context, eager=True)
        pipeline.turn()
        while pipeline.turn():
            pass
        assert len(shrinks) == 1, "with the first upkeep of the table"
        world.clock.advance(1)
        pipeline.turn()
        assert len(shrinks) == 1
        world.write("more.md", prose("more"))
        pipeline.hint("docs")
        while pipeline.turn():
            pass
        assert len(shrinks) == 1, "there may be more to do at once"
        for _ in range(3):
            world.clock.advance(10)
            while pipeline.turn():
                pass
    assert len(shrinks) in (2, 3), "once for each time that it worked"


def test_a_store_that_has_let_its_memory_go_is_as_it_was(world):
    world.write("a.md", prose("a"))
    with world.worker() as context:
        scan(context)
        with context.store.read() as connection:
            context.store.shrink()  # while somebody looks
            assert connection.exec_driver_sql("SELECT COUNT(*) FROM documents").scalar_one() == 1
        context.store.shrink()
        settle(world, context)
    assert list(shown(world)) == ["a.md"]
