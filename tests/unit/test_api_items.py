"""Texts that a program hands over: they come back exactly, cost once, and are removed only on purpose."""

import functools
import json
import os
import threading

import pytest
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st

from tests.splits import split
from tests.world import World
from voyage_jobs import errors
from voyage_jobs.api.project import Project
from voyage_jobs.config import load_settings
from voyage_jobs.config.item_sources import with_item_sources
from voyage_jobs.core import crash
from voyage_jobs.items import Item, folder, removals
from voyage_jobs.items.item import decode, encode, file_of
from voyage_jobs.splitting.split import SplitOptions
from voyage_jobs.steps import scan_ending

AWKWARD = {
    "plain": "yes",
    "empty": "",
    "no": "no",
    "when": "2026-01-01",
    "quotes": "a \"b\" 'c' \\ /",
    "lines": "a\nb\r\nc\td\x85e\u2028f\u2029g\x7f\ufeff",
    "merge": {"<<": {"a": 1}, "=": "=", "null": None, "true": True, "1": 1},
    "emoji": "🧭 Ἀθῆναι",
    "closing": "---",
    "numbers": [
        0,
        -1,
        2**53 + 1,
        2**63 - 1,
        -(2**63),
        1.0,
        0.1,
        1e16,
        1e-7,
        5e-324,
        1.7976931348623157e308,
        -0.0,
    ],
    "deep": [[[{"a": [[]]}]], {}],
    " key: [x] ": "&a *a !t %d @ `",
}
ITSELF = []
ITSELF.append(ITSELF)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",)), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=("Cs",)), max_size=10), inner, max_size=3)
    ),
    max_leaves=10,
)
TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path, sources=[])


def project_of(world, **sections):
    return Project(world.settings(**sections), clock=world.clock, transport=world.transport)


def canonical(value):
    return json.dumps(value, sort_keys=True)


def served(world):
    return [(row["source"], row["path"]) for row in world.table_rows("source", "path")]


# --- they come back as they went in ---


def test_id_metadata_and_text_come_back_with_a_hit(world):
    project = project_of(world)
    texts = [
        "# Höhe\n\nA\u00a0line.\r\nAnother.",
        "---\nnot: front matter\n---\nbut text",
        "\n\n  plain\ttext \n",
    ]
    items = [Item(f"id/{n}\n☃", text, AWKWARD) for n, text in enumerate(texts)]
    assert project.items("notes").put(items) == 3
    assert project.sources == ("notes",)
    assert project.sync().done
    hits = sorted(project.search("text", k=10), key=lambda hit: hit.ordinal)
    assert {hit.source for hit in hits} == {"notes"}
    for item in items:
        mine = [hit for hit in hits if hit.item_id == item.id]
        assert all(canonical(hit.metadata) == canonical(AWKWARD) for hit in mine)
        assert "".join("".join(hit.text for hit in mine).split()) == "".join(item.text.split())
        assert all(hit.text in item.text for hit in mine)
    (hit,) = (hit for hit in hits if hit.item_id == items[-1].id)
    assert hit.text == "plain\ttext"
    assert sorted(project.items("notes").ids()) == sorted(item.id for item in items)
    assert hit.as_dict()["front_matter"] == {"item_id": items[-1].id, **AWKWARD}


@examples(300)
@given(TEXT, st.dictionaries(st.text(st.characters(exclude_categories=("Cs",))), JSON, max_size=4), TEXT)
def test_the_reader_gives_back_exactly_what_was_put(item_id, metadata, text):
    item = Item(item_id, text, metadata)
    try:
        data = encode(item)
    except errors.ConfigError:
        assert not text.strip() or "item_id" in metadata or "\0" in text
        return
    written = data.decode()
    assert canonical(decode(written)) == canonical([item_id, metadata])
    document = split(written, file_of(item_id), SplitOptions())
    assert written.endswith(text)
    cut = [written[chunk.start : chunk.end] for chunk in document.chunks]
    assert all(part in text for part in cut)
    assert "".join("".join(cut).split()) == "".join(text.split())


@pytest.mark.parametrize("ids", [None, 1, [1], [None], "a"])
def test_ids_that_are_none_are_refused_in_words(world, ids):
    with pytest.raises(errors.ConfigError, match=r"must be a (list|text)"):
        project_of(world).items("notes").remove(ids)


