"""A provider without jobs: every batch is one request that is answered at once, by the same states and promises."""

from __future__ import annotations

import abacus
import pytest
from small_world import Small, quick
from step_doors import all_batches, embeddings_by_state, prose, query

from voyage_jobs.config.prices import batch_price, sync_price
from voyage_jobs.core import crash
from voyage_jobs.core.states import Batch, Mode
from voyage_jobs.errors import OutcomeUnknownError, RateLimitedError, RefusedError
from voyage_jobs.report.expedite import preview
from voyage_jobs.steps.acts import perform
from voyage_jobs.vendors import registry


class Death(BaseException):
    """The process is gone."""


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(registry.VENDORS, "abacus-now", "abacus:NOW")
    abacus.SERVER.reset()
    with quick():
        yield
    crash.arm(None)


@pytest.fixture
def small(tmp_path):
    return Small(
        tmp_path,
        provider={"type": "abacus-now"},
        voyage={"model": "abacus-1", "input_type": ""},
        prices={},
    )


def paid_twice():
    return [key for key, times in abacus.SERVER.billed.items() if times > 1]


def test_all_texts_go_at_once_and_nothing_is_uploaded(small):
    small.write("a.md", prose("a", 200))
    small.write("b.md", prose("b"))
    small.run()

    assert sorted(small.served()) == ["a.md", "b.md"]
    assert len(abacus.SERVER.billed) == 201
    assert set(abacus.SERVER.calls) == {"embed_now"}
    assert not paid_twice()
    with small.worker() as context:
        found = all_batches(context)
        assert {batch.mode for batch in found} == {Mode.SYNC}
        assert [batch.inputs for batch in found] == [128, 73]
        assert query(context, "SELECT SUM(tokens) FROM spend WHERE kind = 'reserved'") != [(None,)]


def test_it_does_not_wait_for_more_texts(small):
    small.write("a.md", prose("a"))
    begun = small.clock.wall()
    small.run(eager=False)

    assert list(small.served()) == ["a.md"]
    assert small.clock.wall() - begun < 10
    assert small.settings().batching.linger_s == 0
    assert small.settings(batching={"linger_s": 30}).batching.linger_s == 30


def test_a_batch_costs_what_a_call_costs(small):
    settings = small.settings()
    assert batch_price(settings) == sync_price(settings) == 1.0


def test_a_text_that_is_refused_is_found_and_keeps_no_other_back(small):
    small.write("a.md", prose("a", 30))
    small.write("b.md", "# b\n\nAn unbearable text. " + "word " * 60)
    small.run()

    assert list(small.served()) == ["a.md"]
    assert len(small.served()["a.md"]) == 30
    assert not paid_twice()
    with small.worker() as context:
        assert embeddings_by_state(context) == {"held": 30, "failed": 1}


def test_a_refusal_that_is_not_about_texts_is_parked(small):
    small.write("a.md", prose("a", 3))
    abacus.SERVER.loses = [RefusedError("There is no such model.", status=404)]
    with small.worker() as context:
        small.take_turns(context, 30, quiet=False)
        [batch] = all_batches(context)

    assert (batch.state, batch.reason) == (Batch.PARKED, "There is no such model.")
    assert not abacus.SERVER.billed


def test_a_full_server_is_asked_again_when_it_says(small):
    small.write("a.md", prose("a", 3))
    abacus.SERVER.loses = [RateLimitedError("Not now.", status=429, retry_after_s=240.0)]
    begun = small.clock.wall()
    small.run()

    assert len(small.served()["a.md"]) == 3
    assert 240 <= small.clock.wall() - begun < 900
    assert abacus.SERVER.calls.count("embed_now") == 2


def test_who_insists_takes_texts_out_of_a_call_that_was_put_off(small):
    small.write("a.md", prose("a", 2))
    small.write("b.md", prose("b"))
    abacus.SERVER.loses = [RateLimitedError("Not now.", status=429, retry_after_s=240.0)]
    with small.worker() as context:
        small.take_turns(context, 4, quiet=False)
        [batch] = all_batches(context)
        assert (batch.state, batch.inputs) == (Batch.SPOOLED, 3)
        said = preview(small.settings(), small.clock, "a.md", also_in_flight=True)
        assert (said["send"]["texts"], said["paid_twice"]["texts"]) == (2, 0)

        small.clock.advance(300)
        asked = {"order": small.clock.token(), "source": "docs", "path": "a.md", "also_in_flight": True}
        answer = perform(context, "expedite", asked, "anna")
        assert (answer["expedited"]["texts"], answer["state"]) == (2, "published")
    small.later()
    assert sorted(small.served()) == ["a.md", "b.md"]
    assert not paid_twice()


def test_a_lost_answer_is_booked_as_maybe_paid_and_its_texts_go_again(small):
    small.write("a.md", prose("a", 3))
    abacus.SERVER.loses = [OutcomeUnknownError("The answer was lost.")]
    small.run()

    assert len(small.served()["a.md"]) == 3
    with small.worker() as context:
        assert "maybe paid" in all_batches(context)[0].reason
        assert query(context, "SELECT SUM(tokens) FROM spend WHERE kind = 'maybe_paid'")[0][0] > 0


@pytest.mark.parametrize(
    "point",
    [
        "assemble.before_commit",
        "assemble.committed",
        "spool.written",
        "spool.renamed",
        "spool.committed",
        "sync.attempt.committed",
        "sync.answered",
        "sync.spooled",
        "sync.committed",
    ],
)
def test_a_death_anywhere_loses_nothing(small, point):
    small.write("a.md", prose("a", 3))

    def hook(name):
        if name == point:
            crash.arm(None)
            raise Death

    crash.arm(hook)
    with pytest.raises(Death):
        small.run()
    small.run()

    assert len(small.served()["a.md"]) == 3
    again = 2 if point in ("sync.answered", "spool.written", "spool.renamed") else 1
    assert max(abacus.SERVER.billed.values()) <= again
