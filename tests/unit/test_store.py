"""The door to `state.db`: how it is opened, who may write, what readers see, and what goes wrong with files."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.engine.interfaces import CacheStats
from sqlalchemy.exc import IntegrityError, OperationalError
from state_rows import new_batch, opened

from voyage_jobs.core.clock import VirtualClock
from voyage_jobs.errors import DiskFullError, EpochLostError, StateError
from voyage_jobs.state import batches, meta, migrate
from voyage_jobs.state.door import At, open_state
from voyage_jobs.state.engine import library_is_safe, library_version, sqlite_module
from voyage_jobs.state.schema import lines
from voyage_jobs.state.store import Store

NOBODY = 65534


@pytest.fixture
def store(tmp_path):
    store = opened(tmp_path)
    yield store
    store.close()


def pragma(connection, name):
    return connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()


# How connections are set.


def test_the_writer_is_safe_against_power_loss(store):
    with store.write() as tx:
        found = {
            name: pragma(tx.connection, name) for name in ("journal_mode", "synchronous", "foreign_keys")
        }
        assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
        assert pragma(tx.connection, "auto_vacuum") == 2  # incremental
        assert pragma(tx.connection, "mmap_size") == 0


def test_the_library_has_the_fix_of_the_log_race():
    assert library_is_safe()
    assert tuple(map(int, library_version().split("."))) >= (3, 51, 3)


def test_foreign_keys_hold(store):
    with pytest.raises(IntegrityError, match="FOREIGN KEY"), store.write() as tx:
        tx.connection.execute(lines.insert().values(batch_id=7, line=0, embedding_id=7))


def test_a_writing_transaction_holds_the_lock_from_its_beginning(store):
    """Begun as IMMEDIATE: another program's write waits, although ours has not written yet."""
    other = sqlite_module().connect(str(store.path), timeout=0, isolation_level=None)
    with store.write():
        with pytest.raises(Exception, match="locked"):
            other.execute("BEGIN IMMEDIATE")
    other.execute("BEGIN IMMEDIATE")
    other.close()


@pytest.mark.parametrize(
    "name", ["plain", "with space", "what?mode=ro", "100%25", "a#b", "quo'te", "ünï", b"\xff\xfe"]
)
def test_any_folder_name_will_do(tmp_path, name):
    folder = Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), os.fsencode(name))))
    folder.mkdir()
    store = opened(folder)
    with store.write() as tx:
        meta.put(tx, "here", "yes")
    with store.read() as connection:
        assert meta.get(connection, "here") == "yes"
    store.close()
    with open_state(At(folder)).read() as connection:
        assert meta.get(connection, "here") == "yes"
    assert (folder / "state.db").stat().st_size
    assert os.listdir(os.fsencode(tmp_path)) == [os.fsencode(name)]


# Readers.


def test_a_reader_sees_commits_and_nothing_before(store):
    with store.write() as tx:
        meta.put(tx, "color", "blue")
        with store.read() as connection:
            assert meta.get(connection, "color") is None
    with store.read() as connection:
        assert meta.get(connection, "color") == "blue"


def test_a_reader_sees_one_state_for_as_long_as_it_reads(store):
    with store.write() as tx:
        meta.put(tx, "color", "blue")
    with store.read() as connection:
        assert meta.get(connection, "color") == "blue"
        with store.write() as tx:
            meta.put(tx, "color", "red")
        assert meta.get(connection, "color") == "blue"
    with store.read() as connection:
        assert meta.get(connection, "color") == "red"


def test_a_reader_that_stays_does_not_block_the_writer_or_its_checkpoint(store):
    with store.read() as connection:
        connection.execute(text("SELECT * FROM meta")).all()
        for number in range(20):
            with store.write() as tx:
                meta.put(tx, "number", str(number))
        store.checkpoint()  # would wait half a minute for the reader otherwise
    with store.read() as connection:
        assert meta.get(connection, "number") == "19"


