"""Jobs in flight while nobody is there: the process is killed, and the provider's time goes on for hours or weeks."""

from __future__ import annotations

import json
import urllib.request

from . import checks
from .documents import Author
from .machine import Machine
from .stage import DIED_AT_A_POINT, Stage

HOUR_S = 3600
DAY_S = 24 * HOUR_S


def sleep(stage: Stage, seconds: float) -> None:
    """Let time pass at the provider, as `POST /_simulator/advance` does for anybody."""
    request = urllib.request.Request(
        stage.settings.voyage.base_url.removesuffix("/v1") + "/_simulator/advance",
        json.dumps({"seconds": seconds}).encode(),
    )
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200


def send(stage: Stage) -> None:
    """A process sends everything, sees the job run, and dies."""
    assert stage.sync(crash_at="create.committed:1").code == DIED_AT_A_POINT


def test_after_thirteen_hours_the_results_are_fetched(tmp_path):
    with Stage(tmp_path, batch_seconds=6 * HOUR_S) as stage:
        Author(stage, seed=1).begin()
        send(stage)
        sleep(stage, 13 * HOUR_S)
        checks.converge(stage)
        assert stage.sim.calls["create_batch"] == 1


def test_lines_that_expired_meanwhile_are_sent_again_once(tmp_path):
    slow = {"job_slow": {"nth": 1, "done_share": 0.5}}
    with Stage(tmp_path, batch_seconds=0.2, faults=slow) as stage:
        Author(stage, seed=2).begin()
        send(stage)
        sleep(stage, 13 * HOUR_S)
        checks.converge(stage)
        assert stage.sim.calls["create_batch"] == 2


def test_a_job_of_which_nobody_knew_whether_it_exists_is_found_after_a_day(tmp_path):
    with Stage(tmp_path, batch_seconds=0.2) as stage:
        Author(stage, seed=3).begin()
        assert stage.sync(crash_at="create.answered:1").code == DIED_AT_A_POINT
        sleep(stage, DAY_S)
        checks.converge(stage)
        assert stage.sim.calls["create_batch"] == 1


def test_results_that_the_vendor_has_deleted_after_a_month_are_bought_anew(tmp_path):
    """Thirty days after a file was made it is gone: nothing brings its vectors back but asking again."""
    machine = Machine(tmp_path, seed=4)
    machine.author.begin()
    machine.run_until_killed("create.committed")
    machine.world.clock.advance(31 * DAY_S)
    machine.run()
    settings = machine.world.settings()
    assert checks.shown(settings) == checks.expected(settings)
    bought = machine.world.ledger.billed_more_than_once()
    assert set(bought.values()) == {2}
    assert len(bought) == 6, "the one batch that was in flight"
    assert len(machine.world.log.named("results.not_found")) > 2, "it does not give up at the first 404"
