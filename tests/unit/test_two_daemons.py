"""Two data folders with one account: neither touches what is the other's, and nothing is paid twice."""

from __future__ import annotations

import random

import pytest
from small_world import Small, quick
from step_doors import prose
from world import is_quiet

from voyage_jobs.simulator.transport import SimulatorTransport
from voyage_jobs.steps.pipeline import Pipeline

FAULTS = {
    "answer_lost": {"probability": 0.1},
    "request_lost": {"probability": 0.05},
    "server_error": {"probability": 0.1},
    "effect_delayed": {"probability": 0.05, "seconds": 200},
    "job_hidden": {"probability": 0.2, "seconds": 200},
    "rate_limited": {"probability": 0.05},
    "not_deleted": {"probability": 0.1},
    "job_slow": {"probability": 0.1},
}
HOUR_S = 3600.0


class Watching(SimulatorTransport):
    """Notes which jobs and files are stopped, fetched or deleted through it."""

    def __init__(self, simulator):
        super().__init__(simulator)
        self.touched = set()

    def handle_request(self, request):
        _, *rest = request.url.path.removeprefix("/v1/").split("/")
        takes = request.method == "DELETE" or rest[1:] in (["cancel"], ["content"])
        if takes and rest:
            self.touched.add(rest[0])
        return super().handle_request(request)


def two_with_one_account(tmp_path, seed, faults):
    one = Small(tmp_path / "one", faults=faults, seed=seed, batch_seconds=900)
    two = Small(tmp_path / "two", seed=seed + 1)
    two.clock, two.sim = one.clock, one.sim
    for world in (one, two):
        world.transport = Watching(one.sim)
    return one, two


def belongings(world, jobs):
    """The ids of the jobs that this data folder has on record, and of their files."""
    with world.state.read() as connection:
        known = set(
            connection.exec_driver_sql("SELECT remote_id FROM batches WHERE remote_id IS NOT NULL").scalars()
        )
    files = {
        job[name]
        for job in jobs
        if job["id"] in known
        for name in ("input_file_id", "output_file_id", "error_file_id")
    }
    return known, {file for file in files if file}


@pytest.mark.parametrize("seed", range(2))
def test_neither_touches_what_is_the_others(tmp_path, seed):
    one, two = two_with_one_account(tmp_path, seed, FAULTS)
    chance = random.Random(seed)
    jobs = []
    with quick(), one.worker(mode="run") as first, two.worker(mode="run") as second:
        running = [(one, first, Pipeline(first)), (two, second, Pipeline(second))]
        until = one.clock.mono() + 3 * HOUR_S
        while one.clock.mono() < until:
            for world, _, pipeline in running:
                if chance.random() < 0.05:
                    world.write(f"{chance.randint(0, 5)}.md", prose(f"{world.root.name} {chance.random()}"))
                for _ in range(chance.randint(1, 6)):
                    if not pipeline.turn():
                        break  # without time that passes, the next one would find the same
            one.clock.advance(chance.choice((5, 60, 300)))
        one.sim.faults.rules = ()
        for _ in range(600):
            busy = [pipeline.turn() for _, _, pipeline in running]
            if not any(busy) and is_quiet(first) and is_quiet(second):
                break
            one.clock.advance(120)
        else:
            pytest.fail("they do not come to rest")
        jobs = one.sim.state()["batches"]
    mine, theirs = belongings(one, jobs), belongings(two, jobs)
    for own, other, world in ((mine, theirs, one), (theirs, mine, two)):
        assert own[0], "nothing was sent"
        assert not own[0] & other[0]
        assert not world.transport.touched & (other[0] | other[1])
        assert {path for _, path in world.documents()} == {path.name for path in world.docs.iterdir()}
    assert not one.ledger.billed_more_than_once()
    spent = [settled(world) for world in (one, two)]
    assert sum(spent) == one.ledger.batch_tokens


def settled(world):
    with world.state.read() as connection:
        return connection.exec_driver_sql("SELECT COALESCE(SUM(tokens_settled), 0) FROM batches").scalar_one()
