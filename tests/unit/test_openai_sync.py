"""`type = "openai-sync"`: documents go their whole way through a server that is not Voyage's."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import httpx
import pytest
from openai_server import OpenAIServer, vector
from step_doors import all_batches, embeddings_by_state, prose, query, tripped
from world import World

from voyage_jobs.config import parse_settings
from voyage_jobs.config.key import key_of
from voyage_jobs.config.prices import batch_price
from voyage_jobs.config.profile import profile_of, with_profile
from voyage_jobs.core.profile import EMBEDDINGS, Profile
from voyage_jobs.core.states import Batch, Mode
from voyage_jobs.errors import ConfigError
from voyage_jobs.maintenance.doctor.check import Verdict
from voyage_jobs.maintenance.doctor.settings import check_settings
from voyage_jobs.maintenance.doctor.vendor import check_vendor
from voyage_jobs.report.status import status
from voyage_jobs.retrieval.result import Query
from voyage_jobs.retrieval.retriever import Retriever
from voyage_jobs.steps.pipeline import Pipeline

OWN = {
    "base_url": "http://127.0.0.1:8000/v1",
    "model": "tiny",
    "output_dimension": 8,
    "document_prefix": "passage: ",
    "query_prefix": "query: ",
    "texts_per_request": 4,
}


class OwnWorld(World):
    """A world whose provider is a server of one's own; keys are found in `environ`."""

    environ: Mapping[str, str] = MappingProxyType({})

    def settings(self, **sections):
        return (
            super()
            .settings(**sections)
            .attach(origin=None, warnings=(), api_key=key_of("openai-sync", self.environ))
        )


@pytest.fixture
def server():
    return OpenAIServer()


@pytest.fixture
def world(tmp_path, server):
    found = OwnWorld(tmp_path, provider={"type": "openai-sync"}, openai_sync=OWN)
    found.transport = server.transport
    return found


def texts_seen(server):
    return [text for texts in server.seen for text in texts]


def test_documents_go_their_whole_way_and_are_found(world, server):
    world.write("a.md", prose("a", 6))
    world.write("b.md", prose("b"))
    world.run()

    rows = world.table_rows("path", "text", "vector")
    assert sorted(row["path"] for row in rows) == ["a.md"] * 6 + ["b.md"]
    assert all(text.startswith("passage: ") for text in texts_seen(server))
    sent = {tuple(round(n, 4) for n in vector(text, 8)) for text in texts_seen(server)}
    assert {tuple(round(float(n), 4) for n in row["vector"]) for row in rows} == sent
    assert [len(texts) for texts in server.seen] == [4, 3]
    assert not world.sim.calls
    ever = status(world.settings(), world.clock)["counters"]
    assert (ever["batches_sent"], ever["inputs_sent"]) == (2, 7)
    assert "authorization" not in server.headers[0]

    asks = Retriever(world.settings(), world.clock, server.transport)
    found = asks.search(Query("what is it?", k=3, mode="vector"))
    assert (found.mode, len(found.hits), found.usd) == ("vector", 3, 0)
    assert server.seen[-1] == ["query: what is it?"]
    with world.worker() as context:
        assert {batch.mode for batch in all_batches(context)} == {Mode.SYNC}
        assert query(context, "SELECT COALESCE(SUM(usd), 0) FROM spend")[0][0] == 0


def test_nothing_is_asked_twice(world, server):
    world.write("a.md", prose("a", 6))
    world.run()
    world.write("b.md", prose("a", 6))
    world.run()

    assert len(texts_seen(server)) == len(set(texts_seen(server)))


def test_a_text_that_is_refused_keeps_no_other_back(world, server):
    world.write("a.md", prose("a", 6))
    world.write("b.md", "# b\n\nAn unbearable text. " + "word " * 60)
    world.run()

    assert {row["path"] for row in world.table_rows("path")} == {"a.md"}


def test_a_server_that_is_busy_or_breaks_off_is_asked_again(world, server):
    server.next_answers = [
        httpx.Response(429, headers={"retry-after": "30"}, json={"error": {"message": "busy"}}),
        httpx.ReadTimeout("too slow"),
        httpx.Response(200, json={"object": "list", "data": []}),
    ]
    world.write("a.md", prose("a", 3))
    begun = world.clock.wall()
    world.run()

    assert len(world.table_rows("path")) == 3
    assert world.clock.wall() - begun >= 30


