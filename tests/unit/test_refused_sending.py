"""What Voyage refuses to take: one batch alone, one after another, and files that are too large."""

from __future__ import annotations

import itertools

import pytest
from sick_vendor import ONE_EACH, SickWorld, batch_of, refusal, turns_until
from small_world import quick
from step_doors import (
    all_batches,
    attempts,
    embeddings_by_state,
    money,
    newest,
    query,
    tripped,
    turns,
    until,
)

from voyage_jobs.core.clock import US
from voyage_jobs.core.states import Batch
from voyage_jobs.diagnosis.snapshot import Text, moment
from voyage_jobs.errors import TooLargeError
from voyage_jobs.report import status
from voyage_jobs.report.waits import to_be_sent
from voyage_jobs.service.signals import Signals
from voyage_jobs.service.sync import Ending, Sync
from voyage_jobs.state.door import open_state
from voyage_jobs.steps.acts import perform

WORDS = "Argument 'model' is not one that you may use."
HOUR_S = 3600.0


@pytest.fixture(autouse=True)
def _quick():
    with quick():
        yield


@pytest.fixture(params=["/batches", "/files"])
def refusing(request, tmp_path):
    """A world of six texts, one in a batch, whose jobs, or uploads, are all refused; and the sick call."""
    world = SickWorld(tmp_path, 6)
    return world, world.sick("POST", request.param, lambda: refusal(422, WORDS))


def sync(world):
    with Signals() as signals, world.worker(batching=ONE_EACH) as context:
        return Sync(context, signals).run()


def states(context):
    return [batch.state for batch in all_batches(context)]


def test_three_batches_that_are_refused_stop_sending_and_one_is_tried_every_hour(refusing):
    world, sick = refusing
    with world.worker(batching=ONE_EACH) as context:
        turns(world, context, 30, idle_s=10)
        assert states(context)[:2] == [Batch.PARKED, Batch.PARKED]
        assert len(all_batches(context)) == 3
        for parked in all_batches(context)[:2]:
            assert WORDS in parked.reason
            assert "voyage-jobs retry" in parked.hint
        circuit = tripped(context)["create"]
        assert circuit.code == "send_refused"
        assert WORDS in circuit.message
        assert "voyage-jobs retry" in circuit.hint
        assert sick.calls == 3

        turns(world, context, 100, idle_s=300)  # five hours and more
        gaps = [later - earlier for earlier, later in itertools.pairwise(sick.at[2:])]
        assert len(gaps) >= 5
        assert min(gaps) >= 0.8 * HOUR_S
        assert len(all_batches(context)) == 3
        assert embeddings_by_state(context) == {"packed": 3, "wanted": 3}

        sick.is_well = True  # the account may use the model now: nobody needs to do anything
        turns_until(world, context, lambda: len(world.names()) == 4, idle_s=300)
        assert not tripped(context)
        assert states(context)[:2] == [Batch.PARKED, Batch.PARKED]
        assert perform(context, "retry", {}, "me")["batches"] == 2
        turns_until(world, context, lambda: len(world.names()) == 6, idle_s=60)
        assert money(context).reserved_tokens == 0
    assert not world.ledger.billed_more_than_once()


def test_the_one_batch_that_is_tried_stays_the_only_one_for_days(refusing):
    """Its own wait may have grown beyond that of the circuit."""
    world, sick = refusing
    with world.worker(batching=ONE_EACH) as context:
        turns(world, context, 30, idle_s=10)
        turns(world, context, 200, idle_s=600)
        assert len(all_batches(context)) == 3
        gaps = [later - earlier for earlier, later in itertools.pairwise(sick.at[2:])]
        assert min(gaps) >= 0.8 * HOUR_S


