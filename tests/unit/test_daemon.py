"""The daemon: loop, notes, clock steps, new settings, and how it stops."""

import resource
import sys

import pytest

from tests.world import KEY, World
from voyage_jobs.errors import ConfigError, LockedError, StateError
from voyage_jobs.planning.plan import plan
from voyage_jobs.report.status import status
from voyage_jobs.service import daemon
from voyage_jobs.service.schedule import Note
from voyage_jobs.service.signals import Signals
from voyage_jobs.state import circuits, sources


class Handmade:
    """A schedule that fires when the test says so."""

    def __init__(self, notes):
        self.notes, self.armed, self.closed = notes, [], False

    def arm(self, settings):
        self.armed.append(settings)

    def close(self):
        self.closed = True


class Deaf:
    """Watching that hears nothing, and keeps what it is told."""

    def __init__(self, notes, clock, log):
        self.notes, self.armed, self.begun, self.swept, self.closed = notes, [], [], [], False
        self.news = None

    def arm(self, settings):
        self.armed.append(settings)

    def scan_begins(self, source):
        self.begun.append(source)

    def scan_found(self, source, changed):
        self.swept.append((source, changed))

    def report(self):
        news, self.news = self.news, None
        return news

    def close(self):
        self.closed = True


class Run:
    """A daemon in virtual time. `script` maps waits (counted from 1) to what happens then; the last one stops it."""

    def __init__(self, world, script, *, reload=None, page=None, **sections):
        self.world, self.script, self.waits = world, script, 0
        self.accepted = []
        self.schedule = None
        self.wait_s = []
        clock = world.clock
        self._wait = type(clock).wait
        clock.wait = self.waiting
        try:
            with Signals() as self.signals:
                daemon.run(
                    world.settings(**sections),
                    clock,
                    world.log,
                    self.signals,
                    reload=reload or world.settings,
                    accept=self.accepted.append,
                    schedule=self.make,
                    watching=self.make_deaf,
                    transport=world.transport,
                    page=page,
                )
        finally:
            del clock.wait

    def make(self, notes):
        self.schedule = Handmade(notes)
        return self.schedule

    def make_deaf(self, *arguments):
        self.watching = Deaf(*arguments)
        return self.watching

    def waiting(self, seconds, wake=None):
        if wake is None:  # the lock's and the transport's own waits
            return self._wait(self.world.clock, seconds)
        self.waits += 1
        self.wait_s.append(seconds)
        if self.waits in self.script:
            self.script[self.waits](self)
        if self.waits >= max(self.script):
            self.signals.stop()
        return self._wait(self.world.clock, seconds, wake)

    def hangup(self):
        self.signals.hangup.set()
        self.signals.wake.set()


def nothing(run):
    pass


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path, batching={"linger_s": 0})
    world.write("a.md", "# A\n\nThe first.\n")
    return world


def test_a_second_one_is_refused(world):
    with world.worker():
        with pytest.raises(LockedError):
            Run(world, {1: nothing})


def test_a_newer_state_is_refused(world):
    with world.worker() as context:
        with context.store.write() as tx:
            tx.connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StateError, match="newer"):
        Run(world, {1: nothing})


def test_what_no_step_can_live_with_is_logged_and_raised(world, monkeypatch):
    def breaks(context):
        raise RuntimeError("odd")

    monkeypatch.setattr("voyage_jobs.steps.pipeline.poll", breaks)
    with pytest.raises(RuntimeError):
        Run(world, {1: nothing})
    assert world.log.named("daemon.failed") == [{"error": "RuntimeError: odd"}]


def test_it_keeps_the_table_in_step_and_stops_when_asked(world):
    Run(world, {40: nothing})
    assert [row["path"] for row in world.table_rows("path")] == ["a.md"]
    assert world.log.named("daemon.stopped")[-1]["in_flight"] == 0


