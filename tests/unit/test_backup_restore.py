"""A backup is whole or not there, is made while work goes on, and going back to it costs nothing twice."""

from __future__ import annotations

import errno
import json
import os
import shutil
from types import SimpleNamespace

import pytest
from verify_doors import found, prose, segment_files, settled, sql
from world import World

from voyage_jobs.core.states import Batch
from voyage_jobs.errors import ConfigError, CorruptionError, DiskFullError, LockedError, StateError
from voyage_jobs.maintenance.backup import MANIFEST, backup, read_manifest
from voyage_jobs.maintenance.restore import restore
from voyage_jobs.state import batches, sqlite
from voyage_jobs.steps.pipeline import Pipeline


@pytest.fixture
def world(tmp_path):
    return settled(tmp_path)


@pytest.fixture
def copy(world):
    """A backup of the settled world."""
    backup(world.settings(), world.clock, world.root / "copy")
    return world.root / "copy"


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


# --- making one ---


def test_without_a_state_there_is_nothing_to_back_up(tmp_path):
    world = World(tmp_path)
    with pytest.raises(StateError, match="no state yet"):
        backup(world.settings(), world.clock, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_is_there_already_is_left_alone(world, kind):
    target = world.root / "copy"
    if kind == "folder":
        target.mkdir()
        (target / "mine").write_text("mine")
    else:
        target.write_text("mine")
    with pytest.raises(ConfigError, match="already exists"):
        backup(world.settings(), world.clock, target)


def test_a_backup_that_fails_leaves_nothing(world, monkeypatch):
    def full(source, target):
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(DiskFullError):
        backup(world.settings(), world.clock, world.root / "copies" / "copy")
    assert list((world.root / "copies").iterdir()) == []


def test_a_backup_onto_a_full_disk_says_so_and_leaves_nothing(world, monkeypatch):
    """It ended with an unexpected error: the driver gives an error of a copy no code."""
    connect = sqlite.sqlite_module().connect

    def small(*args, **more):
        made = connect(*args, **more)
        made.execute("PRAGMA max_page_count=20")
        return made

    monkeypatch.setattr(sqlite, "sqlite_module", lambda: SimpleNamespace(connect=small))
    with pytest.raises(DiskFullError, match=r"No room left on the disk while writing .*state\.db"):
        backup(world.settings(), world.clock, world.root / "copies" / "copy")
    assert list((world.root / "copies").iterdir()) == []


def test_a_backup_has_the_state_and_the_packs_and_says_what_is_in_it(world, copy):
    manifest = read_manifest(copy)
    assert [entry["name"] for entry in manifest["files"]] == [
        "state.db",
        *(n for n in names(copy) if n[0] == "v"),
    ]
    assert names(copy) == sorted([MANIFEST, *(entry["name"] for entry in manifest["files"])])
    assert all((copy / entry["name"]).stat().st_size == entry["bytes"] for entry in manifest["files"])
    assert manifest["profile"]["model"] == "voyage-4"
    assert manifest["missing"] == []
    assert not list(world.root.glob("*.part-*"))
    assert copy.stat().st_mode & 0o077 == 0


def test_packs_are_linked_where_that_can_be_and_copied_where_not(world, copy, monkeypatch):
    (segment,) = segment_files(world)
    assert segment.stat().st_nlink == 2

    def other_disk(source, target):
        raise OSError(errno.EXDEV, "another device")

    monkeypatch.setattr(os, "link", other_disk)
    report = backup(world.settings(), world.clock, world.root / "other")
    assert (report.files, report.linked) == (2, 0)
    assert segment.stat().st_nlink == 2


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_a_pack_that_is_damaged_is_named_and_the_rest_is_saved(world, damage):
    (segment,) = segment_files(world)
    data = segment.read_bytes()
    segment.unlink() if damage == "missing" else segment.write_bytes(data[:-1] + b"x")
    report = backup(world.settings(), world.clock, world.root / "copy")
    assert report.missing == [f"{segment.parent.name}/{segment.name}"]
    assert names(world.root / "copy") == [MANIFEST, "state.db"]


def test_at_any_moment_of_the_work_a_backup_is_one_moment(tmp_path):
    """Taken after every turn of a life, beside the process at work; each restores to a world that comes to its end."""
    world = settled(tmp_path, documents=2)
    world.write("new.md", prose("new", 2))
    copies = []
    with world.worker() as context:
        steps = Pipeline(context, eager=True)
        while True:
            copies.append(tmp_path / f"copy{len(copies)}")
            backup(world.settings(), world.clock, copies[-1])
            did = steps.turn()
            with context.store.read() as connection:
                newest = batches.newest(connection, 1)[0]
            if newest.id > 1 and newest.state is Batch.CLOSED and not did:
                break
            if not did:
                world.clock.advance(steps.idle_s())
    for at, copy in enumerate(copies[::3]):
        shutil.rmtree(world.data_dir)
        restore(world.settings(), world.clock, copy)
        world.run()
        assert found(world) == {}, at
        assert len(world.table_rows("path")) == 8


def test_the_table_comes_along_when_asked_for(world):
    backup(world.settings(), world.clock, world.root / "copy", with_table=True)
    assert [name for name in names(world.root / "copy") if name.startswith("lancedb/chunks.lance/_versions/")]
    shutil.rmtree(world.data_dir)
    restore(world.settings(), world.clock, world.root / "copy")
    assert len(world.table_rows("path")) == 12, "before any process has run"
    world.run()
    assert sql(world, "SELECT COUNT(*) FROM publications") == [(1,)], "and nothing was published again"
    assert found(world) == {}


# --- going back to one ---


def test_what_is_no_backup_is_refused(world):
    (world.root / "empty").mkdir()
    with pytest.raises(ConfigError, match="is not a backup"):
        restore(world.settings(), world.clock, world.root / "empty")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda manifest: manifest.update(format=99), "format 99"),
        (lambda manifest: (manifest.update(format=99), manifest.pop("files")), "format 99"),
        (lambda manifest: manifest.pop("files"), "lacks 'files'"),
        (lambda manifest: manifest.pop("missing"), "lacks 'missing'"),
        (lambda manifest: manifest["files"][0].pop("bytes"), "lacks 'bytes'"),
        (lambda manifest: manifest["files"][1].pop("sha256"), "lacks 'sha256'"),
        (lambda manifest: manifest.update(missing=5), "cannot be read"),
        (lambda manifest: manifest["files"][0].update(name="../state.db"), "outside of it"),
        (lambda manifest: manifest["files"][0].update(name="/etc/passwd"), "outside of it"),
        (lambda manifest: manifest["files"][0].update(name="lock"), "outside of it"),
    ],
)
def test_a_manifest_that_cannot_be_believed_is_refused(world, copy, change, said):
    manifest = json.loads((copy / MANIFEST).read_text())
    change(manifest)
    (copy / MANIFEST).write_text(json.dumps(manifest))
    shutil.rmtree(world.data_dir)
    with pytest.raises(ConfigError, match=said):
        restore(world.settings(), world.clock, copy)
    assert not world.data_dir.exists()


