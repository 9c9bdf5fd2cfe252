"""Strays: an upload whose answer was lost leaves a file at the provider, and it does not stay there."""

from __future__ import annotations

import pytest
from step_doors import newest, prose, query, scan, until
from world import World

from voyage_jobs.core import crash
from voyage_jobs.core.states import Batch
from voyage_jobs.state import meta
from voyage_jobs.steps.acts import perform
from voyage_jobs.steps.assemble import assemble
from voyage_jobs.steps.submit import submit
from voyage_jobs.steps.tidy import tidy


class Death(BaseException):
    """The process is gone."""


def die_at(name):
    def hook(passed):
        if passed == name:
            raise Death

    crash.arm(hook)


def left(world):
    """Names of the files that are at the provider."""
    return [file.filename for file in world.sim.files._files.values()]


@pytest.fixture(autouse=True)
def disarmed():
    yield
    crash.arm(None)


def die_after_the_upload(world):
    world.write("a.md", prose("a"))
    die_at("upload.answered")
    with pytest.raises(Death):
        world.run()
    crash.arm(None)
    assert len(left(world)) == 1


def test_after_a_death_between_upload_and_its_record_nothing_stays_at_the_vendor(world):
    die_after_the_upload(world)
    world.run()
    assert world.sim.calls["upload_file"] == 2
    assert left(world) == []
    assert world.log.named("files.orphaned") == [{"files": 1}]


def test_after_a_lost_answer_nothing_stays_at_the_vendor(tmp_path):
    world = World(tmp_path, faults={"answer_lost": {"on": "upload_file", "nth": 1, "as": "read_error"}})
    world.write("a.md", prose("a"))
    world.run()
    assert world.sim.calls["upload_file"] == 2
    assert left(world) == []


def test_an_upload_that_is_cancelled_when_nobody_knows_whether_it_arrived_leaves_nothing(world):
    die_after_the_upload(world)
    with world.worker() as context:
        perform(context, "cancel", {"ref": newest(context).ref}, "a test")
        world.take_turns(context)
    assert left(world) == []


def test_nobody_asks_for_the_list_without_need(world):
    world.write("a.md", prose("a"))
    world.run()
    assert world.sim.calls["list_files"] == 0


def test_while_batches_are_under_way_the_look_waits_for_the_quarantine(world):
    die_after_the_upload(world)
    with world.worker() as context:
        until(world, context, Batch.RUNNING)
        tidy(context)
        assert world.sim.calls["list_files"] == 0
        world.clock.advance(context.settings.voyage.quarantine_s + 1)
        tidy(context)
        assert world.sim.calls["list_files"] == 1
        assert query(context, "SELECT COUNT(*) FROM remote_files WHERE deleted_at IS NULL") == [(1,)]


def test_files_of_other_folders_and_of_other_programs_are_left_alone(world):
    with world.worker() as context:
        path = world.write("x.jsonl", "{}\n", folder=world.root)
        for name in ("voyage-jobs-0123456789abcdef0123.jsonl", "mine.jsonl", "voyage-jobs-meta.jsonl"):
            context.client.upload(path, name)
        with context.store.write() as tx:
            meta.put(tx, meta.ORPHANED_FILES, str(tx.now))
        world.take_turns(context)
    assert len(left(world)) == 3
    assert world.log.named("files.orphaned") == [{"files": 0}]


def test_a_list_that_cannot_be_had_is_asked_for_again(tmp_path):
    world = World(tmp_path, faults={"server_error": {"on": "list_files", "nth": 1}})
    die_after_the_upload(world)
    world.run()
    with world.worker() as context:
        world.clock.advance(600)
        world.take_turns(context)
    assert world.sim.calls["list_files"] == 2
    assert left(world) == []


def test_an_upload_under_way_keeps_the_look_waiting(world):
    die_after_the_upload(world)
    die_at("upload.before")
    with pytest.raises(Death):
        world.run()
    crash.arm(None)
    with world.worker() as context:
        world.clock.advance(context.settings.voyage.quarantine_s + 1)
        scan(context)
        assemble(context, eager=True)
        assert newest(context).state is Batch.UPLOADING
        assert tidy(context) is False
        submit(context)
        assert newest(context).state is Batch.UPLOADED