def test_jobs_that_run_are_collected_while_what_is_new_is_refused(tmp_path):
    world = SickWorld(tmp_path, 2, batch_seconds=1000)
    with world.worker(batching=ONE_EACH) as context:
        turns_until(world, context, lambda: states(context) == [Batch.RUNNING] * 2)
        world.fill(6, first=2)
        world.sick("POST", "/batches", lambda: refusal(422, WORDS))
        turns_until(world, context, lambda: "create" in tripped(context), idle_s=30)
        turns_until(world, context, lambda: world.names() == {"0.md", "1.md"}, idle_s=30)
        assert tripped(context)["create"].code == "send_refused"
        assert len(all_batches(context)) == 5


def test_one_batch_that_is_refused_among_others_is_parked_alone(tmp_path):
    world = SickWorld(tmp_path, 5)
    world.sick("POST", "/files", lambda: refusal(400, WORDS), b"number 2,")
    with world.worker(batching=ONE_EACH) as context:
        turns_until(world, context, lambda: len(world.names()) == 4, idle_s=30)
        assert sorted(states(context)).count(Batch.PARKED) == 1
        assert not tripped(context)


def test_sync_ends_and_says_so_and_status_and_why_name_it(refusing):
    world, sick = refusing
    outcome = sync(world)
    assert outcome.ending is Ending.OPERATOR
    told = {problem.code: problem for problem in outcome.problems}
    assert WORDS in told["send_refused"].message
    assert "voyage-jobs retry" in told["send_refused"].next
    assert sum(problem.code == "parked" for problem in outcome.problems) == 2
    assert world.clock.mono() < HOUR_S  # it does not wait for what only an operator can end

    report = status.status(world.settings(), world.clock)
    (problem,) = [each for each in report["problems"] if each["code"] == "send_refused"]
    assert (problem["severity"], WORDS in problem["message"]) == ("problem", True)
    assert not report["healthy"]
    with open_state(world.settings()).read() as connection:
        here = moment(connection, world.settings(), int(world.clock.wall() * US))
    wait = to_be_sent(here, Text(1, 1))
    assert wait.code == "send_refused"
    assert WORDS in wait.text

    sick.is_well = True
    with world.worker(batching=ONE_EACH) as context:
        perform(context, "retry", {}, "me")
    assert sync(world).ending is Ending.DONE
    assert len(world.names()) == 6


def test_a_probe_that_is_cancelled_is_followed_by_another(refusing):
    """Else nothing would ever be sent again, and nothing would say what to do."""
    world, sick = refusing
    with world.worker(batching=ONE_EACH) as context:
        turns(world, context, 30, idle_s=10)
        assert perform(context, "cancel", {"ref": newest(context).ref}, "me")["state"] == "cancelled"
        calls, until_at = sick.calls, tripped(context)["create"].until_at
        turns_until(world, context, lambda: sick.calls > calls, idle_s=60)
        assert world.clock.wall() * US >= until_at
        assert len(all_batches(context)) == 4
        sick.is_well = True
        turns_until(world, context, lambda: len(world.names()) == 3, idle_s=300)
        assert not tripped(context)


# --- too large ---


class Limit:
    """Uploads beyond `most` bytes are refused with 413; `refused` and `taken` are the sizes."""

    def __init__(self, context, most):
        self.most, self.refused, self.taken = most, [], []
        self._upload = context.client.upload
        context.client.upload = self.upload

    def upload(self, path, name):
        size = path.stat().st_size
        if size > self.most:
            self.refused.append(size)
            raise TooLargeError("Voyage refuses the file as too large (413).", status=413)
        self.taken.append(size)
        return self._upload(path, name)


def test_a_file_that_is_too_large_is_cut_in_halves_until_it_passes_and_the_size_is_remembered(tmp_path):
    world = SickWorld(tmp_path, 16)
    with world.worker() as context:
        limit = Limit(context, 2_000)  # four or five lines
        turns_until(world, context, lambda: len(world.names()) == 16, idle_s=30)
        assert len(limit.refused) == 2
        assert limit.refused[1] <= limit.refused[0] / 2
        assert max(limit.taken) <= limit.refused[1] / 2 <= 2_000
        assert not query(context, "SELECT id FROM batches WHERE state = 'parked'")
        assert money(context).reserved_tokens == 0

        world.fill(32, first=16)
        turns_until(world, context, lambda: len(world.names()) == 32, idle_s=60)
        assert len(limit.refused) == 2
    with world.worker() as context:  # and by the next process
        limit = Limit(context, 2_000)
        world.fill(48, first=32)
        turns_until(world, context, lambda: len(world.names()) == 48, idle_s=60)
        assert limit.refused == []
    assert world.log.named("upload.too_large")
    assert not world.ledger.billed_more_than_once()


