"""Errors on record, counters that only grow, deaths that are noticed, and what is past its limit."""

from __future__ import annotations

from dataclasses import replace

import pytest
from small_world import Small, quick
from state_rows import opened
from step_doors import newest, settle, until
from world import World

from voyage_jobs.core.clock import US, VirtualClock
from voyage_jobs.core.states import Batch
from voyage_jobs.diagnosis import stuck
from voyage_jobs.diagnosis.blocker import shown
from voyage_jobs.diagnosis.causes import blockers
from voyage_jobs.diagnosis.snapshot import gather
from voyage_jobs.errors import ConfigError, VoyageJobsError
from voyage_jobs.report import headline, outlook, status
from voyage_jobs.report.why import why
from voyage_jobs.state import batches, last_errors
from voyage_jobs.state.circuits import Circuit
from voyage_jobs.state.last_errors import LastError
from voyage_jobs.state.stats import Waiting
from voyage_jobs.steps import acts, poll

HOUR = 3600 * US
DAY = 24 * HOUR


# --- the record ---


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def store(tmp_path, clock):
    store = opened(tmp_path, clock)
    yield store
    store.close()


def recent(store, clock):
    with store.read() as connection:
        return last_errors.recent(connection, int(clock.wall() * US))


def note(store, step, code, message="it broke"):
    with store.write() as tx:
        last_errors.note(tx, step, code, message)


def test_one_row_a_step_counts_the_same_error_and_forgets_another(store, clock):
    for _ in range(3):
        note(store, "poll", "unreachable")
        clock.advance(10)
    [found] = recent(store, clock)
    assert (found.times, found.last_at - found.first_at, found.over_at) == (3, 20 * US, None)
    note(store, "poll", "auth", "refused")
    [found] = recent(store, clock)
    assert (found.code, found.times) == ("auth", 1)


def test_an_error_that_is_over_is_shown_for_a_week_and_begins_anew(store, clock):
    note(store, "poll", "unreachable")
    with store.write() as tx:
        last_errors.over(tx, "poll")
    assert recent(store, clock)[0].over_at is not None
    with store.read() as connection:
        assert last_errors.lasting(connection) == {}
    clock.advance(last_errors.SHOWN_S + 1)
    assert recent(store, clock) == []
    note(store, "poll", "unreachable")
    assert (recent(store, clock)[0].times, recent(store, clock)[0].over_at) == (1, None)


def test_a_message_is_cut_to_its_first_line_and_has_no_secrets(store, clock):
    note(store, "publish", "x", "bad pa-AbCdEf0123456789AbCdEf0123\n[parameters: a whole document]")
    note(store, "scan", "x", "y" * 5000)
    found = {each.step: each.message for each in recent(store, clock)}
    assert found["publish"] == "bad pa-***"
    assert len(found["scan"]) == last_errors.MOST_CHARS


def test_counters_only_grow(store):
    note(store, "poll", "a")
    note(store, "poll", "b")
    with store.read() as connection:
        found = last_errors.counted(connection)
    assert (found.errors, found.starts, found.tokens_billed, found.batches_parked) == (2, 0, 0, 0)


# --- the steps ---


def look(world, **sections):
    return status.status(world.settings(**sections), world.clock)


def errors(world):
    return {each["step"]: each for each in look(world)["last_errors"]}


def test_a_vendor_that_is_away_is_on_record_until_the_step_comes_through(tmp_path):
    """Two uploads that fail alike."""
    world = World(tmp_path, faults={"request_lost": {"on": "upload_file", "times": 2}})
    world.write("a.md", "text")
    world.write("b.md", "other text")
    alone = {"batching": {"max_inputs": 1}}
    world.run(12, quiet=False, **alone)
    found = errors(world)["submit"]
    assert (found["code"], found["over_at"]) == ("unreachable", None)
    assert found["more"] == "voyage-jobs doctor --probe"
    world.run(**alone)
    found = errors(world)["submit"]
    assert found["over_at"] is not None
    ever = look(world)["counters"]
    assert ever["errors"] == 1
    assert (ever["batches_sent"], ever["inputs_sent"], ever["chunks_published"], ever["starts"]) == (
        2,
        2,
        2,
        2,
    )
    assert ever["tokens_billed"] == world.ledger.batch_tokens


