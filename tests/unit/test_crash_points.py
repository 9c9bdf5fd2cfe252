"""Crash points: every one is passed in an ordinary life, an unknown one is a bug, and the environment can kill."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from step_doors import newest, prose, scan, until
from world import Post, World

from voyage_jobs.config.profile import profile_of
from voyage_jobs.core import crash
from voyage_jobs.core.states import Batch
from voyage_jobs.state import batches
from voyage_jobs.steps.acts import perform
from voyage_jobs.steps.assemble import assemble
from voyage_jobs.steps.submit import submit

PACKAGE = Path(crash.__file__).parents[1]


@pytest.fixture(autouse=True)
def disarmed():
    yield
    crash.arm(None)


def test_nothing_happens_unless_armed():
    crash.crash_point("assemble.committed")
    crash.crash_point("no such point")  # not even looked at


def test_an_armed_hook_is_told_the_name():
    passed = []
    crash.arm(passed.append)
    crash.crash_point("assemble.committed")
    crash.arm(None)
    crash.crash_point("assemble.committed")
    assert passed == ["assemble.committed"]


def test_an_unknown_point_is_a_bug():
    crash.arm(lambda name: None)
    with pytest.raises(AssertionError, match="unknown crash point 'nowhere'"):
        crash.crash_point("nowhere")


def test_the_points_in_the_code_are_those_in_the_list():
    in_code = {
        name
        for path in PACKAGE.rglob("*.py")
        for name in re.findall(r'crash_point\("([^"]+)"\)', path.read_text(encoding="utf-8"))
    }
    assert in_code == crash.POINTS


@pytest.mark.parametrize(("spec", "passages", "code"), [
    ("assemble.committed:3", 3, 137),
    ("assemble.committed:3", 2, 0),
    ("assemble.committed", 1, 137),
    ("assemble.before_commit:1", 5, 0),
])  # fmt: skip
def test_the_environment_kills_at_the_nth_passage(spec, passages, code):
    script = f"""
import sys
from voyage_jobs.core import crash
crash.arm_from_environment()
try:
    for _ in range({passages}):
        crash.crash_point("assemble.committed")
finally:
    print("cleaned up", flush=True)
"""
    environment = {**os.environ, "VOYAGE_JOBS_CRASH_AT": spec, "PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert done.stdout == ("" if code else "cleaned up\n")


def test_without_a_word_from_the_environment_nothing_is_armed(monkeypatch):
    monkeypatch.delenv("VOYAGE_JOBS_CRASH_AT", raising=False)
    crash.arm_from_environment()
    crash.crash_point("no such point")


def test_an_ordinary_life_passes_every_point(tmp_path):
    """One life with a lost answer, a removal and two cancellations touches every boundary there is."""
    faults = {
        "request_lost": {"on": "create_batch", "nth": 1, "as": "read_timeout"},
        "server_error": {"on": "embeddings", "nth": 2},
    }
    world = World(tmp_path, faults=faults, voyage={"quarantine_s": 60}, notify={"command": ["tell"]})
    world.post = Post()
    passed = set()
    crash.arm(passed.add)
    world.write("a.md", prose("a"))
    world.write("b.md", prose("b"))
    world.write("book.ipynb", '{"nbformat": 4, "cells": [{"cell_type": "markdown", "source": "words"}]}')
    world.run(
        sources=[
            {"name": "docs", "path": str(world.docs), "include": ["*.md", "*.ipynb"], "delete_grace_s": 0}
        ]
    )

    world.remove("b.md")
    world.write("c.md", prose("c"))
    with world.worker() as context:
        running = until(world, context, Batch.RUNNING)
        perform(context, "cancel", {"ref": running.ref}, "a test")
        world.take_turns(context)

        world.write("d.md", prose("d"))
        scan(context)
        assert assemble(context, eager=True)
        with context.store.write() as tx:
            batches.note(tx, newest(context).id, cancel_asked_at=tx.now)
        submit(context)
        world.take_turns(context)

        world.write("e.md", prose("e"))
        perform(context, "expedite", {"order": "an order", "source": "docs", "path": "e.md"}, "a test")
    fresh = [{"name": "docs", "path": str(world.docs), "fresh_within_s": 60, "delete_grace_s": 0}]
    world.run(sources=fresh)
    for name in ("f", "g"):
        world.write(f"{name}.md", prose(name))
        world.run(sources=fresh)
    other = {"output_dimension": 16}
    target = profile_of(world.settings(voyage=other)).to_json()
    for what in ("begin", "abandon", "begin", None, "switch_back", "begin", None):
        keep = {"keep_previous_s": 0 if what is None and "switch_back.committed" in passed else 60}
        with world.worker(voyage=other, lancedb=keep) as context:
            if what is None:
                world.take_turns(context)
            else:
                perform(context, "reprofile", {"do": what, "target": target}, "a test")
    crash.arm(None)
    assert passed == crash.POINTS