def test_another_setting_of_the_largest_file_is_tried_again(tmp_path):
    world = SickWorld(tmp_path, 16)
    with world.worker() as context:
        Limit(context, 2_000)
        turns_until(world, context, lambda: len(world.names()) == 16, idle_s=30)
    world.fill(32, first=16)
    with world.worker(batching={"max_bytes": 1_000_000}) as context:
        limit = Limit(context, 1_000_000)
        turns_until(world, context, lambda: len(world.names()) == 32, idle_s=60)
        assert len(limit.taken) == 1


def test_a_single_text_that_is_too_large_fails_with_words_and_the_others_go(tmp_path):
    world = SickWorld(tmp_path, 3, splitting={"max_chars": 8_000})
    with world.worker() as context:
        limit = Limit(context, 2_000)
        turns_until(world, context, lambda: len(world.names()) == 3, idle_s=30)
        world.write("large.md", "# Large\n\nAbout much. " + "word " * 700)
        world.fill(9, first=3)
        turns_until(world, context, lambda: len(world.names() - {"large.md"}) == 9, idle_s=60)
        turns(world, context, 10, idle_s=60)
        assert embeddings_by_state(context) == {"held": 9, "failed": 1}
        ((detail,),) = query(context, "SELECT detail FROM lines WHERE detail IS NOT NULL")
        assert detail.startswith("too_large: ")
        assert "413" in detail
        assert not query(context, "SELECT id FROM batches WHERE state = 'parked'")
        assert money(context).reserved_tokens == 0
        tries = len(limit.refused)
        perform(context, "retry", {}, "me")
        turns(world, context, 10, idle_s=60)
        assert len(limit.refused) == tries + 1
        assert embeddings_by_state(context) == {"held": 9, "failed": 1}
    assert not world.ledger.billed_more_than_once()


def test_one_large_text_does_not_raise_the_size_that_is_remembered(tmp_path):
    world = SickWorld(tmp_path, 16, splitting={"max_chars": 8_000})
    with world.worker() as context:
        limit = Limit(context, 2_000)
        turns_until(world, context, lambda: len(world.names()) == 16, idle_s=30)
        world.write("large.md", "# Large\n\nAbout much. " + "word " * 1_400)
        turns_until(world, context, lambda: "failed" in embeddings_by_state(context), idle_s=60)
        tries = len(limit.refused)
        assert limit.refused[-1] > 2 * 2_000
        world.fill(48, first=16)
        turns_until(world, context, lambda: len(world.names()) == 48, idle_s=60)
        assert len(limit.refused) == tries


@pytest.mark.parametrize("status", [400, 422])
def test_a_create_call_that_is_refused_is_on_record_as_refused(tmp_path, status):
    world = SickWorld(tmp_path, 1)
    sick = world.sick("POST", "/batches", lambda: refusal(status, WORDS))
    with world.worker() as context:
        batch = until(world, context, Batch.PARKED)
        assert attempts(context, batch) == ["refused"]
        turns(world, context, 20, idle_s=600)
        assert sick.calls == 1
        assert batch_of(context, batch.ref).state is Batch.PARKED


def test_a_404_leads_to_the_address(tmp_path):
    world = SickWorld(tmp_path, 1)
    world.sick("POST", "/files", lambda: refusal(404, "Not Found"))
    with world.worker() as context:
        turns_until(world, context, lambda: states(context) == [Batch.PARKED], idle_s=60)
        assert newest(context).hint.startswith("Is voyage.base_url right?")
