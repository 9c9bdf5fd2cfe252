"""What Azure OpenAI does otherwise than OpenAI, as Microsoft's pages have it (docs/providers.md says which)."""

from __future__ import annotations

import json

import httpx
import pytest
from client_doubles import FixedKey
from small_world import Small, quick
from step_doors import attempts, newest, prose, put_off, query, scan, until

from voyage_jobs.core.clock import VirtualClock
from voyage_jobs.core.profile import EMBEDDINGS, Profile
from voyage_jobs.core.states import Attempt, Batch
from voyage_jobs.errors import InputFileMissingError, NoRoomError, RateLimitedError, RefusedError
from voyage_jobs.state import batches, circuits
from voyage_jobs.steps.assemble import assemble
from voyage_jobs.steps.submit import submit
from voyage_jobs.vendors.openai.client import OpenAIClient
from voyage_jobs.vendors.openai.failed import judge
from voyage_jobs.vendors.remote import Blame, JobError, JobSpec, Phase, RemoteBatch
from voyage_jobs.vendors.rest import wire
from voyage_jobs.vendors.rest.verdict import CREATE
from voyage_jobs.vendors.rest.verdict import judge as judge_answer
from voyage_jobs.vendors.voyage.client import VOYAGE_API

DAY_S = 86_400.0
FULL = "The number of enqueued tokens has surpassed the configured limit of 30K for the deployment 'mine'."


@pytest.fixture
def root(tmp_path):
    with quick():
        yield tmp_path


def world(root, documents=3, sections=3, **options) -> Small:
    small = Small(root, vendor="openai", batch_seconds=20.0, options=options)
    for number in range(documents):
        small.write(f"{number:02}.md", prose(f"text {number}", sections))
    return small


# --- a full queue that refuses the call ---


def test_a_full_queue_that_refuses_the_call_is_learnt_and_blames_nobody(root):
    small = world(root, 20, 8, max_in_flight_tokens=1_000, full_queue_refuses=True)
    small.run()

    assert len(small.served()) == 20
    assert (small.ledger.units(), small.ledger.billed_more_than_once()) == (160, {})
    assert 0 < small.sim.state()["most_tokens_in_flight"] <= 1_000
    with small.worker() as context:
        assert query(
            context, "SELECT COUNT(*) FROM transitions WHERE kind = 'batch' AND target = 'refused'"
        ) == [(1,)]
        assert query(context, "SELECT MAX(refusals) FROM embeddings") == [(0,)], "no line is suspected"
        assert query(context, "SELECT COUNT(*) FROM transitions WHERE target = 'parked'") == [(0,)]
    assert not small.sim.state()["files"]


def test_where_the_refused_job_should_fit_new_ones_wait(root):
    small = world(root, 3, 3, max_in_flight_tokens=10_000, full_queue_refuses=True)
    small.sim.jobs._full = lambda *_: FULL.replace("30K", "10K")  # others have filled it
    with small.worker() as context:
        while not small.log.named("batch.turned_away"):
            submit(context) or assemble(context, eager=True) or scan(context)
        refused = newest(context)
        assert (refused.state, refused.code) == (Batch.REFUSED, batches.NO_ROOM)
        assert attempts(context, refused) == [Attempt.REFUSED]
        with context.store.read() as connection:
            assert circuits.tripped(connection)[circuits.CREATE].code == "in_flight_limit"
        del small.sim.jobs._full
    small.run()
    assert len(small.served()) == 3
    assert small.ledger.billed_more_than_once() == {}


def answer(message, code=None, status=400, api=OpenAIClient.api, operation=CREATE):
    body = json.dumps({"error": {"message": message, "type": "invalid_request_error", "code": code}}).encode()
    return type(judge_answer(status, {}, body, api=api, host="mine.openai.azure.com", operation=operation))


def test_no_room_is_told_by_its_code_or_by_its_place_in_the_words():
    assert answer(FULL, "token_limit_exceeded") is NoRoomError
    assert answer(FULL, "token_limit_exceeded", status=429) is NoRoomError
    assert answer(f"token_limit_exceeded: {FULL}") is NoRoomError
    assert answer("Too many requests.", "429", status=429) is RateLimitedError
    assert answer(FULL, "token_limit_exceeded", api=VOYAGE_API) is RefusedError


def test_only_a_create_call_is_told_of_the_queue():
    full = {"error": {"message": FULL, "code": "token_limit_exceeded"}}
    transport = httpx.MockTransport(lambda _: httpx.Response(429, headers={"Retry-After": "7"}, json=full))
    with OpenAIClient(
        "https://mine.openai.azure.com/openai/v1", FixedKey("k"), clock=VirtualClock(), transport=transport
    ) as client:
        with pytest.raises(RateLimitedError) as told:
            client.embed(["a question"], Profile(EMBEDDINGS, "mine", 8, "float", None))
        with pytest.raises(NoRoomError):
            client.create_batch(JobSpec(EMBEDDINGS, "file-1", {}, {}, "token"))
    assert told.value.retry_after_s == 7.0, "expedite keeps this wait"
    assert answer(FULL, "token_limit_exceeded", operation="embed texts") is RefusedError


