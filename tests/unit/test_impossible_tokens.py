"""A state with numbers of tokens that cannot be: every command says so, and `verify --repair` makes it whole."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from step_doors import scan
from test_expedite_step import ask
from verify_doors import counts, found, prose, repaired, settled, sql
from world import KEY, World

from voyage_jobs.cli.main import cli
from voyage_jobs.errors import StateError
from voyage_jobs.maintenance.audit.repair import foretell
from voyage_jobs.maintenance.audit.verify import Scope, verify
from voyage_jobs.state.door import open_state

HUGE = 2**62 + 2**61
POISON = {
    "lines": "UPDATE lines SET tokens = {}",
    "embeddings": "UPDATE embeddings SET tokens = {}",
    "chunks": "UPDATE chunks SET tokens = {}",
    "batches": "UPDATE batches SET tokens_estimated = {0}, tokens_settled = {0}",
    "spend": "UPDATE spend SET tokens = {}",
    "saved": "INSERT INTO spend (at, kind, tokens) VALUES (1, 'saved', {0}), (1, 'saved', {0})",
}
MONEY = "SELECT kind, at, tokens, usd, source_id FROM spend WHERE batch_id IS NOT NULL ORDER BY kind"


def poison(world, *where, value=HUGE):
    sql(world, *(POISON[each].format(value) for each in where or POISON))


@pytest.mark.parametrize("where", [*POISON, None])
@pytest.mark.parametrize("value", [HUGE, 2**53 + 1, -5])
def test_it_is_found_and_mended_and_then_all_agrees(tmp_path, where, value):
    world = settled(tmp_path)
    before = sql(world, MONEY)
    poison(world, *[where] if where else [], value=value)
    seen = found(world)
    assert seen["tokens_impossible"] > 0
    assert "spend_wrong" not in seen, "it cannot be asked for as long as sums fail"
    _, left = repaired(world)
    assert left == {}
    assert found(world) == {}
    assert [row[:2] for row in sql(world, MONEY)] == [row[:2] for row in before], "on the day it was spent"
    world.write("new.md", prose("new"))
    world.run()
    assert sql(world, "SELECT COUNT(*) FROM documents WHERE state = 'present'") == [(5,)]


def test_what_takes_their_place_is_the_estimate_and_marked_so(tmp_path):
    world = settled(tmp_path)
    (estimate,) = sql(world, "SELECT SUM(tokens) FROM embeddings")[0]
    billed = world.ledger.batch_tokens
    poison(world, "lines", "batches", "spend")
    repaired(world)
    assert sql(world, "SELECT tokens_estimated, tokens_settled FROM batches") == [(estimate, estimate)]
    booked = dict(sql(world, "SELECT kind, SUM(tokens) FROM spend WHERE batch_id IS NOT NULL GROUP BY kind"))
    assert booked == {"reserved": estimate, "released": estimate, "settled": estimate}
    assert sql(world, "SELECT SUM(assumed) FROM spend") == [(estimate,)]
    assert billed <= estimate
    (told,) = world.log.named("tokens.replaced")
    assert told["batches"] == 1
    causes = [row[0] for row in sql(world, "SELECT cause FROM transitions WHERE kind = 'batch'")]
    assert sum("its money booked again" in cause for cause in causes) == 1


def test_one_line_of_many_is_replaced_and_the_others_stay(tmp_path):
    world = settled(tmp_path)
    before = sql(world, "SELECT line, tokens, assumed FROM lines WHERE line != 3 ORDER BY line")
    sql(world, f"UPDATE lines SET tokens = {2**53} WHERE line = 3")
    assert found(world) == {"tokens_impossible": 1}
    assert repaired(world) == ({"tokens_impossible": 1}, {})
    assert sql(world, "SELECT line, tokens, assumed FROM lines WHERE line != 3 ORDER BY line") == before
    (estimate,) = sql(
        world, "SELECT e.tokens FROM lines l JOIN embeddings e ON e.id = embedding_id WHERE line = 3"
    )[0]
    assert sql(world, "SELECT tokens, assumed FROM lines WHERE line = 3") == [(estimate, 1)]
    assert sql(world, "SELECT SUM(assumed) FROM spend") == [(estimate,)]


def test_texts_get_about_what_they_had(tmp_path):
    world = settled(tmp_path)
    before = dict(sql(world, "SELECT id, tokens FROM embeddings"))
    poison(world, "embeddings", "chunks")
    repaired(world)
    after = dict(sql(world, "SELECT id, tokens FROM embeddings"))
    assert all(0.8 * before[each] <= after[each] <= 1.2 * before[each] for each in before)


def test_what_was_sent_at_once_is_mended_too(tmp_path):
    world = World(tmp_path)
    world.write("a.md", prose("a", 3))
    with world.worker() as context:
        scan(context)
        ask(world, context)
    (estimate,) = sql(world, "SELECT SUM(tokens) FROM embeddings")[0]
    sql(
        world,
        f"UPDATE lines SET tokens = {HUGE}",
        f"UPDATE batches SET tokens_settled = {HUGE}",
        f"UPDATE spend SET tokens = {HUGE}",
    )
    assert repaired(world) == ({"tokens_impossible": 7}, {})
    assert sql(world, "SELECT tokens_settled FROM batches") == [(estimate,)]
    assert sql(world, "SELECT tokens, assumed FROM spend WHERE kind = 'expedited'") == [(estimate, estimate)]


SUMMING = (("status",), ("status", "--json"), ("cost",), ("cost", "--recompute"), ("sync",))
OTHERS = (("plan",), ("batches",), ("why", "a.md"), ("history", "a.md"))


@pytest.mark.parametrize("command", [*SUMMING, *OTHERS])
def test_before_that_no_command_ends_in_a_traceback(tmp_path, monkeypatch, command):
    world = World(tmp_path, dimension=256)
    world.write("a.md", prose("a", 3))
    world.run()
    poison(world)
    monkeypatch.setenv("VOYAGE_API_KEY", KEY)
    result = CliRunner().invoke(cli, ["--config", str(world.config_file()), *command])
    assert "unexpected" not in result.output
    assert not result.exception or isinstance(result.exception, SystemExit)
    if command in SUMMING or result.exit_code:
        said = " ".join(result.output.split())
        assert "too large to be added up" in said
        assert "verify --repair" in said


def test_a_dry_run_adds_up_nothing_that_cannot_be(tmp_path):
    world = settled(tmp_path)
    poison(world)
    for segment in (world.data_dir / "vectors").glob("*/*.arrow"):
        segment.unlink()
    findings = verify(world.settings(), world.clock, Scope())
    would = foretell(findings, open_state(world.settings()), 1.0)
    assert {each["class"] for each in would} >= {"tokens_impossible", "pack_missing"}
    assert json.dumps(would)
    assert counts(findings)["tokens_impossible"] > 12


def test_a_number_that_only_python_can_hold_is_no_traceback(tmp_path):
    world = settled(tmp_path)
    with world.worker() as context, pytest.raises(StateError, match="too large"), context.store.write() as tx:
        tx.connection.exec_driver_sql("UPDATE batches SET tokens_settled = ?", (2**64,))
