"""What stands around the loop: the scheduler's notes, signals as events, a clock that is watched."""

import os
import signal
import threading
import time

import pytest

from tests.world import World
from voyage_jobs.core.clock import VirtualClock
from voyage_jobs.service.clockwatch import ClockWatch
from voyage_jobs.service.schedule import ApSchedule, Note, Notes
from voyage_jobs.service.signals import Signals

PATIENCE_S = 10


# --- the scheduler ---


@pytest.fixture
def notes():
    return Notes(threading.Event())


def wait_for(event):
    assert event.wait(PATIENCE_S)
    event.clear()


def test_each_source_is_called_at_its_interval_and_the_loop_is_woken(tmp_path, notes):
    world = World(tmp_path)
    settings = world.settings(
        sources=[{"name": "docs", "path": str(world.docs), "scan_interval_s": 0.1}],
    )
    schedule = ApSchedule(notes)
    try:
        schedule.arm(settings)
        wait_for(notes._wake)
        assert list(notes.take()) == [Note("scan", "docs")]
        wait_for(notes._wake)
    finally:
        schedule.close()


def test_arming_again_replaces_everything(tmp_path, notes):
    world = World(tmp_path)
    quick = [{"name": "docs", "path": str(world.docs), "scan_interval_s": 0.1}]
    schedule = ApSchedule(notes)
    try:
        schedule.arm(world.settings(sources=quick))
        schedule.arm(world.settings(sources=[{**quick[0], "name": "others"}]))
        wait_for(notes._wake)
        assert set(notes.take()) == {Note("scan", "others")}
    finally:
        schedule.close()


def test_after_closing_nothing_is_fired(tmp_path, notes):
    world = World(tmp_path)
    schedule = ApSchedule(notes)
    schedule.arm(world.settings(sources=[{"name": "docs", "path": str(world.docs), "scan_interval_s": 0.1}]))
    schedule.close()
    list(notes.take())
    assert [thread for thread in threading.enumerate() if "APScheduler" in thread.name] == []


def test_a_note_left_twice_is_taken_once(notes):
    notes.leave(Note("scan", "docs"))
    notes.leave(Note("upkeep"))
    notes.leave(Note("scan", "docs"))
    assert list(notes.take()) == [Note("scan", "docs"), Note("upkeep")]
    assert list(notes.take()) == []


# --- signals ---


def test_terminate_stops_and_wakes():
    with Signals() as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        wait_for(signals.wake)
        assert signals.stopping.is_set()
        assert signals.stopped_by == signal.SIGTERM


def test_hangup_is_heard_only_where_it_is_wanted():
    before = signal.getsignal(signal.SIGHUP)  # ignored, where the suite runs under nohup
    with Signals(hangup=True) as signals:
        os.kill(os.getpid(), signal.SIGHUP)
        wait_for(signals.wake)
        assert signals.hangup.is_set()
        assert not signals.stopping.is_set()
    with Signals():
        assert signal.getsignal(signal.SIGHUP) == before


def test_the_second_interrupt_ends_at_once():
    with Signals() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        wait_for(signals.wake)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(PATIENCE_S)


def test_a_terminate_after_an_interrupt_is_no_second_interrupt():
    with Signals() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        wait_for(signals.wake)
        assert signals.stopped_by == signal.SIGINT


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with Signals():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_outside_the_main_thread_nothing_is_installed():
    seen = []

    def other():
        with Signals() as signals:
            seen.append(signal.getsignal(signal.SIGTERM))
            signals.stop()
            seen.append(signals.stopping.is_set())

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert seen == [before, True]


# --- the clock ---


def test_time_that_passes_is_no_step():
    clock = VirtualClock()
    watch = ClockWatch(clock)
    clock.advance(86_400)
    assert watch.stepped_s() == 0.0


@pytest.mark.parametrize("step", [3600.0, -3600.0])
def test_a_step_is_told_once_with_its_direction(step):
    clock = VirtualClock()
    watch = ClockWatch(clock)
    clock.advance(10)
    clock.step(step)
    assert watch.stepped_s() == pytest.approx(step)
    assert watch.stepped_s() == 0.0