def test_a_request_ends_its_wait(world):
    def ask(run):
        world.leave("pause")
        assert run.signals.wake.wait(20), "the request poller did not wake it"

    Run(world, {3: ask, 4: nothing})
    (done,) = world.log.named("request.done")
    assert (done["command"], done["who"]) == ("pause", "me")


def test_on_stopping_it_says_what_is_under_way_and_the_next_one_goes_on(world):
    run = Run(world, {2: nothing})
    (said,) = world.log.named("daemon.stopped")
    assert (said["in_flight"], said["inputs"]) == (1, 1)
    assert said["refs"] in {
        job["metadata"]["voyage_jobs_ref"] for job in world.sim.jobs.all(world.sim.now_us())
    }
    assert "Nothing is lost" in said["message"]
    assert run.schedule.closed
    Run(world, {40: nothing})
    assert len(world.table_rows()) == 1
    assert world.ledger.billed_more_than_once() == {}


def test_a_refused_key_is_waited_out(tmp_path):
    world = World(tmp_path, batching={"linger_s": 0}, faults={"auth_outage": {"until_s": 400}})
    world.write("a.md", "# A\n\nThe first.\n")
    Run(world, {90: nothing})
    assert world.log.named("circuit.opened")[0]["code"] == "auth"
    assert len(world.table_rows()) == 1


def test_a_disk_that_is_full_is_waited_out(world):
    sections = {"disk": {"min_free_bytes": 2**53}}
    fresh = world.settings()
    Run(world, {20: Run.hangup, 80: nothing}, reload=lambda: fresh, **sections)
    assert world.log.named("disk.paused")
    assert len(world.table_rows()) == 1


