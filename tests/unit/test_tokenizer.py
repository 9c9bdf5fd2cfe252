"""Counting tokens: exactly where there is a tokenizer, over-counted where there is none, and never with a failure."""

from __future__ import annotations

import functools

import httpx
import pytest
from step_doors import prose, query, scan
from tokenizer_file import make_tokenizer
from tokenizers import Tokenizer

from tests.splits import split
from voyage_jobs.core.tokens import estimate_each
from voyage_jobs.report.status import status as report_status
from voyage_jobs.service.reload import apply
from voyage_jobs.splitting.split import SplitOptions
from voyage_jobs.state import counts
from voyage_jobs.steps.assemble import assemble
from voyage_jobs.steps.recount import SLICE, recount
from voyage_jobs.vendors.rest import hub
from voyage_jobs.vendors.rest.hub import NoTokenizerError
from voyage_jobs.vendors.tokenizer import ESTIMATE, TokenCounter

fetch_tokenizer = functools.partial(hub.fetch_tokenizer, "voyageai", section="voyage")

TEXTS = ["", "the quick brown fox", "číslo 12345 — 日本語 🦊", "word " * 5_000]


def by_library(path, texts):
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    return [len(tokenizer.encode(text).ids) for text in texts]


# --- without one ---


def test_without_a_file_it_estimates(tmp_path):
    for count in (TokenCounter(None), TokenCounter(tmp_path / "none.json")):
        assert count(TEXTS) == estimate_each(TEXTS)
        assert (count.exact, count.name, count.signature, count.flaw) == (False, ESTIMATE, "", None)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"not json", b'{"version": "1.0", "model": {}}', b"\x00" * 1000]
)
def test_a_file_that_is_no_tokenizer_is_told_and_lived_with(tmp_path, content):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    count = TokenCounter(path)
    assert count(TEXTS) == estimate_each(TEXTS)
    assert not count.exact
    assert str(path) in count.flaw


# --- with one ---


def test_it_counts_as_the_library_does_and_nothing_is_cut(tmp_path):
    path = make_tokenizer(tmp_path / "tokenizer.json")
    count = TokenCounter(path)
    assert count(TEXTS) == by_library(path, TEXTS)
    assert count.exact
    assert count.name.startswith("tokenizer ")
    assert count([]) == []


def test_long_documents_are_counted_part_by_part(tmp_path, monkeypatch):
    path = make_tokenizer(tmp_path / "tokenizer.json")
    monkeypatch.setattr("voyage_jobs.vendors.tokenizer._SLICE_CHARS", 30)
    texts = [f"the quick brown fox number {number}" for number in range(50)]
    assert TokenCounter(path)(texts) == by_library(path, texts)


def test_names_tell_tokenizers_apart(tmp_path):
    one, two = make_tokenizer(tmp_path / "one.json"), make_tokenizer(tmp_path / "two.json", vocabulary=300)
    same = tmp_path / "same.json"
    same.write_bytes(one.read_bytes())
    assert TokenCounter(one).name == TokenCounter(same).name != TokenCounter(two).name
    assert TokenCounter(one).signature != TokenCounter(same).signature


def test_how_tokens_are_counted_changes_no_chunk(tmp_path):
    count = TokenCounter(make_tokenizer(tmp_path / "tokenizer.json"))
    text = "# One\n\n" + "the lazy dog. " * 500 + "\n\n# Two\n\nnumber 17"
    options = SplitOptions(max_chars=500)
    estimated, counted = split(text, "a.md", options).chunks, split(text, "a.md", options, count).chunks
    assert [chunk[:-1] for chunk in estimated] == [chunk[:-1] for chunk in counted]
    assert [chunk.tokens for chunk in counted] == count([text[chunk.start : chunk.end] for chunk in counted])
    assert [chunk.tokens for chunk in estimated] != [chunk.tokens for chunk in counted]


def test_windows_of_contextualized_models_stay_the_same(world, tmp_path):
    """Windows are embeddings: other ones would be paid again."""
    settings = {"voyage": {"model": "voyage-context-3", "endpoint": "/v1/contextualizedembeddings"}}
    world.write("a.md", prose("long", 30))
    with world.worker(**settings) as context:
        scan(context)
        before = query(context, "SELECT hex(key), vectors FROM embeddings ORDER BY 1")
    make_tokenizer(tmp_path / "data" / "tokenizers" / "voyage-context-3.json")
    world.write("a.md", prose("long", 30) + "\n")
    with world.worker(**settings) as context:
        scan(context)
        assert query(context, "SELECT hex(key), vectors FROM embeddings ORDER BY 1") == before


# --- when it comes later ---


def tokens(context):
    return query(context, "SELECT SUM(tokens) FROM embeddings")[0][0]


def chunk_tokens(context):
    return query(context, "SELECT SUM(tokens) FROM chunks")[0][0]


def counted(context):
    with context.store.read() as connection:
        return counts.counted(connection)


@pytest.fixture
def estimated(world):
    world.by_rules(1)  # bare texts, so that the test can count them
    for number in range(5):
        world.write(f"{number}.md", prose(f"number {number}", 3))
    with world.worker() as context:
        scan(context)
        assert not counted(context).exact
        return tokens(context)


def cached(world):
    return world.data_dir / "tokenizers" / "voyage-4.json"


def test_what_waits_is_counted_anew_before_it_is_packed(world, estimated):
    count = TokenCounter(make_tokenizer(cached(world)))
    with world.worker() as context:
        assert not counted(context).exact
        assert not assemble(context, eager=True)
        assert recount(context)
        while recount(context):
            pass
        assert counted(context).exact
        texts = [
            f"# number {n} {i}\n\nAbout number {n}, part {i}. " + "word " * 60
            for n in range(5)
            for i in range(3)
        ]
        assert tokens(context) == chunk_tokens(context) == sum(count([text.strip() for text in texts]))
        assert tokens(context) < estimated
        assert assemble(context, eager=True)
    assert world.log.named("tokens.exact")


