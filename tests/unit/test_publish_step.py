"""publish: whole documents, with what could be embedded, and nothing lost when a segment, a text or the disk is."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from step_doors import (
    document,
    embeddings_by_state,
    money,
    newest,
    prose,
    query,
    scan,
    settle,
    shown,
    turns,
    until,
    versions_of,
)
from world import World

from voyage_jobs.core.states import Batch
from voyage_jobs.errors import CorruptionError
from voyage_jobs.steps import rows
from voyage_jobs.steps.acts import perform
from voyage_jobs.steps.poll import poll
from voyage_jobs.steps.publish import publish


def test_rows_carry_what_the_contract_promises(world):
    text = "---\ntitle: The Title\ntags: [a, b]\n---\n# One\n\nfirst part\n\n## Two\n\nsecond part\n"
    path = world.write("notes/a.md", text)
    world.run()
    rows = world.table_rows()
    assert [row["ordinal"] for row in rows] == list(range(len(rows)))
    decoded = path.read_text()
    for row in rows:
        assert decoded[row["start"] : row["end"]] == row["text"]
        assert (row["source"], row["path"], row["model"]) == ("docs", "notes/a.md", "voyage-4")
        assert (row["title"], row["tokens"] > 0) == ("The Title", True)
        assert row["modified_at"].timestamp() == pytest.approx(path.stat().st_mtime, abs=1e-3)
        assert row["published_at"].timestamp() == pytest.approx(world.clock.wall(), abs=3600)
        assert json.loads(row["front_matter"]) == {"title": "The Title", "tags": ["a", "b"]}
        assert row["metadata"] == {
            **{name: row[name] for name in ("source", "path", "title", "ordinal", "url", "page")},
            "section": " > ".join(row["section"]),
            "modified_at": row["modified_at"].strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        assert (row["place"], row["page"], row["url"], row["record"]) == ("", 0, "", "")
        assert row["id"] == row["chunk_id"]
        assert row["chunk_id"].startswith(f"{row['doc_id']}-{row['ordinal']}-")
        assert len(row["embedding_key"]) == 40
    assert len({row["chunk_id"] for row in rows}) == len(rows)
    assert rows[-1]["section"] == ["One", "Two"]


def test_a_document_is_replaced_whole(world):
    world.write("a.md", prose("first", 4))
    world.run()
    world.write("a.md", prose("second", 2))
    with world.worker() as context:
        seen = []
        for _ in range(40):
            turns(world, context, 1)
            seen.append(tuple(shown(world)["a.md"]))
    assert {len(texts) for texts in seen} == {4, 2}
    assert all(len({text.split()[1] for text in texts}) == 1 for texts in seen)


def test_a_document_waits_for_its_last_chunk(tmp_path):
    world = World(tmp_path)
    world.write("a.md", prose("a", 5))
    with world.worker(batching={"max_inputs": 2}) as context:
        for _ in range(200):
            turns(world, context, 1)
            rows = shown(world).get("a.md", [])
            assert len(rows) in (0, 5)
            if rows:
                break
        assert len(rows) == 5


def test_a_failed_chunk_leaves_the_rest_published_and_a_retry_completes_it(tmp_path):
    world = World(tmp_path, faults={"line_refused": {"contains": "part 1."}})
    world.write("a.md", prose("a", 3))
    with world.worker() as context:
        settle(world, context)
        assert len(shown(world)["a.md"]) == 2
        assert query(context, "SELECT state, failed_chunks FROM versions") == [("published", 1)]

        world.sim.faults.rules = ()
        assert perform(context, "retry", {}, "me")["embeddings"] == 1
        assert versions_of(context, "a.md") == ["waiting"]
        assert len(shown(world)["a.md"]) == 2  # served all the time
        settle(world, context)
        assert query(context, "SELECT state, failed_chunks FROM versions") == [("published", 0)]
    assert len(shown(world)["a.md"]) == 3
    assert not world.ledger.billed_more_than_once()


def test_a_version_whose_chunks_all_failed_keeps_the_old_one_served(tmp_path):
    world = World(tmp_path, faults={"line_refused": {"contains": "awful"}})
    world.write("a.md", prose("a", 2))
    world.run()
    world.write("a.md", prose("awful", 2))
    with world.worker() as context:
        settle(world, context)
        assert versions_of(context, "a.md") == ["published", "waiting"]
        assert embeddings_by_state(context)["failed"] == 2
        assert "About a," in shown(world)["a.md"][0]

        world.sim.faults.rules = ()
        perform(context, "retry", {}, "me")
        settle(world, context)
    assert "awful" in shown(world)["a.md"][0]


def test_a_new_document_whose_chunks_all_failed_is_not_shown(tmp_path):
    world = World(tmp_path, faults={"line_refused": {"contains": "awful"}})
    world.write("a.md", prose("awful", 2))
    world.write("b.md", prose("b"))
    world.run()
    assert list(shown(world)) == ["b.md"]


def test_a_failed_chunk_that_an_edit_removes_is_forgotten(tmp_path):
    world = World(tmp_path, faults={"line_refused": {"contains": "part 1."}})
    world.write("a.md", prose("a", 2))
    world.run()
    world.write("a.md", prose("a", 1) + "\n\n# b\n\nother")
    with world.worker() as context:
        settle(world, context)
        assert "failed" not in embeddings_by_state(context)
    assert len(shown(world)["a.md"]) == 2


# Damage.


def segments_of(world):
    return sorted((world.data_dir / "vectors").rglob("*.arrow"), key=lambda path: path.stat().st_mtime_ns)


def test_a_damaged_pack_is_set_aside_and_its_vectors_fetched_anew(world):
    world.write("a.md", prose("a", 3))
    with world.worker() as context:
        from voyage_jobs.steps.collect import collect

        until(world, context, Batch.RUNNING)
        world.clock.advance(500)
        poll(context)
        collect(context)
        (segment,) = segments_of(world)
        size = segment.stat().st_size
        with open(segment, "r+b") as file:
            file.seek(size // 2)
            file.write(os.urandom(1) * (size // 4))
        assert publish(context)
        assert shown(world) == {}
        assert embeddings_by_state(context) == {"wanted": 3}
        assert list(segment.parent.glob("*.damaged*"))
        settle(world, context)
    assert len(shown(world)["a.md"]) == 3


@pytest.mark.parametrize("how", ["missing", "cut"])
def test_a_pack_that_is_missing_or_cut_is_noticed_at_the_start(world, how):
    world.write("a.md", prose("a", 3))
    world.run()
    (segment,) = segments_of(world)
    if how == "missing":
        segment.unlink()
    else:
        os.truncate(segment, segment.stat().st_size - 1)
    before = shown(world)
    with world.worker() as context:
        assert embeddings_by_state(context) == {"wanted": 3}
        assert versions_of(context, "a.md") == ["published"]
        assert shown(world) == before
        settle(world, context)
        assert embeddings_by_state(context) == {"held": 3}
    assert shown(world) == before


def test_pack_and_table_lost_together_end_in_whole_documents(world):
    """What is to be published again must wait for the vectors that are to be fetched again."""
    world.write("a.md", prose("a", 3))
    world.run()
    world.write("b.md", prose("b", 2))
    world.run()
    before = shown(world)
    segments_of(world)[0].unlink()
    shutil.rmtree(world.data_dir / "lancedb")
    with world.worker() as context:
        settle(world, context)
        assert query(context, "SELECT COUNT(*) FROM versions WHERE open_chunks > 0") == [(0,)]
    assert shown(world) == before


def test_a_text_that_is_gone_waits_for_a_scan(world):
    """The table is lost, and the file was edited before it could be published again: the new content follows."""
    world.write("a.md", prose("old"))
    world.write("b.md", prose("b"))
    world.run()
    shutil.rmtree(world.data_dir / "lancedb")
    world.write("a.md", prose("new"))
    with world.worker() as context:
        publish(context)
        assert list(shown(world)) == ["b.md"]
        assert world.log.named("publish.no_text")
        settle(world, context)
    assert "new" in shown(world)["a.md"][0]


def test_a_text_that_is_gone_and_its_file_too(world):
    world.write("a.md", prose("a"))
    world.write("b.md", prose("b"))
    world.run()
    shutil.rmtree(world.data_dir / "lancedb")
    world.remove("a.md")
    with world.worker() as context:
        settle(world, context)
        assert document(context, "a.md").state == "gone"
        assert "ready" not in versions_of(context, "a.md")
    assert list(shown(world)) == ["b.md"]


def test_a_disk_without_room_delays_the_publication_only(world):
    world.write("a.md", prose("a"))
    with world.worker() as context:
        until(world, context, Batch.RUNNING)
        context.free_bytes = lambda: 2_000
        turns(world, context, 30)
        assert newest(context).state is not Batch.RUNNING
        assert shown(world) == {}
        context.free_bytes = None
        settle(world, context)
    assert list(shown(world)) == ["a.md"]


def test_a_table_that_shows_something_else_is_not_acknowledged(world, monkeypatch):
    world.write("a.md", prose("a", 3))
    with world.worker() as context:
        until(world, context, Batch.RUNNING)
        table = context.open_table()
        real = table.keys
        monkeypatch.setattr(table, "keys", lambda *args: list(real(*args))[:0])
        with pytest.raises(CorruptionError, match="3 rows were published, the table shows 0"):
            settle(world, context)
        assert versions_of(context, "a.md") == ["ready"]
        assert query(context, "SELECT COUNT(*) FROM publications WHERE done_at IS NULL") == [(1,)]
    world.run()
    assert len(shown(world)["a.md"]) == 3
    assert not world.ledger.billed_more_than_once()


def test_many_documents_make_several_publications(world, monkeypatch):
    monkeypatch.setattr("voyage_jobs.steps.publish.PUBLICATION_CHUNKS", 4)
    for number in range(7):
        world.write(f"{number}.md", prose(f"number {number}", 2))
    with world.worker() as context:
        settle(world, context)
        found = query(context, "SELECT documents, rows FROM publications ORDER BY id")
        assert found == [(2, 4), (2, 4), (2, 4), (1, 2)]
    assert len(shown(world)) == 7


def test_the_state_lets_go_of_a_text_once_it_is_published(world):
    world.write("a.md", prose("a"))
    with world.worker() as context:
        scan(context)
        assert query(context, "SELECT COUNT(*) FROM texts") == [(1,)]
        settle(world, context)
        assert query(context, "SELECT COUNT(*) FROM texts") == [(0,)]


def test_a_document_without_any_text_is_published_empty_and_costs_nothing(world):
    world.write("a.md", "---\ntitle: only front matter\n---\n")
    world.write("b.md", prose("b"))
    with world.worker() as context:
        settle(world, context)
        assert money(context).settled_tokens == world.ledger.batch_tokens
        assert versions_of(context, "a.md") in ([], ["published"])
    assert "b.md" in shown(world)


def test_a_file_that_is_edited_while_the_table_is_filled_again_waits_and_the_rest_is_shown(
    world, monkeypatch
):
    """Its text was there when it was chosen and is gone when its rows are made: no reason to end the process."""
    for name in "ab":
        world.write(f"{name}.md", prose(name))
    world.run()
    shutil.rmtree(world.data_dir / "lancedb")
    real = rows.RowMaker.batches

    def batches(maker):
        monkeypatch.undo()
        world.write("a.md", prose("a, edited"))
        return real(maker)

    with world.worker() as context:
        monkeypatch.setattr(rows.RowMaker, "batches", batches)
        world.take_turns(context)
    assert "edited" in shown(world)["a.md"][0]
    assert "About b" in shown(world)["b.md"][0]
