"""A time that no calendar has, in an answer or already in the state, ends nothing that looks at it."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest
from fuzz.vendor import Changed, rewritten
from looking import Looking

from tests.unit.test_server import Served
from voyage_jobs.vendors.rest.wire import read_time_us

LEAST, MOST = -(2**63), 2**63 - 1
STORED = [LEAST, MOST, -62_135_683_140_000_000, 253_402_387_140_000_000, -1]
"""The ends of what SQLite holds; the first and the last moment that a zone takes out of the calendar."""
STATED = [
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "0001-01-01 00:00:00",
    -5,
    1e10,
    10**400,
    1e308,
]
LOOKS = [
    ("status",),
    ("batches",),
    ("batches", "--all"),
    ("history", "a.md"),
    ("history", "bad.md"),
    ("history", "--acts"),
    ("why", "a.md"),
    ("why", "late.md"),
    ("history", "late.md"),
    ("plan",),
    ("cost",),
    ("notify",),
]  # fmt: skip


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A published document, one with a refused text, and one that is at the provider."""
    looking = Looking(tmp_path, monkeypatch, faults={"line_refused": {"contains": "badword"}})
    looking.world.write("a.md", "# A\n\nSome text.\n")
    looking.world.write("bad.md", "badword\n")
    looking.world.run()
    looking.world.write("late.md", "Still on its way.\n")
    with looking.world.worker(batching={"linger_s": 0}) as context:
        looking.world.take_turns(context, 12, quiet=False)
    return looking


def poison(world, value):
    """Every time in the state becomes `value`."""
    with contextlib.closing(sqlite3.connect(world.data_dir / "state.db")) as state, state:
        tables = [name for (name,) in state.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        changed = 0
        for table in tables:
            for _, column, *_ in state.execute(f"PRAGMA table_info({table})").fetchall():
                if column == "at" or column.endswith("_at"):
                    changed += state.execute(f"UPDATE {table} SET {column} = ?", (value,)).rowcount
    assert changed > 50


@pytest.mark.parametrize("value", STORED)
def test_every_look_survives_any_stored_time(run, value):
    poison(run.world, value)
    for command in LOOKS:
        run.text(*command)
        run.json(*command)
    found = run.json("batches", "--all")["batches"]
    assert {batch["created_at"][4:] for batch in found} <= {"-01-01T00:00:00Z", "-12-31T23:59:59Z"}
    assert "voyage_jobs_" in run("status", "--metrics").stdout


@pytest.mark.parametrize("value", [LEAST, MOST])
def test_the_page_survives_any_stored_time(run, value):
    poison(run.world, value)
    with Served(run.world) as ask:
        for path in ("status", "batches", "history?ref=a.md", "history?ref=late.md"):
            ask.json(f"/api/{path}")
        assert ask("/metrics")[0] == 200
        assert ask("/readyz")[0] in (200, 503)
    assert run.world.log.named("page.failed") == []


@pytest.mark.parametrize("value", STATED)
def test_a_job_with_such_a_time_is_shown_and_brought_home(tmp_path, monkeypatch, value):
    run = Looking(tmp_path, monkeypatch)
    fields = ("created_at", "in_progress_at", "expected_completion_at", "completed_at", "expires_at")

    def change(path, body):
        return None if path.endswith("/content") else rewritten(body, odd)

    def odd(said):
        for item in said.get("data", [said]):
            item.update(dict.fromkeys(fields, value))

    run.world.transport = Changed(run.world.sim, change)
    run.world.write("a.md", "Some text.\n")
    with run.world.worker(batching={"linger_s": 0}) as context:
        run.world.take_turns(context, 12, quiet=False)
    for command in (("batches", "--all"), ("status",), ("history", "a.md")):
        run.text(*command)
        run.json(*command)
    run.world.run()
    assert [row["path"] for row in run.world.table_rows("path")] == ["a.md"]
    assert run.world.ledger.units() == 1


@pytest.mark.parametrize(
    "value", [*STATED, "1999-12-31T23:59:59Z", "2200-01-01T00:00:00Z", 946_684_799, 7_258_118_400]
)
def test_what_is_not_plausible_is_no_time(value):
    assert read_time_us(value) is None


@pytest.mark.parametrize("value", ["2000-01-01T00:00:00Z", 946_684_800, 946_684_800.0])
def test_what_is_plausible_is_a_time(value):
    assert read_time_us(value) == 946_684_800_000_000
