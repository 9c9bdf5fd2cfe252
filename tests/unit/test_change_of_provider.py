"""From one provider to another: what is open at the old one is fetched there, and nothing is lost or paid twice."""

from __future__ import annotations

import httpx
import pytest
from openai_server import OpenAIServer, vector
from step_doors import all_batches, prose, query, until
from world import KEY, World

from voyage_jobs.config.key import KeySource, key_of
from voyage_jobs.config.profile import profile_of
from voyage_jobs.core import crash
from voyage_jobs.core.states import Batch
from voyage_jobs.diagnosis.snapshot import gather
from voyage_jobs.errors import ConfigError
from voyage_jobs.maintenance.audit.verify import Scope, verify
from voyage_jobs.retrieval.result import Query
from voyage_jobs.retrieval.retriever import Retriever
from voyage_jobs.state import rebuild
from voyage_jobs.steps.acts import perform
from voyage_jobs.table import PublishedTable

OWN = {
    "provider": {"type": "openai-sync"},
    "openai_sync": {"base_url": "http://127.0.0.1:8000/v1", "model": "tiny", "output_dimension": 16},
}


class Died(Exception):
    pass


class Both(httpx.BaseTransport):
    """The network: Voyage is where it is, anything on this machine is the server of one's own."""

    def __init__(self, voyage, server):
        self.voyage, self.server = voyage, server

    def handle_request(self, request):
        there = self.server.transport if request.url.host == "127.0.0.1" else self.voyage
        return there.handle_request(request)


class TwoWorlds(World):
    """A world with two providers, each with a key of its own."""

    def settings(self, **sections):
        found = super().settings(**sections)
        keys = {
            "voyage": KeySource({"VOYAGE_API_KEY": KEY}),
            "openai-sync": key_of("openai-sync", {"OPENAI_SYNC_API_KEY": "own-key-0123456789"}),
        }
        return found.attach(origin=None, warnings=(), api_key=keys[found.provider.type], other_keys=keys)


@pytest.fixture(autouse=True)
def disarmed():
    yield
    crash.arm(None)


@pytest.fixture
def server():
    return OpenAIServer(width=16, key="own-key-0123456789")


@pytest.fixture
def world(tmp_path, server):
    found = TwoWorlds(tmp_path)
    found.transport = Both(found.transport, server)
    found.write("a.md", prose("a", 3))
    found.run()
    return found


def act(world, what, *, working_by=OWN, target=OWN):
    arguments = {"do": what}
    if what == "begin":
        arguments["target"] = profile_of(world.settings(**target)).to_json()
    with world.worker(**working_by) as context:
        return perform(context, "reprofile", arguments, "me")


def send(world, **sections):
    """Write something and have its job running."""
    world.write("b.md", prose("b", 2))
    with world.worker(**sections) as context:
        until(world, context, Batch.RUNNING)


def served(world, **sections):
    """path -> the vectors that readers see."""
    lance = world.settings(**sections).lancedb
    table = PublishedTable.open(lance.uri, lance.table, None)
    rows = [row for part in table.keys(None, ("path", "text", "vector")) for row in part.to_pylist()]
    found = {}
    for row in rows:
        found.setdefault(row["path"], []).append(row)
    return found


def paid_once(world, server):
    assert world.ledger.billed_more_than_once() == {}
    texts = [text for asked in server.seen for text in asked]
    assert len(texts) == len(set(texts))


def test_what_a_build_at_a_provider_that_answers_at_once_has_cost_is_told(world, server):
    priced = {**OWN, "prices": {"tiny": {"sync_usd_per_million": 20.0}}}
    act(world, "begin", working_by=priced, target=priced)
    world.run(**priced)
    with world.worker(**priced) as context, context.store.read() as connection:
        (paid,) = query(context, "SELECT SUM(tokens) FROM spend WHERE kind = 'expedited'")
        profile = context.profile_id
        found = rebuild.spent(connection, profile, 0)
    assert found.settled_tokens == paid[0] > 0
    assert found.settled_usd == pytest.approx(paid[0] * 20 / 1e6)


def test_what_is_open_is_fetched_at_its_own_provider_and_nothing_is_sent(world, server):
    send(world)
    world.write("c.md", prose("c"))
    with world.worker(**OWN) as context:
        world.take_turns(context, 200, quiet=False)
        for _ in range(20):
            world.clock.advance(60)
            world.take_turns(context, 5, quiet=False)
        assert not [batch for batch in all_batches(context) if batch.state is not Batch.CLOSED]

    assert sorted(served(world)) == ["a.md", "b.md"]
    assert server.seen == []
    assert not verify(world.settings(**OWN), world.clock, Scope(remote=True), transport=world.transport).total
    paid_once(world, server)


