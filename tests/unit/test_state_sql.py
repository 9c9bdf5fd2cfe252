"""The SQL of `state/`: states change in one place, and no statement goes round SQLAlchemy unless it is on the list."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from voyage_jobs import state
from voyage_jobs.state.statements import RAW

FOLDER = Path(state.__file__).parent
MOVES = "moves.py"  # where states change
DRIVER = {"statements.py", "engine.py", "health.py"}  # many rows, `RAW`; pragmas


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
