"""`status --alive`: what a container's health check asks."""

import pytest
from click.testing import CliRunner

from voyage_jobs.cli.main import cli
from voyage_jobs.core import lock
from voyage_jobs.core.clock import SystemClock, VirtualClock
from voyage_jobs.report.alive import FRESH_S, health
from voyage_jobs.state import meta

WIDE = {"voyage": {"output_dimension": 256}}


def test_nobody_is_there(world):
    result = CliRunner().invoke(cli, ["--config", str(world.config_file(**WIDE)), "status", "--alive"])
    assert result.exit_code == 1
    assert "No process works on" in result.stdout


def test_a_process_that_has_made_no_state_yet_is_not_alive(world):
    settings = world.settings()
    with lock.held(settings.paths.lock, SystemClock()):
        found = health(settings, world.clock)
    assert not found.alive
    assert "There is no state yet" in found.message


def test_a_working_process_is_alive_as_long_as_it_gives_signs_of_life(world):
    with world.worker() as context:
        assert health(context.settings, world.clock).alive
        world.clock.advance(FRESH_S - 1)
        assert health(context.settings, world.clock).alive
        world.clock.advance(2)
        found = health(context.settings, world.clock)
        assert not found.alive
        assert "121 s ago" in found.message
        with context.store.write() as tx:
            meta.beat(tx, "publish")
        assert health(context.settings, world.clock).alive
    assert not health(world.settings(), world.clock).alive


def test_the_exit_code_is_0_for_the_living(world):
    config = world.config_file(**WIDE)
    now = SystemClock().wall()
    world.clock = VirtualClock(start=now)
    with world.worker(**WIDE):
        result = CliRunner().invoke(cli, ["--config", str(config), "status", "--alive"])
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.parametrize("other", ["--json", "--check", "--watch"])
def test_it_goes_alone(world, other):
    result = CliRunner().invoke(cli, ["--config", str(world.config_file(**WIDE)), "status", "--alive", other])
    assert result.exit_code == 2