def test_what_one_state_has_compiled_no_other_compiles_again(tmp_path):
    """A program may open one state after another, and each has a writer and a reader."""
    found = []

    def note(_connection, _cursor, statement, _parameters, context, _many):
        if context.compiled is not None:
            found.append((statement, context.cache_hit))

    def use(folder):
        folder.mkdir()
        store = opened(folder)
        with store.write() as tx:
            new_batch(tx)
            batches.newest(tx.connection, 1)
        store.close()
        with open_state(At(folder)).read() as connection:
            batches.newest(connection, 1)

    use(tmp_path / "one")
    event.listen(Engine, "before_cursor_execute", note)
    try:
        use(tmp_path / "two")
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert len(found) > 4
    assert {hit for _, hit in found} == {CacheStats.CACHE_HIT}, found


@pytest.mark.parametrize(
    "statement", ["DELETE FROM meta", "CREATE TABLE mine (x)", "PRAGMA user_version = 7"]
)
def test_a_reader_cannot_write(store, statement):
    with pytest.raises(StateError, match="cannot be written"), store.read() as connection:
        connection.exec_driver_sql(statement)
    with store.read() as connection:
        assert meta.get(connection, "epoch") == "1"
        assert pragma(connection, "user_version") == 0


def test_looking_makes_no_database(tmp_path):
    with (
        pytest.raises(StateError, match="no state yet") as caught,
        open_state(At(tmp_path)).read(),
    ):
        pass
    assert "voyage-jobs sync" in caught.value.hint
    assert not list(tmp_path.iterdir())


def test_looking_tells_the_revision(tmp_path):
    opened(tmp_path).close()
    assert open_state(At(tmp_path)).revision() == migrate.head()


# The fence between two writers.


def test_a_writer_that_was_replaced_cannot_write(tmp_path):
    first = opened(tmp_path)
    second = opened(tmp_path)
    with pytest.raises(EpochLostError, match="taken over") as caught, first.write() as tx:
        new_batch(tx)
    assert caught.value.exit_code == 4
    with second.write() as tx:
        assert tx.epoch == 2
        new_batch(tx)
    with first.read() as connection:  # reading still works
        assert len(batches.newest(connection, 9)) == 1
    first.close()
    second.close()


# Files that are not what they should be.


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "state.db"
    path.write_bytes(b"Dear diary, " * 1000)
    with pytest.raises(StateError, match="damaged or is not a voyage-jobs database") as caught:
        opened(tmp_path)
    assert caught.value.hint.startswith("Move it aside and run")  # `recover` alone mends nothing
    assert path.read_bytes() == b"Dear diary, " * 1000
    with pytest.raises(StateError, match="damaged"), open_state(At(tmp_path)).read() as connection:
        meta.get(connection, "epoch")


def test_a_damaged_database_is_told_in_a_sentence(tmp_path):
    store = opened(tmp_path)
    with store.write() as tx:
        for number in range(300):
            meta.put(tx, f"key {number}", "x" * 200)
    store.close()
    path = tmp_path / "state.db"
    size = path.stat().st_size
    with open(path, "r+b") as file:
        file.seek(8192)
        file.write(b"\xa5" * (size - 8192))
    with pytest.raises(StateError, match="damaged"):
        store = opened(tmp_path)
        with store.read() as connection:
            connection.execute(text("SELECT * FROM meta")).all()


def test_a_folder_in_its_place_is_told_in_a_sentence(tmp_path):
    (tmp_path / "state.db").mkdir()
    with pytest.raises(StateError, match="cannot be opened"):
        opened(tmp_path)


@pytest.fixture
def ordinary(tmp_path):
    """A folder of an ordinary user, whose rights the test has: no permission stops the superuser."""
    if os.geteuid() != 0:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory() as made:
        os.chown(made, NOBODY, NOBODY)
        os.seteuid(NOBODY)
        try:
            yield Path(made)
        finally:
            os.seteuid(0)


