"""A request from the command line wakes the process at work, whatever it waits for."""

from __future__ import annotations

import threading

import pytest
from world import World

from voyage_jobs.service.request_poller import RequestPoller

PATIENCE_S = 20


@pytest.fixture
def world(tmp_path):
    """A folder that nobody works on."""
    world = World(tmp_path)
    with world.worker():
        pass
    return world


class Looks:
    """The state, with a count of looks; `enough` is set after so many."""

    def __init__(self, world, most):
        self.state, self.left, self.enough = world.state, most, threading.Event()

    def read(self):
        self.left -= 1
        if self.left <= 0:
            self.enough.set()
        return self.state.read()


def test_it_rings_for_a_request(world):
    wake = threading.Event()
    with RequestPoller(world.state, wake, look_s=0.01):
        world.leave("retry")
        assert wake.wait(PATIENCE_S)


def test_it_is_silent_where_nobody_asks(world):
    looks, wake = Looks(world, 5), threading.Event()
    with RequestPoller(looks, wake, look_s=0.001):
        assert looks.enough.wait(PATIENCE_S)
    assert not wake.is_set()


def test_a_state_that_cannot_be_read_does_not_end_it(world, tmp_path):
    looks, wake = Looks(world, 3), threading.Event()
    path, aside = world.state.place, tmp_path / "aside.db"
    path.rename(aside)
    with RequestPoller(looks, wake, look_s=0.001):
        assert looks.enough.wait(PATIENCE_S)
        assert not wake.is_set()
        aside.rename(path)
        world.leave("retry")
        assert wake.wait(PATIENCE_S)
