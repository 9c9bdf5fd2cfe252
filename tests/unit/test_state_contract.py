"""What every kind of state keeps, and that nobody outside `state/` goes round its door."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest

from voyage_jobs.core.clock import VirtualClock
from voyage_jobs.errors import EpochLostError, LockedError, StateError
from voyage_jobs.state import door, meta
from voyage_jobs.state.door import KINDS, At, open_state

PACKAGE = Path(door.__file__).parents[1]


@pytest.fixture(params=sorted(KINDS))
def state(request, tmp_path, monkeypatch):
    """A state of each kind where there is none yet."""
    monkeypatch.setattr(door, "_KIND", request.param)
    return open_state(At(tmp_path / "data"))


@pytest.fixture
def clock():
    return VirtualClock()


@contextlib.contextmanager
def writing(state, clock):
    state.place.parent.mkdir(exist_ok=True)
    with contextlib.closing(state.writer(clock)) as store:
        yield store


def fact(state):
    with state.read() as connection:
        return meta.get(connection, "fact")


def put(store, value):
    with store.write() as tx:
        meta.put(tx, "fact", value)


def test_where_there_is_none_looking_says_so_and_makes_none(state, clock):
    assert not state.exists()
    assert state.disk_bytes() == 0
    for look in (state.demand, state.revision, lambda: fact(state), lambda: state.beside(clock).__enter__()):
        with pytest.raises(StateError, match="There is no state yet at") as caught:
            look()
        assert str(state.place) in caught.value.message
        assert "voyage-jobs sync" in caught.value.hint
    assert not state.exists()


def test_what_a_writer_commits_is_seen_and_nothing_else(state, clock):
    with writing(state, clock) as store:
        put(store, "committed")
        with pytest.raises(RuntimeError, match="half-way"), store.write() as tx:
            meta.put(tx, "fact", "half")
            assert fact(state) == "committed"
            raise RuntimeError("half-way")
        assert fact(state) == "committed"
        with store.read() as connection:
            assert meta.get(connection, "fact") == "committed"
    assert state.exists()
    assert state.disk_bytes() > 0
    state.demand()
    assert fact(state) == "committed"


def test_a_view_stays_as_it_was(state, clock):
    with writing(state, clock) as store:
        put(store, "old")
        with state.read() as connection:
            assert meta.get(connection, "fact") == "old"
            put(store, "new")
            assert meta.get(connection, "fact") == "old"
        assert fact(state) == "new"


def test_who_looks_cannot_write(state, clock):
    with writing(state, clock) as store:
        put(store, "mine")
        with pytest.raises(StateError, match="cannot be written"), state.read() as connection:
            connection.exec_driver_sql("DELETE FROM meta")
    assert fact(state) == "mine"


def test_a_later_writer_fences_the_one_before(state, clock):
    with writing(state, clock) as first, writing(state, clock) as second:
        assert second.epoch > first.epoch
        with pytest.raises(EpochLostError):
            put(first, "first")
        put(second, "second")
        with second.write() as tx:
            second.outgrow(tx, 40)
        put(second, "outgrown")
        assert second.epoch == 41
    assert fact(state) == "outgrown"


def test_a_request_beside_the_writer_leaves_its_epoch(state, clock):
    with writing(state, clock) as store:
        with state.beside(clock) as tx:
            number = meta.ask(tx, "me", "pause", {})
            assert tx.epoch < store.epoch
        put(store, "still the writer")
        with state.read() as connection:
            assert [each.id for each in meta.open_requests(connection)] == [number]


def test_a_request_beside_a_long_transaction_is_not_let_in(state, clock, monkeypatch):
    monkeypatch.setattr("voyage_jobs.state.engine.BUSY_TIMEOUT_MS", 10)
    with writing(state, clock) as store, store.write():
        with pytest.raises(LockedError, match="writing for long"), state.beside(clock):
            raise AssertionError("let in")


def test_a_copy_is_one_moment_and_a_state_of_its_own(state, clock, tmp_path):
    heard = []
    folder = tmp_path / "copy"
    folder.mkdir()
    with writing(state, clock) as store:
        put(store, "then")
        with store.write() as tx:
            meta.put(tx, "fact", "uncommitted")
            made = state.copy_to(folder, lambda done, total: heard.append((done, total)))
        put(store, "now")
    copy = open_state(At(folder))
    assert made == copy.place
    assert (fact(copy), fact(state)) == ("then", "now")
    assert copy.revision() == state.revision()
    assert heard[-1][0] == heard[-1][1] > 0
    with writing(copy, clock) as store:
        put(store, "mine")
    assert (fact(copy), fact(state)) == ("mine", "now")


def test_upkeep_changes_nothing(state, clock):
    with writing(state, clock) as store:
        put(store, "kept")
        store.checkpoint()
        store.shrink()
        put(store, "kept on")
    assert fact(state) == "kept on"


def test_only_the_door_leads_to_a_database():
    inside = {"Tx"}  # a transaction is handed in
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).as_posix()
        if name.startswith("state/"):
            continue
        text = path.read_text()
        imported = re.findall(r"from voyage_jobs\.state\.(?:store|sqlite) import (.+)", text)
        assert {each for line in imported for each in line.split(", ")} <= inside, name
        assert not re.search(r"(?:writing|reading)_engine", text), name
        assert '"state.db"' not in text, name
