"""What is asked at every turn must cost what is on its way, not what was ever published."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import Engine, event
from step_doors import prose, scan, settle, turns
from world import World

from voyage_jobs.state.statements import RAW, heard
from voyage_jobs.steps.acts import perform

GROWING = ("versions", "documents", "embeddings", "chunks", "lines", "transitions")
# Indexes of what is on its way, in trouble or at the provider: small whatever the table holds.
SMALL = ("ix_versions_retire", "ix_versions_unpublished", "uq_versions_wanted", "ix_embeddings_failed")
ASKED_ONCE = "SELECT e.id, e.state FROM embeddings e"  # by `retry`, whatever it finds


@pytest.fixture
def asked():
    """Every statement, by SQLAlchemy or raw, with one set of its parameters."""
    seen = {}

    def note(_connection, _cursor, statement, parameters, _context, many):
        seen[statement] = parameters[0] if many else parameters

    def note_raw(statement, parameters):
        seen[statement] = parameters

    event.listen(Engine, "before_cursor_execute", note)
    heard.append(note_raw)
    yield seen
    heard.remove(note_raw)
    event.remove(Engine, "before_cursor_execute", note)


def scanned(context, asked):
    """Statements that read a growing table from one end to the other: (what SQLite says, the statement)."""
    found = []
    with context.store.read() as connection:
        raw = connection.connection.driver_connection
        for statement, parameters in asked.items():
            if not re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE)", statement):
                continue
            named = re.findall(rf"\b({'|'.join(GROWING)}) (?:AS )?(\w+)", statement)
            aliases = {*GROWING, *(alias for _, alias in named)}
            for *_, told in raw.execute(f"EXPLAIN QUERY PLAN {statement}", parameters):
                whole = told.startswith("SCAN") or told.endswith("PRIMARY KEY (rowid>?)")
                if whole and told.split()[1] in aliases and not told.endswith(SMALL):
                    found.append((told, statement))
    return found


def test_raw_statements_are_heard_and_read_no_table_through(tmp_path, asked):
    world = World(tmp_path)
    world.write("a.md", prose("a", 2))
    with world.worker() as context:
        settle(world, context)
        asked.clear()
        world.write("b.md", prose("b", 2))
        scan(context)
        settle(world, context)
        wanted = tuple(each.sql.partition("{marks}")[0] for each in RAW.values())
        raw = {statement: values for statement, values in asked.items() if statement.startswith(wanted)}
        assert len(raw) == len(RAW)
        assert scanned(context, raw) == []


def test_a_turn_without_news_reads_no_table_through(tmp_path, asked):
    world = World(tmp_path)
    for name in "abc":
        world.write(f"{name}.md", prose(name, 2))
    with world.worker() as context:
        settle(world, context)
        asked.clear()
        turns(world, context, 2)
        assert len(asked) > 10
        assert scanned(context, asked) == []


def test_a_start_and_a_scan_without_news_read_no_table_through(tmp_path, asked):
    world = World(tmp_path)
    for name in "abc":
        world.write(f"{name}.md", prose(name, 2))
    world.run()
    asked.clear()
    with world.worker() as context:
        turns(world, context, 3)
        scan(context)
        assert len(asked) > 50
        assert scanned(context, asked) == []


def test_trying_a_failed_chunk_again_looks_only_at_what_uses_it(tmp_path, asked):
    world = World(tmp_path, faults={"line_refused": {"times": 3}})
    for name in "abc":
        world.write(f"{name}.md", prose(name, 2))
    with world.worker() as context:
        settle(world, context)
        asked.clear()
        assert perform(context, "retry", {}, "me")["embeddings"] == 3
        assert [each for each in scanned(context, asked) if not each[1].startswith(ASKED_ONCE)] == []
