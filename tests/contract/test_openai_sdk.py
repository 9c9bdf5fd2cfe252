"""The unmodified `openai` SDK drives the simulator over real sockets, as the provider's paths promise."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import orjson
import pytest

from voyage_jobs.core.clock import VirtualClock
from voyage_jobs.simulator import FaultScript, Options, Simulator
from voyage_jobs.simulator.server import HttpServer

KEY = "pa-contract"
PARAMS = {"model": "voyage-4", "output_dimension": 256, "input_type": "document"}


def serve(batch_seconds: float, faults: FaultScript | None = None) -> tuple[Simulator, HttpServer]:
    simulator = Simulator(
        VirtualClock(), api_key=KEY, seed=3, batch_seconds=batch_seconds, faults=faults, options=Options()
    )
    return simulator, HttpServer(simulator)


@pytest.fixture
def quick() -> Iterator[tuple[Simulator, openai.OpenAI]]:
    simulator, server = serve(100.0)
    with server, client(server) as sdk:
        yield simulator, sdk


def client(server: HttpServer, key: str = KEY, retries: int = 2) -> openai.OpenAI:
    base = f"http://127.0.0.1:{server.port}/v1"
    return openai.OpenAI(api_key=key, base_url=base, max_retries=retries, timeout=10)


def lines(count: int) -> bytes:
    return b"".join(
        orjson.dumps({"custom_id": f"c{n}", "body": {"input": [f"text {n}"]}}) + b"\n" for n in range(count)
    )


def create(sdk: openai.OpenAI, file_id: str, **metadata: str) -> openai.types.Batch:
    return sdk.batches.create(
        input_file_id=file_id,
        endpoint="/v1/embeddings",
        completion_window="12h",  # type: ignore[arg-type]  # the SDK knows only 24h
        metadata=metadata,
        extra_body={"request_params": PARAMS},
    )


def test_upload_create_poll_content_list_delete(quick: tuple[Simulator, openai.OpenAI]) -> None:
    simulator, sdk = quick
    file = sdk.files.create(file=("in.jsonl", lines(20)), purpose="batch")
    assert file.bytes == len(lines(20))
    batch = create(sdk, file.id, ref="r-1")
    assert batch.status == "validating"

    seen = []
    for _ in range(6):
        simulator.advance(20)
        batch = sdk.batches.retrieve(batch.id)
        seen.append(batch.status)

    assert seen == ["in_progress"] * 4 + ["completed"] * 2
    assert batch.request_counts is not None
    assert batch.request_counts.completed == 20
    assert batch.metadata == {"ref": "r-1"}
    assert batch.output_file_id is not None
    output = [orjson.loads(line) for line in sdk.files.content(batch.output_file_id).iter_lines()]
    assert {line["custom_id"] for line in output} == {f"c{n}" for n in range(20)}
    assert len(output[0]["response"]["body"]["data"][0]["embedding"]) == 256

    assert [b.id for b in sdk.batches.list(limit=1)] == [batch.id]
    assert {f.id for f in sdk.files.list()} == {file.id, batch.output_file_id}
    assert sdk.files.retrieve(file.id).filename == "in.jsonl"
    assert sdk.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        sdk.files.retrieve(file.id)
    assert simulator.ledger.billed_more_than_once() == {}


def test_pages_are_followed_to_the_end(quick: tuple[Simulator, openai.OpenAI]) -> None:
    _, sdk = quick
    file = sdk.files.create(file=("in.jsonl", lines(1)), purpose="batch")
    made = [create(sdk, file.id).id for _ in range(5)]

    assert [b.id for b in sdk.batches.list(limit=2)] == made[::-1]


def test_cancel_keeps_what_is_done() -> None:
    simulator, server = serve(1000.0, None)
    with server, client(server) as sdk:
        file = sdk.files.create(file=("in.jsonl", lines(100)), purpose="batch")
        batch = create(sdk, file.id)
        simulator.advance(500)
        assert sdk.batches.cancel(batch.id).status == "cancelling"
        simulator.advance(100)
        batch = sdk.batches.retrieve(batch.id)

        assert batch.status == "cancelled"
        assert batch.output_file_id is not None
        done = sdk.files.content(batch.output_file_id).text.splitlines()
        assert 0 < len(done) < 100
        assert simulator.ledger.units() == len(done)


def test_refusals_have_the_sdk_s_own_types() -> None:
    _, server = serve(10.0)
    with server, client(server, "pa-wrong") as stranger, client(server) as sdk:
        with pytest.raises(openai.AuthenticationError):
            stranger.files.list()
        with pytest.raises(openai.NotFoundError) as missing:
            create(sdk, "file-unknown")
        assert missing.value.response.json() == {"detail": "Input file not found"}
        file = sdk.files.create(file=("in.jsonl", lines(1)), purpose="batch")
        with pytest.raises(openai.BadRequestError) as refused:
            sdk.batches.create(
                input_file_id=file.id,
                endpoint="/v1/embeddings",
                completion_window="12h",  # type: ignore[arg-type]
            )
        assert "request_params" in refused.value.response.json()["detail"]


def test_its_blind_retry_of_a_lost_create_pays_twice() -> None:
    """Why a batch client must not retry creation the way a general SDK does."""
    script = {"faults": {"answer_lost": {"on": "create_batch", "nth": 1, "as": "read_error"}}}
    simulator, server = serve(10.0, FaultScript.from_dict(script))
    with server, client(server) as sdk:
        file = sdk.files.create(file=("in.jsonl", lines(3)), purpose="batch")
        create(sdk, file.id)
        simulator.advance(20)
        assert len(list(sdk.batches.list())) == 2
        assert len(simulator.ledger.billed_more_than_once()) == 3


def test_synchronous_embeddings_come_as_base64(quick: tuple[Simulator, openai.OpenAI]) -> None:
    _, sdk = quick
    answer = sdk.embeddings.create(input=["one", "two"], model="voyage-4")

    assert [len(row.embedding) for row in answer.data] == [1024, 1024]
    assert sum(x * x for x in answer.data[0].embedding) == pytest.approx(1, abs=1e-5)