# --- a file that is still read ---


def test_a_job_waits_until_the_provider_has_read_its_file(root):
    small = world(root, file_pending_s=400.0)
    small.run()

    assert len(small.served()) == 3
    assert small.sim.calls["upload_file"] == 1
    assert small.ledger.billed_more_than_once() == {}
    with small.worker() as context:
        assert query(context, "SELECT COUNT(*) FROM transitions WHERE target = 'parked'") == [(0,)]
        states = set(attempts(context, newest(context)))
    assert states == {Attempt.REFUSED, Attempt.CREATED}
    assert [each["failures"] for each in put_off(small, "file_pending")][:3] == [1, 2, 3], "and ever longer"


def test_a_file_that_stays_pending_parks_its_batch_after_a_day(root):
    small = world(root, documents=1, file_pending_s=1e9)
    with small.worker() as context:
        parked = until(small, context, Batch.PARKED, idle_s=900.0)
        tried = attempts(context, parked)
    waited_s = sum(each["wait_s"] for each in put_off(small, "file_pending"))

    assert tried == [Attempt.REFUSED] * 100
    assert 0.9 * DAY_S < waited_s < 1.1 * DAY_S
    assert parked.reason.startswith("the provider has not read its input file in 100 tries: OpenAI (")
    assert "look there at the state of the file" in parked.hint


def test_where_the_file_cannot_be_asked_for_the_refusal_is_what_was_told(root):
    lost = {"create_refused": {"status": 400}, "request_lost": {"on": "retrieve_file"}}
    small = Small(root, vendor="openai", faults=lost)
    small.write("a.md", prose("a"))
    with small.worker() as context:
        parked = until(small, context, Batch.PARKED)
        told = [cause for (cause,) in query(context, "SELECT cause FROM transitions WHERE kind = 'batch'")]
    assert parked.code == batches.SEND_REFUSED
    assert not [cause for cause in told if "reads its input file" in cause]


@pytest.mark.parametrize(("vendor", "asked"), [("voyage", 0), ("openai", 1)])
def test_only_where_files_are_read_first_a_refusal_asks_for_the_file(root, vendor, asked):
    small = Small(root, vendor=vendor, faults={"create_refused": {"status": 400}})
    small.write("a.md", prose("a"))
    with small.worker() as context:
        until(small, context, Batch.PARKED)
    assert small.sim.calls.get("retrieve_file", 0) == asked


def test_a_file_that_was_read_is_no_excuse_for_a_refusal(root):
    small = Small(root, vendor="openai", faults={"create_refused": {"status": 400}})
    small.write("a.md", prose("a"))
    with small.worker() as context:
        assert until(small, context, Batch.PARKED).code == batches.SEND_REFUSED


def test_a_file_that_is_not_found_is_another_matter():
    assert answer("No such File object: file-1", status=404) is InputFileMissingError


# --- answers ---

MADE = {
    "cancelled_at": None,
    "completion_window": "24h",
    "created_at": "2024-07-19T17:13:57.2491382+00:00",
    "error_file_id": "",
    "errors": None,
    "expires_at": "2024-07-20T17:13:57.1918498+00:00",
    "id": "batch_fe3f047a-de39-4068-9008-346795bfc1db",
    "input_file_id": "file-21006e70789246658b86a1fc205899a4",
    "metadata": None,
    "object": "batch",
    "output_file_id": "",
    "request_counts": {"total": None, "completed": None, "failed": None},
    "status": "Validating",
}


@pytest.mark.parametrize("key", ["data", "value"])
def test_a_job_is_read_as_it_is_shown(key):
    [job] = wire.read_page({key: [MADE], "has_more": False}, wire.read_listed_batch).items

    assert (job.phase, job.output_file_id, job.error_file_id, job.completed) == (Phase.OPEN, None, None, None)
    assert job.created_at_us == 1_721_409_237_249_138
    assert job.metadata == {}


def test_an_empty_file_of_errors_is_no_trouble(root):
    small = world(root, empty_error_file=True)
    small.run()

    assert len(small.served()) == 3
    assert not small.sim.state()["files"], "what was collected is deleted there"


@pytest.mark.parametrize(
    ("code", "blame"),
    [
        ("model_mismatch", Blame.JOB),
        ("url_mismatch", Blame.JOB),
        ("model_not_found", Blame.MODEL),
        (
            "invalid_request",
            Blame.LINES,
        ),  # of a line, or of the deployment: eight alike in a row are no line's
        ("token_limit_exceeded", Blame.NOBODY),
    ],
)
def test_the_codes_of_failed_jobs(code, blame):
    failed = RemoteBatch("b", "failed", Phase.FAILED, errors=[JobError(code, None, FULL)])

    assert judge(failed).blame is blame