def test_tuples_and_titles(world):
    project = project_of(world)
    project.items("notes").put([("a", "One thing."), ("b", "Another thing.", {"title": "Called so"})])
    assert project.sync().done
    assert {hit.item_id: hit.title for hit in project.search("thing")}["b"] == "Called so"


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (("", "text"), "id of an item"),
        ((1, "text"), "id of an item"),
        (("a", " \n"), "has no text"),
        (("a", "x\0y"), "zero character"),
        (("a", "\ud800"), "lone surrogate"),
        (("\ud800", "a"), "lone surrogate"),
        (("a", "x", {"item_id": "b"}), "which is for the id"),
        (("a", "x", {1: "b"}), "JSON has not"),
        (("a", "x", {"n": float("nan")}), "JSON has not"),
        (("a", "x", {"n": {1, 2}}), "JSON has not"),
        (("a", "x", {"n": 2**63}), "cannot be stored as it is"),
        (("a", "x", {"n": "y" * 40_000}), "cannot be stored as it is"),
        (("a", "x", {"n": 10**5000}), "cannot be stored as it is"),
        (("a", "x", {"n": functools.reduce(lambda inner, _: [inner], range(5000), 1)}), "cannot be stored"),
        (("a", "x", {"n": ITSELF}), "cannot be stored as it is"),
        ((10**5000, "x"), "id of an item"),
        (("a", "x", {"k" * 1_100: 1}), "cannot be stored as it is"),
        (("a", "x" * 20_000_001), "the limit is 20,000,000"),
        (("a", b"x"), "text of item 'a' is a bytes; it must be a text"),
        (("a", "x", "team"), "metadata of item 'a' is a str; it must be a dict"),
        (("a", "x", None), "metadata of item 'a' is a NoneType; it must be a dict"),
        ("ab", "is no item"),
        (("a", "x", {}, 1), "is no item"),
    ],
)
def test_what_would_not_come_back_is_refused(world, item, message):
    notes = project_of(world).items("notes")
    with pytest.raises(errors.ConfigError, match=message):
        notes.put([("before", "is stored"), item])
    assert list(notes.ids()) == ["before"]


def test_files_of_others_among_them_are_no_items(world):
    notes = project_of(world).items("notes")
    notes.put([("a", "Text.")])
    (folder_of,) = (world.data_dir / "items" / "notes").glob("[0-9a-f][0-9a-f]")
    (folder_of / "other.md").write_bytes(b"\xff")
    assert list(notes.ids()) == ["a"]


@pytest.mark.parametrize("where", ["items", "items/notes"])
def test_a_file_where_the_folder_is_to_be_is_told(world, where):
    (world.data_dir / where).parent.mkdir(parents=True)
    (world.data_dir / where).touch()
    notes = project_of(world).items("notes")
    for change in (lambda: notes.put([("a", "Text.")]), lambda: notes.remove(["a"])):
        with pytest.raises(errors.ConfigError, match="items/notes cannot be used"):
            change()


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "x" * 65])
def test_names_that_cannot_be(world, name):
    with pytest.raises(errors.ConfigError, match="cannot be called"):
        project_of(world).items(name)


def test_a_name_that_a_folder_has(world):
    project = project_of(world, sources=[{"name": "docs", "path": str(world.docs)}])
    with pytest.raises(errors.ConfigError, match="is the name of a source"):
        project.items("docs")


# --- they are documents as any other ---


def test_only_what_is_new_is_sent(world):
    project = project_of(world)
    notes = project.items("notes")
    items = [(f"n{n}", f"Text number {n}.", {"n": n}) for n in range(20)]
    assert notes.put(items) == 20
    assert project.plan().texts == 20
    assert project.sync().texts_sent == 20
    world.clock.advance(600)
    assert notes.put(items) == 0
    assert notes.put([("n1", "Text number 1.", {"n": "other"}), ("n2", "Edited."), ("n20", "More.")]) == 3
    done = project.sync()
    assert (done.texts_sent, done.documents_published) == (2, 3), "another metadata is no new vector"
    assert {hit.item_id: hit.metadata for hit in project.search("Text number 1.")}["n1"] == {"n": "other"}
    assert world.ledger.billed_more_than_once() == {}


def test_every_command_sees_them_without_a_word_in_the_configuration(tmp_path):
    world = World(tmp_path, dimension=256)
    file = world.config_file()
    assert [each.name for each in load_settings(file, {}).sources] == ["docs"]
    project_of(world).items("notes").put([("a", "Text.")])
    assert [each.name for each in load_settings(file, {}).sources] == ["docs", "notes"]
    named = {"name": "mine", "path": str(world.data_dir / "items" / "notes"), "daily_usd": 1.0}
    file = world.config_file(sources=[named])
    assert [(each.name, each.daily_usd) for each in load_settings(file, {}).sources] == [("mine", 1.0)]


