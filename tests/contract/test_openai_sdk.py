"""The unmodified `openai` SDK drives the simulator over real sockets: Voyage's API by its paths, and OpenAI's own."""

from __future__ import annotations

import base64
import contextlib
import struct
from collections.abc import Iterator
from typing import Any

import openai
import orjson
import pytest

from voyage_jobs.core.clock import VirtualClock
from voyage_jobs.simulator import FaultScript, Options, Simulator
from voyage_jobs.simulator.server import HttpServer

KEY = "pa-contract"
SMALL = "text-embedding-3-small"
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


# --- OpenAI's own API, whose shapes the SDK checks by its types ---


@pytest.fixture
def theirs() -> Iterator[tuple[Simulator, openai.OpenAI]]:
    with of_openai(100.0) as pair:
        yield pair


@contextlib.contextmanager
def of_openai(
    batch_seconds: float, faults: dict[str, object] | None = None, **options: object
) -> Iterator[tuple[Simulator, openai.OpenAI]]:
    simulator = Simulator(
        VirtualClock(),
        api_key=KEY,
        seed=3,
        batch_seconds=batch_seconds,
        faults=FaultScript.from_dict({"faults": faults or {}}),
        options=Options.of("openai", **options),
    )
    server = HttpServer(simulator)
    with server, client(server, retries=0) as sdk:
        yield simulator, sdk


def their_lines(count: int, model: str = SMALL, **body: object) -> bytes:
    return b"".join(
        orjson.dumps(
            {
                "custom_id": f"c{n}",
                "method": "POST",
                "url": "/v1/embeddings",
                "body": {"input": f"text {n}", "model": model, **body},
            }
        )
        + b"\n"
        for n in range(count)
    )


def start(sdk: openai.OpenAI, lines: bytes) -> openai.types.Batch:
    file = sdk.files.create(file=("in.jsonl", lines), purpose="batch")
    return sdk.batches.create(
        input_file_id=file.id,
        endpoint="/v1/embeddings",
        completion_window="24h",
        metadata={"ref": "r-1"},
    )


