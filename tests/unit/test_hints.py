"""Scans that are made because a watch has hinted at a change: whole scans that leave alone what is being written."""

import os

import pytest
from world import World

from tests.unit.test_daemon import Run, nothing
from voyage_jobs.report.status import status
from voyage_jobs.service.schedule import Note
from voyage_jobs.state import sources
from voyage_jobs.state.pauses import Pauses
from voyage_jobs.steps.acts import perform
from voyage_jobs.steps.pipeline import Pipeline


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path, batching={"linger_s": 0})
    world.write("a.md", "# A\n\nThe first.\n")
    return world


class Worker:
    """A pipeline that has done its first scan."""

    def __init__(self, world, context):
        self.world, self.context = world, context
        self.begun, self.swept = [], []
        self.pipeline = Pipeline(context, on_begin=self.begun.append, on_sweep=self.swept.append)
        self.until_idle()

    def until_idle(self):
        while self.pipeline.turn():
            pass

    def hint(self):
        self.pipeline.hint("docs")
        self.until_idle()
        return self.pipeline.scans["docs"]

    @property
    def due_at(self):
        with self.context.store.read() as connection:
            return sources.by_name(connection, "docs").scan_due_at


@pytest.fixture
def worker(world):
    with world.worker() as context:
        yield Worker(world, context)


def age(world, path, seconds):
    at_ns = int((world.clock.wall() - seconds) * 1e9)
    os.utime(world.docs / path, ns=(at_ns, at_ns))


def test_a_hint_brings_a_scan_and_does_not_put_off_the_periodic_one(world, worker):
    due = worker.due_at
    world.clock.advance(100)
    world.write("b.md", "# B\n\nThe second.\n")
    result = worker.hint()
    assert (result.changed, result.hinted) == (1, True)
    assert worker.due_at == due
    world.clock.advance(201)
    worker.until_idle()
    assert [swept.hinted for swept in worker.swept] == [False, False]
    assert worker.begun == ["docs"] * 3
    assert worker.due_at > due


def test_many_hints_are_one_scan(worker):
    for _ in range(100):
        worker.pipeline.hint("docs")
    worker.until_idle()
    assert worker.begun == ["docs"] * 2


def in_the_middle(world, worker):
    """Let a scan be at work that a hint brought."""
    for number in range(2_100):
        world.write(f"many/{number:04}.md", f"# {number}\n\nText {number}.")
    worker.pipeline.hint("docs")
    worker.pipeline.turn()
    assert worker.pipeline.scanning == "docs"


def test_a_hint_during_a_scan_brings_another(world, worker):
    in_the_middle(world, worker)
    worker.pipeline.hint("docs")
    worker.until_idle()
    assert worker.begun == ["docs"] * 3


def test_a_scan_that_a_pause_breaks_off_is_made_after_it(world, worker):
    in_the_middle(world, worker)
    perform(worker.context, "pause", {"source": "docs"}, "anna")
    worker.until_idle()
    assert worker.pipeline.scanning is None
    perform(worker.context, "resume", {}, "anna")
    worker.until_idle()
    assert worker.begun == ["docs"] * 3
    assert worker.pipeline.scans["docs"].unchanged + worker.pipeline.scans["docs"].changed == 2_101


def test_a_half_written_file_waits_until_it_is_whole(world, worker):
    world.write("b.md", "# B\n\nHalf a sen")
    age(world, "b.md", 1)
    result = worker.hint()
    assert (result.changed, result.later) == (0, 1)
    assert worker.pipeline.idle_s() <= 2
    world.clock.advance(0.5)
    world.write("b.md", "# B\n\nHalf a sentence is none.\n")
    age(world, "b.md", 0)
    world.clock.advance(1.6)
    worker.until_idle()
    assert worker.pipeline.scans["docs"].later == 1, "it was written to meanwhile"
    world.clock.advance(2)
    worker.until_idle()
    result = worker.pipeline.scans["docs"]
    assert (result.changed, result.later) == (1, 0)


