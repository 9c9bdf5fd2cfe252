"""What a scan cannot see, or cannot read whole, is told by whoever is asked."""

from __future__ import annotations

import os

import pytest
from step_doors import scan
from world import World

from voyage_jobs.diagnosis.causes import blockers
from voyage_jobs.diagnosis.snapshot import gather, moment_of
from voyage_jobs.planning.plan import plan
from voyage_jobs.report.status import status
from voyage_jobs.report.why import why
from voyage_jobs.service.signals import Signals
from voyage_jobs.service.sync import Ending, Sync
from voyage_jobs.sources import folder as folders
from voyage_jobs.sources.source import FolderScan


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    made.write("a.md", "# a\n\ntext")
    made.write("locked/b.md", "# b\n\nother text")
    made.run()
    return made


@pytest.fixture
def lock(monkeypatch):
    """The system does not list folder `locked`, whoever asks."""
    real = folders.walk

    def walk(*args, **kwargs):
        for found in real(*args, **kwargs):
            yield FolderScan(found.path, unreadable="Permission denied") if found.path == "locked" else found

    monkeypatch.setattr(folders, "walk", walk)
    return monkeypatch


def codes(world):
    return [each["code"] for each in status(world.settings(), world.clock)["problems"]]


def test_a_folder_that_cannot_be_listed_is_a_problem_until_it_can(world, lock):
    assert "folder_unreadable" not in codes(world)
    rows = world.table_rows()
    world.clock.advance(10_000)
    world.run()

    assert "folder_unreadable" in codes(world)
    with world.worker() as context, context.store.read() as connection:
        [found] = [
            each for each in blockers(moment_of(context, connection)) if each.code == "folder_unreadable"
        ]
    assert "(locked)" in found.text
    assert found.severity == "problem"
    assert any("1 folder" in each for each in plan(world.settings(), world.clock)["warnings"])
    assert world.table_rows() == rows

    lock.undo()
    world.write("locked/b.md", "# b\n\nyet another text")
    world.clock.advance(10_000)
    world.run()
    assert "folder_unreadable" not in codes(world)
    assert any("yet another" in row["text"] for row in world.table_rows())


def test_sync_says_that_a_folder_was_not_listed(world, lock):
    world.clock.advance(10_000)
    with world.worker() as context:
        outcome = Sync(context, Signals()).run()
    assert outcome.ending is Ending.UNFINISHED
    assert [each.code for each in outcome.problems] == ["folder_unreadable"]


def test_why_says_that_a_folder_on_the_way_cannot_be_entered(world, monkeypatch):
    real = os.stat

    def stat(path, *args, **kwargs):
        if os.fsencode(path).endswith(b"locked/b.md"):
            raise PermissionError(13, "Permission denied")
        return real(path, *args, **kwargs)

    monkeypatch.setattr("voyage_jobs.report.standing.os.stat", stat)
    answer = why(world.settings(), world.clock, "locked/b.md")
    assert answer.reason == "folder_unreadable"
    assert "not there" not in answer.paragraph


def test_front_matter_that_cannot_be_read_whole_is_counted(world):
    assert gather(world.settings(), world.clock).scan_notes
    world.write("bad.md", "---\ntitle: Upgrading: part two\nstatus: draft\n---\nBody about pumps.\n")
    world.clock.advance(10_000)
    told = "1 file of source docs: front matter cannot be read whole"
    assert any(told in each for each in plan(world.settings(), world.clock)["warnings"])

    world.run()
    [found] = [p for p in status(world.settings(), world.clock)["problems"] if p["code"] == "front_matter"]
    assert found["severity"] == "info"
    assert told in found["message"]
    [row] = [row for row in world.table_rows() if row["path"] == "bad.md"]
    assert row["title"] == "Upgrading: part two"


def test_an_edit_that_waits_counts_its_document_once(world):
    well, part = "---\ntitle: {}\n---\nText of {}.\n\n![](data:image/png;base64,{})\n", "A" * 3_000
    broken = "---\ntitle: Upgrading: part {}\n---\nBody about pumps.\n\n![](data:image/png;base64,{})\n"
    world.write("bad.md", broken.format("two", part))
    world.write("well.md", well.format("well", "wells", part))
    world.write("mended.md", broken.format("one", part))
    world.run()

    def told():
        answer = status(world.settings(), world.clock)
        [source] = answer["sources"]
        [problem] = [each for each in answer["problems"] if each["code"] == "front_matter"]
        return source["data"], problem["message"].split(":")[0]

    before, problem = told()
    assert before["files"] == 3
    assert problem == "2 files of source docs"

    world.write("bad.md", broken.format("three", part))
    world.write("well.md", well.format("weller", "wells", part))
    world.write(
        "mended.md",
        "---\ntitle: Upgrading\n---\nBody about pumps.\n\n![](data:image/png;base64," + part + ")\n",
    )
    world.clock.advance(10_000)
    with world.worker() as context:
        scan(context)
    data, problem = told()
    assert data["files"] == 3
    assert data["tokens"] == before["tokens"]
    assert problem == "1 file of source docs"
