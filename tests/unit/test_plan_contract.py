"""A plan is a contract: its tokens are those of the bill, and what it says is done to the letter or not at all."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from step_doors import prose, query
from tokenizer_file import make_tokenizer
from world import World

from voyage_jobs.errors import ConfigError
from voyage_jobs.planning.check import demand_unchanged
from voyage_jobs.planning.file import read_plan
from voyage_jobs.planning.plan import plan as make_plan
from voyage_jobs.service.signals import Signals
from voyage_jobs.service.sync import Ending, Sync


@pytest.fixture
def exact(tmp_path):
    """A world whose vendor bills by a tokenizer, and whose settings name the same."""
    file = str(make_tokenizer(tmp_path / "tokenizer.json"))
    world = World(tmp_path, options={"tokenizer": file}, voyage={"tokenizer": file})
    fill(world)
    return world


def fill(world, documents=6):
    for number in range(documents):
        world.write(f"part{number % 2}/d{number}.md", prose(f"number {number}", 4))
    world.write("copy.md", prose("number 1", 4))  # the same texts again
    world.write("odd.txt", "číslo 12345 — 日本語 🦊, the quick brown fox\n" * 40)


def plan(world, out=None, **options):
    sections = options.pop("sections", {})
    return make_plan(world.settings(**sections), world.clock, out=out, **options)


def sync(world, file=None, *, stop_after=None, sections=None, **options):
    """`sync`, or `sync --plan FILE` as the command does it; the outcome and the context's events."""
    with Signals() as signals, world.worker(**(sections or {})) as context:
        if file is not None:
            planned = read_plan(file)
            demand_unchanged(planned, context)
            context.only = frozenset(planned.keys)
        waits = []

        def watch(rest):
            waits.append(rest)
            if stop_after is not None and len(waits) >= stop_after:
                signals.stop()

        return Sync(context, signals, watch=watch, **options).run()


def refusal(world, file, **sections):
    """Why `sync --plan` refuses; nothing is sent then."""
    before = len(world.ledger.export()["batches"])
    with world.worker(**sections) as context:
        with pytest.raises(ConfigError, match="nothing was sent") as caught:
            demand_unchanged(read_plan(file), context)
        assert query(context, "SELECT COUNT(*) FROM batches WHERE state NOT IN ('closed', 'running')") == [
            (0,)
        ]
    assert len(world.ledger.export()["batches"]) == before
    return caught.value.message


# --- the bill ---


@pytest.mark.parametrize("model", ["voyage-4", "voyage-context-3"])
def test_the_tokens_of_a_plan_are_those_of_the_bill(tmp_path, model):
    file = str(make_tokenizer(tmp_path / "tokenizer.json"))
    endpoint = "/v1/contextualizedembeddings" if "context" in model else "/v1/embeddings"
    settings = {"tokenizer": file, "model": model, "endpoint": endpoint}
    world = World(tmp_path, options={"tokenizer": file}, voyage=settings)
    fill(world)
    planned = plan(world)
    assert planned["tokens_counted_by"].startswith("tokenizer ")
    world.run()
    assert planned["batches"]["tokens"] == planned["tokens"]["to_send"] == world.ledger.batch_tokens
    assert world.ledger.billed_more_than_once() == {}
    again = plan(world)
    assert (again["tokens"]["to_send"], again["sources"][0]["unchanged"]) == (0, 8)


def test_an_edit_is_planned_to_the_token(exact):
    exact.run()
    before = exact.ledger.batch_tokens
    exact.write("part0/d0.md", prose("number 0", 4) + "\n\n# More\n\nrenew a certificate")
    planned = plan(exact)
    assert planned["sources"][0]["changed"] == 1
    exact.run()
    assert planned["tokens"]["to_send"] == exact.ledger.batch_tokens - before > 0


def test_what_waits_and_was_estimated_is_planned_exactly(exact):
    with exact.worker(voyage={"tokenizer": ""}) as context:  # scanned before the tokenizer came
        pipeline_scan(context)
    planned = plan(exact)
    assert planned["embeddings"]["already_waiting"] == planned["embeddings"]["to_send"] > 0
    exact.run()
    assert planned["tokens"]["to_send"] == exact.ledger.batch_tokens


def pipeline_scan(context):
    from step_doors import scan

    scan(context)


def test_a_tree_that_moves_costs_nothing(exact):
    exact.run()
    billed = exact.ledger.batch_tokens
    for name in os.listdir(exact.docs):
        target = exact.docs / "elsewhere" / name
        target.parent.mkdir(exist_ok=True)
        shutil.move(exact.docs / name, target)
    planned = plan(exact)
    assert (planned["tokens"]["to_send"], planned["sources"][0]["moved"]) == (0, 8)
    exact.run()
    assert exact.ledger.batch_tokens == billed