def test_what_fails_for_one_batch_alone_is_told_of_that_batch(tmp_path):
    world = World(tmp_path, faults={"server_error": {"on": "upload_file", "times": 4}})
    world.write("a.md", "text")
    with world.worker() as context:
        for failures, severity in ((1, "info"), (2, "info"), (3, "problem")):
            while (batch := newest(context)) is None or batch.failures < failures:
                world.take_turns(context, 1, quiet=False)
                world.clock.advance(5)
            (found,) = [each for each in look(world)["problems"] if each["code"] == "failing"]
            assert found["severity"] == severity
            assert f"Batch {batch.ref} (uploading) failed" in found["message"]
            assert "(500)" in found["message"]
            assert "no other batch waits" in found["hint"]
    assert "submit" not in errors(world)
    world.run()
    assert not [each for each in look(world)["problems"] if each["code"] == "failing"]


def test_a_proxy_that_answers_for_the_provider_is_told_with_what_to_check(tmp_path):
    world = World(tmp_path, faults={"intercepted": {"on": "upload_file", "times": 1}})
    world.write("a.md", "text")
    with world.worker() as context:
        while (batch := newest(context)) is None or not batch.failures:
            world.take_turns(context, 1, quiet=False)
        (found,) = [each for each in look(world)["problems"] if each["code"] == "failing"]
        assert "HTTPS_PROXY" in found["hint"]
        assert batch.hint in found["hint"]
        told = why(world.settings(), world.clock, "a.md")
        assert (told.reason, told.next) == ("sending", batch.hint)
        world.clock.advance(60)
        while (batch := newest(context)).failures:
            world.take_turns(context, 1, quiet=False)
        assert batch.hint is None  # what was to be checked is well again


def test_an_error_that_ends_the_process_is_told_when_nobody_is_left(tmp_path, monkeypatch):
    world = World(tmp_path)
    world.write("a.md", "text")
    with monkeypatch.context() as broken, pytest.raises(RuntimeError):
        broken.setattr("voyage_jobs.steps.pipeline.poll", _fall)
        world.run()
    report = look(world)
    assert report["problems"][0]["code"] == "process_failed"
    assert "RuntimeError: the sky fell" in report["problems"][0]["message"]
    assert report["headline"]["level"] == "problem"
    assert not report["healthy"]
    world.run()
    assert errors(world)["poll"]["over_at"] is not None
    assert look(world)["healthy"]
    assert look(world)["counters"]["deaths"] == 1


def _fall(_context):
    raise RuntimeError("the sky fell\nwith a text")


def test_an_error_at_the_start_is_on_record(tmp_path, monkeypatch):
    world = World(tmp_path)
    world.write("a.md", "text")
    world.run()
    with monkeypatch.context() as broken, pytest.raises(RuntimeError):
        broken.setattr("voyage_jobs.steps.recovery.lose_missing_segments", _fall)
        world.run()
    found = errors(world)["start"]
    assert (found["code"], found["over_at"]) == (last_errors.FATAL, None)
    world.run(2, quiet=False)
    assert errors(world)["start"]["over_at"] is not None


def test_a_full_disk_is_an_error_of_the_disk_and_over_when_there_is_room(tmp_path):
    world = World(tmp_path)
    world.write("a.md", "text")
    world.run(6, quiet=False, disk={"min_free_bytes": 1 << 53})
    assert errors(world)["disk"]["code"] == "paused_disk"
    world.run()
    assert errors(world)["disk"]["over_at"] is not None


def test_a_death_is_counted_and_the_daemon_is_missed_until_it_is_started_again(tmp_path):
    with quick():
        world = Small(tmp_path)
        world.write("a.md", "text")
        world.run()
        world.write("a.md", "more")
        world.clock.advance(400)
        worker = world.worker(mode="run")
        worker.__enter__()
        worker.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)  # it says no good-bye
        told = look(world)
        assert told["problems"][0]["code"] == "daemon_died"
        with world.worker(mode="act") as context:  # an act changes nothing about that
            acts.perform(context, "retry", {}, "me")
        assert look(world)["problems"][0]["code"] == "daemon_died"
        with world.worker(mode="run"):
            assert "daemon_died" not in [p["code"] for p in look(world)["problems"]]
        told = look(world)
        assert "daemon_died" not in [p["code"] for p in told["problems"]]
        assert told["counters"]["deaths"] == 1
        died = errors(world)["process"]
        assert (died["code"], "(run)" in died["message"]) == ("died", True)
        assert died["over_at"] is not None


