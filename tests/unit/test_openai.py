"""`type = "openai"`: OpenAI's batches, with a queue that holds so many tokens and no more."""

from __future__ import annotations

import json

import pytest
from client_doubles import FixedKey
from small_world import Small, quick
from step_doors import all_batches, newest, prose, query, settle, until
from world import World

from voyage_jobs.config import parse_settings
from voyage_jobs.config.prices import batch_price, sync_price
from voyage_jobs.config.provider import connect
from voyage_jobs.core.bounds import MOST
from voyage_jobs.core.clock import US, VirtualClock
from voyage_jobs.core.observe import NOBODY
from voyage_jobs.core.profile import CONTEXTUALIZED, EMBEDDINGS, Profile
from voyage_jobs.core.redact import redact
from voyage_jobs.core.states import Batch
from voyage_jobs.diagnosis.causes import blockers
from voyage_jobs.diagnosis.snapshot import gather
from voyage_jobs.errors import ConfigError, InputFileMissingError, ModelRefusedError, QuotaError, VendorError
from voyage_jobs.retrieval.result import Query
from voyage_jobs.retrieval.retriever import Retriever
from voyage_jobs.state import batches, circuits, token_limit
from voyage_jobs.steps import poll
from voyage_jobs.vendors.base import Access
from voyage_jobs.vendors.openai.client import OpenAIClient
from voyage_jobs.vendors.openai.failed import judge
from voyage_jobs.vendors.registry import by_type
from voyage_jobs.vendors.remote import Blame, JobError, JobSpec, Phase, RemoteBatch
from voyage_jobs.vendors.rest.verdict import judge as judge_answer
from voyage_jobs.vendors.result_block import Expectation

OPENAI = by_type("openai")
PROFILE = Profile(EMBEDDINGS, "text-embedding-3-small", 8, "float", None, "openai")
AZURE_FULL = (
    "The number of enqueued tokens has surpassed the configured limit of 30K for the deployment 'my-batch'. Please"
    " either increase the limit or try again once the current jobs have finished."
)
FULL = "Enqueued token limit reached for m in organization org-1. Limit: 3,000,000 enqueued tokens. Please try again."


@pytest.fixture
def root(tmp_path):
    with quick():
        yield tmp_path


def world(root, *, limit=3_000_000, **options) -> Small:
    given = {"options": {"max_in_flight_tokens": limit}, "batch_seconds": 20.0, **options}
    return Small(root, vendor="openai", **given)


def corpus(small, documents=20, sections=3):
    for number in range(documents):
        small.write(f"{number:02}.md", prose(f"text {number}", sections))


def most_in_flight(small) -> int:
    return small.sim.state()["most_tokens_in_flight"]


def refused_jobs(small) -> int:
    return sum(job["status"] == "failed" for job in small.sim.state()["batches"])


# --- the whole way ---


def test_documents_go_their_whole_way(root):
    small = world(root)
    corpus(small, 3)
    small.run()

    assert len(small.served()) == 3
    assert small.ledger.units() == 9
    assert small.ledger.billed_more_than_once() == {}
    with small.worker() as context:
        [batch] = all_batches(context)
        [(usd,)] = query(context, "SELECT SUM(usd) FROM spend WHERE kind = 'settled'")
        assert usd == pytest.approx(small.ledger.batch_tokens * 0.01 / 1e6)
    assert json.loads(batch.request_params) == {
        "model": "text-embedding-3-small",
        "dimensions": 8,
        "encoding_format": "base64",
    }
    assert (batch.deadline_at - batch.remote_created_at) / US == 24 * 3600
    assert not small.sim.state()["files"], "what was collected is deleted there"


def test_a_question_is_asked_by_the_same_provider(tmp_path):
    real = World(tmp_path, vendor="openai")
    real.write("whales.md", "# Whales\n\n" + "the whale swims in the ocean " * 5)
    real.write("bread.md", "# Bread\n\n" + "bread is baked in the oven " * 5)
    real.run()
    found = Retriever(real.settings(), real.clock, transport=real.transport).search(Query("ocean whale"))

    assert found.hits[0].path == "whales.md"


def test_a_line_says_everything_and_the_job_nothing():
    params = OPENAI.params(PROFILE, "base64")

    assert json.loads(OPENAI.line("k", ["a"], PROFILE, params)) == {
        "custom_id": "k",
        "method": "POST",
        "url": "/v1/embeddings",
        "body": {
            "input": ["a"],
            "model": "text-embedding-3-small",
            "dimensions": 8,
            "encoding_format": "base64",
        },
    }
    with pytest.raises(ValueError, match="2 texts"):
        OPENAI.line("k", ["a", "b"], PROFILE, params)