def test_another_path_of_the_source_costs_nothing(exact, tmp_path):
    exact.run()
    elsewhere = tmp_path / "other" / "place"
    shutil.copytree(exact.docs, elsewhere)
    sections = {"sources": [{"name": "docs", "path": str(elsewhere)}]}
    assert plan(exact, sections=sections)["tokens"]["to_send"] == 0
    renamed = {"sources": [{"name": "manuals", "path": str(elsewhere)}]}
    planned = plan(exact, sections=renamed)
    assert (planned["tokens"]["to_send"], planned["sources"][0]["new"]) == (0, 8)
    billed = exact.ledger.batch_tokens
    exact.run(**renamed)
    assert exact.ledger.batch_tokens == billed


def test_without_a_tokenizer_the_plan_over_counts_and_says_so(world):
    fill(world)
    planned = plan(world)
    world.run()
    assert planned["tokens_counted_by"] == "estimate"
    assert planned["tokens"]["to_send"] > world.ledger.batch_tokens


def test_a_tokenizer_that_cannot_be_used_is_a_warning(world, tmp_path):
    fill(world)
    (tmp_path / "bad.json").write_text("{}")
    planned = plan(world, sections={"voyage": {"tokenizer": str(tmp_path / "bad.json")}})
    assert planned["tokens_counted_by"] == "estimate"
    assert any("bad.json" in warning for warning in planned["warnings"])


# --- the finish ---


def test_the_finish_is_unknown_until_a_batch_has_ended_here(exact):
    first = plan(exact)["finish"]
    assert (first["likely_at"], first["late_at"], first["batches_known"]) == (None, None, 0)
    exact.run()
    exact.write("new.md", prose("a new one"))
    later = plan(exact)
    assert later["finish"]["batches_known"] == 1
    assert later["as_of"] < later["finish"]["likely_at"] <= later["finish"]["late_at"]
    exact.run()
    assert plan(exact)["finish"]["likely_at"] is None  # nothing is to be sent


# --- the file ---


def test_the_file_says_everything(exact, tmp_path):
    exact.run()
    exact.write("new.md", prose("a new one", 2))
    exact.write("part0/d0.md", prose("number 0", 5))
    shutil.move(exact.docs / "part0" / "d2.md", exact.docs / "moved.md")
    exact.remove("part0/d4.md")
    exact.write("picture.md", b"\x00\x01" * 100)
    report = plan(exact, tmp_path / "plan.json")
    raw = json.loads((tmp_path / "plan.json").read_text())
    assert (raw["format"], raw["version"]) == ("voyage-jobs plan", 1)
    assert raw["report"] == json.loads(json.dumps(report))
    found = {(entry["change"], entry["path"]): entry for entry in raw["entries"]}
    assert set(found) == {
        ("new", "new.md"),
        ("new", "moved.md"),
        ("changed", "part0/d0.md"),
        ("moved", "part0/d2.md"),
        ("vanished", "part0/d4.md"),
        ("skipped", "picture.md"),
    }
    assert len(found["new", "new.md"]["send"]) == 2
    assert found["new", "moved.md"]["send"] == []
    assert len(found["changed", "part0/d0.md"]["send"]) == 1
    assert found["skipped", "picture.md"]["reason"] == "binary"
    sent = [tokens for entry in raw["entries"] for _, tokens in entry.get("send", ())]
    assert sum(sent) == report["tokens"]["to_send"]
    assert not (tmp_path / "plan.json.tmp").exists()


def test_names_that_are_no_text_are_planned_too(exact, tmp_path):
    exact.write(b"caf\xe9.md", prose("a cafe"))
    plan(exact, tmp_path / "plan.json")
    assert sync(exact, tmp_path / "plan.json").ending is Ending.DONE


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"format": "voyage-jobs plan", "version": 2}', b'{"format": ']
)
def test_what_is_no_plan_is_refused(tmp_path, content):
    (tmp_path / "plan.json").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_plan(tmp_path / "plan.json")
    assert "plan --out" in caught.value.hint


@pytest.mark.parametrize("broken", [
    {"entries": [{"change": "new", "source": "docs", "path": "a.md", "content_hash": "zz", "send": []}]},
    {"entries": [{"change": "invented", "source": "docs", "path": "a.md"}]},
    {"entries": [{"change": "waiting", "send": [["abcd", 3]]}]},
    {"entries": [{}]},
    {"entries": 3},
    {"report": None},
])  # fmt: skip
def test_a_plan_that_was_tampered_with_is_refused(exact, tmp_path, broken):
    plan(exact, tmp_path / "plan.json")
    raw = json.loads((tmp_path / "plan.json").read_text())
    (tmp_path / "plan.json").write_text(json.dumps({**raw, **broken}))
    with pytest.raises(ConfigError, match="not a usable plan"):
        read_plan(tmp_path / "plan.json")


def test_a_place_that_cannot_be_written_is_told(exact, tmp_path):
    with pytest.raises(ConfigError, match="cannot be written"):
        plan(exact, tmp_path / "nowhere" / "plan.json")


# --- carrying it out ---


def test_it_is_carried_out_to_the_letter(exact, tmp_path):
    planned = plan(exact, tmp_path / "plan.json")
    assert sync(exact, tmp_path / "plan.json").ending is Ending.DONE
    assert exact.ledger.batch_tokens == planned["tokens"]["to_send"]
    assert exact.ledger.units() == planned["embeddings"]["to_send"]