def test_a_data_folder_that_holds_anything_is_left_alone(world, copy):
    with pytest.raises(ConfigError, match="is not empty") as caught:
        restore(world.settings(), world.clock, copy)
    assert "recover" in caught.value.hint
    assert found(world) == {}


def test_beside_a_process_at_work_nothing_is_restored(world, copy):
    with world.worker(), pytest.raises(LockedError):
        restore(world.settings(), world.clock, copy)


@pytest.mark.parametrize("damage", ["missing", "cut", "changed"])
def test_a_damaged_backup_is_found_out_before_anything_is_put_back(world, copy, damage):
    path = copy / "state.db"
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(data[:-100] if damage == "cut" else data[:-1] + bytes([data[-1] ^ 1]))
    shutil.rmtree(world.data_dir)
    with pytest.raises(CorruptionError, match=r"state\.db is missing or is not what was backed up"):
        restore(world.settings(), world.clock, copy)
    assert names(world.data_dir) == ["lock"]


def test_a_restore_that_fails_half_way_can_be_made_again(world, copy, monkeypatch):
    shutil.rmtree(world.data_dir)

    def fails(*_args):
        raise OSError(errno.EIO, "the disk")

    with monkeypatch.context() as patch:
        patch.setattr("voyage_jobs.state.setback.note", fails)
        with pytest.raises(OSError, match="the disk"):
            restore(world.settings(), world.clock, copy)
    assert names(world.data_dir) == ["lock"]
    restore(world.settings(), world.clock, copy)
    world.run()
    assert found(world) == {}


def test_after_a_restore_everything_is_published_again_at_no_cost(world, copy):
    billed = world.ledger.batch_tokens
    shutil.rmtree(world.data_dir)
    report = restore(world.settings(), world.clock, copy)
    assert (report.files, report.missing) == (2, [])
    world.run()
    assert len(world.table_rows("path")) == 12
    assert found(world, remote=True) == {}
    assert world.ledger.batch_tokens == billed


def test_a_job_that_was_sent_after_the_backup_is_claimed_and_not_paid_twice(world, copy):
    world.write("new.md", prose("new", 2))
    with world.worker() as context:
        steps = Pipeline(context, eager=True)
        while True:
            with context.store.read() as connection:
                if batches.newest(connection, 1)[0].state is Batch.RUNNING:
                    break
            if not steps.turn():
                world.clock.advance(steps.idle_s())
    shutil.rmtree(world.data_dir)
    restore(world.settings(), world.clock, copy)
    world.run()
    assert not world.ledger.billed_more_than_once()
    assert found(world) == {}
    assert len(world.table_rows("path")) == 14


def test_a_table_elsewhere_is_left_where_it_is(tmp_path):
    world = settled(tmp_path, lancedb={"uri": str(tmp_path / "tables")})
    backup(world.settings(), world.clock, tmp_path / "copy", with_table=True)
    shutil.rmtree(world.data_dir)
    restore(world.settings(), world.clock, tmp_path / "copy")
    assert len(world.table_rows("path")) == 12
    world.run()
    assert found(world) == {}
