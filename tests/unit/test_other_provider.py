"""A provider that is unlike Voyage, from folder to table: the steps know no more of one than the port says."""

from __future__ import annotations

import abacus
import pytest
from sim.speed import empty_state
from small_world import Small, quick
from step_doors import newest, prose, until

from voyage_jobs.config.prices import batch_price
from voyage_jobs.core.clock import US
from voyage_jobs.core.states import Batch
from voyage_jobs.errors import ConfigError, OutcomeUnknownError
from voyage_jobs.state import backlog, circuits
from voyage_jobs.steps import poll
from voyage_jobs.steps.acts import perform
from voyage_jobs.vendors import registry


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """The one line that a provider needs."""
    monkeypatch.setitem(registry.VENDORS, "abacus", "abacus:ABACUS")
    abacus.SERVER.reset()
    with quick():
        yield abacus.SERVER


@pytest.fixture
def small(tmp_path):
    return Small(
        tmp_path,
        provider={"type": "abacus"},
        voyage={"model": "abacus-1", "input_type": ""},
        prices={},
    )


def paid_twice():
    return [key for key, times in abacus.SERVER.billed.items() if times > 1]


def test_documents_go_their_whole_way(small):
    small.write("a.md", prose("a", 2))
    small.write("b.md", prose("b"))
    small.run()

    assert sorted(small.served()) == ["a.md", "b.md"]
    [row, *_] = small.documents()["docs", "a.md"]
    assert row["vector"] == pytest.approx(abacus.vector_of(row["text"], 8), abs=1e-6)
    assert len(abacus.SERVER.billed) == 3
    assert not small.sim.calls

    small.write("b.md", prose("b") + "\n\n# more\n\n" + "more " * 60)
    small.later()
    assert len(small.served()["b.md"]) == 2
    assert not paid_twice()


def test_every_line_names_the_model_itself(small):
    small.write("a.md", prose("a"))
    with small.worker() as context:
        batch = until(small, context, Batch.RUNNING)
        [(name, content)] = abacus.SERVER.files.values()

    assert name == f"voyage-jobs-{batch.ref}.jsonl"
    assert b'"model":"abacus-1","numbers":8' in content
    assert batch.deadline_at is None, "the provider promises no end"
    assert batch.usd_per_million == batch_price(small.settings()) == 0.5


def test_a_lost_create_call_is_repeated_without_a_quarantine(small):
    small.write("a.md", prose("a"))
    abacus.SERVER.loses = [OutcomeUnknownError("The answer was lost.")]
    begun = small.clock.wall()
    with small.worker() as context:
        until(small, context, Batch.RUNNING)
        assert small.clock.wall() - begun < context.settings.voyage.quarantine_s
    small.run()

    assert len(abacus.SERVER.jobs) == 1
    assert list(small.served()) == ["a.md"]
    assert not paid_twice()


def test_a_job_for_which_there_was_no_room_goes_again_whole(small):
    small.write("a.md", prose("a", 3))
    abacus.SERVER.rejects = ["full"]
    with small.worker() as context:
        until(small, context, Batch.RUNNING)
        small.clock.advance(60)
        poll.poll(context)
        assert newest(context).state is Batch.REFUSED
        with context.store.read() as connection:
            closed = circuits.tripped(connection)[circuits.CREATE]
            waiting = backlog.measure(connection, context.profile_id)
        assert closed.until_at - small.clock.wall() * US >= (abacus.FULL_S - 1) * US
        assert (waiting.embeddings, set(waiting.refusals)) == (3, {0}), "no line of it is suspected"
    small.run()

    assert len(abacus.SERVER.jobs) == 2
    assert len(small.served()["a.md"]) == 3
    assert not paid_twice()


def test_a_job_that_is_refused_for_its_parameters_waits_for_a_person(small):
    small.write("a.md", prose("a", 3))
    abacus.SERVER.rejects = ["params"]
    with small.worker() as context:
        batch = until(small, context, Batch.PARKED)

    assert (batch.reason, batch.tokens_settled) == ("not now", 0)
    assert len(abacus.SERVER.jobs) == 1


def test_a_line_that_is_refused_keeps_no_other_back(small):
    small.write("a.md", prose("a"))
    small.write("b.md", "# b\n\nA forbidden text. " + "word " * 60)
    small.run()

    assert list(small.served()) == ["a.md"]


def test_a_job_that_never_ends_is_parked_though_nobody_promised_an_end(small, monkeypatch):
    monkeypatch.setattr(abacus, "JOB_S", 1e9)
    small.write("a.md", prose("a"))
    with small.worker() as context:
        until(small, context, Batch.RUNNING)
        small.clock.advance(poll.NO_WINDOW_S + poll.OVERDUE_S - 3600)
        poll.poll(context)
        assert newest(context).state is Batch.RUNNING
        small.clock.advance(2 * 3600)
        poll.poll(context)
        assert newest(context).state is Batch.PARKED


def test_jobs_of_a_lost_state_are_found_by_the_names_of_their_files(small):
    small.write("a.md", prose("a", 2))
    with small.worker() as context:
        ref = until(small, context, Batch.RUNNING).ref
    for path in small.data_dir.glob("state.db*"):
        path.unlink()
    (small.data_dir / "state.db").write_bytes(empty_state())

    with small.worker() as context:
        answer = perform(context, "recover", {}, "me")
    small.run()

    assert answer["jobs"] == [ref]
    assert len(small.served()["a.md"]) == 2
    assert not paid_twice()


def test_a_person_can_stop_a_job(small):
    small.write("a.md", prose("a"))
    with small.worker() as context:
        batch = until(small, context, Batch.RUNNING)
        perform(context, "cancel", {"ref": batch.ref}, "me")
    small.run()

    assert abacus.SERVER.calls.count("cancel_batch") == 1
    assert not small.served()


def test_what_settings_ask_for_is_judged_by_the_provider(small):
    from voyage_jobs.config.checks import problems

    settings = small.settings(
        batching={"max_inputs": 2_000}, voyage={"endpoint": "/v1/contextualizedembeddings"}
    )
    said = [f"{'.'.join(map(str, each.loc))} {each.text}" for each in problems(settings)]

    assert said == [
        "voyage.endpoint Abacus has no windows.",
        "batching.max_inputs must be at most 1000.",
    ]


def test_a_provider_that_is_not_there_is_refused(small):
    with pytest.raises(ConfigError, match=r"There is no provider 'nobody'; there is voyage, .*abacus"):
        registry.by_type("nobody")
    with pytest.raises(ValueError, match=r"must be abacus or .*voyage"):
        small.settings(provider={"type": "nobody"})
