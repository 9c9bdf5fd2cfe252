"""Death by `os._exit` at a given passage of a given crash point, and what comes of it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from . import checks
from .documents import Author
from .stage import DIED_AT_A_POINT, Ended, Stage

# In the order of the work. Where a process dies, the next one starts, goes on from there, and dies at the next point.
THE_WAY_OF_A_BATCH = (
    "scan.slice.before_commit",
    "scan.slice.committed",
    "scan.finish.committed",
    "assemble.before_commit",
    "assemble.committed",
    "spool.written",
    "spool.renamed",
    "spool.committed",
    "upload.before",
    "upload.answered",
    "upload.committed",
    "attempt.committed",  # nothing was sent: found out by a list without a match, after the quarantine
    "reconcile.listed",
    "reconcile.committed",
    "create.answered",  # sent, and not recorded: found in the list
    "create.committed",
    "poll.listed",
    "poll.committed",
    "download.written",
    "download.renamed",
    "download.committed",
    "segment.written",
    "segment.renamed",
    "collect.before_commit",
    "collect.committed",
    "publish.intent.committed",
    "publish.table.done",
    "publish.table.synced",
    "publish.committed",
    "remote_delete.done",
    "remote_delete.committed",
    "spool_delete.done",
    "close.committed",
)
OF_A_READING = ("read.asked", "read.answered")
OF_A_REMOVAL = ("retire.table.done", "retire.committed")
OF_A_NOTICE = ("notice.committed", "notice.delivered", "notice.settled")
OF_A_CANCELLATION = ("cancel.sent", "cancel.committed")
OF_AN_EXPEDITE = ("sync.attempt.committed", "sync.answered", "sync.spooled", "sync.committed")
OF_A_PROMISE = ("promise.begun", "promise.deferred")
OF_OTHER_VECTORS = (
    "abandon.committed",
    "reprofile.committed",
    "switch.intent.committed",
    "switch.kept",
    "switch.table.done",
    "switch.table.synced",
    "switch.committed",
    "switch_back.intent.committed",
    "switch_back.table.done",
    "switch_back.committed",
    "previous.released",
)
OLD, NEW = 256, 512  # dimensions

_JOB_S = 0.3
_A_DAY_S = 86_400.0
# Every third create call gets no answer, so that the way through the quarantine is passed several times.
_FAULTS = {"request_lost": {"on": "create_batch", "nth": [2, 5, 8, 11], "as": "read_error"}}


def passages(root: Path, seed: int, *, cancelling: bool) -> Counter[str]:
    """How often the second process of a life passes each point if nothing kills it."""
    with _stage(root, seed) as stage:
        _prepare(stage, seed, cancelling)
        (line,) = [
            line
            for line in stage.sync(module="crash.counting").log.splitlines()
            if line.startswith('{"passed"')
        ]
    return Counter(json.loads(line)["passed"])


def die_once(root: Path, point: str, number: int, seed: int) -> bool:
    """One life with one death at the n-th passage of a point. Whether it was reached; raises AssertionError if what
    came of it is not right. Points on the way to other vectors are passed once.

    Two processes work on the documents: one until the first publication, the other after edits, a move and a removal.
    It is the second that dies, among batches of a few lines each, so that most points are passed several times.
    """
    if point in OF_OTHER_VECTORS:
        with _stage(root, seed) as stage:
            author = Author(stage, seed)
            author.begin()
            return change_vectors(stage, author, (point,)) == 1
    if point in OF_A_PROMISE:
        with promising(root, seed) as stage:
            Author(stage, seed).begin()
            return break_promises(stage, (point,)) == 1
    cancelling = point in OF_A_CANCELLATION
    with _stage(root, seed) as stage:
        _prepare(stage, seed, cancelling)
        if point in OF_AN_EXPEDITE:
            stage.write("now.md", f"# Now\n\nWanted at once, with seed {seed}.\n")
            ended = stage.run("expedite", "now.md", "--yes", crash_at=f"{point}:{number}")
        else:
            module = "crash.isolated" if point in OF_A_READING else "crash.hurried"
            ended = stage.sync(crash_at=f"{point}:{number}", module=module)
        if cancelling:
            _let_cancellations_end(stage)
        checks.converge(stage)
    return ended.code == DIED_AT_A_POINT


def promising(root: Path, seed: int) -> Stage:
    """A source that promises to be fresh, and a provider that fails the first call."""
    return Stage(
        root,
        seed=seed,
        batch_seconds=_JOB_S,
        faults={"server_error": {"on": "embeddings", "nth": 1}},
        source="fresh_within_s = 60",
    )


def break_promises(stage: Stage, deadly: tuple[str, ...]) -> int:
    """Begin the promise, then save a file whose call fails, and one whose call does not; the number of deaths."""
    deaths = 0
    for point, name in zip(OF_A_PROMISE, ("before.md", "after.md"), strict=True):
        stage.write(name, f"# {name}\n\nSaved {name}.\n")
        if point in deadly:
            _demand(stage.sync(crash_at=f"{point}:1"))
            deaths += 1
        checks.converge(stage)
    stage.write("last.md", "# Last\n\nSaved last.\n")
    checks.converge(stage)
    return deaths


def _stage(root: Path, seed: int) -> Stage:
    return Stage(
        root,
        seed=seed,
        batch_seconds=_JOB_S,
        max_inputs=4,
        faults=_FAULTS,
        options={"cancel_s": 0.2},
    )


def _prepare(stage: Stage, seed: int, cancelling: bool) -> None:
    """Up to the moment when the second process starts."""
    author = Author(stage, seed)
    author.begin(4)
    ended = stage.sync()
    assert ended.code == 0, f"{ended}\n{stage.tail()}"
    author.every_act(new=8)
    if cancelling:
        stage.jobs_take(_A_DAY_S)
        # Two batches whose jobs run, and one of which nobody knows whether it has a job:
        _demand(stage.sync(crash_at="create.committed:2"))
        _demand(stage.sync(crash_at="attempt.committed:1"))
        for batch in stage.status()["open_batches"]:
            assert (
                stage.run("cancel", batch["ref"], key=False).code == 0
            )  # without it, the provider is told later
        stage.jobs_take(_JOB_S)


def _demand(ended: Ended) -> None:
    assert ended.code == DIED_AT_A_POINT, ended


def _let_cancellations_end(stage: Stage) -> None:
    """What was cancelled stays so until somebody says `retry`."""
    ended = stage.sync()
    assert ended.code in (0, 3), f"{ended}\n{stage.tail()}"
    assert stage.run("retry").code == 0


def change_vectors(stage: Stage, author: Author, deadly: tuple[str, ...]) -> int:
    """Go to other vectors, give up, go there, come back, and go there for good; the number of deaths on the way.

    The command that passes a deadly point dies there; then it is called again, as an operator would.
    """
    deaths = 0

    def command(*args: str, at: tuple[str, ...] = ()) -> None:
        nonlocal deaths
        for point in (point for point in at if point in deadly):
            _demand(stage.run(*args, crash_at=f"{point}:1"))
            deaths += 1
        ended = stage.run(*args)
        # What had been done when the process died is not there to be done again:
        assert ended.code == 0 or (at and ended.code == 2), f"{ended}\n{stage.tail()}"

    checks.converge(stage)
    stage.ask_for(NEW)
    assert stage.sync().code == 6, "nothing is sent before somebody says so"
    command("reprofile", "--yes")
    author.every_act()
    command("reprofile", "--abandon", at=("abandon.committed",))
    stage.ask_for(OLD)
    checks.converge(stage)
    stage.ask_for(NEW)
    command("reprofile", "--yes", at=("reprofile.committed",))
    command("sync", at=OF_OTHER_VECTORS[2:7])
    checks.converge(stage)
    author.every_act()
    checks.converge(stage)
    command("reprofile", "--switch-back", at=OF_OTHER_VECTORS[7:10])
    stage.ask_for(OLD)
    checks.converge(stage)
    stage.ask_for(NEW, keep_previous_s=0)
    command("reprofile", "--yes")
    command("sync", at=OF_OTHER_VECTORS[10:])
    checks.converge(stage)
    return deaths