def test_the_provider_does_not_change_while_a_batch_is_open(world, server):
    send(world)
    with pytest.raises(ConfigError, match="1 batch at Voyage must end before the provider changes"):
        act(world, "begin")
    for _ in range(20):
        world.run(12, quiet=False, **OWN)
        world.clock.advance(60)

    assert act(world, "begin")["state"] == "begun"
    calls = world.sim.calls.total()
    world.run(**OWN)

    shown = served(world, **OWN)
    assert sorted(shown) == ["a.md", "b.md"]
    sent = {tuple(round(n, 4) for n in vector(text, 16)) for texts in server.seen for text in texts}
    assert {
        tuple(round(float(n), 4) for n in row["vector"]) for rows in shown.values() for row in rows
    } == sent
    assert world.sim.calls.total() == calls
    paid_once(world, server)


@pytest.mark.parametrize(
    "point", ["reprofile.committed", "sync.answered", "sync.committed", "switch.committed"]
)
def test_a_death_on_the_way_changes_nothing(world, server, point):
    def hook(name):
        if name == point:
            crash.arm(None)
            raise Died

    crash.arm(hook)
    with pytest.raises(Died):
        act(world, "begin")
        world.run(**OWN)
    world.run(**OWN)

    assert {len(row["vector"]) for row in served(world, **OWN)["a.md"]} == {16}
    assert world.ledger.billed_more_than_once() == {}
    assert max(len(texts) for texts in server.seen) == 3


def test_a_table_for_the_other_provider_is_given_up_only_when_its_jobs_are_over(world, server):
    act(world, "begin")
    world.run(**OWN)
    act(world, "begin", working_by={}, target={})
    send(world)
    world.write("c.md", prose("c"))
    with pytest.raises(ConfigError, match="at Voyage must end"):
        act(world, "abandon", working_by={})
    for _ in range(20):
        world.run(12, quiet=False, **OWN)  # [provider] is set back: nothing more is sent
        world.clock.advance(60)
    act(world, "abandon")
    world.run(**OWN)

    assert sorted(served(world, **OWN)) == ["a.md", "b.md", "c.md"]
    paid_once(world, server)


def test_a_process_that_was_started_before_does_not_go_where_it_knows_nothing_of(world):
    with pytest.raises(ConfigError, match="started with another"):
        act(world, "begin", working_by={})


def test_a_search_asks_the_provider_of_the_table(world, server):
    found = Retriever(world.settings(**OWN), world.clock, world.transport).search(
        Query("a part", mode="vector")
    )
    assert (found.mode, len(found.hits), server.seen) == ("vector", 3, [])

    act(world, "begin")
    world.run(**OWN)
    asked = Retriever(world.settings(), world.clock, world.transport).search(Query("a part", mode="vector"))
    assert (asked.mode, len(asked.hits), server.seen[-1]) == ("vector", 3, ["a part"])


def test_how_long_jobs_took_at_one_provider_says_nothing_of_the_other(world):
    """Its jobs took minutes; those of the other may take hours, or there are none."""
    assert len(gather(world.settings(), world.clock).took) == 1
    act(world, "begin")

    found = gather(world.settings(**OWN), world.clock)

    assert (found.took, found.vectors.likely_at) == ([], None)


def test_a_file_at_one_provider_is_not_deleted_at_the_other_and_is_once_that_is_back(tmp_path, server):
    full = {"rate_limited": {"on": "create_batch", "times": 1_000}}
    world = TwoWorlds(tmp_path, faults=full)
    world.transport = Both(world.transport, server)
    world.write("a.md", prose("a", 3))
    with world.worker() as context:
        until(world, context, Batch.UPLOADED)
        [batch] = all_batches(context)
    assert world.sim.state()["files"] == 1

    act(world, "begin")
    world.run(**OWN)
    with world.worker(**OWN) as context:
        [moved] = [each for each in all_batches(context) if each.ref == batch.ref]
        assert moved.state is Batch.CLOSED
        assert query(context, "SELECT file_id, deleted_at FROM remote_files") == [(batch.input_file_id, None)]
        said = "SELECT cause FROM transitions WHERE kind = 'batch' AND target = 'closed' AND cause LIKE '%voyage%'"
        [(cause,)] = query(context, said)
    assert cause.endswith("1 file at voyage will be deleted when that is the provider again")
    assert [fields["provider"] for fields in world.log.named("remote_file.left")] == ["voyage"]
    assert world.sim.state()["files"] == 1
    assert world.sim.calls["delete_file"] == 0

    act(world, "begin", working_by={}, target={})
    with world.worker() as context:
        world.take_turns(context, 30, quiet=False)
        left = query(context, "SELECT file_id FROM remote_files WHERE deleted_at IS NULL")
    assert (batch.input_file_id,) not in left
    assert world.sim.calls["delete_file"] == 1
    assert world.sim.state()["files"] == len(left)
