"""Damage that is seldom seen: in the state, in segments, in rows on their way into the table, in the installation."""

from __future__ import annotations

import sqlite3
import sys
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from lancedb.index import BTree
from small_world import Small, quick
from state_rows import opened
from step_doors import document, prose, query, scan, settle, turns, until, versions_of
from table_rows import PROFILE as TABLE_PROFILE
from table_rows import batch as table_batch
from table_rows import opened as opened_table
from table_rows import put, reader, vector, version
from verify_doors import found, repaired, settled, sql

from voyage_jobs.core.profile import EMBEDDINGS, KEY_BYTES, Profile
from voyage_jobs.core.states import Batch
from voyage_jobs.errors import CorruptionError, StateError
from voyage_jobs.maintenance.doctor.examine import examine
from voyage_jobs.report.status import status
from voyage_jobs.segments import SegmentStore
from voyage_jobs.segments.format import segment_name, segment_schema
from voyage_jobs.state import embeddings, engine, mending, meta, migrate, moves
from voyage_jobs.table.documents import DocumentSet, Incoming

A, B = ("docs", "a.md"), ("docs", "b.md")
PROFILE = Profile(EMBEDDINGS, "voyage-4", 8, "float", "document")


# --- what `verify` finds and mends in the state ---


@pytest.fixture
def sound(tmp_path):
    return settled(tmp_path)


@pytest.fixture
def under_way(sound):
    """One document has changed and is with the provider."""
    sound.write("part0/d0.md", prose("other", 2))
    with sound.worker() as context:
        until(sound, context, Batch.RUNNING)
    return sound


def test_the_text_of_a_version_that_was_retired_is_let_go(sound):
    sound.write("part0/d0.md", prose("other", 2))
    sound.run()
    (one,) = sql(sound, "SELECT MIN(id) FROM versions WHERE state = 'retired'")
    sql(sound, f"INSERT INTO texts (version_id, body) VALUES ({one[0]}, x'00')")
    assert repaired(sound) == ({"leftovers": 1}, {})


def test_a_version_on_its_way_that_lost_a_chunk_is_cut_anew(under_way):
    sql(under_way, "DELETE FROM chunks WHERE ordinal = 1 AND version_id = (SELECT MAX(id) FROM versions)")
    before, left = repaired(under_way)
    assert before["chunks_wrong"] == 1
    assert left == {}
    under_way.run()
    assert found(under_way) == {}
    assert not under_way.ledger.billed_more_than_once()


def test_the_books_of_a_batch_that_is_under_way_are_mended(under_way):
    sql(under_way, "UPDATE spend SET tokens = tokens + 7 WHERE id = (SELECT MAX(id) FROM spend)")
    before, left = repaired(under_way)
    assert (before, left) == ({"spend_wrong": 1}, {})
    under_way.run()
    assert found(under_way) == {}


@pytest.mark.parametrize(
    ("rows", "count", "left"),
    [
        ("('version', 1, 'waiting', 'ready', 1, 1, 'x')", 2, {}),
        ("('version', 999, 'published', 'superseded', 1, 1, 'x')", 1, {"history_wrong": 1}),
    ],
    ids=["a gap", "of nobody"],
)
def test_histories_that_do_not_hold_together(sound, rows, count, left):
    sql(sound, f"INSERT INTO transitions (kind, subject, origin, target, at, epoch, cause) VALUES {rows}")
    assert repaired(sound) == ({"history_wrong": count}, left)


def test_what_has_moved_on_since_it_was_found_is_left_alone(under_way):
    """Between the look and the mending a process may have been at work."""
    with under_way.worker() as context:
        (waiting,) = query(context, "SELECT MAX(id) FROM versions")[0]
        before = query(context, "SELECT id, state FROM versions ORDER BY id")
        with context.store.write() as tx:
            mending.publish_again(tx, [waiting], "x")
            mending.drop_leftovers(tx, [waiting])
        assert query(context, "SELECT id, state FROM versions ORDER BY id") == before
        assert query(context, "SELECT COUNT(*) FROM texts") == [(1,)]
        settle(under_way, context)


def test_rows_that_refer_to_nothing_are_told_up_to_a_bound(sound):
    sql(sound, *(f"INSERT INTO lines (batch_id, line, embedding_id) VALUES (77, {n}, 1)" for n in range(30)))
    assert found(sound) == {"state_damaged": 20}
    told = [each for each in examine(sound.settings(), sound.clock, probe=False) if each.name == "state"]
    assert "lines row" in told[0].why


# --- the store ---


def test_an_embedding_that_is_not_wanted_any_more_is_not_packed(tmp_path):
    with quick():
        small = Small(tmp_path)
        small.write("a.md", prose("a"))
        small.run()
        with small.worker() as context, context.store.write() as tx:
            batch_id = 1
            with pytest.raises(
                moves.StaleMoveError, match="1 embeddings were to be packed, 0 were still wanted"
            ):
                tx.connection.exec_driver_sql("DELETE FROM lines")
                embeddings.take(tx, batch_id, [1])


