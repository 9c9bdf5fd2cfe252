"""The table in memory does what the real one does, or the simulation proves nothing about tables."""

import itertools
import random
from dataclasses import replace

import numpy as np
import pytest

from voyage_jobs.core.profile import Profile, document_key
from voyage_jobs.table import LanceDoor, PublishedTable
from voyage_jobs.table.batch import make_batch
from voyage_jobs.table.columns import Facts

from .memory_table import MemoryDoor, MemoryTable

PROFILE = Profile("/v1/embeddings", "voyage-4", 8, "float", "document")
DOCUMENTS = [(source, path) for source in ("a", "b") for path in ("x.md", "d/y' \" %.md", "z.txt")]
SHOWN = ("source", "path", "chunk_id", "ordinal", "text", "vector")


def rows_of(document, count, rng):
    """(facts, vector) of a document's rows, with texts of their own."""
    return [
        (
            Facts(
                source=document[0],
                path=document[1],
                doc_key=document_key(*document),
                ordinal=ordinal,
                text=f"text {rng.random()}",
                title="?",
                section=["one", "two"],
                start=0,
                end=9,
                tokens=3,
                content_hash=b"?",
                modified_at=1_780_000_000_000_000,
                embedding_key="?",
                model="?",
                published_at=1_780_000_000_000_000,
                front_matter="{}",
            ),
            [rng.random() + 0.1 for _ in range(8)],
        )
        for ordinal in range(count)
    ]


def batch(rows, profile=PROFILE, *, times=1):
    """Rows of the table; each vector is repeated to be as wide as the profile's."""
    vectors = np.array([vector * times for _, vector in rows], np.float32)
    return make_batch(profile, [facts for facts, _ in rows], vectors)


def content(table, documents=None):
    rows = [row for part in table.keys(documents, SHOWN) for row in part.to_pylist()]
    return sorted(rows, key=lambda row: (row["source"], row["path"], row["ordinal"], row["chunk_id"]))


def test_the_same_flips_give_the_same_content(tmp_path):
    rng = random.Random(7)
    memory, real = MemoryTable(), PublishedTable.open(str(tmp_path), "chunks", PROFILE, create=True)
    for _ in range(12):
        named = rng.sample(DOCUMENTS, rng.randint(1, 4))
        rows = [rows_of(document, rng.randint(0, 3), rng) for document in named]
        before = memory.version(), real.version()
        for table in (memory, real):
            table.flip(named, [batch(each) for each in rows if each])
            table.sync()
        grew = [
            after > earlier for after, earlier in zip((memory.version(), real.version()), before, strict=True)
        ]
        assert grew[0] == grew[1]
        assert content(memory) == content(real)
        assert content(memory, named) == content(real, named)
        assert memory.rows() == real.rows()
        gone = rng.sample(DOCUMENTS, 2)
        memory.delete(gone)
        real.delete(gone)
        assert content(memory) == content(real)


MAKERS = {
    "memory_table": lambda folder: MemoryTable(),
    "real_table": lambda folder: PublishedTable.open(str(folder), "chunks", PROFILE, create=True),
}


@pytest.mark.parametrize("make", MAKERS)
def test_neither_takes_a_row_of_another_document_or_one_twice(make, tmp_path):
    table, rng = MAKERS[make](tmp_path), random.Random(1)
    rows = rows_of(DOCUMENTS[0], 1, rng)
    with pytest.raises(ValueError):
        table.flip([DOCUMENTS[1]], [batch(rows)])
    with pytest.raises(ValueError):
        table.flip([DOCUMENTS[0]], [batch(rows), batch(rows)])
    assert content(table) == []


OTHER = replace(PROFILE, dimension=16)


def test_the_same_replacement_and_the_way_back_give_the_same_content(tmp_path):
    rng = random.Random(3)
    disk = MemoryDoor()
    memory = disk.under(PROFILE)
    real = LanceDoor(str(tmp_path), "chunks", PROFILE)
    doors = [memory, real]
    first, second = (rows_of(document, 2, rng) for document in DOCUMENTS[:2])
    kept = []
    for door in doors:
        table = door.open()
        table.flip(DOCUMENTS[:1], [batch(first)])
        kept.append(table.version())
        assert not table.is_kept(kept[-1])
        table.keep(kept[-1])
        table.keep(kept[-1])
        assert table.is_kept(kept[-1])
        assert table.remake(OTHER, [batch(second, OTHER, times=2)]) == table.version()
        assert door.profile() == OTHER
        assert door.check().reason == "foreign"
    shown = [content(door.under(OTHER).open()) for door in doors]
    assert shown[0] == shown[1]
    assert {len(row["vector"]) for row in shown[0]} == {16}
    for door, version in zip(doors, kept, strict=True):
        table = door.under(OTHER).open()
        assert table.bring_back(version) == table.version()
        assert door.check().ok
        assert content(door.under(PROFILE).open()) == content(doors[0].open())
        door.open().let_go(version)
        door.open().let_go(version)
        assert not door.open().is_kept(version)


DOORS = {
    "memory_table": lambda folder: MemoryDoor().under(PROFILE),
    "real_table": lambda folder: LanceDoor(str(folder), "chunks", PROFILE),
}


@pytest.mark.parametrize("door", DOORS)
def test_files_are_others_as_soon_as_anything_was_done_and_no_sooner(door, tmp_path):
    door, rng = DOORS[door](tmp_path).of("some state", 1), random.Random(1)
    assert door.files() is None
    seen = []
    for act in (
        lambda table: table.flip(DOCUMENTS[:1], [batch(rows_of(DOCUMENTS[0], 2, rng))]),
        lambda table: table.keep(table.version()),
        lambda table: table.let_go(table.version()),
        lambda table: table.delete(DOCUMENTS[:1]),
        lambda table: table.remake(PROFILE, [batch(rows_of(DOCUMENTS[1], 2, rng))]),
    ):
        act(door.open())
        door.open().rows(), door.check(), door.owner(), list(door.open().keys())
        seen.append(door.files())
        assert door.files() == seen[-1]
    assert all(before != after for before, after in itertools.pairwise(seen))


def test_a_power_loss_takes_back_what_was_not_synced():
    door, rng = MemoryDoor(), random.Random(1)
    table = door.under(PROFILE).open()
    table.flip(DOCUMENTS[:1], [batch(rows_of(DOCUMENTS[0], 2, rng))])
    table.sync()
    table.flip(DOCUMENTS[1:2], [batch(rows_of(DOCUMENTS[1], 2, rng))])
    assert door.lose_power(torn=False)
    assert (table.rows(), table.version()) == (2, 2)
    assert not door.lose_power(torn=False)


def test_a_power_loss_may_tear_the_table_and_take_an_unsynced_one_away():
    door, rng = MemoryDoor(), random.Random(1)
    way = door.under(PROFILE)
    way.open().flip(DOCUMENTS[:1], [batch(rows_of(DOCUMENTS[0], 2, rng))])
    assert door.lose_power(torn=True)
    assert way.check().reason == "torn"
    way.set_aside("1")
    assert way.check().reason == "missing"
    way.open()
    assert door.lose_power(torn=False)
    assert not way.exists()
