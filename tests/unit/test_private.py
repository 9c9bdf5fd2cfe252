"""The data folder is its owner's alone: what is made in it, and one that was left open."""

from __future__ import annotations

import os
import stat

import pytest
from step_doors import prose
from world import World

from voyage_jobs.core import private
from voyage_jobs.maintenance.backup import backup
from voyage_jobs.maintenance.restore import restore


@pytest.fixture(autouse=True)
def open_umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


def open_to_others(folder):
    return sorted(
        str(path.relative_to(folder))
        for path in (folder, *folder.rglob("*"))
        if not path.is_symlink() and path.lstat().st_mode & private.OTHERS
    )


def opened(folder):
    """As an older version, or a copy by hand, may have left it."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.fixture
def worked(tmp_path):
    world = World(tmp_path)
    for number in range(3):
        world.write(f"{number}.md", prose(number))
    world.run()
    return world


# --- what is made ---


def test_whatever_is_made_in_the_data_folder_is_its_owners_alone(tmp_path):
    world = World(tmp_path)
    world.write("a.md", "# A\n\ntext\n")
    found = set()
    with world.worker() as context:
        for _ in range(60):
            world.take_turns(context, 1, quiet=False)
            found |= {name for name in open_to_others(world.data_dir) if not name.startswith("lancedb/")}
            world.clock.advance(30)
    assert found == set()
    assert list((world.data_dir / "vectors").rglob("*.arrow"))
    assert mode(world.data_dir / "lancedb") == 0o700
    assert mode(world.data_dir / "state.db") == 0o600


def test_files_on_their_way_are_private_too(tmp_path):
    world = World(tmp_path)
    world.write("a.md", "# A\n\ntext\n")
    seen = set()
    with world.worker() as context:
        for _ in range(6):
            world.take_turns(context, 1, quiet=False)
            seen |= {path.name.rpartition(".")[2] for path in (world.data_dir / "spool").iterdir()}
            seen |= {path.name for path in world.data_dir.iterdir()}
            assert [n for n in open_to_others(world.data_dir) if not n.startswith("lancedb/")] == []
    assert {"jsonl", "state.db-wal", "state.db-shm", "lock"} <= seen


def test_a_restored_folder_is_private(worked):
    settings = worked.settings()
    backup(settings, worked.clock, worked.root / "saved")
    worked.data_dir.rename(worked.root / "aside")
    worked.data_dir.mkdir(mode=0o755)
    restore(settings, worked.clock, worked.root / "saved")
    assert open_to_others(worked.data_dir) == []


# --- what was left open ---


def test_a_folder_that_was_left_open_is_closed_at_the_next_start(worked):
    opened(worked.data_dir)
    inside = len(open_to_others(worked.data_dir))
    with worked.worker():
        assert open_to_others(worked.data_dir) == []
    (told,) = worked.log.named("data_dir.closed")
    assert told["data_dir"] == str(worked.data_dir)
    assert inside - 1 <= told["entries"] <= inside + 2  # SQLite's files beside the state come and go


def test_nothing_is_looked_at_where_the_folder_is_closed(worked):
    segment = next((worked.data_dir / "vectors").rglob("*.arrow"))
    segment.chmod(0o644)
    with worked.worker():
        assert mode(segment) == 0o644
    assert worked.log.named("data_dir.closed") == []


def test_what_is_not_ours_in_the_folder_is_left_alone(worked):
    kept = worked.data_dir / "notes" / "mine.txt"
    kept.parent.mkdir(mode=0o755)
    kept.write_text("mine")
    elsewhere = worked.root / "elsewhere.arrow"
    elsewhere.write_text("not ours")
    (worked.data_dir / "vectors" / "link.arrow").symlink_to(elsewhere)
    worked.data_dir.chmod(0o755)
    with worked.worker():
        pass
    assert [mode(path) for path in (worked.data_dir, kept.parent, kept, elsewhere)] == [
        0o700,
        0o755,
        0o644,
        0o644,
    ]


@pytest.mark.parametrize("by_link", [False, True], ids=["configured", "link"])
def test_a_table_elsewhere_is_for_whom_the_operator_wants(tmp_path, by_link):
    world = World(tmp_path)
    world.write("a.md", "# A\n\ntext\n")
    table = tmp_path / "shared"
    table.mkdir(mode=0o755)
    world.data_dir.mkdir(mode=0o755)
    if by_link:
        (world.data_dir / "lancedb").symlink_to(table)
        world.run()
    else:
        world.run(lancedb={"uri": str(table)})
    assert mode(world.data_dir) == 0o700
    assert mode(table) == 0o755
    assert all(path.stat().st_mode & stat.S_IROTH for path in (table, *table.rglob("*")))


def test_a_folder_of_another_user_or_of_all_is_left_and_told(worked, monkeypatch):
    worked.data_dir.chmod(0o1777)
    with worked.worker():
        assert mode(worked.data_dir) == 0o1777
    worked.data_dir.chmod(0o755)
    monkeypatch.setattr(os, "geteuid", lambda: worked.data_dir.stat().st_uid + 1)
    with worked.worker():
        assert mode(worked.data_dir) == 0o755
    reasons = [told["reason"] for told in worked.log.named("data_dir.left_open")]
    assert ["/tmp" in reasons[0], "belongs to user" in reasons[1]] == [True, True]


def test_a_folder_that_cannot_be_changed_is_told(worked, monkeypatch):
    worked.data_dir.chmod(0o755)

    def read_only(*_args, **_kwargs):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "chmod", read_only)
    done = private.tighten(worked.data_dir, worked.settings().paths.ours)
    assert done == private.Tightened(left_open="Read-only file system")
