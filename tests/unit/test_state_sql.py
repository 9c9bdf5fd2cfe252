"""The SQL of `state/`: states change in one place, and no statement goes round SQLAlchemy unless it is on the list."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError
from state_rows import PROFILE, opened

from voyage_jobs import state
from voyage_jobs.core.states import Embedding, IllegalMoveError, Mode
from voyage_jobs.state import batches, embeddings, moves, outcomes, segment_rows, sources
from voyage_jobs.state.batch_lines import Settled
from voyage_jobs.state.schema import FAILED, HELD, PACKED, WANTED, chunks, transitions
from voyage_jobs.state.schema import embeddings as table
from voyage_jobs.state.statements import RAW, many
from voyage_jobs.state.store import Tx

FOLDER = Path(state.__file__).parent
MOVES = "moves.py"  # where states change
DRIVER = {
    "statements.py",
    "engine.py",
    "health.py",
    "throwaway.py",
    "migrate.py",
}  # many rows, `RAW`; pragmas; BEGIN; a new state


def strings(tree: ast.AST) -> Iterator[str]:
    """Every text of a module, with `{}` for what is put into it; what is put into one is not told again."""
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)


def sets_a_state(sql: str) -> bool:
    """Whether an update in SQL, or one of a conflict, sets a column `state`."""
    while "(" in sql and (flat := re.sub(r"\([^()]*\)", "", sql)) != sql:
        sql = flat
    return any(
        re.search(r"(^|,)\s*(\w+\.)?state\s*=", part.split("WHERE")[0]) for part in sql.split("SET ")[1:]
    )


def is_update(node: ast.expr) -> bool:
    """Whether `node` begins with `update(...)`."""
    while isinstance(node, ast.Call | ast.Attribute):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return node.func.id == "update"
        node = node.func if isinstance(node, ast.Call) else node.value
    return False


def hand_written(source: str) -> list[str]:
    """What a module does about states that it must leave to others."""
    tree = ast.parse(source)
    found = [sql for sql in strings(tree) if sets_a_state(sql)]
    found += [
        sql for sql in strings(tree) if re.search(r"\b(state|outcome)\s*(=|!=|>|IN|NOT IN)\s*\(?\d", sql)
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "values":
            keys = [keyword.arg for keyword in node.keywords]
            keys += [ast.literal_eval(k) for d in node.args if isinstance(d, ast.Dict) for k in d.keys if k]
            if "state" in keys and is_update(node.func):
                found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_states_change_in_one_place_and_have_names(path):
    found = hand_written(path.read_text())
    assert len(found) == (path.name == MOVES), found


@pytest.mark.parametrize(
    "planted",
    [
        'x = "UPDATE embeddings SET attempts = 1, state = ? WHERE id = ?"',
        'x = f"UPDATE embeddings SET pack_id = (SELECT 1 FROM packs WHERE id = 2), state = {HELD} WHERE id = ?"',
        'x = "INSERT INTO embeddings (state) VALUES (:s) ON CONFLICT (key) DO UPDATE SET state = excluded.state"',
        "x = update(table).where(table.c.id == 1).values(state=4)",
        'x = update(table).values({"state": "ready"})',
        'x = "SELECT 1 FROM embeddings e WHERE e.state NOT IN (2, 3)"',
        'x = f"SELECT {columns} FROM embeddings WHERE state = 2"',
    ],
)
def test_a_state_that_is_set_elsewhere_is_found(planted):
    assert hand_written(planted)


@pytest.mark.parametrize(
    "harmless",
    [
        "x = \"UPDATE versions SET doubtful = 1 WHERE state = 'published'\"",
        "x = insert(batches).values(state=str(PACKED))",
        "x = update(batches).where(batches.c.state == OVER).values(due_at=0)",
        'x = f"SELECT 1 FROM embeddings WHERE state = {HELD}"',
    ],
)
def test_what_only_looks_at_states_is_left_alone(harmless):
    assert hand_written(harmless) == []


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_no_statement_goes_round_sqlalchemy(path):
    used = re.findall(r"\.(?:exec_driver_sql|driver_connection)\b", path.read_text())
    assert not used or path.name in DRIVER


def test_the_raw_statements_are_few_and_say_what_they_spare():
    assert len(RAW) <= 5
    assert all(re.search(r"\d+ us", each.why) for each in RAW.values())


@pytest.fixture
def tx(tmp_path):
    store = opened(tmp_path)
    with store.write() as tx:
        sources.configure(tx, [("docs", "/srv/docs")])
        yield tx
    store.close()


def wanted(tx: Tx, count: int) -> list[int]:
    """The ids of new embeddings."""
    profile_id = sources.profile_id(tx, PROFILE)
    rows = [(b"key %d" % i, profile_id, 0, i, WANTED) for i in range(count)]
    many(tx.connection, insert(table), ("key", "profile_id", "wanted_at", "tokens", "state"), rows)
    return list(tx.connection.execute(select(table.c.id).order_by(table.c.tokens)).scalars())


def stored_states(tx: Tx) -> list[int]:
    return list(tx.connection.execute(select(table.c.state).order_by(table.c.id)).scalars())


def test_sets_move_as_the_table_of_moves_allows_and_from_where_they_are_expected(tx):
    first, second, third = wanted(tx, 3)
    taken = table.c.id.in_((first, second))
    assert moves.move_set(tx, table, taken, Embedding.WANTED, Embedding.PACKED) == 2
    assert moves.move_set(tx, table, table.c.id > 0, Embedding.PACKED, Embedding.FAILED, attempts=3) == 2
    with pytest.raises(IllegalMoveError):
        moves.move_set(tx, table, table.c.id > 0, (Embedding.WANTED, Embedding.HELD), Embedding.FAILED)
    embeddings.want(tx, [first, third])
    assert stored_states(tx) == [WANTED, FAILED, WANTED]


def test_submitted_is_stored_as_packed_and_each_row_moves_with_its_values(tx):
    first, second, third = wanted(tx, 3)
    moves.move_set(tx, table, table.c.id != third, Embedding.WANTED, Embedding.PACKED)
    pack_id = segment_rows.add_segment(tx, "p", sources.profile_id(tx, PROFILE), None, 3, 1, "0" * 64)
    embeddings.hold(tx, pack_id, [(7, second), (5, first)])
    other = segment_rows.add_segment(tx, "q", sources.profile_id(tx, PROFILE), None, 3, 1, "0" * 64)
    embeddings.hold(tx, other, [(0, second), (1, third)])  # what another segment holds stays there
    embeddings.hold(tx, pack_id, [(9, first)])  # written again: the same segment, another row
    rows = tx.connection.execute(select(table.c.pack_id, table.c.pack_row).order_by(table.c.id)).all()
    assert rows == [(pack_id, 9), (pack_id, 7), (other, 1)]


def test_what_two_batches_have_stays_packed_until_both_are_over(tx):
    mine = wanted(tx, 4)
    profile_id = sources.profile_id(tx, PROFILE)
    slow, quick = (
        batches.create(tx, ref, profile_id, 4, 6, None, "{}", mode)
        for ref, mode in (("slow", Mode.BATCH), ("quick", Mode.SYNC))
    )
    embeddings.take(tx, slow, mine[:3])
    embeddings.take(tx, quick, mine, in_flight=3)
    pack_id = segment_rows.add_segment(tx, "p", profile_id, quick, 4, 1, "0" * 64)
    ended = (outcomes.SUCCESS, outcomes.MALFORMED, outcomes.REFUSED, outcomes.REFUSED)
    ends = [
        Settled(line, row_id, outcome, 1, None, line)
        for line, (row_id, outcome) in enumerate(zip(mine, ended, strict=True))
    ]
    embeddings.settle(tx, quick, pack_id, ends, max_attempts=1)
    assert stored_states(tx) == [HELD, PACKED, PACKED, FAILED]
    tries = select(table.c.attempts).order_by(table.c.id)
    assert list(tx.connection.execute(tries).scalars()) == [0, 1, 1, 1]
    assert embeddings.give_up(tx, quick) == 0
    assert embeddings.give_back(tx, slow) == 2
    assert stored_states(tx) == [HELD, WANTED, WANTED, FAILED]


def test_a_value_that_stands_in_every_row_is_part_of_the_statement(tx):
    from sqlalchemy import event

    said = []

    def hear(_connection, _cursor, statement, parameters, _context, _many):
        said.append((statement, parameters))

    facts = ("id", "kind", "subject", "origin", "target", "at", "epoch", "batch_id", "cause")
    odd = "it's VALUES (?), 5 % of :id"
    rows = [(i, "batch", i, None, odd, 5, i % 2, None, "x\0y") for i in range(1_001, 1_201)]
    event.listen(tx.connection.engine, "before_cursor_execute", hear)
    try:
        many(tx.connection, insert(transitions), facts, rows)
        many(tx.connection, insert(transitions), facts, [(i + 300, *row) for i, *row in rows[:2]])
    finally:
        event.remove(tx.connection.engine, "before_cursor_execute", hear)
    (large, their_rows), (small, its_rows) = said
    assert len(their_rows[0]) == 4  # a zero character would end the statement
    assert "NULL" in large
    assert len(its_rows[0]) == len(facts)
    assert "NULL" not in small
    found = list(
        tx.connection.execute(select(transitions).where(transitions.c.cause == "x\0y").order_by("id"))
    )
    assert found == [*rows, *((i + 300, *row) for i, *row in rows[:2])]


@pytest.mark.parametrize("count", [100, 111, 112])
def test_rows_that_go_to_the_end_of_a_table_share_statements(tx, count):
    rows = [(i, "batch", i, None, "VALUES (?)", 5, i % 2, None, "?") for i in range(1_001, 1_001 + count)]
    facts = ("id", "kind", "subject", "origin", "target", "at", "epoch", "batch_id", "cause")
    assert many(tx.connection, insert(transitions), facts, rows, appends=True) == count
    assert list(tx.connection.execute(select(transitions).where(transitions.c.cause == "?"))) == rows
    with pytest.raises(IntegrityError):
        many(tx.connection, insert(transitions), facts, rows, appends=True)


def test_a_table_whose_key_is_the_same_in_every_row_asks_for_nothing_back(tx):
    mine = wanted(tx, 150)
    version_id = 1
    tx.connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
    rows = [(version_id + i, 0, row_id, 0, 0, 9, 0, 3) for i, row_id in enumerate(mine)]
    assert many(tx.connection, insert(chunks), chunks.c.keys(), rows) == 150
    assert list(tx.connection.execute(select(chunks).order_by(chunks.c.version_id))) == rows
    tx.connection.execute(chunks.delete())
