"""A full or failing disk at every place where something is written: a pause that `status` shows, or an end in clear
words; with room again everything is done, and nothing is paid twice.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import random
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from world import World

from voyage_jobs.core import crash
from voyage_jobs.core.states import Batch
from voyage_jobs.report.status import status
from voyage_jobs.state import batches
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.pipeline import Pipeline

from . import checks
from .documents import Author
from .machine import Machine
from .stage import Stage, end, limit_file_size

# Where the disk fills up, and what is written next.
SITES = {
    "assemble.committed": "spool",
    "poll.committed": "download",
    "download.committed": "pack of vectors",
    "publish.intent.committed": "table",
}
SECTIONS = 600
ENOUGH_PAGES = 1_000_000
SQLITE_NEEDS = 200_000
SMALL_FILES = "max_bytes = 1_000_000"  # three times that must be free before anything is sent


def big_document() -> str:
    """Little to keep in the state, where texts are compressed, and much to send, to fetch and to show."""
    return "\n\n".join(f"# Part {part}\n\n{'All of this is the same. ' * 70}" for part in range(SECTIONS))


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path, dimension=1024)
    world.write("big.md", big_document())
    return world


@pytest.fixture(autouse=True)
def unlimited() -> Iterator[None]:
    yield
    lift_limit()
    crash.arm(None)


def limit_at(context: Context, point: str, *, room: int | None) -> None:
    """From this point on no file may grow: beyond the size of the state and `room`, or at all."""

    def hook(passed: str) -> None:
        if passed != point or (point == "poll.committed" and not ended(context)):
            return
        crash.arm(None)
        size = 0
        if room is not None:
            context.store.checkpoint()  # the log is empty: it may grow to that size as well
            size = context.store.path.stat().st_size + room
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))

    crash.arm(hook)


def ended(context: Context) -> bool:
    """Whether the job is over, and the provider has written what there is to download."""
    with context.store.read() as connection:
        return bool(batches.in_state(connection, Batch.ENDED))


def lift_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def problems(world: World) -> list[str]:
    return [problem["code"] for problem in status(world.settings(), world.clock)["problems"]]


def all_is_right(world: World) -> None:
    checks.everything_is_right(world.settings(), world.sim, world.clock)


def turn_until(world: World, pipeline: Pipeline, reached: str, turns: int = 200) -> None:
    """Take turns until this event was logged."""
    for _ in range(turns):
        if not pipeline.turn():
            world.clock.advance(pipeline.idle_s())
        if world.log.named(reached):
            return
    raise AssertionError(f"no {reached} in {turns} turns: {world.log.events[-10:]}")


@pytest.mark.parametrize("point", SITES)
def test_no_room_for_a_large_file_is_a_pause_that_status_shows(world, point):
    with world.worker() as context:
        limit_at(context, point, room=SQLITE_NEEDS)
        turn_until(world, Pipeline(context, eager=True), "disk.paused")
        assert problems(world) == ["paused_disk"]
        assert not world.log.named("disk.full")
        lift_limit()
        world.take_turns(context)
    all_is_right(world)


@pytest.fixture
def no_search_for_garbage() -> Iterator[None]:
    """A daemon looks for it seldom: what it holds must be let go without."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_search_for_garbage")
@pytest.mark.parametrize(
    "point",
    [*SITES, "scan.slice.before_commit", "scan.finish.committed", "upload.answered", "collect.committed"],
)
def test_when_nothing_at_all_can_be_written_it_waits_and_goes_on_by_itself(world, point):
    with world.worker() as context:
        limit_at(context, point, room=None)
        turn_until(world, Pipeline(context, eager=True), "disk.full")
        jobs = world.sim.calls["create_batch"]
        world.take_turns(context, 20, quiet=False)
        assert world.sim.calls["create_batch"] == jobs
        lift_limit()
        world.take_turns(context)
    all_is_right(world)


def test_a_state_that_may_not_grow_is_a_full_disk(world):
    with world.worker() as context:
        run_pragma(context, "max_page_count=1")  # SQLite takes the present size, if that is more
        turn_until(world, Pipeline(context, eager=True), "disk.paused")
        assert "paused_disk" in problems(world)
        run_pragma(context, f"max_page_count={ENOUGH_PAGES}")
        world.take_turns(context)
    all_is_right(world)


