"""The published table: whole documents, one commit, and nothing wrong ever gets in."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from typing import Any

import lance
import pyarrow as pa
import pytest
from object_store import times
from table_rows import NAME, PROFILE, batch, content, opened, put, reader, seen, slowly, version

from voyage_jobs.core.profile import Profile
from voyage_jobs.errors import ConfigError, CorruptionError
from voyage_jobs.table import PublishedTable, exists, schema

A, B, C = ("docs", "a.md"), ("docs", "b.md"), ("docs", "c.md")

HOSTILE = [
    "it's.md",
    "''.md",
    'say "hi".md',
    "back\\slash\\'.md",
    "new\nline\r\ttab.md",
    "100%_done.md",
    "emoji \U0001f980 \u202e rtl.md",
    "caf\u00e9.md",
    "cafe\u0301.md",
    "bytes \U0010ff00\U0010ffff.md",
    "nul\x00byte.md",
    "a.md' OR '1'='1",
    " .md",
    "x" * 4_000,
]


def test_columns_are_the_contract(home: Any) -> None:
    opened(home)

    found = lance.dataset(home / "chunks.lance").schema

    time_us = pa.timestamp("us", tz="UTC")
    text, int32 = pa.field("x", pa.string(), nullable=False), pa.field("x", pa.int32(), nullable=False)
    flat = dict.fromkeys(("source", "path", "title", "section"), text)
    flat |= {"ordinal": int32, "url": text, "page": int32, "modified_at": text}
    assert [(f.name, f.type, f.nullable) for f in found] == [
        ("chunk_id", pa.string(), False),
        ("id", pa.string(), False),
        ("doc_id", pa.string(), False),
        ("source", pa.string(), False),
        ("path", pa.string(), False),
        ("record", pa.string(), False),
        ("place", pa.string(), False),
        ("page", pa.int32(), False),
        ("url", pa.string(), False),
        ("ordinal", pa.int32(), False),
        ("text", pa.string(), False),
        ("title", pa.string(), False),
        ("section", pa.list_(pa.string()), False),
        ("start", pa.int64(), False),
        ("end", pa.int64(), False),
        ("tokens", pa.int32(), False),
        ("content_hash", pa.string(), False),
        ("modified_at", time_us, False),
        ("embedding_key", pa.string(), False),
        ("model", pa.string(), False),
        ("published_at", time_us, False),
        ("metadata", pa.struct([field.with_name(name) for name, field in flat.items()]), False),
        ("front_matter", pa.json_(), False),
        ("vector", pa.list_(pa.float32(), 16), False),
    ]
    assert found.metadata[b"voyage_jobs.format_version"] == b"2"
    assert found.metadata[b"voyage_jobs.profile"].decode() == PROFILE.fingerprint


@pytest.mark.parametrize(
    ("dtype", "element"),
    [
        ("float", pa.list_(pa.float32(), 16)),
        ("int8", pa.list_(pa.int8(), 16)),
        ("uint8", pa.list_(pa.uint8(), 16)),
        ("binary", pa.list_(pa.int8(), 2)),
        ("ubinary", pa.list_(pa.uint8(), 2)),
    ],
)
def test_vector_column_follows_the_profile(dtype: str, element: pa.DataType) -> None:
    profile = Profile(PROFILE.endpoint, PROFILE.model, 16, dtype, None)

    assert schema(profile).field("vector").type == element


def test_importing_the_package_loads_no_library() -> None:
    heavy = "{'lance', 'lancedb', 'pyarrow', 'numpy'}"
    code = f"import sys, voyage_jobs.table; sys.exit(len({heavy} & set(sys.modules)))"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Opening: what must be refused.


def test_no_table_and_no_leave_to_make_one(home: Any) -> None:
    with pytest.raises(ConfigError, match="no table 'chunks'") as caught:
        PublishedTable.open(str(home), NAME, PROFILE)

    assert caught.value.hint
    assert not exists(str(home), NAME)


@pytest.mark.parametrize(
    "other",
    [
        Profile(PROFILE.endpoint, PROFILE.model, 32, "float", "document"),
        Profile(PROFILE.endpoint, PROFILE.model, 16, "int8", "document"),
        Profile(PROFILE.endpoint, "voyage-4-large", 16, "float", "document"),
        Profile(PROFILE.endpoint, PROFILE.model, 16, "float", None),
    ],
)
def test_table_for_other_vectors_is_refused(home: Any, other: Profile) -> None:
    opened(home)

    with pytest.raises(ConfigError, match=r"vectors of voyage-4.*those here are of voyage-4") as caught:
        PublishedTable.open(str(home), NAME, other, create=True)

    assert "[lancedb] table" in (caught.value.hint or "")


def test_table_of_another_program_is_refused(home: Any) -> None:
    lance.write_dataset(pa.table({"x": [1]}), home / "chunks.lance")

    with pytest.raises(ConfigError, match="not made by voyage-jobs"):
        opened(home)


def test_table_of_a_newer_format_is_refused(home: Any) -> None:
    newer = schema(PROFILE).with_metadata({b"voyage_jobs.format_version": b"3"})
    lance.write_dataset(newer.empty_table(), home / "chunks.lance")

    with pytest.raises(ConfigError, match=r"has format 3, of a newer voyage-jobs; .* up to 2\. Update"):
        opened(home)


def test_table_without_one_of_our_columns_is_refused(home: Any) -> None:
    opened(home)
    reader(home).drop_columns(["title"])

    with pytest.raises(ConfigError, match="changed by another program"):
        opened(home)


def test_column_of_the_users_that_must_not_be_null_is_refused(home: Any) -> None:
    table = opened(home)
    put(table, {A: ("one", 2)})
    reader(home).add_columns({"mine": "1"})

    with pytest.raises(
        ConfigError, match=r"'mine' that another program has added.* must not be null"
    ) as caught:
        opened(home)
    assert (caught.value.hint or "").endswith("table.alter_columns({'path': 'mine', 'nullable': True}).")
    with pytest.raises(ConfigError, match="'mine'"):
        put(table, {A: ("two", 2)})

    reader(home).alter_columns({"path": "mine", "nullable": True})
    put(opened(home), {B: ("two", 1)})
    shown = reader(home).search().select(["path", "mine"]).to_list()
    assert sorted((row["path"], str(row["mine"])) for row in shown) == [
        ("a.md", "1"),
        ("a.md", "1"),
        ("b.md", "None"),
    ]


def test_column_of_the_users_that_may_be_null_is_kept(home: Any) -> None:
    put(opened(home), {A: ("one", 2), B: ("one", 1)})
    reader(home).add_columns({"stars": "nullif(ordinal, 99)"})
    table = opened(home)

    put(table, {B: ("two", 2)})

    assert content(home) == {A: ("one", 2), B: ("two", 2)}
    shown = reader(home).search().select(["path", "stars"]).to_list()
    stars = sorted((row["path"], str(row["stars"])) for row in shown)
    assert stars == [("a.md", "0"), ("a.md", "1"), ("b.md", "None"), ("b.md", "None")]
    assert "stars" not in {name for rows in table.all_rows() for name in rows.schema.names}
    table.remake(PROFILE, [batch(version(C, "one", 2))])
    assert reader(home).search().select(["stars"]).limit(9).to_arrow()["stars"].to_pylist() == [None] * 2


@pytest.mark.parametrize("uri", ["db://cloud", "http://host/x", "hdfs://host/x"])
def test_places_that_are_neither_folder_nor_object_storage_are_refused(uri: str) -> None:
    with pytest.raises(ConfigError, match="local folder or to object storage"):
        PublishedTable.open(uri, NAME, PROFILE, create=True)


@pytest.mark.parametrize("name", ["", "a/b", "../x", "a b", "ü"])
def test_names_that_are_no_table_names_are_refused(home: Any, name: str) -> None:
    with pytest.raises(ConfigError, match="a table's name has"):
        PublishedTable.open(str(home), name, PROFILE, create=True)


def test_opening_twice_keeps_the_content(home: Any) -> None:
    put(opened(home), {A: ("one", 3)})

    assert opened(home).rows() == 3
    url = home if "://" in str(home) else f"file://{home}"
    assert PublishedTable.open(url, NAME, PROFILE).rows() == 3


# Flips: rows that must not get in.


def bad_rows() -> dict[str, tuple[pa.RecordBatch, str]]:
    rows = version(A, "two", 2)
    nan = [[float("nan"), *[0.0] * 15], [1.0] * 16]
    infinite = [[1.0] * 16, [*[0.0] * 15, float("-inf")]]
    short = Profile(PROFILE.endpoint, PROFILE.model, 8, "float", None)
    return {
        "same id twice": (batch(rows, chunk_id=["x", "x"]), "same chunk_id"),
        "a null": (batch(rows, title=["t", None]), "title holds nulls"),
        "NaN": (batch(rows, vector=nan), "NaN or infinity"),
        "infinity": (batch(rows, vector=infinite), "NaN or infinity"),
        "another document": (batch(version(C, "two", 1)), "not part of this flip"),
        "other width": (batch(rows, short), "rows have columns"),
        "other columns": (batch(rows).drop_columns(["title"]), "rows have columns"),
    }


@pytest.mark.parametrize("what", bad_rows())
def test_wrong_rows_stop_the_flip_and_change_nothing(home: Any, what: str) -> None:
    table = opened(home)
    put(table, {A: ("one", 3), B: ("one", 2), C: ("one", 1)})
    before = table.version()
    wrong, message = bad_rows()[what]
    good = batch(version(B, "two", 4))

    with pytest.raises(ValueError, match=message):
        table.flip([A, B], iter([good, wrong]))

    assert table.version() == before
    assert content(home) == {A: ("one", 3), B: ("one", 2), C: ("one", 1)}


def test_same_id_in_two_batches_is_found(home: Any) -> None:
    table = opened(home)
    one = batch(version(A, "one", 2))

    with pytest.raises(ValueError, match="same chunk_id"):
        table.flip([A], iter([one, one]))

    assert table.rows() == 0


def test_errors_of_the_caller_come_back_as_they_are(home: Any) -> None:
    table = opened(home)

    def torn_segment() -> None:
        raise CorruptionError("this segment is damaged")

    with pytest.raises(CorruptionError, match="this segment is damaged"):
        table.flip([A], slowly(iter([batch(version(A, "one", 2))] * 2), 1, torn_segment))

    assert table.rows() == 0


# Flips: what they do.


def test_flip_replaces_exactly_the_named_documents(home: Any) -> None:
    table = opened(home)
    put(table, {A: ("one", 3), B: ("one", 12), C: ("one", 1)})

    after = put(table, {A: ("two", 5), B: ("two", 2)})

    assert after == table.version()
    assert content(home) == {A: ("two", 5), B: ("two", 2), C: ("one", 1)}
    assert table.rows() == 8


def test_flip_is_one_version(home: Any) -> None:
    table = opened(home)
    before = put(table, {A: ("one", 3), B: ("one", 2)})

    assert put(table, {A: ("two", 5), B: ("two", 2), C: ("two", 30)}) == before + 1


def test_repeated_flip_gives_the_same_content(home: Any) -> None:
    table = opened(home)
    put(table, {A: ("one", 3), B: ("one", 2)})
    for _ in range(3):
        put(table, {A: ("two", 4), C: ("two", 1)})

    assert content(home) == {A: ("two", 4), B: ("one", 2), C: ("two", 1)}


def test_documents_without_rows_are_deleted(home: Any) -> None:
    table = opened(home)
    put(table, {A: ("one", 3), B: ("one", 2), C: ("one", 1)})

    table.flip([A, B], iter([batch(version(B, "two", 2))]))

    assert content(home) == {B: ("two", 2), C: ("one", 1)}


def test_delete_is_one_version_and_then_none(home: Any) -> None:
    table = opened(home)
    before = put(table, {A: ("one", 3), B: ("one", 2), C: ("one", 1)})

    assert table.delete([A, C]) == before + 1
    assert table.delete([A, C]) == before + 1
    assert content(home) == {B: ("one", 2)}
    assert table.delete([B]) == before + 2
    assert table.rows() == 0


def test_nothing_to_flip_is_no_version(home: Any) -> None:
    table = opened(home)
    before = table.version()

    assert table.flip([], iter(())) == before
    assert table.flip([A], iter([batch([])])) == before


def test_same_path_in_two_sources_are_two_documents(home: Any) -> None:
    table = opened(home)
    other = ("notes", "a.md")
    put(table, {A: ("one", 3), other: ("one", 4)})

    put(table, {other: ("two", 1)})

    assert content(home) == {A: ("one", 3), other: ("two", 1)}


def test_hostile_names_go_in_and_out_and_hit_only_themselves(home: Any) -> None:
    table = opened(home)
    sources = ("it's \\ \n% \U0010ff07", "docs")[: times(home, 2, 1)]
    documents = [(source, path) for source in sources for path in HOSTILE]
    put(table, dict.fromkeys(documents, ("one", 2)))
    expected = dict.fromkeys(documents, ("one", 2))

    for doc in documents:
        put(table, {doc: ("two", 3)})
        expected[doc] = ("two", 3)
        assert {key[:2] for found in table.keys([doc]) for key in rows_of(found)} == {doc}
    assert content(home) == expected
    for doc in documents:
        table.delete([doc])
        del expected[doc]
    assert table.rows() == 0


def rows_of(found: pa.RecordBatch) -> list[tuple[str, ...]]:
    return [tuple(row.values()) for row in found.to_pylist()]


def test_keys_of_some_and_of_all_documents(home: Any) -> None:
    table = opened(home)
    put(table, {A: ("one", 3), B: ("one", 2), C: ("one", 1)})
    put(table, {A: ("two", 2)})

    some = [key for found in table.keys([A, C, ("docs", "none.md")]) for key in rows_of(found)]
    everything = [key for found in table.keys() for key in rows_of(found)]  # noqa: SIM118 - not a dictionary

    assert sorted((source, path, key) for source, path, _, key in some) == [
        (*A, "key of two 0/2"),
        (*A, "key of two 1/2"),
        (*C, "key of one 0/1"),
    ]
    assert len(everything) == 5
    assert set(some) < set(everything)
    assert list(table.keys([])) == []
    vectors = [b.column("vector") for b in table.keys([A], ["vector"])]
    assert sum(map(len, vectors)) == 2


@pytest.mark.parametrize("seed", range(4))
def test_random_flips_deletes_and_upkeep_match_a_dictionary(home: Any, seed: int) -> None:
    print("seed", seed)
    chance = random.Random(seed)
    documents = [("docs" if n % 2 else "notes", f"{n // 2}.md") for n in range(30)]
    table, expected = opened(home), {}
    for step in range(times(home, 25, 6)):
        chosen = chance.sample(documents, chance.randint(1, 12))
        flipped = {doc: (f"e{step}", chance.randint(1, 9)) for doc in chosen if chance.random() < 0.8}
        rows = [row for doc, (edition, n) in flipped.items() for row in version(doc, edition, n)]
        chance.shuffle(rows)
        table.flip(chosen, (batch(rows[i : i + 11]) for i in range(0, len(rows), 11)))
        for doc in chosen:
            expected.pop(doc, None)
        expected |= flipped
        if chance.random() < 0.15:
            reader(home).optimize()
        if chance.random() < 0.3:
            table = opened(home)
    assert content(home) == expected


# Other programs at the same table.


def test_polling_reader_never_sees_half_a_document(home: Any) -> None:
    table = opened(home)
    documents = [("docs", f"{n}.md") for n in range(40)]
    put(table, dict.fromkeys(documents, ("e0", 5)))
    done, failures, editions = threading.Event(), [], set()

    def poll() -> None:
        theirs = reader(home)
        try:
            while not done.is_set():
                theirs.checkout_latest()
                found = seen(theirs)
                assert set(found) == set(documents), "a gap"
                assert len(set(found.values())) == 1, "two versions of one flip"
                editions.update(edition for edition, _ in found.values())
        except BaseException as exc:
            failures.append(exc)

    thread = threading.Thread(target=poll)
    thread.start()
    edition = 0
    while edition < 12 or (len(editions) < 3 and edition < 400 and not failures):
        edition += 1
        put(table, dict.fromkeys(documents, (f"e{edition}", edition % 7 + 1)))
    done.set()
    thread.join()

    assert not failures
    assert len(editions) >= 3, "the reader saw too little to prove anything"


def test_reader_that_holds_a_version_keeps_it(home: Any) -> None:
    table = opened(home)
    put(table, {A: ("one", 3)})
    theirs = reader(home)
    theirs.checkout(theirs.version)

    put(table, {A: ("two", 1)})
    table.delete([A])

    assert seen(theirs) == {A: ("one", 3)}


@pytest.mark.parametrize("moment", ["while rows are written", "just before the commit"])
@pytest.mark.parametrize("meddling", ["compacts", "deletes a row of ours", "deletes another document"])
def test_flip_survives_another_program_in_mid_flight(
    home: Any, monkeypatch: pytest.MonkeyPatch, meddling: str, moment: str
) -> None:
    table = opened(home)
    put(table, {A: ("one", 3), B: ("one", 2)})
    put(table, {C: ("one", 2)})
    commit, commits = lance.LanceDataset.commit, []

    def meddle() -> None:
        theirs = lance.dataset(home / "chunks.lance")
        if meddling == "compacts":
            assert theirs.optimize.compact_files().fragments_removed == 2
        else:
            theirs.delete("path = 'a.md' AND ordinal = 1" if "ours" in meddling else "path = 'c.md'")

    def disturbed(*args: object, **options: object) -> object:
        commits.append(1)
        if len(commits) == 1 and moment == "just before the commit":
            meddle()
        return commit(*args, **options)

    monkeypatch.setattr(lance.LanceDataset, "commit", staticmethod(disturbed))
    rows = iter([batch(version(A, "two", 4)), batch(version(B, "two", 1))])
    table.flip([A, B], slowly(rows, 1, meddle) if moment == "while rows are written" else rows)

    gone = meddling == "deletes another document"
    assert content(home) == {A: ("two", 4), B: ("two", 1)} | ({} if gone else {C: ("one", 2)})
    disturbs = moment == "just before the commit" and not gone
    assert len(commits) == (2 if disturbs else 1)


def test_flip_gives_up_after_a_while_if_disturbed_each_time(
    home: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lance.commit import CommitConflictError

    table = opened(home)
    put(table, {A: ("one", 3)})
    tries = []

    def never(*_: object, **__: object) -> None:
        tries.append(1)
        raise CommitConflictError("again")

    monkeypatch.setattr(lance.LanceDataset, "commit", staticmethod(never))
    with pytest.raises(CommitConflictError):
        put(table, {A: ("two", 3)})

    assert len(tries) == 8
    assert content(home) == {A: ("one", 3)}
