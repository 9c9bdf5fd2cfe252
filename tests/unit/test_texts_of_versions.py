"""No offset cuts another text than the one that was embedded, wherever the text is taken from."""

from __future__ import annotations

import shutil

from older_state import as_0_1_0_left_it
from step_doors import document, prose, query, settle, shown, versions_of
from world import World

from voyage_jobs.readers import text


def shift(monkeypatch):
    """A decoder that gives another text of the same bytes, and whoever changed it forgot to raise its version."""
    real = text.decoded
    monkeypatch.setattr(text, "decoded", lambda data, said: "\n" + real(data, said).replace("word", "other"))


def test_a_text_that_is_read_otherwise_is_not_cut_by_the_old_offsets(world, monkeypatch):
    """The table is lost and made again from the files, whose bytes are as they were."""
    world.write("a.md", prose("a", 3))
    world.run()
    shutil.rmtree(world.data_dir / "lancedb")
    shift(monkeypatch)
    with world.worker() as context:
        settle(world, context)
        assert world.log.named("publish.no_text")
        assert versions_of(context, "a.md") == ["superseded", "published"]
    (texts,) = shown(world).values()
    assert [text.partition("\n")[0] for text in texts] == ["# a 0", "# a 1", "# a 2"]
    assert all("other" in text for text in texts)


def test_a_text_that_is_read_otherwise_is_not_sent(world, monkeypatch):
    """A segment is lost, and its texts are to be read from their files again."""
    world.by_rules(1)
    world.write("a.md", prose("a", 3))
    world.run()
    (segment,) = (world.data_dir / "vectors").glob("*/*.arrow")
    segment.unlink()
    shift(monkeypatch)
    with world.worker() as context:
        settle(world, context)
        assert world.log.named("texts.read_otherwise") == [{"versions": 1}]
        assert versions_of(context, "a.md") == ["retired", "published"]
    sent = {text for (texts,) in [shown(world).values()] for text in texts}
    assert all(world.ledger.times_billed(text) == 1 for text in sent)
    assert not world.ledger.billed_more_than_once()


def test_what_an_older_release_split_is_read_by_its_bytes(world):
    world.by_rules(1)
    world.write("a.md", prose("a", 3))
    world.run()
    before = shown(world)
    as_0_1_0_left_it(world)
    shutil.rmtree(world.data_dir / "lancedb")
    with world.worker() as context:
        settle(world, context)
        assert versions_of(context, "a.md") == ["published"]
    assert shown(world) == before


def test_a_text_from_the_table_is_kept_only_if_it_is_what_was_embedded(world):
    """Its file is gone, and the table says another text of the same length than was embedded."""
    world.write("a.md", prose("a", 2))
    world.write("b.md", prose("b", 2))
    world.run()
    world.remove("a.md")
    world.remove("b.md")
    import lancedb

    table = lancedb.connect(str(world.data_dir / "lancedb")).open_table("chunks")
    table.update(where="path = 'b.md'", values_sql={"text": "replace(text, 'word', 'worn')"})
    keep = [{"name": "docs", "path": str(world.docs), "keep": True}]
    with world.worker(sources=keep) as context:
        world.take_turns(context)
        assert document(context, "a.md").state == document(context, "b.md").state == "missing"
        kept = query(
            context,
            "SELECT d.name FROM texts t JOIN versions v ON v.id = t.version_id"
            " JOIN documents d ON d.id = v.document_id",
        )
        assert kept == [("a.md",)]


def test_a_text_of_windows_is_kept_by_the_keys_of_its_windows(tmp_path, monkeypatch):
    monkeypatch.setattr("voyage_jobs.splitting.requests.WINDOW_CHUNKS", 2)
    contextual = {"model": "voyage-context-3", "endpoint": "/v1/contextualizedembeddings"}
    world = World(tmp_path, voyage=contextual)
    world.write("a.md", prose("a", 5))
    world.write("b.md", prose("b"))
    world.run()
    world.remove("a.md")
    keep = [{"name": "docs", "path": str(world.docs), "keep": True}]
    with world.worker(sources=keep) as context:
        world.take_turns(context)
        assert query(context, "SELECT COUNT(DISTINCT embedding_id), COUNT(*) FROM chunks") == [(4, 6)]
        assert world.log.named("texts.kept") == [{"documents": 1}]
