"""Fifty jobs, one of them sick: when are the other forty-nine searchable, against a run in which none is?

Time is virtual: what counts is waiting, not the speed of this machine. Every way of being sick lasts forever.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.world import World
from voyage_jobs.steps.pipeline import Pipeline

JOBS = 50
TEXTS_A_JOB = 10
SICK = 25
MOST_TURNS = 20_000

WAYS: Mapping[str, dict[str, Any]] = {
    "nothing": {},
    "its results answer 500": {"results_sick": {"how": "status", "nth": SICK}},
    "its results are one byte short": {"results_sick": {"how": "short", "nth": SICK}},
    "its results are broken gzip": {"results_sick": {"how": "bad_gzip", "nth": SICK}},
    "its upload is always reset": {"upload_sick": {"how": "reset", "nth": SICK}},
    "it answers 500 and is in no list": {"job_sick": {"nth": SICK}},
    "somebody deleted it": {"job_deleted": {"nth": SICK}},
    "its creation is refused": {"create_refused": {"nth": SICK}},
}


class Run(NamedTuple):
    """Virtual seconds until the others were published, the turns that took, and the calls made."""

    seconds: float
    turns: int
    calls: int


def run(faults: dict[str, Any]) -> Run:
    """One life of fifty jobs."""
    with tempfile.TemporaryDirectory(prefix="bench-liveness-") as folder:
        world = World(
            Path(folder),
            faults=faults,
            batch_seconds=120.0,
            batching={"max_inputs": TEXTS_A_JOB, "min_inputs": 1, "linger_s": 0},
        )
        for number in range(JOBS * TEXTS_A_JOB):
            world.write(f"{number:04}.md", f"Document {number} about its own matter.")
        wanted = (JOBS - bool(faults)) * TEXTS_A_JOB
        began = world.clock.mono()
        with world.worker() as context:
            pipeline = Pipeline(context, eager=True)
            for turn in range(1, MOST_TURNS):
                did = pipeline.turn()
                with context.store.read() as connection:
                    sql = "SELECT COUNT(*) FROM versions WHERE state = 'published'"
                    published = connection.exec_driver_sql(sql).scalar_one()
                if published >= wanted:
                    return Run(world.clock.mono() - began, turn, world.sim.calls.total())
                if not did:
                    world.clock.advance(pipeline.idle_s())
    raise AssertionError(f"{published} of {wanted} documents were published after {MOST_TURNS} turns")


def main() -> None:
    """Print the table."""
    print(
        f"{JOBS} jobs of {TEXTS_A_JOB} texts, one of them sick forever; virtual seconds until the others are shown"
    )
    print("| what is sick | virtual s | ratio | turns | calls |")
    print("|---|---|---|---|---|")
    healthy: Run | None = None
    for way, faults in WAYS.items():
        found = run(faults)
        healthy = healthy or found
        ratio = found.seconds / healthy.seconds
        print(f"| {way} | {found.seconds:.0f} | {ratio:.2f} | {found.turns} | {found.calls} |", flush=True)


if __name__ == "__main__":
    main()
