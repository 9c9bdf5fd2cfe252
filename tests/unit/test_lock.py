"""One writer per data folder: the second is told who the first is, a dead one leaves nothing behind."""

import fcntl
import os
import signal
import subprocess
import sys

import pytest

from voyage_jobs.core import lock
from voyage_jobs.core.clock import VirtualClock
from voyage_jobs.errors import ConfigError, LockedError

HOLD = """
import sys, time
from pathlib import Path
from voyage_jobs.core import lock
from voyage_jobs.core.clock import SystemClock
with lock.held(Path(sys.argv[1]), SystemClock()):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path):
    """A process that holds the lock at `path`."""
    path = tmp_path / "data" / "lock"
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield path, process
    process.kill()
    process.wait()
    process.stdout.close()


def test_the_second_is_refused_and_told_who_works_here(other):
    path, process = other
    clock = VirtualClock()
    with pytest.raises(LockedError, match=f"process {process.pid}") as refused:
        with lock.held(path, clock):
            raise AssertionError("two writers")
    assert refused.value.exit_code == 4
    assert "status" in refused.value.hint
    assert clock.mono() < 2, "it does not wait long"
    assert lock.holder(path) == process.pid


def test_a_killed_process_leaves_no_lock(other):
    path, process = other
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert lock.holder(path) is None
    with lock.held(path, VirtualClock()):
        assert path.read_text() == f"{os.getpid()}\n"


def test_a_glance_at_the_lock_does_not_cost_anybody_the_lock(tmp_path):
    """`status` takes a shared lock for an instant: whoever wants the lock just then tries again."""
    path = tmp_path / "lock"
    path.touch()
    glance = os.open(path, os.O_RDONLY)
    fcntl.flock(glance, fcntl.LOCK_SH)

    class Passing(VirtualClock):
        def wait(self, seconds, wake=None):
            os.close(glance)
            return super().wait(seconds, wake)

    with lock.held(path, Passing()):
        assert path.read_text() == f"{os.getpid()}\n"


def test_nobody_holds_a_lock_that_was_never_taken(tmp_path):
    assert lock.holder(tmp_path / "none" / "lock") is None
    (tmp_path / "lock").write_text("rubbish")
    assert lock.holder(tmp_path / "lock") is None


def test_the_lock_is_free_again_after_an_error(tmp_path):
    with pytest.raises(RuntimeError):
        with lock.held(tmp_path / "lock", VirtualClock()):
            raise RuntimeError
    with lock.held(tmp_path / "lock", VirtualClock()):
        pass


def test_a_data_folder_that_cannot_be_made_is_a_configuration_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be made"):
        lock.make_data_dir(tmp_path / "file" / "data")


def test_a_new_data_folder_is_private(tmp_path):
    lock.make_data_dir(tmp_path / "data")
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0


def test_a_network_file_system_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "file_system_of", lambda path: "nfs4")
    with pytest.raises(ConfigError, match="network file system"):
        lock.make_data_dir(tmp_path / "data")


def test_the_file_system_of_a_path_is_that_of_its_innermost_mount():
    assert lock.file_system_of("/proc/self") == "proc"
    assert lock.file_system_of("/") is not None