def test_texts_that_are_refused_among_answered_ones_keep_no_other_back(world, server):
    """It is one after another without an answer in between that tells of a wrong setting."""
    server.breaks_at = {"sick": httpx.Response(404, json={"error": {"message": "Nothing of that kind."}})}
    for name in "abcdefghi":
        world.write(f"{name}.md", prose(f"sick {name}" if name in "beh" else name))
    with world.worker(openai_sync={**OWN, "texts_per_request": 1}) as context:
        world.take_turns(context, 60, quiet=False)
        assert embeddings_by_state(context) == {"held": 6, "packed": 3}
        assert sorted(batch.state for batch in all_batches(context)).count(Batch.PARKED) == 3
        assert not tripped(context)


@pytest.mark.parametrize("each", [1, 4])
def test_a_server_that_embeds_nothing_fails_no_text(world, server, each):
    server.breaks_at = {"": httpx.Response(400, json={"error": {"message": "The model embeds nothing."}})}
    world.write("a.md", prose("a", 40))
    with world.worker(openai_sync={**OWN, "texts_per_request": each}) as context:
        world.take_turns(context, 200, quiet=False)
        assert "failed" not in embeddings_by_state(context)
        assert tripped(context)["create"].code == "send_refused"
        assert len(server.seen) < 10
        assert query(context, "SELECT SUM(tokens) FROM spend WHERE kind = 'query'") == [(0,)]

        server.breaks_at = {}
        world.leave("retry", source="docs")
        world.clock.advance(3600)
        world.take_turns(context)
    assert len(world.table_rows("path")) == 40


@pytest.mark.parametrize("each", [1, 4])
def test_texts_that_are_refused_one_after_another_fail_all_the_same(world, server, each):
    world.write("a.md", "\n\n".join(f"# {n}\n\nAn unbearable text. " + "word " * 60 for n in range(12)))
    world.write("b.md", prose("b", 2))
    with world.worker(openai_sync={**OWN, "texts_per_request": each}) as context:
        world.take_turns(context)
        assert embeddings_by_state(context) == {"failed": 12, "held": 2}
        assert query(context, "SELECT SUM(tokens) > 0 FROM spend WHERE kind = 'query'") == [(1,)]


UNNUMBERED = httpx.Response(200, json={"object": "list", "data": [{"embedding": [0.5] * 8}] * 4})
BROKEN = httpx.Response(500, json={"error": {"message": "too large to process"}})
FAILED_INFERENCE = httpx.Response(424, json={"error": "inference failed", "error_type": "Backend"})
PLAIN = httpx.Response(400, content=b"too long")


@pytest.mark.parametrize(
    "answer",
    [BROKEN, FAILED_INFERENCE, UNNUMBERED, PLAIN, httpx.ReadTimeout("too slow")],
    ids=["500", "424", "200", "400", "none"],
)
def test_a_text_at_which_the_server_breaks_fails_alone(world, server, answer):
    server.breaks_at = {"breaking": answer}
    world.write("a.md", "# a\n\nA breaking text. " + "word " * 60)
    for name in "bcdefghi":
        world.write(f"{name}.md", prose(name))
    world.run()

    assert [row["path"] for row in world.table_rows("path")] == [f"{name}.md" for name in "bcdefghi"]
    asked = [texts for texts in server.seen if any("breaking" in text for text in texts)]
    assert [len(texts) for texts in asked] == [4, 1, 1, 1, 1, 1]
    with world.worker() as context:
        assert embeddings_by_state(context) == {"held": 8, "failed": 1}
        [(detail, reason)] = query(
            context,
            "SELECT DISTINCT l.detail, b.reason FROM lines l JOIN batches b ON b.id = l.batch_id"
            " WHERE l.detail IS NOT NULL",
        )
        assert reason == f"its answer was lost; maybe paid: {detail}"

    server.breaks_at = {}
    world.leave("retry", source="docs")
    world.run()
    assert len(world.table_rows("path")) == 9


@pytest.mark.parametrize("out", [BROKEN, httpx.Response(302, headers={"location": "https://login.example"})])
def test_an_outage_uses_up_no_attempts(world, server, out):
    for name in "abcdefghi":
        world.write(f"{name}.md", prose(name))
    with world.worker(mode="run") as context:
        server.next_answers = [BROKEN]
        world.take_turns(context, 6, quiet=False)  # one call is lost, and others are answered
        assert {"held", "wanted"} <= embeddings_by_state(context).keys()
        server.is_out = out
        until = world.clock.wall() + 8 * 3600
        pipeline = Pipeline(context, eager=True)
        while world.clock.wall() < until:
            if not pipeline.turn():
                world.wait(pipeline)
        assert "failed" not in embeddings_by_state(context)
        assert query(context, "SELECT MAX(attempts) FROM embeddings") == [(0,)]

        server.is_out = None
        world.take_turns(context)
    assert len(world.table_rows("path")) == 9