@pytest.mark.parametrize(
    ("model", "dimension", "named"),
    [
        ("text-embedding-3-small", 1536, None),
        ("text-embedding-3-large", 1536, 1536),
        ("text-embedding-ada-002", 1536, None),
        ("my-deployment", 1536, 1536),
    ],
)
def test_a_model_s_own_dimension_is_not_named(model, dimension, named):
    profile = Profile(EMBEDDINGS, model, dimension, "float", None, "openai")

    assert OPENAI.params(profile, "").get("dimensions") == named


# --- the queue ---


def test_a_limit_that_is_configured_is_never_met(root):
    """The bar at a small scale: ten queues full of texts, none refused, none paid twice."""
    small = world(root, limit=1_000, batching={"max_in_flight_tokens": 1_000, "max_inputs": 8})
    corpus(small, 20, 8)
    small.run()

    tokens = small.ledger.batch_tokens
    assert tokens > 5_000
    assert len(small.served()) == 20
    assert (small.ledger.units(), small.ledger.billed_more_than_once()) == (160, {})
    assert 0 < most_in_flight(small) <= 1_000
    assert refused_jobs(small) == 0


def test_a_limit_that_nobody_configured_is_learnt_by_one_job(root):
    small = world(root, limit=1_000)
    corpus(small, 20, 8)
    small.run()

    assert len(small.served()) == 20
    assert (small.ledger.units(), small.ledger.billed_more_than_once()) == (160, {})
    assert 0 < most_in_flight(small) <= 1_000
    assert refused_jobs(small) == 1
    with small.worker() as context:
        assert query(context, "SELECT COUNT(*) FROM lines WHERE outcome IN (2, 3, 4, 5)") == [(0,)]
        assert query(context, "SELECT MAX(refusals) FROM embeddings") == [(0,)], "no line is suspected"


def turned_away(small, context):
    """The first job, whose validation has found no room for it."""
    until(small, context, Batch.RUNNING)
    small.clock.advance(60)
    poll.poll(context)
    found = newest(context)
    assert (found.state, found.code) == (Batch.REFUSED, batches.NO_ROOM)
    return found


def test_what_fits_goes_at_once_when_the_limit_is_known(root):
    small = world(root, limit=1_000)
    corpus(small, 20, 8)
    with small.worker() as context:
        refused = turned_away(small, context)
        began = small.clock.wall()
        second = until(small, context, Batch.RUNNING)

        assert second.ref != refused.ref
        assert second.tokens_estimated <= 1_000
        assert small.clock.wall() - began < 60
        with context.store.read() as connection:
            assert not circuits.tripped(connection)
        assert gather(small.settings(), small.clock).most_tokens == 1_000


def test_status_says_that_there_was_no_room_and_blames_no_line(root):
    small = world(root, limit=1_000)
    corpus(small, 20, 8)
    with small.worker() as context:
        turned_away(small, context)
        [told] = [each for each in blockers(gather(small.settings(), small.clock)) if each.code == "refused"]

    assert "OpenAI had no room for batch" in told.text
    assert "smaller batches" not in told.next
    assert small.log.named("batch.turned_away")
    assert not small.log.named("batch.refused")


def test_a_queue_that_others_fill_is_waited_for(root, monkeypatch):
    """Refused although it would fit alone: nothing is split, new jobs wait, and then less is tried."""
    monkeypatch.setattr(token_limit, "LEAST", 10)
    small = world(root, limit=10_000, batching={"max_in_flight_tokens": 9_000})
    occupy(small, 9_000)
    corpus(small, 20, 4)
    with small.worker() as context:
        refused = turned_away(small, context)
        with context.store.read() as connection:
            waits = circuits.tripped(connection)[circuits.CREATE]
            most = token_limit.most(connection, "openai", 9_000, waits.until_at)
        assert waits.code == "in_flight_limit"
        assert waits.until_at - small.clock.wall() * US > 1_700 * US
        assert most == refused.tokens_estimated * 3 // 4
        settle(small, context)

    assert len(small.served()) == 20
    assert small.ledger.billed_more_than_once() == {}