def test_they_are_private(world):
    os.umask(0o022)
    project_of(world).items("notes").put([("a", "Text.")])
    for path in (world.data_dir / "items").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_many_threads_put_and_remove(world):
    notes = project_of(world).items("notes")

    def work(part):
        for turn in range(5):
            notes.put((f"i{n}", f"Text {n} of {part} in turn {turn}.") for n in range(10))
            notes.remove([f"i{part}"])

    threads = [threading.Thread(target=work, args=(part,)) for part in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {f"i{n}" for n in range(3, 10)} <= set(notes.ids())
    assert not list((world.data_dir / "items").rglob("*.tmp"))
    nested = (each for each in [("x", "X.")] if notes.put([("y", "Y.")]))
    assert notes.put(nested) == 1


# --- they go on purpose, or not at all ---


def filled(world, count=40):
    project = project_of(world)
    notes = project.items("notes")
    notes.put((f"n{n}", f"Text number {n}.") for n in range(count))
    assert project.sync().done
    world.clock.advance(600)
    return project, notes


@pytest.mark.parametrize("left", [0, 1, 30])
def test_what_was_removed_leaves_at_once_and_freezes_nothing(world, left):
    project, notes = filled(world)
    assert notes.remove(f"n{n}" for n in range(left, 40)) == 40 - left
    assert notes.remove(["n39", "never was"]) == 0
    planned = project.plan()
    assert planned.sources[0].vanished == 40 - left
    assert planned.sources[0].would_freeze is None
    done = project.sync()
    assert (done.ending, done.documents_removed) == ("done", 40 - left)
    assert len(served(world)) == left
    assert project.status().sources[0].frozen is None
    assert not list((world.data_dir / "items" / "notes" / ".removed").iterdir())


def test_what_is_lost_freezes_and_what_was_removed_besides_waits(world):
    project, notes = filled(world)
    for item_id in ("n0", "n1"):
        (world.data_dir / "items" / "notes" / file_of(item_id)).unlink()
    notes.remove(["n2"])
    assert "2 of 39" in project.plan().sources[0].would_freeze
    done = project.sync()
    assert done.ending == "person"
    assert [problem.code for problem in done.problems] == ["frozen"]
    assert len(served(world)) == 40
    notes.remove(["n0", "n1"])
    assert project.sync().done
    assert len(served(world)) == 37


def test_a_lost_folder_is_no_removal(world):
    project, _ = filled(world)
    (world.data_dir / "items" / "notes").rename(world.root / "away")
    assert project.sync().ending == "person"
    assert len(served(world)) == 40
    (world.root / "away").rename(world.data_dir / "items" / "notes")
    assert project.sync().done


def test_put_again_before_anybody_looked(world):
    project, notes = filled(world)
    notes.remove(["n0", "n1", "n2"])
    notes.put([("n0", "Text number 0."), ("n1", "Something else.")])
    done = project.sync()
    assert (done.texts_sent, done.documents_removed) == (1, 1)
    assert len(served(world)) == 39
    for item_id in ("n0", "n1"):
        (world.data_dir / "items" / "notes" / file_of(item_id)).unlink()
    world.clock.advance(600)
    assert project.sync().ending == "person", "the note of the removal before is no leave for a loss"


def test_put_again_while_the_scan_runs_is_no_loss(world, monkeypatch):
    project = project_of(world)
    items, again = project.items("notes"), [(str(n), f"Text {n}.") for n in range(9)]
    items.put(again)
    project.sync()
    items.remove(str(n) for n in range(9))

    def late(*given):
        items.put(again[:5])
        found = removals(*given)
        items.put(again[5:7])
        return found

    monkeypatch.setattr(scan_ending, "removals", late)
    assert project.sync(wait=False).done
    monkeypatch.undo()
    assert project.sync().done
    assert len(served(world)) == 7


def test_a_note_that_goes_while_notes_are_read_hides_no_other(world, monkeypatch):
    project = project_of(world)
    items = project.items("notes")
    items.remove(str(n) for n in range(9))
    settings = with_item_sources(world.settings())
    mark = folder._mark

    def vanishing(note):
        if note.name.startswith("4-"):
            items.put([("4", "Four.")])
        return mark(note)

    monkeypatch.setattr(folder, "_mark", vanishing)
    assert len(removals(settings, settings.sources[0])) == 8


@pytest.mark.parametrize("point", ["scan.finish.committed", "scan.slice.before_commit"])
def test_a_death_in_the_scan_loses_no_removal(world, point):
    project, notes = filled(world)
    notes.remove(f"n{n}" for n in range(30))
    notes.put([("new", "A new one.")])

    class Died(BaseException):
        pass

    def die(name):
        if name == point:
            raise Died

    crash.arm(die)
    try:
        with pytest.raises(Died):
            project.sync()
    finally:
        crash.arm(None)
    world.clock.advance(600)
    assert project.sync().done
    assert len(served(world)) == 11


def test_a_source_that_keeps_everything_keeps_them_too(world):
    _, notes = filled(world)
    path = str(world.data_dir / "items" / "notes")
    keeping = project_of(world, sources=[{"name": "notes", "path": path, "keep": True}])
    notes.remove([f"n{n}" for n in range(40)])
    assert keeping.sync().done
    assert len(served(world)) == 40
