"""`os._exit` at every crash point: lives in which process after process dies, each a little further than the last."""

from __future__ import annotations

import os
import time
from pathlib import Path

from voyage_jobs.core import crash

from . import checks
from .documents import Author
from .points import (
    OF_A_CANCELLATION,
    OF_A_NOTICE,
    OF_A_PROMISE,
    OF_A_READING,
    OF_A_REMOVAL,
    OF_AN_EXPEDITE,
    OF_OTHER_VECTORS,
    THE_WAY_OF_A_BATCH,
    break_promises,
    change_vectors,
    promising,
)
from .stage import DIED_AT_A_POINT, Stage

CANCELLED = "cancelled"


def die(stage: Stage, point: str) -> None:
    ended = stage.sync(crash_at=f"{point}:1")
    assert ended.code == DIED_AT_A_POINT, f"not at {point}: {ended}"


def test_every_point_is_on_the_way():
    listed = {*OF_A_READING, *THE_WAY_OF_A_BATCH, *OF_A_REMOVAL, *OF_A_NOTICE, *OF_A_CANCELLATION}
    assert {*listed, *OF_AN_EXPEDITE, *OF_A_PROMISE, *OF_OTHER_VECTORS} == crash.POINTS


def test_processes_that_die_at_every_point_get_it_done_together(tmp_path):
    with Stage(tmp_path, batch_seconds=0.2) as stage:
        author = Author(stage, seed=1)
        author.begin()
        for point in THE_WAY_OF_A_BATCH:
            die(stage, point)
        author.every_act()
        for point in OF_A_REMOVAL:
            die(stage, point)
        checks.converge(stage)
        assert stage.sim.calls["create_batch"] == 2


def test_processes_that_die_while_a_file_is_read_lose_nothing_and_leave_no_reader(tmp_path, monkeypatch):
    mark = str(tmp_path / "bin")  # the only thing of ours that a reading process knows
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}{os.pathsep}{mark}")
    with Stage(tmp_path, batch_seconds=0.2) as stage:
        author = Author(stage, seed=1)
        author.begin()
        for point in OF_A_READING:
            ended = stage.sync(crash_at=f"{point}:2", module="crash.isolated")
            assert ended.code == DIED_AT_A_POINT, f"not at {point}: {ended}"
            until = time.monotonic() + 20
            while readers_with(mark) and time.monotonic() < until:
                time.sleep(0.05)
            assert readers_with(mark) == []
        author.every_act()
        checks.converge(stage)


def readers_with(mark: str) -> list[int]:
    """The processes that read for somebody with this in the environment."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and b"voyage_jobs.engine.child" in (folder / "cmdline").read_bytes():
                found += [int(folder.name)] * (mark.encode() in (folder / "environ").read_bytes())
        except OSError:  # it ended meanwhile
            continue
    return found


def test_processes_that_die_while_they_tell_somebody_tell_it_in_the_end(tmp_path):
    with Stage(tmp_path, batch_seconds=0.2) as stage:
        Author(stage, seed=1).begin()
        for point in OF_A_NOTICE:
            die(stage, point)
        checks.converge(stage)
        [notice] = stage.run("notify", "--json").json()["notices"]
        assert notice["event"] == "finished"
        assert [each["state"] for each in notice["deliveries"]] == ["delivered"]


def test_processes_that_die_while_a_batch_is_cancelled_lose_nothing(tmp_path):
    with Stage(tmp_path, batch_seconds=600, options={"cancel_s": 0.2}) as stage:
        author = Author(stage, seed=2)
        author.begin()
        die(stage, "create.committed")
        assert cancel(stage) == "cancelling"
        die(stage, "cancel.sent")
        ended = stage.sync()
        assert ended.code == 3
        assert [problem["code"] for problem in ended.json()["problems"]] == [CANCELLED]

        author.every_act()
        die(stage, "attempt.committed")
        assert cancel(stage) == "cancelling"  # whether there is a job is not known yet
        die(stage, "cancel.committed")
        assert stage.sync().code == 3
        assert stage.sim.ledger.units() == 0

        assert stage.run("retry").code == 0
        stage.jobs_take(0.2)
        checks.converge(stage)
        assert stage.sim.calls["create_batch"] == 2


def test_processes_that_die_while_they_expedite_pay_once_or_say_that_they_cannot_know(tmp_path):
    with Stage(tmp_path) as stage:
        author = Author(stage, seed=3)
        author.begin()
        assert stage.sync().code == 0
        for number, point in enumerate(OF_AN_EXPEDITE):
            stage.write(f"now{number}.md", f"# Now {number}\n\nWanted at once, number {number}.\n")
            ended = stage.run("expedite", f"now{number}.md", "--yes", crash_at=f"{point}:1")
            assert ended.code == DIED_AT_A_POINT, f"not at {point}: {ended}"
            assert stage.sync().code == 0  # else the next would die as it settles this one
        checks.converge(stage)
        ledger, tokens = stage.sim.ledger, stage.status()["tokens"]
        texts = [
            f"# Now {number}\n\nWanted at once, number {number}." for number in range(len(OF_AN_EXPEDITE))
        ]
        # Never sent: by batch alone. Answered and not written down: both, and told as maybe paid. In the spool: once.
        assert [ledger.times_billed_sync(text) for text in texts] == [0, 1, 1, 1]
        assert [ledger.times_billed(text) for text in texts] == [1, 1, 0, 0]
        assert tokens["maybe_paid"] > 0


def test_processes_that_die_in_the_fresh_lane_buy_nothing_twice(tmp_path):
    with promising(tmp_path, seed=4) as stage:
        Author(stage, seed=4).begin()
        assert break_promises(stage, OF_A_PROMISE) == len(OF_A_PROMISE)
        assert stage.sim.calls["embeddings"] == 2  # one that failed, one for what was saved last
        assert stage.sim.ledger.sync_tokens > 0
        assert stage.sim.ledger.billed_more_than_once() == {}


def test_processes_that_die_on_the_way_to_other_vectors_and_back_lose_nothing(tmp_path):
    with Stage(tmp_path, batch_seconds=0.2) as stage:
        author = Author(stage, seed=3)
        author.begin()
        assert change_vectors(stage, author, OF_OTHER_VECTORS) == len(OF_OTHER_VECTORS)


def cancel(stage: Stage) -> str:
    """Cancel the batch that is open; how far that is."""
    (batch,) = stage.status()["open_batches"]
    answer = stage.run("cancel", batch["ref"], "--json", key=False).json()
    assert answer["done"]
    return str(answer["state"])