def occupy(small, tokens):
    """Another project of the account has a job there."""
    params, text = OPENAI.params(PROFILE, ""), "w" * 3_997
    texts = [f"{number:03}{text}" for number in range(tokens // 1_000)]
    path = small.root / "other.jsonl"
    path.write_bytes(b"".join(OPENAI.line(text[:3], [text], PROFILE, params) for text in texts))
    with connect(small.settings(), small.clock, small.transport) as client:
        file = client.upload(path, "of-somebody-else.jsonl")
        client.create_batch(JobSpec(EMBEDDINGS, file.id, {}, {}, "x"))


def test_what_was_learnt_holds_for_its_provider_its_setting_and_a_time(root):
    small = world(root)
    with small.worker() as context:
        with context.store.write() as tx:
            assert token_limit.learn(tx, "openai", 900, named=300, ours=400)
            now = tx.now
        with context.store.read() as connection:

            def most(provider="openai", configured=900, at=now):
                return token_limit.most(connection, provider, configured, at)

            assert most() == 300
            assert most(configured=200) == 200, "it was learnt under another setting"
            assert most("voyage") == 900
            assert most(at=now + token_limit.NAMED_S * US) == 900
            assert most(at=now - 60 * US) == 300
            assert most(at=now - 40 * 86_400 * US) == 900, "it was learnt while the clock was ahead"
        with context.store.write() as tx:
            assert not token_limit.learn(tx, "openai", 900_000, named=3_000_000, ours=400_000)
        with context.store.read() as connection:
            assert token_limit.most(connection, "openai", 900_000, now) == 300_000


# --- what may happen to a job ---


def test_what_expires_is_collected_and_the_rest_is_sent_again(root):
    small = world(root, faults={"job_slow": {"nth": 1, "done_share": 0.5}})
    corpus(small, 4)
    with small.worker() as context:
        settle(small, context, idle_s=3_600.0)

    jobs = small.sim.state()["batches"]
    assert [job["status"] for job in jobs] == ["expired", "completed"]
    assert len(small.served()) == 4
    assert (small.ledger.units(), small.ledger.billed_more_than_once()) == (12, {})


def test_a_lost_create_call_is_looked_for_and_the_job_adopted(root):
    small = world(root, faults={"answer_lost": {"on": "create_batch", "nth": 1}})
    corpus(small, 2)
    small.run()

    assert len(small.sim.state()["batches"]) == 1
    assert len(small.served()) == 2
    assert small.ledger.billed_more_than_once() == {}


def test_a_refused_line_tells_the_words_of_openai(root):
    small = world(root, faults={"line_refused": {"contains": "unbearable", "message": "Too unbearable."}})
    small.write("a.md", "# a\n\nThis is unbearable. " + "word " * 60)
    small.write("b.md", prose("b"))
    small.run()

    assert list(small.served()) == ["b.md"]
    with small.worker() as context:
        assert "Too unbearable." in str(query(context, "SELECT * FROM lines"))


@pytest.mark.parametrize(
    ("errors", "verdict"),
    [
        ([JobError("token_limit_exceeded", None, FULL)], (Blame.NOBODY, 3_000_000)),
        ([JobError("token_limit_exceeded", None, "No room.")], (Blame.NOBODY, MOST)),
        ([JobError("model_not_found", 1, "?"), JobError("model_not_found", 2, "?")], (Blame.MODEL, None)),
        ([JobError("mismatched_model", 2, "?")], (Blame.JOB, None)),
        ([JobError("token_limit_exceeded", None, AZURE_FULL)], (Blame.NOBODY, 30_000)),
        (
            [JobError("token_limit_exceeded", None, AZURE_FULL.replace("30K", "1.5M"))],
            (Blame.NOBODY, 1_500_000),
        ),
        ([JobError("invalid_json_line", 3, "?")], (Blame.LINES, None)),
        ([JobError("invalid_json_line", 3, "?"), JobError("model_not_found", 2, "?")], (Blame.LINES, None)),
        ([], (Blame.LINES, None)),
    ],
)
def test_whose_fault_a_failed_job_was(errors, verdict):
    found = judge(RemoteBatch("b", "failed", Phase.FAILED, errors=errors))

    assert (found.blame, found.most_tokens) == verdict


@pytest.mark.parametrize(
    ("status_code", "body", "error", "says"),
    [
        (
            429,
            {"error": {"message": "You exceeded your current quota, please check."}},
            QuotaError,
            "used up",
        ),
        (404, {"error": {"message": "No such File object: file-1"}}, InputFileMissingError, "No such File"),
        (
            400,
            {"error": {"message": "Cannot find file file-1, or project proj_1 does not have access to it."}},
            InputFileMissingError,
            "Cannot find file",
        ),
        (400, {"error": {"message": "Billing hard limit has been reached"}}, QuotaError, "used up"),
        (
            429,
            {"error": {"message": "Your account is not active, please check your billing details."}},
            QuotaError,
            "used up",
        ),
        (
            403,
            {"error": {"message": "Project `proj_1` does not have access to model `m-1`"}},
            ModelRefusedError,
            "does not have access to model",
        ),
        (400, {"error": {"message": "Invalid input_file_id."}}, InputFileMissingError, "input_file_id"),
        (
            500,
            {"error": {"message": "The server had an error."}},
            VendorError,
            "OpenAI (api.openai.com) failed",
        ),
    ],
)
def test_answers_are_understood_in_openai_s_words(status_code, body, error, says):
    found = judge_answer(
        status_code, {}, json.dumps(body).encode(), api=OpenAIClient.api, host="api.openai.com"
    )

    assert isinstance(found, error)
    assert says in found.message
    assert "oyage" not in f"{found.message} {found.hint}"


# --- settings ---


def load(tmp_path, text=""):
    source = f'[[sources]]\nname = "docs"\npath = "{tmp_path}"\n'
    config = f'data_dir = "{tmp_path}/../data"\n[provider]\ntype = "openai"\n{text}\n{source}'
    return parse_settings(config, tmp_path / "voyage-jobs.toml", {})


def test_the_model_decides_the_dimension_and_the_limits_are_openai_s(tmp_path):
    settings = load(tmp_path, '[openai]\nmodel = "text-embedding-3-large"')

    assert settings.section.output_dimension == 3072
    assert (settings.batching.max_inputs, settings.batching.max_in_flight_tokens) == (50_000, 900_000_000)
    assert (batch_price(settings), sync_price(settings)) == (0.065, 0.13)
    assert settings.section.base_url == "https://api.openai.com/v1"
    assert "OPENAI_API_KEY" in settings.api_key.hint


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[openai]\noutput_dimension = 2000", r"openai\.output_dimension.*at most 1536"),
        ('[openai]\nmodel = "text-embedding-ada-002"\noutput_dimension = 512', "1536 numbers and no others"),
        ("[batching]\nmax_inputs = 60_000", "must be at most 50000"),
        ("[splitting]\nmax_chars = 4000", "use 2048 or less"),
    ],
)
def test_what_openai_does_not_make_is_a_problem(tmp_path, text, says):
    with pytest.raises(ConfigError, match=says):
        load(tmp_path, text)