@pytest.mark.parametrize("answer", [UNNUMBERED, httpx.ReadError("cut")], ids=["200", "none"])
def test_a_server_that_only_answers_plain_questions_is_not_asked_for_ever(world, server, answer):
    server.breaks_at = {"": answer}
    world.write("a.md", prose("a", 3))
    begun = world.clock.wall()
    world.run(10_000)

    assert world.clock.wall() - begun > 6 * 3600
    with world.worker() as context:
        assert embeddings_by_state(context) == {"failed": 3}
    assert len(server.seen) < 120


def test_messages_name_the_server_and_never_voyage(world, server):
    server.next_answers = [httpx.ConnectError("refused")]
    world.write("a.md", prose("a", 3))
    world.run()

    said = [fields["error"] for fields in world.log.named("call.refused")]
    assert said
    assert all("OpenAI-compatible server at 127.0.0.1:8000" in each and "Voyage" not in each for each in said)


def test_a_key_goes_along_where_one_is_set_and_never_that_of_voyage(world, server):
    server.key = "own-key-0123456789"
    world.environ = {"VOYAGE_API_KEY": "pa-not-for-you-0123456789"}
    [refused] = check_vendor(world.settings(), world.clock, server.transport)
    world.environ = {"OPENAI_SYNC_API_KEY": server.key}
    answers, *_ = check_vendor(world.settings(), world.clock, server.transport)

    assert (refused.verdict, answers.verdict) == (Verdict.BAD, Verdict.GOOD)
    assert "OPENAI_SYNC_API_KEY" in refused.fix
    assert not any("pa-not" in head.get("authorization", "") for head in server.headers)


def test_settings_come_from_its_section(tmp_path):
    text = (
        f'data_dir = "{tmp_path}/data"\n[provider]\ntype = "openai-sync"\n[openai_sync]\nmodel = "tiny"\n'
        f'output_dimension = 8\n[[sources]]\nname = "docs"\npath = "{tmp_path}/docs"\n'
    )
    settings = parse_settings(text, tmp_path / "c.toml", {"VOYAGE_JOBS_OPENAI_SYNC__DOCUMENT_PREFIX": "p: "})
    profile = profile_of(settings)

    assert (profile.model, profile.dimension, profile.vendor) == ("tiny", 8, "openai-sync")
    assert (profile.input_type, profile.prefix) == (None, "p: ")
    assert batch_price(settings) == 0
    assert settings.api_key() == ""
    assert with_profile(settings, profile) is settings
    assert Verdict.BAD not in {check.verdict for check in check_settings(settings)}


def test_each_provider_has_its_own_address_and_key_whichever_is_in_use(tmp_path):
    text = (
        f'data_dir = "{tmp_path}/data"\n[provider]\ntype = "openai-sync"\n[openai_sync]\nmodel = "tiny"\n'
        'base_url = "http://10.0.0.7/v1"\n[voyage]\nbase_url = "https://ai.mongodb.com/v1"\ntimeout_s = 90\n'
        f'[[sources]]\nname = "docs"\npath = "{tmp_path}/docs"\n'
    )
    environ = {"VOYAGE_API_KEY": "pa-voyage-0123456789", "OPENAI_SYNC_API_KEY": "own-key-0123456789"}
    settings = parse_settings(text, tmp_path / "c.toml", environ)
    of_table = Profile(EMBEDDINGS, "voyage-4-lite", 256, "int8", "document")
    there = with_profile(settings, of_table)
    back = with_profile(there, profile_of(settings))

    assert (settings.section.base_url, settings.api_key()) == ("http://10.0.0.7/v1", "own-key-0123456789")
    assert (there.section.base_url, there.api_key()) == ("https://ai.mongodb.com/v1", "pa-voyage-0123456789")
    assert (there.section.timeout_s, profile_of(there)) == (90, of_table)
    assert (back.section, back.api_key()) == (settings.section, settings.api_key())


def test_a_section_without_a_model_is_refused(tmp_path):
    text = (
        f'data_dir = "{tmp_path}/data"\n[provider]\ntype = "openai-sync"\n[[sources]]\nname = "docs"\n'
        f'path = "{tmp_path}/docs"\n'
    )
    with pytest.raises(ConfigError, match=r"openai_sync\.model: names no model"):
        parse_settings(text, tmp_path / "c.toml", {})
