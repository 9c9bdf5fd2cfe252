"""A request from the command line wakes the process at work, whatever it waits for."""

from __future__ import annotations

import threading

import pytest
from world import World

from voyage_jobs.doorbell import Doorbell
from voyage_jobs.state import mailbox

PATIENCE_S = 20


@pytest.fixture
def state(tmp_path):
    """The state of a folder that nobody works on."""
    world = World(tmp_path)
    with world.worker():
        pass
    return world.settings().paths.state_db, world.clock


def looks(monkeypatch, most):
    """Count looks; set after so many."""
    counted, enough, look = [], threading.Event(), mailbox.has_open

    def counting(path):
        counted.append(path)
        if len(counted) >= most:
            enough.set()
        return look(path)

    monkeypatch.setattr("voyage_jobs.state.mailbox.has_open", counting)
    return enough


def test_it_rings_for_a_request(state):
    path, clock = state
    wake = threading.Event()
    with Doorbell(path, wake, look_s=0.01):
        mailbox.leave(path, clock, "me", "retry", {})
        assert wake.wait(PATIENCE_S)


def test_it_is_silent_where_nobody_asks(state, monkeypatch):
    path, _ = state
    enough, wake = looks(monkeypatch, 5), threading.Event()
    with Doorbell(path, wake, look_s=0.001):
        assert enough.wait(PATIENCE_S)
    assert not wake.is_set()


def test_a_state_that_cannot_be_read_does_not_end_it(state, monkeypatch, tmp_path):
    path, clock = state
    enough, wake = looks(monkeypatch, 3), threading.Event()
    aside = tmp_path / "aside.db"
    path.rename(aside)
    with Doorbell(path, wake, look_s=0.001):
        assert enough.wait(PATIENCE_S)
        assert not wake.is_set()
        aside.rename(path)
        mailbox.leave(path, clock, "me", "retry", {})
        assert wake.wait(PATIENCE_S)