def test_counting_anew_goes_on_after_a_death(world, estimated, monkeypatch):
    make_tokenizer(cached(world))
    monkeypatch.setattr("voyage_jobs.steps.recount.SLICE", 4)
    with world.worker() as context:
        assert recount(context)
        between = tokens(context)
    with world.worker() as context:  # the same file: it goes on where it was
        assert counted(context).recount_after is not None
        while recount(context):
            pass
        assert tokens(context) < between < estimated
    assert SLICE > 4


def test_a_text_that_cannot_be_had_keeps_its_estimate(world, estimated):
    make_tokenizer(cached(world))
    with world.worker() as context:
        with context.store.write() as tx:
            tx.connection.exec_driver_sql("DELETE FROM texts WHERE version_id = 1")
        (world.docs / "0.md").unlink()
        while recount(context):
            pass
        left = query(context, "SELECT SUM(tokens) FROM chunks WHERE version_id = 1")[0][0]
        assert left == estimated / 5
        assert counted(context).exact


def test_a_tokenizer_that_goes_away_brings_the_estimate_back(world, estimated):
    make_tokenizer(cached(world))
    with world.worker() as context:
        while recount(context):
            pass
    cached(world).unlink()
    with world.worker() as context:
        while recount(context):
            pass
        assert tokens(context) == estimated
        assert counted(context).by == ESTIMATE


def test_a_file_that_was_only_touched_counts_nothing_anew(world, estimated):
    path = make_tokenizer(cached(world))
    with world.worker() as context:
        while recount(context):
            pass
    path.write_bytes(path.read_bytes())
    with world.worker() as context:
        assert not recount(context)
        assert counted(context).exact


def test_a_running_process_takes_one_up_with_its_settings(world, estimated):
    with world.worker() as context:
        make_tokenizer(cached(world))
        apply(context, world.settings())
        assert recount(context)
        assert tokens(context) < estimated
        status = report_status(world.settings(), world.clock)
        assert status["tokens"]["exact"] is False
        while recount(context):
            pass
        status = report_status(world.settings(), world.clock)
        assert status["tokens"]["exact"] is True
        assert status["tokens"]["estimated"] == tokens(context)


def test_a_broken_one_is_in_the_log_and_nothing_stops(world, estimated):
    cached(world).parent.mkdir()
    cached(world).write_text("{}")
    with world.worker() as context:
        assert assemble(context, eager=True)
    assert world.log.named("tokens.estimated")


# --- fetching it ---


def answering(*, status=200, content=b"", error=None):
    calls = []

    def handle(request):
        calls.append(request)
        if error:
            raise error
        return httpx.Response(status, content=content)

    return httpx.MockTransport(handle), calls


def test_it_is_fetched_without_a_key(tmp_path, monkeypatch):
    monkeypatch.setenv("VOYAGE_API_KEY", "pa-secret")
    source = make_tokenizer(tmp_path / "source.json")
    transport, calls = answering(content=source.read_bytes())
    target = tmp_path / "tokenizers" / "voyage-4.json"
    size = fetch_tokenizer("voyage-4", target, transport=transport)
    assert size == len(source.read_bytes())
    assert target.read_bytes() == source.read_bytes()
    assert str(calls[0].url) == "https://huggingface.co/voyageai/voyage-4/resolve/main/tokenizer.json"
    assert "authorization" not in calls[0].headers
    assert [path.name for path in target.parent.iterdir()] == ["voyage-4.json"]


def test_redirects_to_where_large_files_are_kept_are_followed(tmp_path):
    content = make_tokenizer(tmp_path / "source.json").read_bytes()

    def handle(request):
        if request.url.host == "mirror.test":
            return httpx.Response(302, headers={"location": "https://store.test/file"})
        return httpx.Response(200, content=content)

    target = tmp_path / "t.json"
    fetch_tokenizer("voyage-4", target, hub="https://mirror.test/", transport=httpx.MockTransport(handle))
    assert target.read_bytes() == content


@pytest.mark.parametrize(("how", "told"), [
    ({"status": 404}, "answers 404"),
    ({"content": b"<html>sign in</html>"}, "is not a tokenizer"),
    ({"error": httpx.ConnectError("no route")}, "cannot be fetched: no route"),
    ({"error": httpx.ReadTimeout("")}, "cannot be fetched: ReadTimeout"),
])  # fmt: skip
def test_what_cannot_be_fetched_leaves_the_old_one(tmp_path, how, told):
    transport, _ = answering(**how)
    target = make_tokenizer(tmp_path / "t.json")
    before = target.read_bytes()
    with pytest.raises(NoTokenizerError, match=told) as caught:
        fetch_tokenizer("voyage-4", target, transport=transport)
    assert "estimated" in caught.value.hint
    assert target.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["t.json"]


def test_something_endless_is_not_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "MAX_BYTES", 1000)
    transport, _ = answering(content=b"x" * 2000)
    with pytest.raises(NoTokenizerError, match="larger than any"):
        fetch_tokenizer("voyage-4", tmp_path / "t.json", transport=transport)
    assert list(tmp_path.iterdir()) == []


def test_the_name_of_a_model_cannot_lead_elsewhere():
    assert hub.tokenizer_url("voyageai", "../x/y").endswith(
        "/voyageai/..%2Fx%2Fy/resolve/main/tokenizer.json"
    )