def test_windows_and_other_types_are_no_business_of_openai():
    flaws = list(OPENAI.flaws(Profile(CONTEXTUALIZED, "text-embedding-3-small", 8, "int8", None, "openai")))

    assert [flaw.setting for flaw in flaws] == ["endpoint", "dtype"]


def test_a_deployment_of_azure_is_doubted_and_not_forbidden(tmp_path):
    azure = 'base_url = "https://mine.openai.azure.com/openai/v1"\nmodel = "my-deployment"\noutput_dimension = 256'
    settings = load(tmp_path, f"[openai]\n{azure}")

    assert any("my-deployment is not in the table of 2026-11" in warning for warning in settings.warnings)
    assert OPENAI.key_doubt("0123456789abcdef", "here", "mine.openai.azure.com") is None
    assert OPENAI.key_doubt("pa-0123456789abcdef", "here", "api.openai.com") is not None
    assert OPENAI.key_doubt("sk-proj-0123456789abcdef", "here", "api.openai.com") is None


def test_a_key_of_openai_is_masked_by_its_look():
    assert redact("the key sk-proj-AbCdEfGhIjKlMnOp0123 was refused") == "the key sk-*** was refused"


def test_results_are_held_to_length_1_as_the_models_make_them(tmp_path):
    path = tmp_path / "out"
    body = {"data": [{"index": 0, "embedding": [3.0] * 8}], "usage": {"total_tokens": 1}}
    path.write_text(
        json.dumps({"custom_id": "k", "response": {"status_code": 200, "body": body}, "error": None})
    )
    [block] = OPENAI.read(path, Expectation(PROFILE, {"k": 1}.get))

    assert [problem.code for problem in block.problems] == ["wrong_length"]


def test_a_client_says_whose_key_it_was(tmp_path):
    client = OPENAI.connect(
        Access("https://api.openai.com/v1", FixedKey(""), VirtualClock(), 10.0, 60.0, None, NOBODY)
    )
    with pytest.raises(VendorError) as caught:
        client.probe()
    assert "the OpenAI dashboard" in caught.value.hint
    assert client.name == "OpenAI (api.openai.com)"
