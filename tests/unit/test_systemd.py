"""What a service manager hears, over real datagram sockets; and when the watchdog is not fed."""

import os
import secrets
import socket
import threading

import pytest

from tests.world import World
from voyage_jobs.core.clock import VirtualClock
from voyage_jobs.core.pace import DEADLINES_S, Pace
from voyage_jobs.core.redact import remember
from voyage_jobs.errors import LockedError
from voyage_jobs.service import daemon
from voyage_jobs.service.signals import Signals
from voyage_jobs.service.systemd import Manager, SystemdNotifier, status_line
from voyage_jobs.steps.pipeline import Pipeline


class Ear:
    """The receiving end: a real socket, at a path or in the abstract namespace."""

    def __init__(self, address):
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.setblocking(False)

    def heard(self):
        """All messages since the last call, as lists of lines."""
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(65536).decode().split("\n"))
            except BlockingIOError:
                return messages

    def lines(self):
        return [line for message in self.heard() for line in message]


@pytest.fixture(params=["path", "abstract"])
def ear(request, tmp_path):
    address = str(tmp_path / "notify") if request.param == "path" else f"@voyage-jobs-{secrets.token_hex(8)}"
    ear = Ear(address)
    yield ear
    ear.socket.close()


@pytest.fixture
def clock():
    return VirtualClock()


class Log:
    def __init__(self):
        self.errors = []

    def error(self, event, **fields):
        self.errors.append((event, fields))


class Speaker:
    """A notifier whose thread is not started: the test ticks."""

    def __init__(self, ear, clock, watchdog_s=30.0):
        self.pace, self.log, self.stopping = Pace(clock), Log(), threading.Event()
        self.notifier = SystemdNotifier(
            Manager(ear.address, watchdog_s), clock, self.pace, self.log, self.stopping
        )


# --- the environment ---


def test_without_the_variable_nobody_is_told(clock):
    manager = Manager.from_environment({})
    assert not manager.listens
    assert manager.watchdog_s is None
    assert not manager.tell("READY=1")
    with SystemdNotifier(manager, clock, Pace(clock), Log(), threading.Event()) as notifier:
        notifier.ready()
        assert not any(thread.name == "systemd-notifier" for thread in threading.enumerate())


def test_the_variables_are_taken_out_of_the_environment(ear):
    environ = {
        "NOTIFY_SOCKET": ear.address,
        "WATCHDOG_USEC": "30000000",
        "WATCHDOG_PID": str(os.getpid()),
        "HOME": "/root",
    }
    manager = Manager.from_environment(environ)
    assert environ == {"HOME": "/root"}
    assert (manager.listens, manager.watchdog_s) == (True, 30.0)
    manager.close()
    assert not manager.tell("READY=1")


@pytest.mark.parametrize(
    "environ",
    [{"WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": ""}],
)
def test_a_watchdog_for_somebody_else_or_none_is_none(environ):
    assert Manager.from_environment({"WATCHDOG_USEC": "1000", **environ}).watchdog_s is None


@pytest.mark.parametrize("address", ["/nowhere/at/all", "@nobody-is-there", "vsock:2:1234", "relative"])
def test_a_message_that_cannot_be_delivered_is_lost_without_harm(address):
    manager = Manager(address)
    assert not manager.tell("READY=1")
    manager.close()


# --- messages ---


def test_it_says_ready_then_feeds_the_watchdog(ear, clock):
    speaker = Speaker(ear, clock)
    speaker.notifier.tick()
    assert ear.heard() == [["EXTEND_TIMEOUT_USEC=60000000"]]
    speaker.notifier.ready()
    speaker.notifier.tick()
    assert ear.heard() == [["READY=1"], ["WATCHDOG=1"]]


def test_a_reload_carries_the_monotonic_time(ear, clock):
    clock.advance(12.5)
    speaker = Speaker(ear, clock)
    speaker.notifier.reloading()
    speaker.notifier.ready()
    assert ear.heard() == [
        ["RELOADING=1", "MONOTONIC_USEC=12500000"],
        ["STATUS=Reading the configuration again"],
        ["READY=1"],
    ]


def test_the_status_is_what_the_step_tells_and_is_said_once(ear, clock):
    speaker = Speaker(ear, clock)
    speaker.notifier.ready()
    speaker.pace.begin("scan", "Scanning docs: 1,200")
    speaker.notifier.tick()
    speaker.notifier.tick()
    assert [line for line in ear.lines() if line.startswith("STATUS")] == ["STATUS=Scanning docs: 1,200"]


def test_a_status_is_one_short_printable_line_without_secrets():
    remember("planted-secret")
    assert status_line("a\nREADY=1\x1b[31m planted-secret") == "STATUS=a READY=1 [31m ***"
    assert len(status_line("x" * 1000)) == len("STATUS=") + 200


def test_a_name_that_is_no_text_is_sent_all_the_same(ear):
    assert Manager(ear.address).tell(status_line("docs/\udcff.md"))
    assert ear.heard() == [["STATUS=docs/\\udcff.md"]]


