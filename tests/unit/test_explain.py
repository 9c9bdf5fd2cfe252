"""`history`: what a word means, and what happened to that thing, down to why it is not published."""

import json
import os

import pytest
from world import World

from voyage_jobs.errors import ConfigError, StateError
from voyage_jobs.explain.history import history
from voyage_jobs.state import batches
from voyage_jobs.steps import acts


@pytest.fixture
def told(world):
    return lambda word, source=None, **sections: history(
        world.settings(**sections), world.clock, str(word), source
    )


def happened(story):
    return "\n".join(event.what for event in story.events)


def rescan(world, turns=None):
    world.clock.advance(400)
    world.run(turns or 2000, quiet=turns is None)


# --- what means nothing, or too much ---


def test_without_a_state_it_says_so(told):
    with pytest.raises(StateError, match="no state yet"):
        told("a.md")


def test_a_word_that_means_nothing_names_what_it_could_have_been(world, told):
    world.write("sub/a.md", "a")
    world.run(3, quiet=False)
    with pytest.raises(ConfigError, match=r"No document, chunk, batch or key named other\.md") as caught:
        told("other.md")
    assert "chunk_id" in caught.value.hint
    with pytest.raises(ConfigError, match=r"named a\.md") as caught:
        told("a.md")
    assert "Did you mean docs:sub/a.md?" in caught.value.hint
    with pytest.raises(ConfigError, match="no source 'nope'"):
        told("a.md", source="nope")
    for word in ("", "0" * 40, "0" * 40 + "/3", "0" * 16 + "-0-" + "0" * 16, "batch-no", "\udcff\n", "::"):
        with pytest.raises(ConfigError):
            told(word)


def test_a_file_that_the_state_has_not_heard_of_says_why(world, told):
    world.run(3, quiet=False)
    world.write("late.md", "x")
    world.write("code.py", "x")
    (world.docs / "folder").mkdir()
    with pytest.raises(ConfigError, match="no scan has seen it yet"):
        told("late.md")
    with pytest.raises(ConfigError, match="not one of the default endings"):
        told(world.docs / "code.py")
    with pytest.raises(ConfigError, match="is a folder"):
        told("folder")


def test_a_path_in_two_sources_is_ambiguous_until_the_source_is_named(world, told):
    other = world.root / "other"
    world.write("a.md", "one")
    world.write("a.md", "two", folder=other)
    both = {"sources": [*world.sections()["sources"], {"name": "other", "path": str(other)}]}
    world.run(3, quiet=False, **both)
    with pytest.raises(ConfigError, match=r"may mean 2 things: docs:a\.md, other:a\.md"):
        told("a.md", **both)
    for story in (told("other:a.md", **both), told("a.md", "other", **both), told(other / "a.md", **both)):
        assert story.ref == "other:a.md"


# --- documents ---


def test_a_published_document_tells_its_whole_way(world, told):
    world.write("a.md", "# One\n\nfirst\n\n# Two\n\nsecond")
    world.run()
    story = told("a.md")
    assert "Published at" in story.summary
    assert "2 chunks" in story.summary
    assert story.next is None
    for words in ("found on disk", "recorded", "assembled", "running", "ended", "collected", "published"):
        assert words in happened(story)
    assert [event.at for event in story.events] == sorted(event.at for event in story.events)
    order = [happened(story).index(f"{word} (") for word in ("ended", "are there", "collected", "published")]
    assert order == sorted(order)  # what happened at one moment stands in the order in which it was recorded
    [version] = story.parts["versions"]
    assert version["table_version"] is not None
    assert [chunk["ordinal"] for chunk in story.parts["chunks"]] == [0, 1]
    last = story.parts["chunks"][1]["last"]
    assert (last["line"], last["outcome"]) == (1, "success")
    assert last["tokens"] > 0
    json.dumps(story.as_dict())


def test_a_document_at_the_vendor_says_so_and_names_the_next_command(world, told):
    world.write("a.md", "text")
    world.run(10, quiet=False)
    story = told("./a.md")
    assert "Not published yet: of 1 chunk, 1 is at the provider." in story.summary
    assert "voyage-jobs sync" in story.next


def test_a_changed_document_is_served_as_before_until_then(world, told):
    world.write("a.md", "old")
    world.run()
    world.write("a.md", "new")
    rescan(world, 1)
    story = told("a.md")
    assert "of 1 chunk, 1 " in story.summary
    assert "Until then the table serves the version before." in story.summary
    rescan(world)
    assert [v["state"] for v in told("a.md").parts["versions"]] == ["retired", "published"]
    assert "replaced by" in happened(told("a.md"))


def test_a_refused_chunk_is_told_in_the_vendors_words(tmp_path):
    world = World(tmp_path, faults={"line_refused": {"contains": "poison", "message": "No poison."}})
    world.write("only.md", "poison")
    world.write("part.md", "# a\n\npoison too\n\n# b\n\nfine")
    world.run()
    only = history(world.settings(), world.clock, "only.md")
    assert "1 has failed. The provider says:" in only.summary
    assert "No poison." in only.summary
    assert "voyage-jobs retry" in only.next
    part = history(world.settings(), world.clock, "part.md")
    assert "1 more could not be embedded" in part.summary
    assert "retry" in part.next
    assert "No poison." in json.dumps(part.as_dict())