def test_a_file_that_is_always_being_written_to_is_taken_by_the_periodic_scan(world, worker):
    world.write("log.md", "# Log\n\nOne line.\n")
    for _ in range(3):
        age(world, "log.md", 0)
        assert worker.hint().later == 1
    world.clock.advance(301)
    age(world, "log.md", 0)
    worker.until_idle()
    assert worker.swept[-1].changed == 1


def test_nothing_counts_as_vanished_while_something_is_being_written(world, worker):
    """A file that is copied to another place and then deleted is a move, whichever half is seen first."""
    for _ in range(6):
        worker.until_idle()
        world.clock.advance(60)
    world.write("moved.md", "# A\n\nThe first.\n")
    age(world, "moved.md", 0)
    world.remove("a.md")
    result = worker.hint()
    assert (result.vanished, result.moved, result.later) == (0, 0, 1)
    world.clock.advance(2.1)
    worker.until_idle()
    result = worker.pipeline.scans["docs"]
    assert (result.vanished, result.moved, result.later) == (0, 1, 0)


def test_a_source_that_has_left_the_settings_is_not_scanned(worker):
    worker.pipeline.hint("nobody")
    worker.until_idle()
    assert worker.begun == ["docs"]
    assert worker.pipeline.idle_s() > 0


def test_a_confirmation_that_comes_during_a_hinted_scan_is_for_the_next(world, worker):
    worker.pipeline.hint("docs")
    worker.pipeline._running = worker.pipeline._next_scan(Pauses({}))
    with worker.context.store.write() as tx:
        sources.note(tx, 1, confirmed_at=tx.now, scan_due_at=0)
    worker.until_idle()
    assert len(worker.begun) == 3
    with worker.context.store.read() as connection:
        assert sources.by_name(connection, "docs").confirmed_at is None


# --- the daemon ---


def test_the_daemon_heeds_hints_and_tells_the_watching_what_it_scans(world):
    def change(run):
        world.write("b.md", "# B\n\nThe second.\n")
        run.watching.notes.leave(Note("hint", "docs"))

    run = Run(world, {5: change, 6: nothing})
    assert run.watching.begun == ["docs", "docs"]
    assert run.watching.swept == [("docs", 1)]
    assert run.watching.closed
    assert [done["hinted"] for done in world.log.named("scan.finished")] == [False, True]


def test_a_watch_need_not_hear_of_what_is_only_split_otherwise(world):
    world.write("long.md", "# Long\n\n" + "Many words. " * 100)
    fresh = world.settings(splitting={"max_chars": 300})
    run = Run(world, {20: Run.hangup, 60: nothing}, reload=lambda: fresh)
    assert len(world.table_rows()) > 3
    assert [changed for _, changed in run.watching.swept[:2]] == [2, 0]


def test_status_shows_how_the_watching_goes_while_the_daemon_runs(world):
    state = {"mode": "events", "folders": 1, "left_out": 0, "code": "watch_silent", "message": ""}
    seen = []

    def tell(run):
        import orjson

        run.watching.news = orjson.dumps({"docs": state}).decode()
        run.signals.wake.set()

    def look(run):
        seen.append(status(world.settings(), world.clock))

    Run(world, {2: tell, 4: look, 5: nothing})
    assert seen[0]["sources"][0]["watch"] == state
    assert "watch_silent" in {problem["code"] for problem in seen[0]["problems"]}
    assert seen[0]["healthy"]
    assert status(world.settings(), world.clock)["sources"][0]["watch"] is None, "it has ended"


def test_new_settings_reach_the_watching(world):
    fresh = world.settings(watch={"settle_s": 5})
    run = Run(world, {3: Run.hangup, 6: nothing}, reload=lambda: fresh)
    assert [settings.watch.settle_s for settings in run.watching.armed] == [2, 5]
