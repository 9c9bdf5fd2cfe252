"""One search over several tables: one order, each hit with its table; what cannot be compared is refused."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from step_doors import prose
from world import KEY, World

import voyage_jobs
from voyage_jobs.cli.main import cli
from voyage_jobs.errors import ConfigError
from voyage_jobs.retrieval.result import Query
from voyage_jobs.retrieval.retriever import Retriever


@pytest.fixture
def two(tmp_path):
    """The handbook's and the tickets' own data folders, with their tables side by side."""
    tables = str(tmp_path / "tables")
    handbook = World(tmp_path / "h", dimension=256, lancedb={"uri": tables, "table": "handbook"})
    tickets = World(tmp_path / "t", dimension=256, lancedb={"uri": tables, "table": "tickets"})
    handbook.write("leeks.md", "# Leeks\n\nBoil leeks with potatoes until they are soft.")
    handbook.write("same.md", "# Same\n\nThe very same file about owls is in both.")
    tickets.write("kettle.md", "# Kettle\n\nThe kettle does not boil, and leeks stay raw.")
    tickets.write("same.md", "# Same\n\nThe very same file about owls is in both.")
    for number in range(5):
        tickets.write(f"t{number}.md", prose(f"t{number}"))
    for world in (handbook, tickets):
        world.run()
    return handbook, tickets


def ask(world, *tables, **query):
    retriever = Retriever(world.settings(), world.clock, world.transport, tables=tables)
    return retriever.search(Query(**{"text": "boil leeks", **query}))


def named(found):
    return [(hit.table, hit.path) for hit in found.hits]


def test_the_best_of_both_come_first_and_one_call_embeds_the_query(two):
    handbook, _ = two
    asked = handbook.sim.calls["embeddings"]
    found = ask(handbook, "handbook", "tickets", mode="vector", k=20)
    assert handbook.sim.calls["embeddings"] == asked + 1
    alone = [
        hit for table in ("handbook", "tickets") for hit in ask(handbook, table, mode="vector", k=20).hits
    ]
    best = sorted(alone, key=lambda hit: -hit.score)
    assert named(found) == [(hit.table, hit.path) for hit in best]
    assert len(found.hits) == 9
    words = ask(handbook, "handbook", "tickets", mode="words")
    assert {*named(words)[:2]} == {("handbook", "leeks.md"), ("tickets", "kettle.md")}


def test_one_file_in_both_is_two_hits_each_with_its_own_context(two):
    handbook, _ = two
    found = ask(handbook, "handbook", "tickets", text="owls", k=4, expand=1, per_document=1)
    assert {("handbook", "same.md"), ("tickets", "same.md")} <= {*named(found)}
    assert all("owls" in hit.context for hit in found.hits if hit.path == "same.md")
    assert sorted(hit.ranks["words"] for hit in found.hits if hit.path == "same.md") == [1, 2]


def test_a_table_of_another_data_folder_is_named_with_its_folder(two, tmp_path):
    handbook, _ = two
    elsewhere = str(tmp_path / "tables" / "tickets.lance")
    found = ask(handbook, "handbook", elsewhere, k=20, sources=("docs",))
    assert {hit.table for hit in found.hits} == {"handbook", elsewhere}
    assert [hit.table for hit in ask(handbook).hits] == ["handbook"] * 2


def test_a_table_that_is_named_twice_is_asked_once(two, tmp_path):
    handbook, _ = two
    once = named(ask(handbook, "handbook", mode="words"))
    assert once
    for again in (
        "handbook",
        "handbook.lance",
        str(tmp_path / "tables" / "handbook"),
        f"{tmp_path}/./tables/handbook/",
    ):
        assert named(ask(handbook, "handbook", again, mode="words")) == once


def test_vectors_that_cannot_be_compared_are_refused_unless_by_words(two, tmp_path):
    handbook, _ = two
    other = World(tmp_path / "o", dimension=512, lancedb={"uri": str(tmp_path / "tables"), "table": "other"})
    other.write("a.md", "# A\n\nBoil it.")
    other.run()
    with pytest.raises(ConfigError, match=r"'handbook' .*256.* table 'other' .*512.* cannot be compared"):
        ask(handbook, "handbook", "other")
    assert ("other", "a.md") in named(ask(handbook, "handbook", "other", mode="words"))


def test_what_is_no_table_is_told(two):
    handbook, _ = two
    with pytest.raises(ConfigError, match="There is no table 'nothing'") as told:
        ask(handbook, "handbook", "nothing")
    assert "sync" not in told.value.hint  # which fills the configured one alone
    with pytest.raises(ConfigError, match="is no name of a table"):
        ask(handbook, "/")


def test_the_command_names_the_table_of_each_hit(two, monkeypatch):
    handbook, _ = two
    monkeypatch.setenv("VOYAGE_API_KEY", KEY)
    command = ["--config", str(handbook.config_file()), "search", "boil", "--mode", "words"]
    both = ["--table", "handbook", "--table", "tickets"]

    def run(*arguments):
        found = CliRunner().invoke(cli, [*command, *arguments])
        return found.exit_code, found.stdout

    code, said = run(*both, "--json")
    assert code == 0
    assert {hit["table"] for hit in json.loads(said)["hits"]} == {"handbook", "tickets"}
    code, said = run(*both)
    assert "handbook docs:leeks.md" in said
    assert run("--table", "nothing")[0] == 2


def test_a_program_asks_the_same(two):
    handbook, _ = two
    project = voyage_jobs.open(handbook.config_file())
    found = project.search("boil leeks", mode="words", table=["handbook", "tickets"])
    assert {hit.table for hit in found} == {"handbook", "tickets"}
    assert {hit.table for hit in project.search("boil leeks", mode="words")} == {"handbook"}