def test_a_cancelled_chunk_waits_for_retry(world, told):
    world.write("a.md", "text")
    newest = []
    with world.worker() as context:
        while not newest:
            world.take_turns(context, 1, quiet=False)
            with context.store.read() as connection:
                newest = batches.newest(connection, 1)
        acts.perform(context, "cancel", {"ref": newest[0].ref}, "me")
        for _ in range(20):
            world.clock.advance(60)
            world.take_turns(context, 2, quiet=False)
    story = told("a.md")
    assert "Not published yet: of 1 chunk, 1 was cancelled." in story.summary
    assert "voyage-jobs retry" in story.next
    key = story.parts["chunks"][0]["embedding_key"]
    assert told(key).summary == "It was cancelled."
    assert "voyage-jobs retry" in told(key).next


def test_skipped_missing_gone_and_moved_documents_say_what_they_are(world, told):
    world.write("blank.md", "   ")
    world.write("keep.md", "kept")
    world.write("old.md", "moves")
    world.write("gone.md", "goes")
    grace = {"sources": [{**world.sections()["sources"][0], "delete_grace_s": 3600}]}
    world.run(**grace)
    assert "skipped: empty" in told("blank.md").summary
    (world.docs / "old.md").rename(world.docs / "new.md")
    world.remove("gone.md")
    world.clock.advance(400)
    world.run(**grace)
    assert "missing on disk since" in told("gone.md").summary
    assert "Published at" in told("gone.md").summary
    assert "gone: deleted or moved" in told("old.md").summary
    assert told("new.md").facts["moved_from"] == "old.md"
    assert "moved from old.md" in happened(told("new.md"))
    world.clock.advance(7200)
    world.run(**grace)
    assert "It is gone" in told("gone.md").summary
    assert "taken out of the table" in happened(told("gone.md"))


def test_a_name_that_is_no_text_is_found_by_its_bytes(world, told):
    name = b"r\xe9sum\xe9\n.md"
    world.write(name, "text")
    world.run(3, quiet=False)
    assert told(os.fsdecode(name)).kind == "document"
    assert told(world.docs / os.fsdecode(name)).facts["state"] == "present"


# --- batches, embeddings, chunks ---


def test_a_batch_is_found_by_ref_beginning_and_vendor_id(world, told):
    world.write("a.md", "text")
    world.run(10, quiet=False)
    with world.worker() as context, context.store.read() as connection:
        batch = batches.newest(connection, 1)[0]
    for word in (batch.ref, batch.ref[:6], batch.remote_id):
        assert told(word).ref == batch.ref
    story = told(batch.ref)
    assert "Its job is running at the provider." in story.summary
    assert story.parts["attempts"][0]["state"] == "created"
    assert story.parts["outcomes"] == [{"outcome": "open", "lines": 1}]
    assert "creating (attempt 1)" in happened(story)
    assert story.facts["input_file_id"]
    rescan(world)
    done = told(batch.ref)
    assert done.facts["packs"]
    assert done.parts["outcomes"] == [{"outcome": "success", "lines": 1}]


def test_a_parked_batch_tells_reason_and_next_command(tmp_path):
    world = World(tmp_path, options={"retired_models": {"voyage-4": "voyage-5"}})
    world.write("a.md", "text")
    world.run(12, quiet=False)
    story = history(world.settings(), world.clock, "a.md")
    assert "is parked" in story.summary
    ref = story.parts["chunks"][0]["last"]["batch"]
    parked = history(world.settings(), world.clock, ref)
    assert "you must decide" in parked.summary
    assert "retired" in parked.summary
    assert "retry" in parked.next


def test_a_bad_line_is_listed_with_the_batch(tmp_path):
    world = World(tmp_path, faults={"line_refused": {"contains": "poison", "message": "No poison."}})
    world.write("a.md", "# a\n\npoison\n\n# b\n\nfine")
    world.run()
    ref = history(world.settings(), world.clock, "a.md").parts["chunks"][0]["last"]["batch"]
    [bad] = history(world.settings(), world.clock, ref).parts["bad_lines"]
    assert (bad["line"], bad["outcome"]) == (0, "refused")
    assert "No poison." in bad["detail"]


def test_an_embedding_tells_who_shares_it(world, told):
    world.write("a.md", "# The same\n\nshared")
    world.write("b.md", "# The same\n\nshared")
    world.run()
    key = told("a.md").parts["chunks"][0]["embedding_key"]
    story = told(key)
    assert story.summary == "It has its vector."
    assert [chunk["path"] for chunk in story.parts["chunks"]] == ["a.md", "b.md"]
    assert len(story.parts["lines"]) == 1
    assert story.facts["pack"]
    assert told(f"{key}/0").ref == f"{key}/0"


def test_a_window_is_found_by_the_keys_that_the_table_shows(tmp_path):
    contextual = {"model": "voyage-context-3", "endpoint": "/v1/contextualizedembeddings"}
    world = World(tmp_path, voyage=contextual)
    world.write("a.md", "# One\n\nfirst\n\n# Two\n\nsecond")
    world.run()
    shown = world.table_rows("embedding_key", "ordinal")[1]
    story = history(world.settings(), world.clock, shown["embedding_key"])
    assert shown["embedding_key"].endswith("/1")
    assert [chunk["ordinal"] for chunk in story.parts["chunks"]] == [1]


def test_a_chunk_id_of_the_table_tells_its_story_until_its_text_is_another(world, told):
    world.write("a.md", "# One\n\nfirst\n\n# Two\n\nsecond")
    world.run()
    wanted = world.table_rows("chunk_id")[1]["chunk_id"]
    story = told(wanted)
    assert story.summary.startswith("Chunk 1 of docs:a.md. In the published version it has its vector")
    assert story.parts["chunks"][0]["chunk_id"] == wanted
    world.write("a.md", "# One\n\nfirst\n\n# Two\n\nanother")
    assert "its text is not available now" in told(wanted).summary
    rescan(world)
    assert "No live version has this chunk any more" in told(wanted).summary
