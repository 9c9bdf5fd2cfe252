"""A model that the provider does not have: one reason, which stops sending, parks nothing, and ends with its cause."""

from __future__ import annotations

import abacus
import pytest
from small_world import Small, quick
from step_doors import all_batches, embeddings_by_state, prose, tripped
from world import MODELS

from voyage_jobs.core.states import Batch
from voyage_jobs.diagnosis.causes import blockers
from voyage_jobs.diagnosis.snapshot import gather
from voyage_jobs.errors import ModelRefusedError
from voyage_jobs.service.signals import Signals
from voyage_jobs.service.sync import Ending, Sync
from voyage_jobs.steps.pipeline import Pipeline
from voyage_jobs.vendors import registry
from voyage_jobs.vendors.registry import by_type
from voyage_jobs.vendors.rest.verdict import judge

WRONG = "no-such-model-9"
HOUR_S = 3_600.0


@pytest.fixture(autouse=True)
def fast():
    with quick():
        yield


def wrong(root, vendor):
    small = Small(
        root,
        vendor=vendor,
        batch_seconds=20.0,
        batching={"max_inputs": 1, "min_inputs": 1, "linger_s": 0},
        **{vendor: {"model": WRONG}},
    )
    for number in range(6):
        small.write(f"{number}.md", prose(f"text {number}"))
    return small


def lives(small, context, seconds):
    pipeline, until = Pipeline(context), small.clock.mono() + seconds
    while small.clock.mono() < until:
        if not pipeline.turn():
            small.clock.advance(pipeline.idle_s())


def states(context):
    return {each.state for each in all_batches(context)} - {Batch.CLOSED}


@pytest.mark.parametrize("vendor", ["voyage", "openai"])
def test_it_stops_sending_parks_nothing_and_goes_on_with_another_model(tmp_path, vendor):
    small = wrong(tmp_path, vendor)
    with small.worker(mode="run") as context:
        lives(small, context, 600)
        made = small.sim.calls["create_batch"]
        assert made <= 6
        assert Batch.PARKED not in states(context)
        assert tripped(context)["create"].code == "model_refused"
        lives(small, context, 5 * HOUR_S)
        assert small.sim.calls["create_batch"] - made <= 8  # one an hour
        assert Batch.PARKED not in states(context)
    [told] = [
        each for each in blockers(gather(small.settings(), small.clock)) if each.code == "model_refused"
    ]
    assert WRONG in told.text
    assert f"{vendor}.model" in told.next

    small.run(**{vendor: {"model": MODELS[vendor]}})
    assert len(small.served()) == 6
    assert not small.ledger.billed_more_than_once()
    with small.worker(**{vendor: {"model": MODELS[vendor]}}) as context:
        assert "create" not in tripped(context)


def test_sync_ends_with_the_one_reason(tmp_path):
    small = wrong(tmp_path, "voyage")
    with Signals() as signals, small.worker() as context:
        done = Sync(context, signals).run()
    assert done.ending is Ending.OPERATOR
    assert [each.code for each in done.problems if each.severity == "problem" and each.circuit] == [
        "model_refused"
    ]


def test_without_jobs_it_is_the_same(tmp_path, monkeypatch):
    monkeypatch.setitem(registry.VENDORS, "abacus-now", "abacus:NOW")
    abacus.SERVER.reset()
    small = Small(
        tmp_path, provider={"type": "abacus-now"}, voyage={"model": "abacus-1", "input_type": ""}, prices={}
    )
    small.write("a.md", prose("a", 3))
    abacus.SERVER.loses = [ModelRefusedError("The model does not exist.", status=400)] * 2
    with small.worker(mode="run") as context:
        lives(small, context, 600)
        assert abacus.SERVER.calls.count("embed_now") == 1
        assert states(context) == {Batch.SPOOLED}
        assert tripped(context)["create"].code == "model_refused"
        lives(small, context, 3 * HOUR_S)
        assert embeddings_by_state(context) == {"held": 3}
        assert "create" not in tripped(context)
    assert list(small.served()) == ["a.md"]


@pytest.mark.parametrize(
    ("vendor", "words"),
    [
        ("voyage", "Model voyage-99 is not supported. Supported models are ['voyage-4']."),
        ("openai", "The model `text-embedding-99` does not exist or you do not have access to it."),
        ("openai", "The API deployment for this resource does not exist."),
        ("openai-sync", 'model "tiny" not found, try pulling it first'),
        ("openai-sync", "Invalid model name passed in model=tiny."),
    ],
)
def test_the_words_of_providers(vendor, words):
    api = api_of(vendor)
    body = b'{"error": {"message": "%s"}}' % words.replace('"', "'").encode()
    assert isinstance(judge(404, {}, body, api=api), ModelRefusedError)


def api_of(vendor):
    from voyage_jobs.vendors.openai.client import OpenAIClient
    from voyage_jobs.vendors.openai_sync.client import OpenAISyncClient
    from voyage_jobs.vendors.voyage.client import VOYAGE_API

    assert by_type(vendor)
    return {"voyage": VOYAGE_API, "openai": OpenAIClient.api, "openai-sync": OpenAISyncClient.api}[vendor]


@pytest.mark.parametrize(
    "words",
    [
        "This model does not support specifying dimensions.",
        "Argument 'encoding_format' is not supported.",
        "No batch found with id 'batch_1'.",
    ],
)
def test_other_refusals_are_about_no_model(words):
    for vendor in ("voyage", "openai", "openai-sync"):
        error = judge(400, {}, b'{"error": {"message": "%s"}}' % words.encode(), api=api_of(vendor))
        assert not isinstance(error, ModelRefusedError)
