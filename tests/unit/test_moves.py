"""Moves in the database: guarded by the expected state, all or nothing, and on record."""

from __future__ import annotations

import itertools

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from state_rows import NEEDS, history, new_batch, opened

from voyage_jobs.core import states
from voyage_jobs.core.states import MOVES, Batch, IllegalMoveError
from voyage_jobs.state import batches, create_calls, moves, sources
from voyage_jobs.state.moves import StaleMoveError
from voyage_jobs.state.schema import batches as batch_table
from voyage_jobs.state.schema import transitions


@pytest.fixture
def store(tmp_path):
    store = opened(tmp_path)
    yield store
    store.close()


def put_into(tx, batch, state):
    """Set a state by hand, past the guard."""
    statement = batch_table.update().where(batch_table.c.id == batch.id)
    tx.connection.execute(statement.values(state=str(state), **NEEDS.get(state, {})))
    return batches.get(tx.connection, batch.id)


def test_every_legal_move_of_a_batch_is_made_and_recorded(store):
    legal = [(origin, target) for origin in Batch for target in sorted(MOVES[Batch][origin])]
    with store.write() as tx:
        batch = new_batch(tx)
        for origin, target in legal:
            batch = put_into(tx, batch, origin)
            batches.move(tx, batch, target, f"because of {target}", **NEEDS.get(target, {}))
            assert batches.get(tx.connection, batch.id).state is target

    made = history(store, "batch")
    assert made == [
        (None, "packed", "1 inputs"),
        *((str(origin), str(target), f"because of {target}") for origin, target in legal),
    ]


def test_every_illegal_move_of_a_batch_raises_and_changes_nothing(store):
    with store.write() as tx:
        batch = new_batch(tx)
        for origin, target in itertools.product(Batch, Batch):
            if target in MOVES[Batch][origin]:
                continue
            batch = put_into(tx, batch, origin)
            with pytest.raises(IllegalMoveError):
                batches.move(tx, batch, target, "no")
            assert batches.get(tx.connection, batch.id) == batch
    assert history(store, "batch") == [(None, "packed", "1 inputs")]


def test_a_stale_decision_raises_and_changes_nothing(store):
    with store.write() as tx:
        seen = new_batch(tx)
    with store.write() as tx:
        batches.move(tx, seen, Batch.CANCELLED, "somebody was faster")
    with pytest.raises(StaleMoveError, match="no longer packed"), store.write() as tx:
        batches.move(tx, seen, Batch.SPOOLED, "late", spool_bytes=7)

    with store.read() as connection:
        batch = batches.get(connection, seen.id)
    assert (batch.state, batch.spool_bytes) == (Batch.CANCELLED, None)
    assert [target for _, target, _ in history(store, "batch")] == ["packed", "cancelled"]


def test_a_move_of_a_row_that_is_not_there_is_stale(store):
    with pytest.raises(StaleMoveError), store.write() as tx:
        moves.move(tx, batch_table, 99, Batch.PACKED, Batch.SPOOLED, "whose?")


def test_an_exception_later_in_the_transaction_takes_the_move_back(store):
    with store.write() as tx:
        batch = new_batch(tx)
    with pytest.raises(RuntimeError, match="the power"), store.write() as tx:
        batches.move(tx, batch, Batch.SPOOLED, "written")
        raise RuntimeError("the power")

    with store.read() as connection:
        assert batches.get(connection, batch.id).state is Batch.PACKED
    assert len(history(store, "batch")) == 1


def test_many_rows_move_at_once_and_each_is_on_record(store):
    with store.write() as tx:
        refs = [f"{number:020x}" for number in range(5)]
        rows = [new_batch(tx, ref) for ref in refs]
        batches.move(tx, rows[4], Batch.CANCELLED, "not this one")
        even = batch_table.c.id % 2 == 1
        moved = moves.move_where(
            tx, batch_table, even, Batch.PACKED, Batch.SPOOLED, "all of them", spool_bytes=3
        )
    assert moved == 2
    with store.read() as connection:
        found = {batch.id: (batch.state, batch.spool_bytes) for batch in batches.newest(connection, 9)}
        subjects = connection.execute(
            select(transitions.c.subject).where(transitions.c.cause == "all of them")
        ).scalars()
        assert list(subjects) == [1, 3]
    assert found[1] == found[3] == (Batch.SPOOLED, 3)
    assert found[2] == found[4] == (Batch.PACKED, None)
    assert found[5] == (Batch.CANCELLED, None)


def test_an_illegal_move_of_many_rows_raises_and_changes_nothing(store):
    with store.write() as tx:
        new_batch(tx)
        with pytest.raises(IllegalMoveError):
            moves.move_where(tx, batch_table, batch_table.c.id > 0, Batch.PACKED, Batch.RUNNING, "no")
    assert len(history(store, "batch")) == 1


def test_a_record_says_when_and_under_which_epoch(store):
    store.clock.advance(12.5)
    with store.write() as tx:
        new_batch(tx)
        row = tx.connection.execute(select(transitions).where(transitions.c.kind == "batch")).mappings().one()
    assert (row["at"], row["epoch"], row["batch_id"]) == (tx.now, store.epoch, 1)
    assert tx.now == 1_780_000_012_500_000


@pytest.mark.parametrize(
    ("state", "values"),
    [
        ("running", {"input_file_id": "file-1"}),  # a job without an id
        ("uploaded", {}),  # an upload without a file
        ("parked", {"reason": "why"}),  # no word on what to do next
        ("sleeping", {}),  # no such state
    ],
)
def test_the_file_itself_refuses_states_that_make_no_sense(store, state, values):
    with store.write() as tx:
        batch = new_batch(tx)
    with pytest.raises(IntegrityError, match="CHECK constraint failed"), store.write() as tx:
        where = batch_table.c.id == batch.id
        tx.connection.execute(batch_table.update().where(where).values(state=state, **values))


def test_the_file_itself_refuses_values_of_another_type(store):
    with pytest.raises(IntegrityError, match="cannot store TEXT value in INTEGER column"):
        with store.write() as tx:
            batch = new_batch(tx)
            tx.connection.execute(text("UPDATE batches SET inputs = 'many' WHERE id = :id"), {"id": batch.id})


def test_a_source_is_frozen_once_and_thawed_once(store):
    with store.write() as tx:
        sources.configure(tx, [("docs", "/docs")])
        row = sources.by_name(tx.connection, "docs")
        sources.freeze(tx, row.id, "its folder is missing")
        sources.freeze(tx, row.id, "still missing")
        assert sources.by_name(tx.connection, "docs").frozen_reason == "still missing"
        sources.thaw(tx, row.id, "back")
        with pytest.raises(StaleMoveError):
            sources.thaw(tx, row.id, "back again")
    assert history(store, "source") == [
        (None, "active", "configured"),
        ("active", "frozen", "its folder is missing"),
        ("frozen", "active", "back"),
    ]


def test_an_attempt_ends_once(store):
    with store.write() as tx:
        batch = put_into(tx, new_batch(tx), Batch.UPLOADED)
        attempt = create_calls.open_attempt(tx, batch, None)
        create_calls.close_attempt(tx, attempt, states.Attempt.LOST, "no answer")
        with pytest.raises(StaleMoveError):
            create_calls.close_attempt(tx, attempt, states.Attempt.CREATED, "it was there after all")
        assert [(a.number, a.state, a.detail) for a in create_calls.attempts_of(tx.connection, batch.id)] == [
            (1, states.Attempt.LOST, "no answer")
        ]
        assert create_calls.open_attempt(tx, batch, None).number == 2