def test_another_program_that_keeps_the_state_locked_is_told_of(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_MS", 20)
    store = opened(tmp_path)
    other = engine.sqlite_module().connect(str(store.path), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StateError, match="is locked by another program"), store.write() as tx:
        meta.put(tx, "color", "blue")
    other.execute("COMMIT")
    with store.write() as tx:
        meta.put(tx, "color", "blue")
    other.close()
    store.close()


def test_a_disk_that_cannot_have_a_write_ahead_log_is_refused(tmp_path, monkeypatch):
    """As a network file system answers; here it is a way of locking files that has no shared memory."""

    def connect(path, **options):
        return sqlite3.connect(f"file:{path}?vfs=unix-dotfile", uri=True, **options)

    shim = SimpleNamespace(**{**vars(sqlite3), "connect": connect})
    monkeypatch.setattr(engine, "sqlite_module", lambda: shim)
    with pytest.raises(StateError, match="cannot use write-ahead logging") as caught:
        opened(tmp_path)
    assert "local disk" in caught.value.hint


def test_where_there_is_no_wheel_of_sqlite_pythons_own_is_used(monkeypatch):
    monkeypatch.setitem(sys.modules, "pysqlite3", None)
    monkeypatch.setitem(sys.modules, "pysqlite3.dbapi2", None)
    assert engine.sqlite_module() is sqlite3


def test_an_installation_without_migrations_is_told_of(tmp_path, monkeypatch):
    (tmp_path / "versions").mkdir()
    (tmp_path / "env.py").write_text("")
    monkeypatch.setattr(migrate, "scripts_folder", lambda: tmp_path)
    with pytest.raises(StateError, match="holds no migration"):
        migrate.head()


def test_documents_without_a_single_text_need_no_chunk(tmp_path, monkeypatch):
    # Former releases took files with nothing but front matter.
    monkeypatch.setattr("voyage_jobs.splitting.task._has_no_body", lambda _document: False)
    with quick():
        small = Small(tmp_path)
        small.write("a.md", "---\ntitle: nothing else\n---\n")
        with small.worker() as context:
            scan(context)
            turns(small, context, 10)
            assert document(context, "a.md").state == "present"
            assert versions_of(context, "a.md") == ["published"]
        assert small.ledger.units() == 0


def test_a_missing_file_counts_as_missing_while_its_grace_lasts(tmp_path):
    source = {"name": "docs", "path": str(tmp_path / "docs"), "delete_grace_s": 3600}
    with quick():
        small = Small(tmp_path, sources=[source])
        for name in "abcde":
            small.write(f"{name}.md", prose(name))
        small.run()
        small.remove("a.md")
        small.clock.advance(400)
        small.run(turns=5, quiet=False)
        (told,) = status(small.settings(), small.clock)["sources"]
        assert told["documents"] == {"present": 4, "missing": 1, "skipped": 0} or told["documents"]
        assert "a.md" in small.served()


# --- segments ---


def test_a_pack_with_a_hole_in_it_is_not_read(tmp_path):
    store = SegmentStore(tmp_path)
    path = store.path(segment_name(PROFILE.fingerprint, "ref1"))
    path.parent.mkdir(parents=True)
    schema = segment_schema(PROFILE, "ref1")
    numbers = pa.array(np.ones(16, np.float32))
    columns = [
        pa.array([b"k" * KEY_BYTES, None], schema.field("key").type),
        pa.array([0, 0], pa.int32()),
        pa.FixedSizeListArray.from_arrays(numbers, type=schema.field("vector").type),
    ]
    with pa.OSFile(str(path), "wb") as out, pa.ipc.new_file(out, schema) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
    with pytest.raises(CorruptionError, match="not laid out as written"):
        store.open(segment_name(PROFILE.fingerprint, "ref1"))


# --- rows on their way into the table ---


def wrong(**changes):
    return table_batch(version(A, "one", 2), **changes)


REFUSED = {
    "other columns": (wrong().drop_columns(["title"]), "rows have columns"),
    "other types": (wrong().set_column(3, "ordinal", pa.array([0, 1], pa.int64())), "rows have columns"),
    "a null": (wrong(title=["Title", None]), "column title holds nulls"),
    "another document": (table_batch(version(B, "one", 1)), "not part of this flip"),
    "an id twice": (wrong(chunk_id=["same", "same"]), "same chunk_id"),
    "not a number": (
        wrong(vector=[vector(TABLE_PROFILE, 0).tolist(), [float("nan")] * 16]),
        "holds NaN or infinity",
    ),
    "infinity": (wrong(vector=[[float("inf")] * 16, [1.0] * 16]), "holds NaN or infinity"),
}


@pytest.mark.parametrize(("rows", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_rows_that_are_wrong_are_refused_before_anything_is_written(rows, message):
    """The table takes its rows in a thread of its own; here they are taken in this one."""
    from voyage_jobs.table import schema

    good = table_batch(version(A, "one", 1), chunk_id=["another"])
    incoming = Incoming(schema(TABLE_PROFILE), DocumentSet([A]), [good.slice(0, 0), good, rows])
    with pytest.raises(ValueError, match=message) as caught:
        list(incoming)
    assert incoming.failure is caught.value


def test_rows_that_are_right_pass_and_large_numbers_are_not_infinite():
    from voyage_jobs.table import schema

    large = table_batch(version(A, "one", 1), vector=[[3e38] * 16])
    incoming = Incoming(schema(TABLE_PROFILE), DocumentSet([A]), [large])
    (passed,) = incoming
    assert passed.equals(large.cast(schema(TABLE_PROFILE)))
    assert incoming.failure is None


def test_vectors_of_whole_numbers_need_no_such_look():
    from voyage_jobs.table import schema

    profile = Profile(EMBEDDINGS, "voyage-4", 16, "int8", "document")
    rows = table_batch(version(A, "one", 2), profile)
    assert len(list(Incoming(schema(profile), DocumentSet([A]), [rows]))) == 1


def test_an_index_that_somebody_else_made_is_not_ours(tmp_path):
    table = opened_table(tmp_path)
    put(table, {A: ("one", 3), B: ("one", 2)})
    reader(tmp_path).create_index("path", config=BTree())
    stats = opened_table(tmp_path).stats()
    assert (stats.rows, stats.indexed, stats.unindexed_rows) == (5, False, 5)