@pytest.mark.parametrize("mode", ["act", "sync"])
@pytest.mark.parametrize("kind", [ConfigError, VoyageJobsError])
def test_a_command_that_is_told_no_has_not_died(tmp_path, mode, kind):
    world = World(tmp_path)
    world.write("a.md", "text")
    with pytest.raises(kind), world.worker(mode=mode):
        raise kind("There is no such thing.")
    world.run()
    assert look(world)["counters"]["deaths"] == 0
    assert "process" not in errors(world)


def test_what_was_sent_at_once_is_among_the_tokens_billed(tmp_path):
    world = World(tmp_path)
    world.write("a.md", "text")
    world.run()
    world.write("b.md", "another text")
    with world.worker() as context:
        order = {"order": "1", "source": "docs", "path": "b.md", "also_in_flight": False}
        acts.perform(context, "expedite", order, "me")
    told = look(world)
    assert told["tokens"]["expedited"] == world.ledger.sync_tokens > 0
    assert told["counters"]["tokens_billed"] == told["tokens"]["settled"]


def test_parked_batches_are_counted(tmp_path):
    world = World(tmp_path, options={"retired_models": {"voyage-4": "voyage-5"}})
    world.write("a.md", "text")
    world.run(12, quiet=False)
    assert look(world)["counters"]["batches_parked"] == 1


def test_an_unknown_word_is_a_note_then_a_problem_then_a_persons_matter(tmp_path, monkeypatch):
    from voyage_jobs.simulator.batches import Batch as RemoteJob

    world = World(tmp_path, batch_seconds=60)
    world.write("a.md", "text")
    told = RemoteJob.as_json

    def as_json(job, now_us, options):
        return {
            **told(job, now_us, options),
            "status": "pondering",
            "output_file_id": None,
            "error_file_id": None,
        }

    monkeypatch.setattr(RemoteJob, "as_json", as_json)

    def after(hours):
        with world.worker(mode="run") as context:
            world.clock.advance(hours * 3600)
            world.take_turns(context, 4, quiet=False)
            return look(world)

    world.run(12, quiet=False)
    early = after(1)
    [note_] = [p for p in early["problems"] if p["code"] == "unknown_status"]
    assert (note_["severity"], "'pondering'" in note_["message"]) == ("info", True)
    assert early["stuck"] == []
    late = after(12)
    [item] = late["stuck"]
    assert (item["code"], item["step"], item["because"]) == ("unknown_status", "poll", None)
    assert "pondering" in item["state"]
    assert "voyage-jobs cancel" in item["next"]
    assert late["problems"][0]["code"] == "unknown_status"
    end = after(poll.OVERDUE_S / 3600)
    assert end["problems"][0]["code"] == "parked"
    assert end["stuck"] == []


# --- past a limit ---


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("world"))
    world.write("a.md", "# a\n\ntext")
    world.run(12, quiet=False)
    return world


@pytest.fixture
def facts(running):
    found = gather(running.settings(), running.clock)
    return replace(found, holder=77, here=replace(found.here, mode="run"))


def past(running, facts, **changes):
    changed = replace(facts, **changes)
    return stuck.find(changed, blockers(changed))


def one(running, facts, **changes):
    [found] = past(running, facts, **changes)
    assert found.message
    assert found.next
    return found.code, found.step, found.because


def test_nothing_is_past_its_limit_at_first(running, facts):
    assert past(running, facts) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"ready_since": -2 * HOUR}, ("publish_stuck", "publish", None)),
        ({"leaving_since": -2 * HOUR}, ("publish_stuck", "publish", None)),
        ({"asked_since": -HOUR}, ("request_stuck", "requests", None)),
        ({"unclosed": [("abc", "collected", -3 * DAY)]}, ("not_tidied", "tidy", None)),
        ({"missing_since": {1: -2 * DAY}}, ("removal_stuck", "scan", None)),
        ({"waiting": Waiting(5, 100, -3 * HOUR, 20), "open": []}, ("not_sent", "assemble", None)),
        ({"waiting": Waiting(5, 100, -3 * HOUR, 20)}, ("not_sent", "assemble", "in_flight")),
    ],
)
def test_each_kind_of_thing_has_a_limit_and_a_step(running, facts, changes, expected):
    def absolute(value):
        if isinstance(value, int):
            return facts.now + value
        if isinstance(value, Waiting):
            return replace(value, oldest_at=facts.now + value.oldest_at)
        if isinstance(value, dict):
            return {key: facts.now + at for key, at in value.items()}
        return [(*row[:-1], facts.now + row[-1]) if isinstance(row, tuple) else row for row in value]

    changes = {key: absolute(value) for key, value in changes.items()}
    assert one(running, facts, **changes) == expected
    assert one(running, facts, **changes, holder=None)[2] == "daemon_not_running"
    told = shown(blockers(replace(facts, **changes)))
    assert [p.code for p in told] == ([expected[0]] if expected[2] is None else [])


