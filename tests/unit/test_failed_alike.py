"""Jobs of which no line comes through: it is no text's fault, and uses up no attempts at once."""

from __future__ import annotations

import pytest
from small_world import Small, quick
from step_doors import all_batches, embeddings_by_state, prose, query, tripped

from voyage_jobs.core.states import Batch
from voyage_jobs.service.signals import Signals
from voyage_jobs.service.sync import Ending, Sync
from voyage_jobs.steps.acts import perform
from voyage_jobs.steps.pipeline import Pipeline

HOUR_S = 3600.0
NO_ACCESS = "Project `proj_1` does not have access to model `text-embedding-3-small`"


@pytest.fixture(autouse=True)
def _quick():
    with quick():
        yield


def edited(root, faults, documents=12, **sections):
    """A world whose table shows documents that were edited since; what is sent from now on meets the faults."""
    world = Small(root, vendor="openai", batch_seconds=20.0, faults=faults, **sections)
    for edition in ("old", "new"):
        for number in range(documents):
            world.write(f"{number}.md", prose(f"{edition} {number}"))
        if edition == "old":
            world.run()
    return world


def lives(world, context, seconds):
    pipeline, until = Pipeline(context, eager=True), world.clock.mono() + seconds
    while world.clock.mono() < until:
        if not pipeline.turn():
            world.wait(pipeline)


def sections_shown(world):
    return {text.split()[1] for texts in world.served().values() for text in texts}


def test_an_outage_of_jobs_uses_up_no_attempts(tmp_path):
    world = edited(tmp_path, {"job_all_failed": {"from_s": 100, "until_s": 100 + 2 * HOUR_S}})
    world.clock.advance(100)
    with world.worker(mode="run") as context:
        lives(world, context, 1.5 * HOUR_S)
        assert "failed" not in embeddings_by_state(context)
        assert 4 <= len(all_batches(context)) < 12
        assert tripped(context)["create"].code == "unavailable"
        assert len(world.served()) == 12
        lives(world, context, 2 * HOUR_S)
        assert embeddings_by_state(context)["held"] == 24
        assert "create" not in tripped(context)
    assert sections_shown(world) == {"new"}
    assert not world.ledger.billed_more_than_once()


@pytest.mark.parametrize("documents", [1, 2])
def test_texts_that_always_fail_come_to_an_end(tmp_path, documents):
    world = edited(tmp_path, {"line_server_error": {"contains": "new"}}, documents)
    world.run(10_000)
    with world.worker() as context:
        assert embeddings_by_state(context)["failed"] == documents
        jobs = len(all_batches(context)) - 1
        assert jobs == 5 if documents == 1 else 5 < jobs < 20


def test_lines_that_speak_of_the_account_fail_no_text(tmp_path):
    fault = {"status": 403, "message": NO_ACCESS, "from_s": 100, "until_s": 100 + 12 * HOUR_S}
    world = edited(tmp_path, {"job_all_failed": fault})
    world.clock.advance(100)
    with Signals() as signals, world.worker() as context:
        outcome = Sync(context, signals).run()
    assert outcome.ending is Ending.OPERATOR
    [told] = [each for each in outcome.problems if each.code == "model_refused"]
    assert NO_ACCESS in told.message
    with world.worker(mode="run") as context:
        lives(world, context, 10 * HOUR_S)
        assert query(context, "SELECT MAX(attempts) FROM embeddings") == [(0,)]
        assert len(all_batches(context)) < 15
        assert len(world.served()) == 12
        lives(world, context, 4 * HOUR_S)
        assert "create" not in tripped(context)
    assert sections_shown(world) == {"new"}


def test_many_lines_that_are_refused_in_the_same_words_wait_for_an_operator(tmp_path):
    fault = {"status": 400, "message": "This model does not support that.", "from_s": 100, "times": 1}
    world = edited(tmp_path, {"job_all_failed": fault})
    world.clock.advance(100)
    with world.worker() as context:
        lives(world, context, 300)
        parked = all_batches(context)[-1]
        assert (parked.state, "failed" in embeddings_by_state(context)) == (Batch.PARKED, False)
        assert "12 texts are refused in the same words: " in parked.reason
        assert "does not support" in parked.reason
        assert "voyage-jobs retry" in parked.hint
        assert len(world.served()) == 12
        assert perform(context, "retry", {}, "me")["batches"] == 1
        world.take_turns(context)
    assert sections_shown(world) == {"new"}
