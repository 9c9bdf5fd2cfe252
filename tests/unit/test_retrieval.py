"""Search: filters against brute force, fusion, hostile questions, answers without a key, readers beside a writer."""

from __future__ import annotations

import random
import re
import threading
from datetime import UTC, datetime, timedelta
from fnmatch import translate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st
from table_rows import PROFILE, batch, opened, vector, version
from world import World

from voyage_jobs.errors import ConfigError, CorruptionError
from voyage_jobs.retrieval import retriever as retriever_module
from voyage_jobs.retrieval.ranking import fuse
from voyage_jobs.retrieval.result import Query
from voyage_jobs.retrieval.retriever import Retriever
from voyage_jobs.table import PublishedTable, Upkeep
from voyage_jobs.table.filters import combined, glob_regex
from voyage_jobs.table.view import Views

T0 = datetime(2026, 1, 1, tzinfo=UTC)
PATHS = [
    "a.md",
    "guides/a.md",
    "guides/x/b.md",
    'it\'s [a] "b"\\c.md',
    "100%_x.md",
    "ä/ü.md",
    "x\ny.md",
    "-a^.md",
]
GLOBS = [
    "*",
    "**",
    "*.md",
    "**/*.md",
    "guides/**",
    "*/a.md",
    "?.md",
    "[ax]*",
    "[!a]*",
    "it's*",
    '*"b"\\c.md',
    "100%_*",
]


def asked(view: Any, query: str, where: str | None = None, k: int = 1_000) -> list[dict[str, Any]]:
    return view.by_words(query, k, where, lambda: True).rows


# --- filters ---


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, list[dict[str, Any]]]:
    """Rows of two sources at odd paths, with the word index and without; one publication after the index was built."""
    folder = tmp_path_factory.mktemp("many")
    dice = random.Random(1)
    table = opened(folder)
    rows: list[dict[str, Any]] = []
    for number, path in enumerate(PATHS):
        for source in ("docs", "other"):
            doc = (source, path)
            when = T0 + timedelta(days=dice.randrange(100))
            made = [(doc, ordinal, f"needle {number} {ordinal}") for ordinal in range(dice.randrange(1, 9))]
            rows += [{"source": source, "path": path, "ordinal": o, "modified_at": when} for _, o, _ in made]
            table.flip([doc], iter([batch(made, modified_at=[when] * len(made))]))
            if number == len(PATHS) // 2:
                table.tend(Upkeep(words_from_rows=1, index_from_rows=1, unindexed_rows=10**9))
    view = Views(str(folder), "chunks").newest()
    plain = opened(folder / "plain")
    plain.flip(
        {(row["source"], row["path"]) for row in rows},
        (each.select(pa.schema(each.schema).names) for each in table.all_rows()),
    )
    return view, Views(str(folder / "plain"), "chunks").newest(), rows


@examples(80)
@given(
    sources=st.lists(st.sampled_from(["docs", "other"]), max_size=2, unique=True),
    paths=st.lists(st.sampled_from(GLOBS), max_size=2, unique=True),
    days=st.none() | st.integers(0, 100),
    least=st.none() | st.integers(0, 8),
)
def test_filters_leave_what_brute_force_leaves(many, sources, paths, days, least) -> None:
    since = None if days is None else T0 + timedelta(days=days)
    where = combined(sources, paths, since, None if least is None else f"ordinal >= {least} OR ordinal < 0")

    indexed, plain, rows = many
    expected = sorted(
        (row["source"], row["path"], row["ordinal"])
        for row in rows
        if (not sources or row["source"] in sources)
        and (not paths or any(matches(each, row["path"]) for each in paths))
        and (since is None or row["modified_at"] >= since)
        and (least is None or row["ordinal"] >= least)
    )
    for found in (
        asked(indexed, "needle", where),
        asked(plain, "needle", where),
        indexed.by_vector(vector(PROFILE, 3).tolist(), 1_000, where).rows,
    ):
        assert sorted((row["source"], row["path"], row["ordinal"]) for row in found) == expected


def matches(pattern: str, path: str) -> bool:
    """Folder by folder, by `fnmatch`: another way than ours."""
    return _folders(pattern.split("/"), path.split("/"))


def _folders(pattern: list[str], path: list[str]) -> bool:
    if not pattern:
        return not path
    if pattern[0] == "**":
        return any(_folders(pattern[1:], path[at:]) for at in range(len(path) + 1)) or pattern[1:] == []
    return bool(path) and bool(re.match(translate(pattern[0]), path[0])) and _folders(pattern[1:], path[1:])


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [("[]", "[]", True), ("[]", "a", False), ("[]]", "]", True), ("[!]", "!", True), ("[!]]", "a", True)],
)
def test_brackets_without_a_member_are_no_set(pattern: str, path: str, matches: bool) -> None:
    assert bool(re.match(glob_regex(pattern).replace(r"\z", r"\Z"), path)) is matches


