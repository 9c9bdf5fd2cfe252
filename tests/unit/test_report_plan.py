"""`plan`: foretells exactly what a run then does, and changes nothing."""

import hashlib

import orjson
import pytest
from world import World

from voyage_jobs.errors import ConfigError, StateError
from voyage_jobs.planning.plan import plan
from voyage_jobs.state import batches


@pytest.fixture
def planned(world):
    return lambda **options: plan(world.settings(), world.clock, **options)


def source(report):
    return report["sources"][0]


def counts(report):
    return {name: source(report)[name] for name in ("new", "changed", "moved", "vanished", "unchanged")}


def documents(world, count=5):
    world.by_rules(1)  # what several documents say is one text, whatever their titles
    for i in range(count):
        world.write(f"d{i}.md", f"# One\n\nText {i} here.\n\n# Two\n\nMore of {i}.")


def sent_batches(world):
    with world.worker() as context, context.store.read() as connection:
        return batches.newest(connection, 100)[::-1]


# --- what it refuses, and what it leaves alone ---


def test_a_folder_that_is_not_empty_is_refused_and_left_as_it_is(world, planned, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "mine").write_text("mine")
    with pytest.raises(ConfigError, match="is not empty"):
        planned(folder=folder)
    assert [path.name for path in folder.iterdir()] == ["mine"]
    with pytest.raises(ConfigError, match="cannot be written to"):
        planned(folder=folder / "mine" / "below")


def test_a_state_that_cannot_be_read_is_an_error_not_an_empty_one(world, planned):
    world.data_dir.mkdir()
    (world.data_dir / "state.db").write_bytes(b"nonsense" * 1000)
    with pytest.raises(StateError):
        planned()


def test_it_asks_for_no_key_sends_nothing_and_writes_nothing(world, planned):
    documents(world)
    planned()
    assert not world.data_dir.exists()
    world.run()
    documents(world, 7)
    before = hashlib.sha256((world.data_dir / "state.db").read_bytes()).hexdigest()
    asked = len(world.transport.requests)
    planned()
    assert hashlib.sha256((world.data_dir / "state.db").read_bytes()).hexdigest() == before
    assert len(world.transport.requests) == asked


# --- what it foretells ---


@pytest.mark.parametrize("before", ["nothing", "some waiting", "some published"])
def test_the_files_it_leaves_are_those_that_a_run_uploads(tmp_path, before):
    world = World(tmp_path, batching={"max_inputs": 6})
    if before != "nothing":
        world.write("a-first.md", "# early\n\nwords\n\n# shared\n\nMore of 1.")
        world.run(1 if before == "some waiting" else 2000, quiet=before != "some waiting")
    documents(world)
    report = plan(world.settings(), world.clock, folder=tmp_path / "out")
    known = len(sent_batches(world))
    spooled = []
    with world.worker() as context:
        for _ in range(30):
            world.take_turns(context, 1, quiet=False)
            for path in context.spool.glob("?" * 20 + ".jsonl"):
                if path.name not in dict(spooled):
                    spooled.append((path.name, path.read_bytes()))
    made = sent_batches(world)[known:]
    by_name = dict(spooled)
    uploaded = [by_name[f"{batch.ref}.jsonl"] for batch in made]
    written = [path.read_bytes() for path in sorted((tmp_path / "out").glob("batch-*.jsonl"))]
    assert written == uploaded
    assert report["batches"] == {
        "count": len(made),
        "inputs": sum(batch.inputs for batch in made),
        "bytes": sum(map(len, uploaded)),
        "tokens": sum(batch.tokens_estimated for batch in made),
    }
    params = orjson.loads((tmp_path / "out" / "request_params.json").read_bytes())
    assert params == orjson.loads(made[0].request_params)


def test_every_kind_of_change_is_told_apart(world, planned):
    documents(world)
    world.write("same.md", "touched, not changed")
    world.run()
    assert counts(planned()) == {"new": 0, "changed": 0, "moved": 0, "vanished": 0, "unchanged": 6}
    world.write("new.md", "new text")
    world.write("copy.md", "touched, not changed")
    world.write("d0.md", "changed text")
    world.write("same.md", "touched, not changed")
    (world.docs / "d1.md").rename(world.docs / "moved.md")
    world.remove("d2.md")
    world.write("blank.md", "  ")
    world.write("odd.md", b"\xff\xfe\x00")
    report = planned()
    assert counts(report) == {"new": 2, "changed": 1, "moved": 1, "vanished": 1, "unchanged": 3}
    assert source(report)["skipped"] == {"empty": 1, "undecodable": 1}
    assert report["embeddings"]["to_send"] == 2
    assert report["reused_chunks"] == 3  # two of the moved document, one of the copy


