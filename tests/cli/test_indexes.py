"""The table's indexes when they are damaged, lost or behind: searches answer, people are told, upkeep mends."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import pytest
from looking import Looking
from table_rows import PROFILE, batch, opened, vector
from test_reprofile_step import sync
from world import World

from voyage_jobs.config.profile import profile_of
from voyage_jobs.retrieval.result import Query
from voyage_jobs.retrieval.retriever import Retriever
from voyage_jobs.service.sync import Ending
from voyage_jobs.steps.acts import perform
from voyage_jobs.table import PublishedTable, Upkeep
from voyage_jobs.table.view import Views

ALL = functools.partial(Upkeep, words_from_rows=1, index_from_rows=1, unindexed_rows=1)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def spoil(path: Path) -> None:
    """Another content of the same size, which no look at sizes finds."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 4)
        file.write(bytes(size // 2))


DAMAGE = {
    "words cut": ("part_0_docs.lance", cut, "text_idx"),
    "words gone": ("metadata.lance", Path.unlink, "text_idx"),
    "words spoilt": ("part_0_invert.lance", spoil, "text_idx"),
    "vectors cut": ("index.idx", cut, "vector_idx"),
    "vectors spoilt": ("auxiliary.idx", spoil, "vector_idx"),
    "paths gone": ("page_data.lance", Path.unlink, "path_idx"),
}


def damage(table_path: str, name: str, how: Any) -> None:
    found = list(Path(table_path).glob(f"_indices/*/{name}"))
    assert found
    for path in found:
        how(path)


@pytest.fixture
def table(tmp_path: Path) -> PublishedTable:
    """Nine small fragments, which the next upkeep compacts, and all indexes."""
    made = opened(tmp_path)
    for number in range(9):
        doc = ("docs", f"{number}.md")
        made.flip([doc], iter([batch([(doc, n, f"the certificate {number} {n}") for n in range(100)])]))
    made.tend(ALL(small_fragments=100))
    return made


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_index_is_found_searched_without_and_built_again(table, tmp_path, kind) -> None:
    assert table.index_faults() == {}
    name, how, index = DAMAGE[kind]
    damage(table.path, name, how)
    assert index in table.index_faults()
    view = Views(str(tmp_path), "chunks").newest()
    where = "path = '3.md'"
    words = view.by_words("certificate", 5, where, lambda: True)
    vectors = view.by_vector(vector(PROFILE, 3).tolist(), 5, where)
    assert [len(words.rows), len(vectors.rows)] == [5, 5]
    assert {row["path"] for row in (*words.rows, *vectors.rows)} == {"3.md"}
    assert (words.damaged, vectors.damaged) != (False, False)
    table.flip([("docs", "new")], iter([batch([(("docs", "new"), n, f"leek {n}") for n in range(50)])]))
    table.tend(ALL())  # compacts, which reads the indexes
    assert table.index_faults() == {}
    view = Views(str(tmp_path), "chunks").newest()
    found = view.by_words("leeks", 100, None, lambda: True)
    assert (len(found.rows), found.damaged) == (50, False)
    assert all(not each.outside for each in table.indexes())


# --- told of, and mended, through the commands ---


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr("voyage_jobs.steps.tidy.Upkeep", ALL)
    looking = Looking(tmp_path, monkeypatch)
    for number in range(3):
        looking.world.write(f"{number}.md", f"# Soup {number}\n\nBoil leeks and potatoes.")
    return looking


def indexed(run: Looking) -> dict[str, int]:
    return {each["name"]: each["rows"] for each in run.json("status")["table"]["indexes"]}


def checks(run: Looking, code: int = 0) -> dict[str, str]:
    return {each["name"]: each["verdict"] for each in run.json("doctor", code=code)["checks"]}


def table_of(world: World) -> str:
    return str(world.data_dir / "lancedb" / "chunks.lance")


def test_status_and_doctor_show_the_indexes(run) -> None:
    run.world.run(search={"language": "none"})
    assert indexed(run)["text_idx"] == 3
    assert indexed(run)["vector_idx"] == 3
    assert "text_idx 3, vector_idx 3 (checked" in " ".join(run.text("status").split())
    assert checks(run)["indexes"] == "good"
    run.world.write("new.md", "# More\n\nMore leeks.")
    with run.world.worker() as context:
        while len(run.world.table_rows("path")) == 3:
            run.world.take_turns(context, 1, quiet=False)
            run.world.clock.advance(10)
    [told] = [each for each in run.json("doctor")["checks"] if each["name"] == "indexes"]
    assert "text_idx 3 rows of 4" in told["why"]


def test_a_damaged_word_index_is_told_of_and_repaired(run) -> None:
    run.world.run()
    damage(table_of(run.world), "part_0_docs.lance", cut)
    assert checks(run, code=3)["indexes"] == "bad"
    found = run.json("search", "leeks")
    assert len(found["hits"]) == 3
    assert any("verify --repair" in each for each in found["warnings"])
    [finding] = run.json("verify", code=3)["findings"]
    assert (finding["class"], finding["count"]) == ("index_damaged", 3)
    assert any("text_idx" in each for each in finding["examples"])
    run("verify", "--repair")
    assert run.json("search", "leeks")["warnings"] == []
    assert run.json("verify")["clean"] is True


@pytest.mark.parametrize("kind", ["words spoilt", "vectors spoilt"])
def test_the_daemon_outlives_a_damaged_index_and_builds_it_again(run, kind) -> None:
    run.world.run()
    name, how, index = DAMAGE[kind]
    damage(table_of(run.world), name, how)
    run.world.write("new.md", "# More\n\nMore leeks.")
    run.world.run()
    run.world.run()  # with an upkeep that adds the new row
    assert indexed(run)[index] == 4
    assert run.json("verify")["clean"] is True


def test_an_index_without_a_row_is_a_finding(run, monkeypatch) -> None:
    run.world.run()
    monkeypatch.setattr("voyage_jobs.steps.tidy.Upkeep", functools.partial(Upkeep))
    for number in range(3):
        run.world.write(f"{number}.md", f"# Salad {number}\n\nCut carrots.")
    with run.world.worker() as context:
        for _ in range(200):
            run.world.take_turns(context, 1, quiet=False)
            run.world.clock.advance(10)
            if all("Cut" in row["text"] for row in run.world.table_rows("text")):
                break
    assert {each["class"] for each in run.json("verify", code=3)["findings"]} == {"index_empty"}
    assert run.json("search", "carrots")["warnings"] == []
    run("verify", "--repair")
    assert run.json("verify")["clean"] is True


def test_a_table_for_other_vectors_has_its_indexes_at_the_next_idle_moment(run) -> None:
    run.world.run()
    assert indexed(run)["text_idx"] == 3
    other = {"output_dimension": 512}
    target = profile_of(run.world.settings(voyage=other)).to_json()
    with run.world.worker(voyage=other) as context:
        perform(context, "reprofile", {"do": "begin", "target": target}, "me")
        began = run.world.clock.mono()
        switched = False
        for _ in range(500):
            run.world.take_turns(context, 1, quiet=False)
            if run.world.log.named("reprofile.switched") and not switched:
                switched, began = True, run.world.clock.mono()
                assert run.json("status", voyage=other)["table"]["indexes"] is None
            if switched and context.open_table().indexes():
                break
            run.world.clock.advance(1)
    assert switched
    assert run.world.clock.mono() - began < 60
    assert {each.name: each.outside for each in context.open_table().indexes()}["text_idx"] == 0


# --- what costs nothing always answers ---


def test_whatever_the_mode_a_vector_of_nothing_is_refused_for_whole_numbers_too(
    tmp_path, monkeypatch
) -> None:
    world = World(tmp_path, dimension=256, voyage={"output_dtype": "int8"})
    world.write("soup.md", "# Soup\n\nBoil leeks.")
    world.run()
    monkeypatch.setattr(Retriever, "_embedded", lambda *_: [0] * 256)
    found = Retriever(world.settings(), world.clock, world.transport).search(Query("leek", mode="vector"))
    assert (found.mode, found.hits[0].path) == ("words", "soup.md")
    assert "query vector cannot be used" in found.warnings[0]


def test_what_a_sync_has_published_is_indexed_before_it_ends(tmp_path, monkeypatch) -> None:
    """Its upkeep ran while it waited for the job, when the table had not grown yet."""
    monkeypatch.setattr("voyage_jobs.steps.tidy.Upkeep", lambda **kept: Upkeep(**kept, words_from_rows=2))
    run = Looking(tmp_path, monkeypatch)
    run.world.write("a.md", "one")
    assert sync(run.world).ending is Ending.DONE
    assert indexed(run) == {}
    for name in ("b", "c"):
        run.world.write(f"{name}.md", f"two {name}")
    assert sync(run.world).ending is Ending.DONE
    assert indexed(run) == {"text_idx": 3, "title_words_idx": 3, "path_words_idx": 3}
    assert ", 3 indexes." in run.text("verify")
