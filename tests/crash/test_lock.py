"""One writer: commands that meet each other on one data folder, as processes."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator

import pytest
import ready

from voyage_jobs.core import lock

from . import checks
from .documents import Author
from .stage import Stage, end


@pytest.fixture
def stage(tmp_path) -> Iterator[Stage]:
    with Stage(tmp_path, batch_seconds=0.2) as stage:
        Author(stage, seed=1).begin()
        yield stage


def started(stage: Stage) -> ready.Process:
    """A daemon that holds the lock."""
    daemon = stage.start("run")
    until = time.monotonic() + 60
    while '"event": "daemon.started"' not in stage.tail(1000):
        assert time.monotonic() < until, stage.tail()
        time.sleep(0.1)
    return daemon


def test_the_second_of_two_is_told_who_the_first_is_and_a_killed_one_hinders_nobody(stage):
    daemon = started(stage)
    for command in (("sync",), ("run",)):
        refused = stage.run(*command)
        assert refused.code == 4
        assert f"process {daemon.pid}" in refused.log
    assert stage.status()["daemon"]["pid"] == daemon.pid
    end(daemon, signal.SIGKILL)
    assert (stage.data_dir / "lock").read_text() == f"{daemon.pid}\n"
    checks.converge(stage)


def test_a_daemon_that_was_stopped_for_long_finds_out_that_it_was_overtaken(stage):
    """A lock file that was deleted by hand protects nobody; the epoch in the state still does."""
    daemon = started(stage)
    stop_between_transactions(stage, daemon)
    (stage.data_dir / "lock").unlink()
    assert stage.sync().code == 0
    daemon.send_signal(signal.SIGCONT)
    assert daemon.wait(60) == 4
    assert "has taken over" in stage.tail()
    checks.converge(stage)


def stop_between_transactions(stage: Stage, daemon: ready.Process) -> None:
    with contextlib.closing(sqlite3.connect(stage.data_dir / "state.db", timeout=0.1)) as state:
        while True:
            daemon.send_signal(signal.SIGSTOP)
            try:
                state.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                daemon.send_signal(signal.SIGCONT)
            else:
                state.rollback()
                return


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_named(stage):
    stage.data_dir.mkdir()
    stage.data_dir.chmod(0o500)
    refused = stage.sync()
    assert refused.code == 2
    assert "cannot be written by this user" in refused.log
    stage.data_dir.chmod(0o700)


def test_a_data_folder_that_cannot_be_made_is_named(stage):
    stage.data_dir.write_text("a file stands in its way")
    refused = stage.sync()
    assert refused.code == 2
    assert f"data_dir {stage.data_dir} cannot be made" in refused.log


def test_a_read_only_file_system_is_named(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m,ro", "tmpfs", folder]
    mounted = subprocess.run(command, check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip(f"a file system may not be mounted here: {mounted.stderr.decode().strip()}")
    try:
        with Stage(tmp_path / "stage", data_dir=folder) as stage:
            refused = stage.sync()
            assert refused.code == 2
            assert "Read-only file system" in refused.log or "cannot be written" in refused.log
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


MOUNTS = """\
/dev/vda / ext4 rw 0 0
server:/home {home} nfs4 rw 0 0
/dev/vdb {home}/local\\040disk xfs rw 0 0
//host/share {home}/share cifs rw 0 0
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("data", "nfs4"),
        ("local disk/data", "xfs"),
        ("local disk", "xfs"),
        ("share/a/b", "cifs"),
        ("shared", "nfs4"),
        ("../elsewhere", "ext4"),
    ],
)
def test_the_mount_table_tells_the_file_system_of_a_folder(tmp_path, monkeypatch, folder, kind):
    home = tmp_path / "home"
    mounts = MOUNTS.format(home=home)
    monkeypatch.setattr(lock, "open", lambda *args, **how: io.StringIO(mounts), raising=False)
    assert lock.file_system_of(home / folder) == kind