def test_stopping_is_said_once_as_soon_as_it_is_asked_for(ear, clock):
    speaker = Speaker(ear, clock)
    speaker.notifier.ready()
    speaker.stopping.set()
    speaker.notifier.tick()
    speaker.notifier.stopping()
    assert ear.lines().count("STOPPING=1") == 1


# --- the watchdog ---


@pytest.mark.parametrize("step", sorted(DEADLINES_S))
def test_it_is_fed_only_within_the_deadline_of_the_step(ear, clock, step):
    speaker = Speaker(ear, clock)
    speaker.notifier.ready()
    speaker.pace.begin(step, "at it")
    clock.advance(DEADLINES_S[step])
    speaker.notifier.tick()
    assert "WATCHDOG=1" in ear.lines()
    clock.advance(1)
    speaker.notifier.tick()
    speaker.notifier.tick()
    lines = ear.lines()
    assert "WATCHDOG=1" not in lines
    assert any(line.startswith(f"STATUS=Stuck in {step}: no sign of progress for") for line in lines)
    ((event, fields),) = speaker.log.errors
    assert event == "step.overdue"
    assert (fields["step"], fields["doing"]) == (step, "at it")


def test_a_sign_of_progress_sets_the_deadline_anew(ear, clock):
    speaker = Speaker(ear, clock)
    speaker.notifier.ready()
    speaker.pace.begin("publish")
    for _ in range(3):
        clock.advance(DEADLINES_S["publish"] - 1)
        speaker.pace.sign("Publishing: 1")
        speaker.notifier.tick()
    assert ear.lines().count("WATCHDOG=1") == 3
    clock.advance(DEADLINES_S["publish"] + 1)
    speaker.notifier.tick()
    assert "WATCHDOG=1" not in ear.lines()
    speaker.pace.sign("Publishing: 2")
    speaker.notifier.tick()
    assert "WATCHDOG=1" in ear.lines()


def test_a_start_that_hangs_is_given_no_more_time(ear, clock):
    speaker = Speaker(ear, clock)
    clock.advance(DEADLINES_S["start"] + 1)
    speaker.notifier.tick()
    assert not any(line.startswith("EXTEND") for line in ear.lines())


def test_every_step_has_a_deadline(tmp_path, clock):
    world = World(tmp_path)
    with world.worker() as context:
        names = [name for name, _ in Pipeline(context)._steps()]
    assert set(names) <= set(DEADLINES_S)
    with pytest.raises(AssertionError, match="no deadline"):
        Pace(clock).begin("unheard of")


# --- the daemon ---


def run(world, ear, *, waits=40, at=None):
    """The daemon in virtual time for so many waits; what it told, by message. `at`: wait -> what happens."""
    seen = []
    with Signals() as signals:
        clock, own = world.clock, type(world.clock).wait

        def waiting(seconds, wake=None):
            if wake is signals.wake:
                seen.append(len(seen) + 1)
                (at or {}).get(len(seen), lambda _: None)(signals)
                if len(seen) >= waits:
                    signals.stop()
            elif wake is not None:  # the notifier's thread: the test has no use for it
                wake.wait()
                return True
            return own(clock, seconds, wake)

        clock.wait = waiting
        try:
            daemon.run(
                world.settings(),
                clock,
                world.log,
                signals,
                reload=world.settings,
                transport=world.transport,
                manager=Manager(ear.address, 30.0),
            )
        finally:
            del clock.wait


def hang_up(signals):
    signals.hangup.set()
    signals.wake.set()


def test_the_daemon_is_ready_only_after_lock_migration_and_recovery(tmp_path, ear, monkeypatch):
    world = World(tmp_path, batching={"linger_s": 0})
    before = []
    from voyage_jobs.service import worker

    for name in ("recover",):
        real = getattr(worker, name)

        def watched(*args, real=real, **options):
            real(*args, **options)
            before.extend(ear.lines())

        monkeypatch.setattr(worker, name, watched)
    run(world, ear, waits=3, at={2: hang_up})
    assert before == ["STATUS=Starting"]
    after = ear.lines()
    assert after[0] == "READY=1"
    reloading = after.index("RELOADING=1")
    assert "READY=1" in after[reloading:]
    assert after.index("STOPPING=1") > reloading


def test_a_daemon_that_cannot_have_the_lock_never_says_ready(tmp_path, ear):
    world = World(tmp_path)
    with world.worker():
        with pytest.raises(LockedError):
            run(world, ear)
    lines = ear.lines()
    assert "READY=1" not in lines
    assert lines[-1].startswith("STATUS=Failed: Another voyage-jobs")


def test_while_it_waits_the_status_tells_what_is_under_way(tmp_path):
    from voyage_jobs.report.one_line import one_line

    world = World(tmp_path, batching={"linger_s": 0})
    world.write("a.md", "# A\n\nThe first.\n")
    with world.worker() as context:
        assert one_line(context) == "Idle: nothing waits"
        pipeline = Pipeline(context, eager=True)
        for _ in range(3):
            pipeline.turn()
        assert one_line(context) == "1 batch (1 text) in flight"
