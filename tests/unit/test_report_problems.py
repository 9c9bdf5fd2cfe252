"""Every problem that `status` can name, from facts made for it; each has a code, a sentence and a next step."""

from dataclasses import replace

import pytest
from world import World

from voyage_jobs.core.clock import US
from voyage_jobs.core.states import Batch
from voyage_jobs.diagnosis import process_conditions
from voyage_jobs.diagnosis.blocker import Mover, shown
from voyage_jobs.diagnosis.causes import blockers
from voyage_jobs.diagnosis.snapshot import gather
from voyage_jobs.state.circuits import Circuit
from voyage_jobs.state.stats import SourceStats, Waiting

HOUR = 3600 * US


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("world"))
    world.write("a.md", "# a\n\ntext")
    world.run(10, quiet=False)  # its batch is at the provider
    return world


@pytest.fixture
def facts(world):
    return replace(gather(world.settings(), world.clock), holder=77)


def found(world, facts, **changes):
    return shown(blockers(replace(facts, **changes)))


def one(world, facts, **changes):
    [problem] = found(world, facts, **changes)
    assert problem.message
    assert problem.next
    return problem


CIRCUITS = {"in_flight_limit": "create", "paused_disk": "disk"}


def circuit(code, failures=1):
    return Circuit(CIRCUITS.get(code, "vendor"), 0, failures, 0, code, f"it is {code}", None)


def closed(*circuits):
    return {each.name: each for each in circuits}


def batch_in(facts, state, **values):
    return [replace(facts.open[0], state=state, **values)]


def test_work_under_way_is_no_problem(world, facts):
    assert found(world, facts) == []


def test_without_a_process_waiting_work_is_a_note(world, facts):
    problem = one(world, facts, holder=None)
    assert (problem.code, problem.severity) == ("daemon_not_running", "info")


def test_a_process_without_a_sign_of_life_is_a_problem(world, facts):
    assert one(world, facts, now=facts.now + HOUR).code == "heartbeat_old"


@pytest.mark.parametrize(
    ("code", "failures", "severity"),
    [
        ("auth", 1, "problem"),
        ("quota", 1, "problem"),
        ("paused_disk", 1, "problem"),
        ("unreachable", 1, "info"),
        ("unreachable", 3, "problem"),
        ("unavailable", 9, "problem"),
        ("in_flight_limit", 9, "info"),
    ],
)
def test_a_closed_lane_is_a_problem_unless_it_passes_by_itself(world, facts, code, failures, severity):
    problem = one(world, facts, circuits=closed(circuit(code, failures)))
    assert (problem.code, problem.severity) == (code, severity)


@pytest.mark.parametrize("state", [Batch.SPOOLED, Batch.CREATING, Batch.ENDED])
def test_a_batch_that_does_not_get_on_is_stuck(world, facts, state):
    stuck = batch_in(facts, state)
    since = {stuck[0].id: facts.now - HOUR - US}
    problem = one(world, facts, open=stuck, since=since)
    assert problem.code == "batch_stuck"
    assert f"why {stuck[0].ref}" in problem.next
    assert found(world, facts, open=stuck, since={stuck[0].id: facts.now - US}) == []


def test_what_a_closed_lane_explains_is_not_told_twice(world, facts):
    stuck = batch_in(facts, Batch.ENDED)
    assert (
        one(world, facts, open=stuck, since={stuck[0].id: 0}, circuits=closed(circuit("auth"))).code == "auth"
    )


def test_a_job_past_its_window_is_a_problem(world, facts):
    late = batch_in(facts, Batch.RUNNING, deadline_at=facts.now - HOUR)
    assert one(world, facts, open=late).code == "past_deadline"


def test_a_parked_batch_needs_a_person_and_keeps_its_hint(world, facts):
    parked = batch_in(facts, Batch.PARKED, reason="it is odd", hint="do this")
    problem = one(world, facts, open=parked)
    assert (problem.code, problem.next, problem.moved_by) == ("parked", "do this", Mover.DECISION)


def test_a_refused_batch_and_second_jobs_are_notes(world, facts):
    refused = batch_in(facts, Batch.REFUSED, reason="bad " * 100)
    told = found(world, facts, refused=refused, duplicates=2)
    assert [(p.code, p.severity) for p in told] == [("refused", "info"), ("duplicate_jobs", "info")]
    assert len(told[0].message) < 300


def test_files_that_cannot_be_read_are_a_problem_and_other_skips_are_not(world, facts):
    row = facts.sources[0].id
    skipped = SourceStats(skipped={"unreadable": 3, "binary": 9})
    problem = one(world, facts, source_stats={row: skipped})
    assert (problem.code, "3 files" in problem.message) == ("unreadable", True)


def test_a_scan_that_is_long_overdue_is_a_problem_only_while_a_process_runs(world, facts):
    late = replace(facts, sources=[replace(facts.sources[0], scanned_at=facts.now - HOUR - US)])
    assert [p.code for p in found(world, late)] == ["scan_overdue"]
    assert [p.code for p in found(world, late, holder=None)] == ["daemon_not_running"]


def test_documents_that_are_ready_and_not_published_are_a_problem(world, facts):
    assert one(world, facts, ready_since=facts.now - HOUR - US).code == "publish_stuck"
    assert found(world, facts, ready_since=facts.now - US) == []


def test_embeddings_that_wait_for_no_reason_are_a_problem(world, facts):
    waiting = Waiting(5, 100, facts.now - 2 * HOUR, 20)
    assert one(world, facts, waiting=waiting, open=[]).code == "not_sent"
    assert found(world, facts, waiting=waiting) == []  # a batch is in flight: they follow


def test_a_table_that_cannot_be_looked_at_is_a_problem(world, facts):
    assert one(world, facts, table_exists=None).code == "table_unreadable"


def test_an_old_sqlite_is_a_note(world, facts, monkeypatch):
    monkeypatch.setattr(process_conditions, "library_is_safe", lambda: False)
    problem = one(world, facts)
    assert (problem.code, problem.severity) == ("sqlite_old", "info")


def test_what_the_vendor_refuses_comes_before_persons_before_the_rest_before_notes(world, facts):
    parked = batch_in(facts, Batch.PARKED, reason="odd", hint="do")
    told = found(
        world,
        facts,
        open=parked,
        circuits=closed(circuit("in_flight_limit"), circuit("paused_disk"), circuit("auth")),
        table_exists=None,
    )
    assert [p.code for p in told] == ["auth", "parked", "paused_disk", "table_unreadable", "in_flight_limit"]