@pytest.fixture
def disk():
    """Full from a call with 0 on, and empty from one without."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda most=hard: resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def test_new_settings_and_a_clock_set_back_wait_for_room_on_the_disk(world, disk):
    def fills(run):
        disk(0)
        world.clock.step(-86_400)
        run.hangup()

    fresh = world.settings(budget={"daily_tokens": 1_000})
    run = Run(world, {20: fills, 30: lambda run: disk(), 60: nothing}, reload=lambda: fresh)
    assert world.log.named("disk.full")
    assert len(world.log.named("config.reloaded")) == 1
    assert run.accepted == [fresh]
    assert len(run.schedule.armed) == 3, "at the start, for the clock, for the settings"


def test_it_stops_in_good_order_on_a_full_disk(world, disk):
    Run(world, {20: lambda run: disk(0), 21: nothing})
    assert world.log.named("daemon.stopped")


def test_it_never_waits_long(world):
    run = Run(world, {40: nothing})
    assert max(run.wait_s) <= 15


# --- notes of the scheduler ---


def test_a_note_has_a_source_scanned_before_its_time(world):
    def add(run):
        world.write("b.md", "# B\n\nThe second.\n")
        run.schedule.notes.leave(Note("scan", "docs"))

    Run(world, {15: add, 40: nothing})
    assert len(world.log.named("scan.finished")) == 3, (
        "the first, the one asked for, and the one that was due by then"
    )
    assert {row["path"] for row in world.table_rows("path")} == {"a.md", "b.md"}


def test_a_note_for_upkeep_looks_after_the_table(world, monkeypatch):
    tended = []
    monkeypatch.setattr("voyage_jobs.steps.pipeline.tend", lambda *_, **__: tended.append(world.clock.mono()))
    Run(world, {10: lambda run: run.schedule.notes.leave(Note("upkeep")), 12: nothing})
    assert len(tended) == 2


# --- the clock ---


def test_a_clock_set_back_stops_nothing(world):
    def back(run):
        world.clock.step(-86_400)

    run = Run(world, {3: back, 40: nothing})
    assert world.log.named("clock.stepped") == [{"seconds": -86_400.0}]
    assert len(run.schedule.armed) == 2, "its jobs count from now"
    assert len(world.table_rows()) == 1
    assert world.clock.mono() < 700


def test_a_clock_set_forward_is_noted(world):
    run = Run(world, {3: lambda run: world.clock.step(86_400), 40: nothing})
    assert world.log.named("clock.stepped") == [{"seconds": 86_400.0}]
    assert len(run.schedule.armed) == 1


def test_a_small_correction_is_no_step(world):
    Run(world, {3: lambda run: world.clock.step(-2), 6: nothing})
    assert world.log.named("clock.stepped") == []


# --- new settings ---


def reloaded(world, **sections):
    fresh = world.settings(**sections)
    run = Run(world, {20: Run.hangup, 60: nothing}, reload=lambda: fresh)
    return run, fresh


def test_a_source_that_is_added_is_scanned(world, tmp_path):
    other = tmp_path / "other"
    world.write("x.md", "# X\n\nElsewhere.", folder=other)
    docs = {"name": "docs", "path": str(world.docs)}
    run, fresh = reloaded(world, sources=[docs, {"name": "other", "path": str(other)}])
    assert run.accepted == [fresh]
    assert run.schedule.armed[-1] is fresh
    assert {row["path"] for row in world.table_rows("path")} == {"a.md", "x.md"}


def test_other_vectors_are_taken_up_as_a_wish_and_nothing_is_sent(world):
    """What was sent is collected and shown all the same; see test_reprofile_step.py for the rest."""
    run, fresh = reloaded(world, voyage={"output_dimension": 16})
    assert run.accepted == [fresh]
    (told,) = world.log.named("profile.changed")
    assert "voyage-jobs reprofile" in told["hint"]
    assert {row["path"] for row in world.table_rows("path")} == {"a.md"}
    assert world.sim.calls["create_batch"] == 1


def test_a_source_that_is_removed_is_frozen_and_its_rows_stay(world, tmp_path):
    reloaded(world, sources=[{"name": "other", "path": str(tmp_path)}])
    with world.worker(sources=[{"name": "other", "path": str(tmp_path)}]) as context:
        with context.store.read() as connection:
            assert sources.by_name(connection, "docs").frozen_reason == sources.NOT_CONFIGURED
    assert "a.md" in {row["path"] for row in world.table_rows("path")}


def test_new_settings_are_a_reason_to_try_again(tmp_path):
    world = World(tmp_path, batching={"linger_s": 0}, faults={"auth_outage": {"times": 3}})
    world.write("a.md", "# A\n\nThe first.\n")
    open_after = []

    def look(run):
        run.hangup()
        open_after.append(world.clock.mono())

    Run(world, {2: look, 3: nothing}, reload=world.settings)
    assert sum(fields["code"] == "auth" for fields in world.log.named("circuit.opened")) == 2
    assert world.clock.mono() < 60, "the second try did not wait for the minute to pass"


@pytest.mark.parametrize(
    ("sections", "named"),
    [
        ({"data_dir": "/elsewhere"}, "data_dir"),
        ({"voyage": {"base_url": "http://localhost:1/v1"}}, "voyage.base_url"),
        ({"lancedb": {"table": "others"}}, "lancedb.table"),
        ({"lancedb": {"storage_options": {"aws_region": "b"}}}, "lancedb.storage_options"),
    ],
)
def test_what_cannot_be_changed_while_running_is_refused_by_name(world, sections, named):
    run, _ = reloaded(world, **sections)
    (refused,) = world.log.named("config.refused")
    assert named in refused["error"]
    assert "restart" in refused["hint"]
    assert run.accepted == []
    assert len(world.table_rows()) == 1, "the old settings go on"


def test_a_link_that_leads_a_source_to_the_files_of_voyage_jobs_is_refused(world, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    around = {"name": "around", "path": str(tmp_path / "link"), "include": ["*.jsonl"]}
    fresh = world.settings(sources=[around])
    for begins in (lambda: plan(fresh, world.clock), lambda: Run(world, {1: nothing}, sources=[around])):
        with pytest.raises(ConfigError, match=r"lies inside source around .*/link"):
            begins()
    Run(world, {20: Run.hangup, 21: nothing}, reload=lambda: fresh)
    assert "its own files" in world.log.named("config.refused")[0]["error"]

    hidden = world.settings(sources=[around], data_dir=str(tmp_path / ".state" / "data"))
    assert not plan(hidden, world.clock)["embeddings"]["to_send"]


def test_an_engine_that_is_not_installed_is_refused_and_the_old_settings_go_on(world, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    run, _ = reloaded(world, engine={"kind": "ray"})
    (refused,) = world.log.named("config.refused")
    assert "Ray is not installed" in refused["error"]
    assert run.accepted == []
    assert len(world.table_rows()) == 1


def test_a_file_with_mistakes_is_refused_and_the_old_settings_go_on(world):
    def broken():
        raise ConfigError("voyage-jobs.toml: data_dirx: unknown key")

    Run(world, {2: Run.hangup, 40: nothing}, reload=broken)
    (refused,) = world.log.named("config.refused")
    assert "data_dirx" in refused["error"]
    assert len(world.table_rows()) == 1


def test_a_scan_at_hand_is_begun_anew_with_the_new_settings(world):
    for number in range(1200):
        world.write(f"many/{number:04}.md", f"# {number}\n\nText {number}.")
    fresh = world.settings(sources=[{"name": "docs", "path": str(world.docs), "exclude": ["many/"]}])
    with Signals() as signals, world.worker() as context:
        pipeline = daemon.Pipeline(context)
        watching = Deaf(None, None, None)
        made = daemon.Daemon(
            context, pipeline, signals, None, Handmade(None), watching, lambda: fresh, [].append
        )
        pipeline.turn()
        assert pipeline.scanning == "docs"
        made.take_new_settings()
        assert pipeline.scanning is None
        while "docs" not in pipeline.scans:
            pipeline.turn()
        assert pipeline.scans["docs"].frozen is not None or pipeline.scans["docs"].changed <= 1
        with context.store.read() as connection:
            assert circuits.tripped(connection) == {}


def test_the_key_is_in_no_event(world):
    Run(world, {20: Run.hangup, 40: nothing})
    assert KEY not in repr(world.log.events)


# --- the page ---


class FakePage:
    """A page whose trouble the test decides."""

    def __init__(self):
        self.last_error, self.is_ready, self.taken_up = None, False, []

    def ready(self):
        self.is_ready = True

    @property
    def page(self):
        return daemon.Page(ready=self.ready, problem=lambda: self.last_error, take_up=self.taken_up.append)


def codes(world):
    return [problem["code"] for problem in status(world.settings(), world.clock)["problems"]]


def test_a_page_that_cannot_be_served_is_a_problem_until_it_can(world):
    fake, seen = FakePage(), []

    def breaks(run):
        assert fake.is_ready
        seen.append(codes(world))
        fake.last_error = "Cannot listen on 127.0.0.1:8765: Address already in use."

    def heals(run):
        seen.append(codes(world))
        fake.last_error = None

    Run(world, {2: breaks, 4: heals, 6: lambda run: seen.append(codes(world))}, page=fake.page)
    assert ["page_not_served" in each for each in seen] == [False, True, False]
    assert world.log.named("daemon.failed") == []


def test_the_page_hears_of_new_settings_that_are_in_force(world):
    fake, fresh = FakePage(), world.settings(budget={"daily_usd": 1.0})
    Run(world, {2: Run.hangup, 4: nothing}, reload=lambda: fresh, page=fake.page)
    assert fake.taken_up == [fresh]
    fake.taken_up.clear()
    other = world.settings(lancedb={"table": "others"})
    Run(world, {2: Run.hangup, 4: nothing}, reload=lambda: other, page=fake.page)
    assert fake.taken_up == []


def test_trouble_of_a_page_that_is_no_longer_wanted_is_forgotten(world):
    fake, seen = FakePage(), []
    fake.last_error = "taken"
    Run(world, {2: nothing}, page=fake.page)
    assert "page_not_served" not in codes(world)  # nobody is at work
    Run(world, {2: lambda run: seen.append(codes(world))})
    assert "page_not_served" not in seen[0]
