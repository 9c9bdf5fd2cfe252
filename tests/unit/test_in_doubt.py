"""What the table shows and what the state believes it shows may differ after a crash; and clocks may not be trusted."""

import pytest
from small_world import Small, quick

from voyage_jobs.errors import EpochLostError
from voyage_jobs.state.store import Store
from voyage_jobs.steps import acts
from voyage_jobs.steps.pipeline import Pipeline

HOUR_S = 3600.0
YEAR_S = 365 * 24 * HOUR_S


@pytest.fixture(autouse=True)
def _quick():
    with quick():
        yield


@pytest.fixture
def small(tmp_path):
    return Small(tmp_path)


# --- publications that broke off ---


def test_document_that_is_deleted_after_its_publication_broke_off_leaves_the_table(small):
    small.write("a.md", "one")
    small.write("b.md", "two")
    small.dies_at("publish.table.done")
    assert set(small.served()) == {"a.md", "b.md"}
    small.remove("a.md")
    small.later()
    small.later()
    assert small.served() == {"b.md": ["two"]}


def test_document_that_is_reverted_after_its_publication_broke_off_is_served_as_it_is(small):
    small.write("a.md", "one")
    small.run()
    small.write("a.md", "another")
    small.clock.advance(400)
    small.dies_at("publish.table.done")
    assert small.served() == {"a.md": ["another"]}
    small.write("a.md", "one")
    small.later()
    assert small.served() == {"a.md": ["one"]}


def test_document_that_is_reverted_twice_around_a_broken_publication_is_served_as_it_is(small):
    small.write("a.md", "one")
    small.run()
    small.write("a.md", "another")
    small.clock.advance(400)
    small.dies_at("publish.intent.committed")  # the table never heard of it
    small.write("a.md", "one")
    small.clock.advance(400)
    small.dies_at("scan.slice.committed")
    small.write("a.md", "another")
    small.later()
    assert small.served() == {"a.md": ["another"]}


def test_document_that_is_deleted_while_it_is_mended_leaves_the_table(tmp_path):
    small = Small(tmp_path, faults={"line_refused": {"contains": "bad"}})
    small.write("a.md", "# A\n\n" + "good " * 40 + "\n\n# B\n\n" + "bad " * 40)
    small.write("b.md", "two")
    small.run(splitting={"max_chars": 200})
    assert len(small.served()["a.md"]) < 3
    with small.worker(splitting={"max_chars": 200}) as context:
        acts.perform(context, "retry", {}, "a test")
    small.remove("a.md")
    small.clock.advance(400)
    small.run(splitting={"max_chars": 200})
    assert set(small.served()) == {"b.md"}


def test_document_that_is_reverted_to_what_is_to_be_mended_gets_what_it_lacked(tmp_path):
    refused = {"line_refused": {"contains": "bad"}}
    small = Small(tmp_path, faults=refused)
    lacking = "# A\n\n" + "good " * 40 + "\n\n# B\n\n" + "bad " * 40
    small.write("a.md", lacking)
    small.run(splitting={"max_chars": 200})
    served = len(small.served()["a.md"])
    small.sim.faults.rules = ()
    small.write("a.md", "another")
    small.clock.advance(400)
    small.dies_at("scan.slice.committed", splitting={"max_chars": 200})
    with small.worker(splitting={"max_chars": 200}) as context:
        acts.perform(context, "retry", {}, "a test")
    small.write("a.md", lacking)
    small.clock.advance(400)
    small.run(splitting={"max_chars": 200})
    assert len(small.served()["a.md"]) > served


def test_table_that_was_torn_during_its_first_publication_is_built_again(small):
    small.write("a.md", "one")
    small.dies_at("publish.table.done")
    small.door.lose_power(torn=True)
    small.later()
    assert small.served() == {"a.md": ["one"]}
    assert small.ledger.billed_more_than_once() == {}


def test_splitting_that_changes_after_the_first_scan_broke_off_is_done_anew(small):
    small.write("a.md", "one " * 100)
    small.dies_at("scan.slice.committed", splitting={"max_chars": 200})
    small.run(splitting={"max_chars": 2000})
    assert len(small.served()["a.md"]) == 1


# --- clocks ---


def test_clock_that_was_set_back_does_not_lengthen_the_grace_period(small):
    small.write("a.md", "one")
    small.write("b.md", "two")
    grace = {"sources": [{"name": "docs", "path": str(small.docs), "delete_grace_s": 60}]}
    small.run(**grace)
    small.remove("a.md")
    small.clock.advance(400)
    small.run(**grace)
    assert set(small.served()) == {"a.md", "b.md"}
    small.clock.step(-YEAR_S)
    for _ in range(2):
        small.clock.advance(400)
        small.run(**grace)
    assert set(small.served()) == {"b.md"}


@pytest.mark.parametrize("step_s", [YEAR_S, HOUR_S, -HOUR_S, -YEAR_S])
def test_setting_the_clock_neither_ends_nor_lengthens_the_quarantine(tmp_path, step_s):
    faults = {"job_hidden": {"seconds": 600.0, "retrieve": True}}
    small = Small(tmp_path, faults=faults)
    small.write("a.md", "one")
    small.dies_at("create.answered")
    small.clock.step(step_s)
    small.run()
    assert small.sim.calls["create_batch"] == 1
    assert small.ledger.billed_more_than_once() == {}
    assert small.served() == {"a.md": ["one"]}
    assert small.clock.mono() < 2 * HOUR_S


@pytest.mark.parametrize("step_s", [YEAR_S, -YEAR_S])
def test_call_that_never_arrived_is_made_again_after_the_quarantine_whatever_the_clock_says(tmp_path, step_s):
    small = Small(tmp_path)
    small.write("a.md", "one")
    small.dies_at("attempt.committed")
    small.clock.step(step_s)
    small.run()
    assert small.sim.calls["create_batch"] == 1
    assert small.served() == {"a.md": ["one"]}
    assert 900 <= small.clock.mono() < 2 * HOUR_S


def test_lane_is_not_closed_for_a_year_by_a_clock_that_was_set_back(tmp_path):
    small = Small(tmp_path, faults={"rate_limited": {"on": "create_batch", "nth": 1}})
    small.write("a.md", "one")
    small.run(turns=8, quiet=False)
    small.clock.step(-YEAR_S)
    small.run()
    assert small.served() == {"a.md": ["one"]}
    assert small.clock.mono() < 3 * HOUR_S


def test_what_fails_in_an_instance_that_was_overtaken_fails_for_that(tmp_path, monkeypatch):
    """The other instance may have renamed the very file that this one was about to."""
    small = Small(tmp_path)

    def gone(_context):
        raise FileNotFoundError("a.jsonl.tmp")

    monkeypatch.setattr("voyage_jobs.steps.pipeline.submit", gone)
    monkeypatch.setattr(Pipeline, "_scan", lambda _pipeline: False)
    monkeypatch.setattr(Pipeline, "_assemble", lambda _pipeline: False)
    monkeypatch.setattr(Pipeline, "beat", lambda _pipeline, _step: None)
    with (
        pytest.raises(EpochLostError, match="taken over") as caught,
        small.worker() as context,
    ):
        Store.open(context.store.path, small.clock).close()
        Pipeline(context, eager=True).turn()
    assert isinstance(caught.value.__cause__, FileNotFoundError)