def test_a_file_that_cannot_be_written_is_told_in_a_sentence(ordinary):
    opened(ordinary).close()
    (ordinary / "state.db").chmod(0o444)
    with pytest.raises(StateError, match="cannot be written") as caught:
        opened(ordinary)
    assert "permissions" in caught.value.hint


def test_a_folder_that_cannot_be_written_is_told_in_a_sentence(ordinary):
    ordinary.chmod(0o555)
    with pytest.raises(StateError, match="cannot be opened") as caught:
        opened(ordinary)
    assert "permissions" in caught.value.hint
    ordinary.chmod(0o755)


def test_a_folder_that_cannot_be_entered_is_told_in_a_sentence(ordinary):
    opened(ordinary).close()
    ordinary.chmod(0o000)
    with pytest.raises(StateError, match="cannot be opened"), open_state(At(ordinary)).read():
        pass
    ordinary.chmod(0o755)


# A full disk.


def limit_pages(store: Store, extra: int | None) -> None:
    """Let the file grow by so many pages and no further; None lifts the limit."""
    raw = store._writer.raw_connection()
    (now,) = raw.execute("PRAGMA page_count").fetchone()
    raw.execute(f"PRAGMA max_page_count = {now + extra if extra is not None else 1_000_000}").fetchone()
    raw.close()


def test_a_full_disk_loses_nothing_and_work_goes_on_when_there_is_room(store):
    with store.write() as tx:
        meta.put(tx, "color", "blue")
    limit_pages(store, 4)
    with pytest.raises(DiskFullError, match="disk full") as caught, store.write() as tx:
        meta.put(tx, "color", "red")
        meta.put(tx, "large", "x" * 400_000)
    assert "Free some space" in caught.value.hint

    with store.read() as connection:
        assert meta.get(connection, "color") == "blue"
        assert meta.get(connection, "large") is None
    with store.write() as tx:  # what fits still goes in
        meta.put(tx, "color", "green")
    limit_pages(store, None)
    with store.write() as tx:
        meta.put(tx, "large", "x" * 400_000)
    with store.read() as connection:
        assert meta.get(connection, "color") == "green"
        assert len(meta.get(connection, "large")) == 400_000
        assert pragma(connection, "integrity_check") == "ok"


def test_a_full_disk_in_the_middle_of_many_rows_takes_all_of_them_back(store):
    limit_pages(store, 3)
    with pytest.raises(DiskFullError), store.write() as tx:
        for number in range(10_000):
            meta.put(tx, f"key {number}", "x" * 100)
    limit_pages(store, None)
    with store.read() as connection:
        assert (
            connection.exec_driver_sql("SELECT COUNT(*) FROM meta WHERE key LIKE 'key %'").scalar_one() == 0
        )


# Upkeep.


def test_freed_pages_leave_the_file_again(store):
    with store.write() as tx:
        for number in range(200):
            meta.put(tx, f"key {number}", "x" * 4000)
    store.checkpoint()
    full = store.path.stat().st_size
    with store.write() as tx:
        tx.connection.exec_driver_sql("DELETE FROM meta WHERE key LIKE 'key %'")
    store.checkpoint()
    assert store.path.stat().st_size < full / 2


def test_closing_folds_the_log_in(store):
    with store.write() as tx:
        meta.put(tx, "color", "blue")
    store.close()
    assert not list(store.path.parent.glob("state.db-*"))
    alone = sqlite3.connect(store.path)
    assert alone.execute("SELECT value FROM meta WHERE key = 'color'").fetchone() == ("blue",)
    alone.close()


def test_an_error_that_is_not_ours_to_explain_goes_up_as_it_is(store):
    with pytest.raises(OperationalError, match="no such table"), store.read() as connection:
        connection.exec_driver_sql("SELECT * FROM nowhere")


def test_time_and_epoch_are_fixed_for_a_transaction(tmp_path):
    clock = VirtualClock()
    store = opened(tmp_path, clock)
    with store.write() as tx:
        before = tx.now
        clock.advance(60)
        assert tx.now == before
    with store.write() as tx:
        assert tx.now == before + 60_000_000
    store.close()