def answers(sdk: openai.OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    assert file_id is not None
    return [orjson.loads(line) for line in sdk.files.content(file_id).iter_lines()]


def test_a_batch_of_openai_goes_its_whole_way(theirs: tuple[Simulator, openai.OpenAI]) -> None:
    simulator, sdk = theirs
    batch = start(sdk, their_lines(20, dimensions=256, encoding_format="base64"))
    assert (batch.status, type(batch.created_at)) == ("validating", int)
    assert batch.expires_at == batch.created_at + 24 * 3600
    simulator.advance(200)
    batch = sdk.batches.retrieve(batch.id)

    assert (batch.status, batch.error_file_id) == ("completed", None)
    assert batch.request_counts is not None
    assert (batch.request_counts.total, batch.request_counts.completed) == (20, 20)
    assert batch.metadata == {"ref": "r-1"}
    output = answers(sdk, batch.output_file_id)
    assert {line["custom_id"] for line in output} == {f"c{n}" for n in range(20)}
    assert len({line["id"] for line in output}) == 20
    body = output[0]["response"]["body"]
    assert body["usage"] == {"prompt_tokens": 2, "total_tokens": 2}
    vector = struct.unpack("<256f", base64.b64decode(body["data"][0]["embedding"]))
    assert sum(x * x for x in vector) == pytest.approx(1, abs=1e-5)
    assert {file.purpose for file in sdk.files.list()} == {"batch", "batch_output"}
    assert [b.id for b in sdk.batches.list(limit=1)] == [batch.id]
    assert simulator.ledger.billed_more_than_once() == {}


def test_a_job_beyond_the_enqueued_tokens_fails_and_one_after_it_runs() -> None:
    with of_openai(100.0, max_in_flight_tokens=50) as (simulator, sdk):
        first, second = start(sdk, their_lines(20)), start(sdk, their_lines(20))
        other = start(sdk, their_lines(20, "text-embedding-3-large"))
        simulator.advance(10)
        second, other = sdk.batches.retrieve(second.id), sdk.batches.retrieve(other.id)

        assert sdk.batches.retrieve(first.id).status == "in_progress"
        assert second.status == "failed"
        assert second.errors is not None
        assert second.errors.data is not None
        [error] = second.errors.data
        assert (error.code, error.line) == ("token_limit_exceeded", None)
        assert "Limit: 50 enqueued tokens" in (error.message or "")
        assert other.status == "in_progress"  # each model has a queue of its own
        simulator.advance(200)
        third = start(sdk, their_lines(20))
        simulator.advance(200)
        assert sdk.batches.retrieve(third.id).status == "completed"


def test_an_expired_batch_brings_what_is_done() -> None:
    with of_openai(100.0, {"job_slow": {"done_share": 0.5}}) as (simulator, sdk):
        batch = start(sdk, their_lines(20))
        simulator.advance(25 * 3600)
        batch = sdk.batches.retrieve(batch.id)

        assert (batch.status, batch.completed_at) == ("expired", None)
        assert batch.expired_at is not None
        assert len(answers(sdk, batch.output_file_id)) == 10
        left = answers(sdk, batch.error_file_id)
        assert {line["error"]["code"] for line in left} == {"batch_expired"}
        assert simulator.ledger.units() == 10


def test_a_line_that_is_refused_says_why_in_openai_s_shape() -> None:
    with of_openai(10.0, {"line_refused": {"nth": 1, "message": "Too long."}}) as (simulator, sdk):
        batch = start(sdk, their_lines(2))
        simulator.advance(20)
        batch = sdk.batches.retrieve(batch.id)

        [line] = answers(sdk, batch.error_file_id)
        assert line["response"]["body"]["error"]["message"] == "Too long."
        assert line["error"] is None


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (their_lines(1, "no-such-model"), "model_not_found"),
        (their_lines(1) + their_lines(1, "text-embedding-3-large").replace(b"c0", b"d0"), "mismatched_model"),
        (their_lines(1, dimensions=0), "invalid_body"),
        (their_lines(1).replace(b"/v1/emb", b"/v1/chat"), "mismatched_endpoint"),
        (their_lines(1, output_dimension=8), "invalid_body"),
        (lines(1), "missing_key"),
    ],
)
def test_validation_looks_at_every_line(
    theirs: tuple[Simulator, openai.OpenAI], lines: bytes, code: str
) -> None:
    simulator, sdk = theirs
    batch = start(sdk, lines)
    simulator.advance(10)
    batch = sdk.batches.retrieve(batch.id)

    assert batch.status == "failed"
    assert batch.errors is not None
    assert [error.code for error in batch.errors.data or []] == [code]


def test_the_sdk_s_own_errors_for_openai(theirs: tuple[Simulator, openai.OpenAI]) -> None:
    _, sdk = theirs
    with pytest.raises(openai.NotFoundError, match="No such File object"):
        sdk.batches.create(input_file_id="file-x", endpoint="/v1/embeddings", completion_window="24h")
    with pytest.raises(openai.NotFoundError) as unknown:
        sdk.embeddings.create(input="a", model="no-such-model")
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.AuthenticationError) as stranger:
        sdk.with_options(api_key="sk-wrong").files.list()
    assert stranger.value.code == "invalid_api_key"
    with of_openai(10.0, {"unpaid_account": 1.0}) as (_, poor):
        with pytest.raises(openai.RateLimitError) as no_money:
            poor.files.list()
        assert no_money.value.code == "insufficient_quota"


def test_synchronous_embeddings_of_openai(theirs: tuple[Simulator, openai.OpenAI]) -> None:
    simulator, sdk = theirs
    answer = sdk.embeddings.create(input=["one", "two"], model=SMALL, dimensions=64)

    assert [len(row.embedding) for row in answer.data] == [64, 64]
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == 2
    assert simulator.ledger.sync_tokens == 2
    assert len(sdk.embeddings.create(input="one", model="text-embedding-3-large").data[0].embedding) == 3072