def test_a_range_that_is_none_is_told() -> None:
    with pytest.raises(
        ConfigError, match=r"The pattern \[z-a\] of a path cannot be used: bad character range"
    ):
        combined(paths=["sub/[z-a]*"])


def test_a_moment_in_an_early_year_is_a_timestamp(many) -> None:
    dataset = many[0].dataset
    assert dataset.count_rows(combined(since=datetime(1, 1, 2, tzinfo=UTC))) == dataset.count_rows()


def test_a_set_in_a_glob_stays_in_its_name() -> None:
    assert glob_regex("a[!b]c") == r"(?s)\Aa[^/b]c\z"
    assert glob_regex("[") == r"(?s)\A\[\z"


@pytest.mark.parametrize("where", ["1=1) OR (1=1", "1=1; x", "1=1 --", "(1=1", "/* */ 1=1", "a = 'b", '"'])
def test_what_would_leave_its_brackets_is_refused(where: str) -> None:
    with pytest.raises(ConfigError, match="cannot be used"):
        combined(["docs"], where=where)


def test_a_filter_that_fails_on_a_row_is_told_as_one(many) -> None:
    with pytest.raises(ConfigError, match="cannot be used"):
        asked(many[0], "needle", "CAST(path AS INT) = 1")


@pytest.mark.parametrize(
    "where",
    ["ordinal < ", "ordinal = 1\nand < ", "ordinal < 3 4", "ordinal = 3x", "source = 3", "nosuch = 1"],
)
def test_a_filter_that_is_no_sql_is_told_as_it_was_written(many, where: str) -> None:
    """Not as the statement that is made of it, whose columns nobody has seen."""
    with pytest.raises(ConfigError) as refused:
        many[0].check(where)
    assert refused.value.message.startswith(f"The filter {where!r} cannot be used: ")
    said = refused.value.message.removeprefix(f"The filter {where!r} ")
    assert not re.search(r"SELECT|Invalid user input|\.rs:|Column:", said)


# --- words, fusion ---


@pytest.mark.parametrize(
    "query",
    [
        "'",
        '"',
        "\\",
        "a AND b:(c",
        "😀",
        "needle " * 1_500,
        "x" * 10_000,
        "needle\0",
        "-needle +x ~y^2",
        "%_",
        "*",
    ],
)
def test_hostile_questions_have_answers(many, query: str) -> None:
    for view in many[:2]:
        found = asked(view, query, k=3)
        assert len(found) == (3 if "needle" in query else len(found))


def test_what_is_first_in_all_rankings_is_one() -> None:
    assert fuse({"a": ["x", "y"], "b": ["x", "z"]})[0] == ("x", 1.0)
    assert [name for name, _ in fuse({"a": ["x", "y", "z"], "b": ["y", "w"]})] == ["y", "x", "w", "z"]
    assert fuse({"a": [], "b": []}) == []
    assert fuse({"a": ["x", "x", "y"]}) == fuse({"a": ["x", "y"]})


def test_the_word_index_follows_upkeep_and_language(tmp_path: Path) -> None:
    table = opened(tmp_path)
    texts = [f"the certificates were renewed {n}" for n in range(40)]
    table.flip([("docs", "a")], iter([batch([(("docs", "a"), n, text) for n, text in enumerate(texts)])]))
    assert table.tend(Upkeep(words_from_rows=41)).words_index_built is False
    done = table.tend(Upkeep(words_from_rows=40))
    assert (done.words_index_built, table.stats().words_indexed) == (True, True)
    views = Views(str(tmp_path), "chunks")
    assert asked(views.newest(), "renewing certificate", k=1)
    table.flip([("docs", "b")], iter([batch([(("docs", "b"), n, f"leeks {n}") for n in range(10)])]))
    assert {row["path"] for row in asked(views.newest(), "leek")} == {"b"}
    assert table.stats().words_unindexed_rows == 10
    assert table.tend(Upkeep(words_from_rows=40)).words_rows_indexed == 10
    assert table.stats().words_unindexed_rows == 0
    assert table.tend(Upkeep(words_from_rows=40, language="none")).words_index_built is True
    assert asked(views.newest(), "renewing") == []


