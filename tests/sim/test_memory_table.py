"""The table in memory does what the real one does, or the simulation proves nothing about tables."""

import random

import pyarrow as pa
import pytest

from voyage_jobs.profile import Profile
from voyage_jobs.table import PublishedTable, schema

from .memory_table import MemoryDoor, MemoryTable

PROFILE = Profile("/v1/embeddings", "voyage-4", 8, "float", "document")
DOCUMENTS = [(source, path) for source in ("a", "b") for path in ("x.md", "d/y' \" %.md", "z.txt")]
SHOWN = ("source", "path", "chunk_id", "ordinal", "text", "vector")


def rows_of(document, count, rng):
    return [
        {
            **dict.fromkeys(("title", "content_hash", "embedding_key", "model", "metadata"), "?"),
            "chunk_id": f"{document}-{ordinal}-{rng.random()}",
            "source": document[0],
            "path": document[1],
            "ordinal": ordinal,
            "text": f"text {rng.random()}",
            "section": ["one", "two"],
            "start": 0,
            "end": 9,
            "tokens": 3,
            "modified_at": 1_780_000_000_000_000,
            "published_at": 1_780_000_000_000_000,
            "vector": [rng.random() + 0.1 for _ in range(8)],
        }
        for ordinal in range(count)
    ]


def batch(rows):
    return pa.RecordBatch.from_pylist(rows, schema=schema(PROFILE))


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


def test_a_power_loss_takes_back_what_was_not_synced():
    door, rng = MemoryDoor(), random.Random(1)
    table = door.open()
    table.flip(DOCUMENTS[:1], [batch(rows_of(DOCUMENTS[0], 2, rng))])
    table.sync()
    table.flip(DOCUMENTS[1:2], [batch(rows_of(DOCUMENTS[1], 2, rng))])
    assert door.lose_power(torn=False)
    assert (table.rows(), table.version()) == (2, 2)
    assert not door.lose_power(torn=False)


def test_a_power_loss_may_tear_the_table_and_take_an_unsynced_one_away():
    door, rng = MemoryDoor(), random.Random(1)
    door.open().flip(DOCUMENTS[:1], [batch(rows_of(DOCUMENTS[0], 2, rng))])
    assert door.lose_power(torn=True)
    assert door.check().reason == "torn"
    door.set_aside("1")
    assert door.check().reason == "missing"
    door.open()
    assert door.lose_power(torn=False)
    assert not door.exists()