def test_what_explains_it_is_named(running, facts):
    since = {facts.open[0].id: facts.now - 3 * HOUR}
    for state, name, code in ((Batch.ENDED, "disk", "paused_disk"), (Batch.SPOOLED, "vendor", "auth")):
        shut = {name: Circuit(name, 0, 1, 0, code, "shut", None)}
        open_ = [replace(facts.open[0], state=state)]
        assert one(running, facts, open=open_, since=since, circuits=shut)[2] == code
        assert one(running, facts, open=open_, since=since)[2] is None


def test_a_job_that_is_late_is_not_told_to_be_cancelled_twice(running, facts):
    late = replace(facts.open[0], deadline_at=facts.now - HOUR, cancel_asked_at=facts.now - HOUR)
    [found] = past(running, facts, open=[late])
    assert (found.code, "its cancellation was requested" in found.message) == ("past_deadline", True)
    assert "voyage-jobs cancel" not in found.next


# --- the outlook and the headline ---


def test_the_outlook_is_unknown_for_a_reason_and_else_a_time(running, facts):
    def said(**changes):
        changed = replace(facts, **changes)
        return outlook.outlook(changed, blockers(changed))

    assert said()["unknown_because"] == "no_history"
    assert said(holder=None)["unknown_because"] == "daemon_not_running"
    assert said(took=[1e6])["likely_at"] is not None
    assert said(took=[60.0], now=facts.now + HOUR)["unknown_because"] == "longer_than_ever"
    assert (
        said(circuits={"vendor": Circuit("vendor", 0, 1, 0, "auth", "no", None)})["unknown_because"] == "auth"
    )
    assert said(open=[replace(facts.open[0], state=Batch.PARKED)])["unknown_because"] == "parked"
    assert said(open=[], source_stats={})["unknown_because"] == "nothing_waits"
    more = said(took=[1e6], waiting=Waiting(10**9, 1, facts.now, 1))
    assert more["likely_at"] > said(took=[1e6])["likely_at"]


def test_refused_and_cancelled_jobs_foretell_nothing(tmp_path):
    world = World(tmp_path, batch_seconds=1000, faults={"job_invalid": {"times": 1}})
    world.write("a.md", "text")
    with world.worker() as context:
        assert settle(world, context).remote_status == "failed"
        acts.perform(context, "retry", {}, "me")
        again = until(world, context, Batch.RUNNING)
        acts.perform(context, "cancel", {"ref": again.ref}, "me")
        settle(world, context)
        with context.store.read() as connection:
            assert batches.durations_s(connection, "voyage", 10) == []
        acts.perform(context, "retry", {}, "me")
        settle(world, context)
        with context.store.read() as connection:
            [took] = batches.durations_s(connection, "voyage", 10)
    assert 1000 <= took < 1700


def test_the_headline_is_the_worst_fact(running, facts):
    def said(**changes):
        changed = replace(facts, **changes)
        return headline.headline(changed, shown(blockers(changed)))

    assert said()[0] == "working"
    assert said(holder=None) == (
        "waiting",
        "idle: 0 chunks published, 1 at Voyage, and no process is running.",
    )
    shut = Circuit("vendor", facts.now + HOUR, 1, 0, "unreachable", "The line is cut.", None)
    assert said(circuits={"vendor": shut}) == (
        "waiting",
        "held up: 0 chunks published, 1 at Voyage. Calls to Voyage are deferred: The line is cut.",
    )
    assert said(table_exists=None)[0] == "problem"
    assert said(open=[], source_stats={}, holder=None)[1].startswith("up to date (checked")
    assert said(open=[], source_stats={})[1] == "healthy: 0 chunks published, nothing is waiting."
    failed = LastError("publish", last_errors.FATAL, "It fell.", None, 1, 0, 0, None)
    assert "ended by an error in step publish" in said(holder=None, last_errors=[failed])[1]