def test_words_of_titles_and_paths_are_found_with_the_index_as_without(tmp_path: Path) -> None:
    table = opened(tmp_path)
    texts = ["Boil the leek.", "A lamp for the desk.", "Zanzibar is far, and warm."]
    titles = ["Soup", "Lamp Zanzibar", "Travel"]
    for number, (text, title) in enumerate(zip(texts, titles, strict=True)):
        doc = ("shop", f"catalog.csv#SKU{number}")
        table.flip([doc], iter([batch([(doc, 0, text)], title=[title])]))
    views = Views(str(tmp_path), "chunks")
    questions = ("zanzibar", "SKU0", "desk")
    without = [sorted(row["path"] for row in asked(views.newest(), each)) for each in questions]
    table.tend(Upkeep(words_from_rows=1))
    assert [sorted(row["path"] for row in asked(views.newest(), each)) for each in questions] == without
    assert [row["title"] for row in asked(views.newest(), "zanzibar")] == ["Travel", "Lamp Zanzibar"]


WORDS = {
    "hi": ("प्रमाणपत्र का नवीनीकरण कैसे करें", "नवीनीकरण"),
    "th": ("การต่ออายุใบรับรองอิเล็กทรอนิกส์", "ใบรับรอง"),
    "ta": ("இது தமிழ் மொழியில் எழுதப்பட்டது", "தமிழ்"),
    "ru": ("город достопримечательностях", "достопримечательностях"),
    "tr": ("İstanbul güzel", "İstanbul"),
    "el": ("ΟΔΟΣ", "ΟΔΟΣ"),
    "composed": ("Lösung", "Lo\u0308sung"),
    "decomposed": ("bei Mu\u0308ller", "Müller"),
    "commit": (
        "broken since 6a1ce5e6ce41d2c7b25bd0b1b9e9a2a1f9f5d0e4",
        "6a1ce5e6ce41d2c7b25bd0b1b9e9a2a1f9f5d0e4",
    ),
}
"""Texts, and a word of each: with vowels and tones that are marks, capitals of their own, accents written in either
way, or long in bytes."""


def test_words_of_any_script_and_length_are_found_with_the_index_as_without(tmp_path, monkeypatch) -> None:
    table, upkeep = opened(tmp_path), Upkeep(words_from_rows=1)
    for name, (text, _) in WORDS.items():
        table.flip([("docs", name)], iter([batch([(("docs", name), 0, text)])]))
    views = Views(str(tmp_path), "chunks")

    def found() -> dict[str, list[str]]:
        return {
            name: [row["path"] for row in asked(views.newest(), word)] for name, (_, word) in WORDS.items()
        }

    each_its_own = {name: [name] for name in WORDS}
    assert found() == each_its_own
    with monkeypatch.context() as former:  # as a release made it that knew shorter words alone
        former.setattr("voyage_jobs.table.indexes.LONGEST_WORD", 40)
        assert table.tend(upkeep).words_index_built
    assert table.tend(upkeep).words_index_built
    assert found() == each_its_own


# --- degrading ---


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path, dimension=256)
    world.write(
        "soup.md", "# Soup\n\n" + "\n\n".join(f"## Step {n}\n\nBoil leek number {n}." for n in range(6))
    )
    world.write("cert.md", "# Certificates\n\nRenew them.")
    world.run()
    return world


@pytest.mark.parametrize("number", [0.0, float("nan"), float("inf")])
def test_a_vector_that_points_nowhere_is_refused_with_words(world, monkeypatch, number: float) -> None:
    monkeypatch.setattr(Retriever, "_embedded", lambda *_: [number] * 256)
    found = Retriever(world.settings(), world.clock, world.transport).search(Query("leek", mode="vector"))
    assert (found.mode, len(found.warnings)) == ("words", 1)
    assert "query vector cannot be used" in found.warnings[0]
    assert found.hits[0].path == "soup.md"