def test_what_waits_already_is_told_apart_and_comes_first(world, planned):
    documents(world, 2)
    world.run(1, quiet=False)
    world.write("new.md", "new text")
    report = planned()
    assert report["embeddings"]["already_waiting"] == 4
    assert report["embeddings"]["new"] == 1
    assert report["batches"]["inputs"] == 5


def test_the_same_text_is_counted_once(world, planned):
    world.write("a.md", "# The very same")
    world.write("b.md", "# The very same")
    report = planned()
    assert (report["chunks"], report["reused_chunks"], report["embeddings"]["to_send"]) == (2, 1, 1)
    assert report["tokens"]["reused"] == report["tokens"]["new"]


def test_with_a_limit_only_so_much_is_planned(world, planned):
    documents(world)
    report = planned(max_inputs=3)
    assert (report["batches"]["count"], report["batches"]["inputs"], report["max_inputs"]) == (1, 3, 3)
    assert report["embeddings"]["to_send"] == 10


def test_other_splitting_is_foretold(world, planned):
    documents(world)
    world.run()
    other = world.settings(splitting={"max_chars": 500})
    report = plan(other, world.clock)
    assert counts(report)["changed"] == 5
    assert report["embeddings"]["to_send"] == 0  # the chunks come out the same, and are known


def test_contextualized_windows_are_planned_whole(tmp_path):
    world = World(tmp_path, voyage={"model": "voyage-context-3", "endpoint": "/v1/contextualizedembeddings"})
    documents(world, 3)
    report = plan(world.settings(), world.clock, folder=tmp_path / "out")
    assert (report["chunks"], report["embeddings"]["to_send"], report["batches"]["inputs"]) == (6, 3, 6)
    lines = [orjson.loads(line) for line in (tmp_path / "out" / "batch-0001.jsonl").read_bytes().splitlines()]
    assert [len(line["body"]["inputs"][0]) for line in lines] == [2, 2, 2]


def test_the_price_is_that_of_the_tokens(world, planned):
    documents(world)
    report = planned()
    price, tokens = report["price_usd"], report["batches"]["tokens"]
    assert price["batch"] == pytest.approx(tokens * 0.0402 / 1e6)
    assert price["synchronous"] == pytest.approx(tokens * 0.06 / 1e6)
    assert price["saved_by_batch"] == pytest.approx(price["synchronous"] - price["batch"])
    world.run()
    assert world.ledger.batch_tokens <= tokens


# --- what it warns of ---


def warned(report, words):
    return any(words in warning for warning in report["warnings"])


def test_an_unknown_model_has_no_price(world):
    report = plan(world.settings(voyage={"model": "voyage-99"}), world.clock)
    assert report["price_usd"]["batch"] is None
    assert warned(report, "voyage-99")


def test_a_missing_folder_and_a_mass_delete_are_warned_of(world, planned):
    documents(world, 20)
    world.run()
    for i in range(15):
        world.remove(f"d{i}.md")
    assert "max_delete_share" in source(planned())["would_freeze"]
    world.docs.rename(world.root / "away")
    report = planned()
    assert "missing" in source(report)["would_freeze"]
    assert warned(report, "would be frozen")


def test_a_budget_and_other_vectors_are_warned_of(world):
    documents(world)
    world.run()
    documents(world, 9)
    world.write("big.md", "word " * 500)
    assert warned(plan(world.settings(budget={"daily_tokens": 10}), world.clock), "budget.daily_tokens")
    assert warned(
        plan(world.settings(voyage={"output_dimension": 16}), world.clock), "until `voyage-jobs reprofile`"
    )
    waves = world.settings(batching={"max_inputs": 1, "max_in_flight_batches": 2})
    assert warned(plan(waves, world.clock), "No more than 2 batches")
