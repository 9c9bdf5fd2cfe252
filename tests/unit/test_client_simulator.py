"""The client and the download against the simulator, whose faults stand for the provider's worse days."""

import dataclasses

import numpy as np
import orjson
import pytest
from client_doubles import KEY, FixedKey, job_spec

from voyage_jobs.core.clock import VirtualClock
from voyage_jobs.core.profile import Profile
from voyage_jobs.errors import (
    AuthError,
    InputFileMissingError,
    OutcomeUnknownError,
    QuotaError,
    RateLimitedError,
    RefusedError,
)
from voyage_jobs.simulator import FaultScript, Options, Simulator
from voyage_jobs.simulator.transport import SimulatorTransport
from voyage_jobs.vendors.remote import METADATA_REF, Phase
from voyage_jobs.vendors.rest.download import download
from voyage_jobs.vendors.voyage.client import VoyageClient

LINES = 40


class World:
    def __init__(self, faults=None, **options):
        self.clock = VirtualClock()
        script = FaultScript.from_dict({"faults": faults or {}})
        self.simulator = Simulator(
            self.clock, api_key=KEY, batch_seconds=60, faults=script, options=Options(**options)
        )
        self.transport = SimulatorTransport(self.simulator)
        self.client = self.client_with(FixedKey())

    def client_with(self, key):
        return VoyageClient(
            "https://api.voyageai.com/v1", key, clock=self.clock, transport=self.transport, timeout_s=60
        )

    def upload(self, tmp_path):
        path = tmp_path / "input.jsonl"
        rows = [{"custom_id": f"id-{n}", "body": {"input": [f"text number {n}"]}} for n in range(LINES)]
        path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
        return self.client.upload(path, "voyage-jobs-ref.jsonl")

    def create(self, file, ref="ref-1"):
        params = {"input_type": "document", "output_dimension": 256, "truncation": True}
        return self.client.create_batch(job_spec(file.id, ref, **params))

    def finished(self, tmp_path):
        batch = self.create(self.upload(tmp_path))
        self.clock.advance(120)
        return self.client.get_batch(batch.id)


READINGS = [
    {},
    {"timestamps": "zoneless", "legacy_batch_keys": True, "list_shows_cursor": False, "id_separator": "_"},
    {"upload_shows_expires_at": False, "batches_order": "asc", "ranges": True},
]


@pytest.mark.parametrize("options", READINGS, ids=["newest", "oldest", "other"])
def test_a_job_goes_its_whole_way_under_every_reading_of_the_api(tmp_path, options):
    world = World(**options)
    file = world.upload(tmp_path)
    begun = world.create(file)

    assert file.bytes == (tmp_path / "input.jsonl").stat().st_size
    assert (begun.phase, begun.status) == (Phase.OPEN, "validating")
    assert begun.created_at_us == pytest.approx(world.clock.wall() * 1e6, abs=1e6)

    world.clock.advance(120)
    [listed] = world.client.list_batches()
    done = world.client.get_batch(begun.id)
    assert listed == dataclasses.replace(done, server_date_us=listed.server_date_us)
    assert (done.phase, done.metadata) == (Phase.ENDED_OK, {METADATA_REF: "ref-1"})
    assert (done.total, done.completed, done.failed) == (LINES, LINES, 0)
    assert done.server_date_us == pytest.approx(world.clock.wall() * 1e6, abs=1e6)

    output = world.client.get_file(done.output_file_id)
    got = download(world.client, output.id, tmp_path / "out.jsonl", expected_bytes=output.bytes)
    assert (got.bytes, got.lines) == (output.bytes, LINES)

    assert world.client.delete_file(file.id)
    assert world.client.delete_file(file.id)
    assert file.id not in [f.id for f in world.client.list_files()]


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("cursor", [True, False])
def test_every_job_of_a_long_list_is_found(tmp_path, order, cursor):
    world = World(batches_order=order, list_shows_cursor=cursor, max_in_flight_jobs=1000)
    file = world.upload(tmp_path)
    made = {world.create(file, ref=f"ref-{n}").id for n in range(45)}

    for limit in (1, 7, 20, 45, 100):
        assert {batch.id for batch in world.client.list_batches(limit=limit)} == made


def test_a_create_call_whose_answer_is_lost_is_found_by_its_metadata(tmp_path):
    world = World({"answer_lost": {"on": ["create_batch"], "times": 1}})
    file = world.upload(tmp_path)

    with pytest.raises(OutcomeUnknownError):
        world.create(file, ref="mine")

    assert [batch.metadata[METADATA_REF] for batch in world.client.list_batches()] == ["mine"]


def test_an_uploaded_file_that_is_not_seen_yet_is_told_apart(tmp_path):
    world = World({"input_file_not_found": {"times": 1}})
    file = world.upload(tmp_path)

    with pytest.raises(RefusedError) as caught:
        world.create(file)

    assert isinstance(caught.value, InputFileMissingError)
    assert world.create(file).id


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("rate_limited", RateLimitedError),
        ("unpaid_account", QuotaError),
        ("server_error", OutcomeUnknownError),
    ],
)
def test_troubles_come_out_as_what_they_are(name, error):
    world = World({name: {"on": ["list_batches"]}})

    with pytest.raises(error):
        world.client.probe()


def test_a_wrong_key_is_refused_and_the_right_one_taken_up():
    world = World()
    key = FixedKey("pa-wrong")
    client = world.client_with(key)

    with pytest.raises(AuthError):
        client.probe()
    key.key = KEY

    assert client.probe() is not None


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("redirect", [None, "https://storage.example"])
def test_a_body_cut_twice_arrives_whole(tmp_path, ranges, redirect):
    on = "storage" if redirect else "file_content"
    world = World({"body_cut": {"on": [on], "times": 2}}, ranges=ranges, redirect_to=redirect)
    done = world.finished(tmp_path)
    output, dest = world.client.get_file(done.output_file_id), tmp_path / "out.jsonl"

    for _ in range(2):
        with pytest.raises(OutcomeUnknownError):
            download(world.client, output.id, dest, expected_bytes=output.bytes)
    got = download(world.client, output.id, dest, expected_bytes=output.bytes)

    assert got.lines == LINES
    assert len({orjson.loads(line)["custom_id"] for line in dest.read_bytes().splitlines()}) == LINES
    for seen in world.transport.requests:
        assert ("authorization" in seen.headers) is (seen.host == "api.voyageai.com")


def test_a_result_file_that_has_expired_is_gone(tmp_path):
    world = World()
    done = world.finished(tmp_path)
    world.clock.advance(31 * 86_400)

    with pytest.raises(RefusedError) as caught:
        download(world.client, done.output_file_id, tmp_path / "out.jsonl", expected_bytes=None)

    assert caught.value.status == 404


@pytest.mark.parametrize("dtype", ["float", "int8", "uint8", "binary", "ubinary"])
@pytest.mark.parametrize("contextualized", [False, True])
def test_queries_are_embedded_in_every_dtype(dtype, contextualized):
    endpoint, model = (
        ("/v1/contextualizedembeddings", "voyage-context-3")
        if contextualized
        else ("/v1/embeddings", "voyage-4")
    )
    profile = Profile(endpoint, model, 256, dtype, "query")

    embedded = World().client.embed(["a snake", "a tree"], profile)

    assert embedded.vectors.shape == (2, profile.width)
    assert embedded.vectors.dtype == np.dtype(profile.storage_dtype)
    assert embedded.tokens > 0