def test_a_broken_search_by_words_leaves_the_vectors(world, monkeypatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise CorruptionError("The word index cannot be read.")

    monkeypatch.setattr("voyage_jobs.table.view.holding", broken)
    found = Retriever(world.settings(), world.clock, world.transport).search(Query("leek"))
    assert (found.mode, bool(found.hits)) == ("vector", True)
    assert found.warnings == ("Searched by vectors alone: The word index cannot be read.",)


def test_texts_that_are_read_answer_a_long_question_by_what_tells_in_it(tmp_path: Path) -> None:
    """Small words do not stand for all that begin like them, and the longest are looked for where not all can be."""
    table = opened(tmp_path)
    texts = ["a forest of itsy bitsy onions, and so forth", "the API: how quotas limit it", "two apis"]
    for number, text in enumerate(texts):
        doc = ("docs", f"{number}.md")
        table.flip([doc], iter([batch([(doc, 0, text)])]))
    view = Views(str(tmp_path), "chunks").newest()
    assert [row["path"] for row in asked(view, "api")] == ["2.md", "1.md"], "and its plural"
    small = "for it so as to be of the an in at or by we do if he up my no"
    assert asked(view, f"{small} quota")[0]["path"] == "1.md"
    assert asked(view, "on") == []


def test_reading_that_takes_too_long_says_how_far_it_came(world, monkeypatch) -> None:
    monkeypatch.setattr(retriever_module, "LONGEST_READING_S", -1.0)
    monkeypatch.setattr("voyage_jobs.table.words.STREAM_ROWS", 1)
    found = Retriever(world.settings(), world.clock).search(Query("leek", mode="words"))
    assert (found.complete, found.looked_at) == (False, 1)
    assert "Without a word index" in found.warnings[0]


def test_neighbours_are_shown_once_and_documents_are_bounded(world) -> None:
    retriever = Retriever(world.settings(), world.clock, world.transport)
    text = (world.docs / "soup.md").read_text()
    found = retriever.search(Query("leek number 3", mode="words", k=50, expand=100))
    assert [hit.path for hit in found.hits] == ["soup.md"]
    assert found.hits[0].context.split() == text.split()
    one = retriever.search(Query("leek", k=50, per_document=1))
    assert sorted(hit.path for hit in one.hits) == ["cert.md", "soup.md"]


@pytest.fixture
def crowded(tmp_path: Path) -> World:
    """One document with many more chunks of a word than a search chooses from, and three that mention it."""
    world = World(tmp_path, dimension=256)
    sections = (f"## Kettle {n}\n\nThe kettle of number {n}: kettle, kettle." for n in range(90))
    world.write("long.md", "# Kettles\n\n" + "\n\n".join(sections))
    for n in range(3):
        world.write(f"short{n}.md", f"# Note {n}\n\nA long note on number {n}, and once on a kettle as well.")
    world.run()
    return world


@pytest.mark.parametrize("mode", ["words", "vector", "hybrid"])
def test_a_long_document_leaves_room_for_others(crowded, mode) -> None:
    retriever = Retriever(crowded.settings(), crowded.clock, crowded.transport)
    found = retriever.search(Query("kettle", mode=mode, k=4, per_document=1, candidates=10))
    assert sorted(hit.path for hit in found.hits) == ["long.md", "short0.md", "short1.md", "short2.md"]
    beside = retriever.search(
        Query("kettle", mode=mode, k=4, per_document=2, candidates=10, where="path <> 'short0.md'")
    )
    assert [hit.path for hit in beside.hits].count("long.md") == 2
    assert "short0.md" not in {hit.path for hit in beside.hits}


def test_every_hit_gets_its_neighbours(crowded, monkeypatch) -> None:
    monkeypatch.setattr("voyage_jobs.table.view._NEIGHBOURS", 7)
    retriever = Retriever(crowded.settings(), crowded.clock)
    found = retriever.search(Query("kettle", mode="words", k=20, expand=1))
    assert len(found.hits) > 3
    ends = {0, 89}
    for hit in found.hits:
        if hit.path == "long.md" and hit.ordinal not in ends:
            assert hit.context.count("The kettle of number") >= 2, hit


# --- beside a writer ---


def test_readers_beside_publications_see_whole_documents(tmp_path: Path) -> None:
    docs = [("docs", f"{n}.md") for n in range(4)]
    table = opened(tmp_path)
    put(table, docs, "e0")
    views, over, wrong = Views(str(tmp_path), "chunks"), threading.Event(), []
    rounds = []

    def read() -> None:
        try:
            while not over.is_set():
                rows = asked(views.newest(), "e0 e1 e2 e3 e4 e5 e6 e7")
                editions = {(row["path"], row["text"].split()[0]) for row in rows}
                if len(rows) != 20 or len(editions) != 4:
                    wrong.append(editions)
                rounds.append(1)
        except Exception as exc:
            wrong.append(exc)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for each in readers:
        each.start()
    for number in range(1, 8):
        put(table, docs, f"e{number}")
        table.tend(Upkeep(words_from_rows=1, small_fragments=3, unindexed_rows=1))
    over.set()
    for each in readers:
        each.join()
    assert not wrong
    assert rounds


def put(table: PublishedTable, docs: list[tuple[str, str]], edition: str) -> None:
    rows = [row for doc in docs for row in version(doc, edition, 5)]
    table.flip(docs, iter([batch(rows)]))