def run_pragma(context: Context, pragma: str) -> None:
    with contextlib.closing(context.store._writer.raw_connection()) as raw:
        raw.execute(f"PRAGMA {pragma}").fetchall()


# --- a disk that fails at fsync ---


@contextlib.contextmanager
def failing_fsync(fails: set[int], error: int) -> Iterator[list[int]]:
    """The calls with these numbers fail. Yields those that did."""
    real, calls, failed = os.fsync, 0, list[int]()

    def fsync(fd: int) -> None:
        nonlocal calls
        calls += 1
        if calls in fails:
            failed.append(calls)
            raise OSError(error, os.strerror(error))
        real(fd)

    with mock.patch("os.fsync", fsync):
        yield failed


def test_a_disk_that_fails_ends_the_process_wherever_that_is_and_the_next_one_makes_it_good(tmp_path):
    """One life, in which each process gets one fsync further than the last."""
    machine = Machine(tmp_path, seed=7)
    machine.author.begin(3)
    for number in range(1, 25):
        with failing_fsync({number}, errno.EIO), pytest.raises(OSError, match="Errno 5"):
            machine.world.run()
    machine.run()
    machine.everything_is_right()


def test_a_disk_that_is_full_now_and_then_is_waited_for_in_one_process(tmp_path):
    machine = Machine(tmp_path, seed=1)
    machine.author.begin(3)
    full = {number for number in range(1, 500) if random.Random(number).random() < 0.2}
    with failing_fsync(full, errno.ENOSPC) as failed:
        machine.world.run()
        machine.author.every_act()
        machine.world.clock.advance(3600)
        machine.world.run()
    assert len(failed) > 5
    machine.everything_is_right()


# --- real processes ---


def wait_for(what: str, seconds: float, holds) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, f"no {what} in {seconds:g} s"
        time.sleep(0.2)


def published(stage: Stage) -> bool:
    return '"event": "documents.published"' in stage.tail(1000)


def in_step(stage: Stage) -> bool:
    return checks.shown(stage.settings) == checks.expected(stage.settings)


def test_a_daemon_that_can_write_nothing_not_even_its_log_outlives_it(tmp_path):
    with Stage(tmp_path) as stage:
        author = Author(stage, seed=3)
        author.begin()
        daemon = stage.start("run")
        wait_for("publication", 60, lambda: published(stage))
        limit_file_size(daemon, 0)
        author.every_act()
        time.sleep(3)
        assert daemon.poll() is None
        assert not in_step(stage)
        limit_file_size(daemon, None)
        wait_for("table", 60, lambda: in_step(stage))
        assert end(daemon, signal.SIGTERM) == 0
        checks.converge(stage)


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of 48 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", folder]
    mounted = subprocess.run(command, check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip(f"a small file system may not be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_daemon_on_a_small_disk_pauses_and_goes_on(tmp_path, small_disk):
    with Stage(tmp_path / "stage", data_dir=small_disk / "data", batching=SMALL_FILES) as stage:
        author = Author(stage, seed=4)
        author.begin()
        daemon = stage.start("run")
        wait_for("publication", 60, lambda: published(stage))
        ballast = small_disk / "ballast"
        fill(ballast, left=600_000)
        stage.write("big.md", big_document())
        author.every_act()
        wait_for("word of it", 60, lambda: '"event": "disk.paused"' in stage.tail(1000))
        assert "paused_disk" in [problem["code"] for problem in stage.status()["problems"]]
        assert daemon.poll() is None
        ballast.unlink()
        wait_for("table", 60, lambda: in_step(stage))
        assert end(daemon, signal.SIGTERM) == 0
        checks.converge(stage)


def test_a_start_on_a_full_disk_ends_in_clear_words(tmp_path, small_disk):
    with Stage(tmp_path / "stage", data_dir=small_disk / "data", batching=SMALL_FILES) as stage:
        Author(stage, seed=5).begin()
        ballast = small_disk / "ballast"
        fill(ballast, left=0)
        ended = stage.sync()
        assert (ended.code, ended.out) == (1, "")
        assert "No room left on the disk" in ended.log or "disk full or failing" in ended.log
        ballast.unlink()
        checks.converge(stage)


def fill(ballast: Path, left: int) -> None:
    """Fill the disk but for `left` bytes."""
    found = os.statvfs(ballast.parent)
    with open(ballast, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, found.f_bavail * found.f_frsize - left)