def test_a_plan_of_a_small_try_sends_just_that(exact, tmp_path):
    planned = plan(exact, tmp_path / "plan.json", max_inputs=5)
    assert planned["batches"]["inputs"] == 5
    outcome = sync(exact, tmp_path / "plan.json")
    assert outcome.ending is Ending.UNFINISHED
    assert [problem.code for problem in outcome.problems] == ["not_planned"]
    assert exact.ledger.units() == 5
    assert exact.ledger.batch_tokens == planned["batches"]["tokens"]
    assert sync(exact, tmp_path / "plan.json").ending is Ending.UNFINISHED  # done already: nothing more
    assert exact.ledger.units() == 5


def test_an_interrupted_one_goes_on(exact, tmp_path):
    planned = plan(exact, tmp_path / "plan.json")
    assert sync(exact, tmp_path / "plan.json", stop_after=1).ending is Ending.STOPPED
    assert sync(exact, tmp_path / "plan.json").ending is Ending.DONE
    assert exact.ledger.batch_tokens == planned["tokens"]["to_send"]
    assert sync(exact, tmp_path / "plan.json").ending is Ending.DONE  # once more changes nothing
    assert exact.ledger.batch_tokens == planned["tokens"]["to_send"]


def test_moves_and_losses_are_carried_out_and_may_be_repeated(exact, tmp_path):
    exact.run()
    shutil.move(exact.docs / "part0" / "d2.md", exact.docs / "moved.md")
    exact.remove("part0/d4.md")
    plan(exact, tmp_path / "plan.json")
    for _ in range(2):
        assert sync(exact, tmp_path / "plan.json").ending is Ending.DONE
    paths = {row["path"] for row in exact.table_rows("path")}
    assert "moved.md" in paths
    assert not paths & {"part0/d2.md", "part0/d4.md"}


def test_what_changes_while_it_is_carried_out_is_not_sent(exact, tmp_path):
    plan(exact, tmp_path / "plan.json")
    with Signals() as signals, exact.worker() as context:
        planned = read_plan(tmp_path / "plan.json")
        demand_unchanged(planned, context)
        context.only = frozenset(planned.keys)
        exact.write("late.md", prose("too late"))
        outcome = Sync(context, signals).run()
        waiting = query(context, "SELECT COUNT(*) FROM embeddings WHERE state = 0")
    assert [problem.code for problem in outcome.problems] == ["not_planned"]
    assert waiting == [(1,)]
    assert exact.ledger.units() == len(planned.keys)


def edit(world):
    world.write("part0/d0.md", "# Something else\n\nthe lazy dog")


@pytest.mark.parametrize(("change", "told"), [
    (edit, "docs:part0/d0.md was changed again"),
    (lambda world: world.write("new.md", prose("a new one")), "docs:new.md is new"),
    (lambda world: world.remove("part1/d1.md"), "docs:part1/d1.md is no longer what was planned"),
    (lambda world: world.write("part0/d0.md", b"\x00" * 99), "docs:part0/d0.md is no longer taken: binary"),
])  # fmt: skip
def test_what_changed_since_is_named_and_nothing_is_sent(exact, tmp_path, change, told):
    plan(exact, tmp_path / "plan.json")
    change(exact)
    assert told in refusal(exact, tmp_path / "plan.json")


def test_documents_that_went_or_came_back_are_named(exact, tmp_path):
    exact.run()
    exact.remove("copy.md")
    plan(exact, tmp_path / "plan.json")
    exact.remove("odd.txt")
    exact.write("copy.md", prose("number 1", 4))
    told = refusal(exact, tmp_path / "plan.json")
    assert "docs:odd.txt has vanished" in told
    assert "docs:copy.md is back" in told


def test_texts_that_came_to_wait_are_named(exact, tmp_path):
    plan(exact, tmp_path / "plan.json")
    raw = json.loads((tmp_path / "plan.json").read_text())
    with exact.worker() as context:
        pipeline_scan(context)
    entries = [entry for entry in raw["entries"] if entry["path"] != "odd.txt"]
    (tmp_path / "plan.json").write_text(json.dumps({**raw, "entries": entries}))
    assert "waits to be sent, too" in refusal(exact, tmp_path / "plan.json")


@pytest.mark.parametrize(("sections", "told"), [
    ({"splitting": {"max_chars": 500}}, "the settings: splitting"),
    ({"prices": {"voyage-4": {"batch_usd_per_million": 9}}}, "the settings: price"),
    ({"voyage": {"tokenizer": ""}}, "the settings: tokenizer"),
])  # fmt: skip
def test_other_settings_are_named(exact, tmp_path, sections, told):
    plan(exact, tmp_path / "plan.json")
    assert told in refusal(exact, tmp_path / "plan.json", **sections)


def test_a_long_list_is_cut_short(exact, tmp_path):
    plan(exact, tmp_path / "plan.json")
    for number in range(30):
        exact.write(f"new{number}.md", prose(f"new {number}"))
    assert "and 20 more" in refusal(exact, tmp_path / "plan.json")
