"""`run` as a real process below a service manager: what it tells, in which order, and when it is at work."""

import os
import secrets
import signal
import socket
import subprocess
import sys

import pytest

from tests.world import KEY, World

PATIENCE_S = 60


class Service:
    """A daemon whose messages go to a socket of ours, as systemd has it."""

    def __init__(self, world, address, ear):
        self.ear = ear
        self.heard = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "voyage_jobs", "--config", str(world.config_file()), "run"],
            stderr=subprocess.DEVNULL,
            env={
                **os.environ,
                "VOYAGE_API_KEY": KEY,
                "NOTIFY_SOCKET": address,
                "WATCHDOG_USEC": "300000",
            },
        )

    def until(self, wanted):
        """Listen until a message with a line that begins so; that line."""
        while True:
            message = self.ear.recv(65536).decode().split("\n")
            self.heard += message
            for line in message:
                if line.startswith(wanted):
                    return line


@pytest.fixture(params=["path", "abstract"])
def ear(request, tmp_path):
    name = f"voyage-jobs-{secrets.token_hex(8)}"
    address = str(tmp_path / "notify") if request.param == "path" else f"@{name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(address if request.param == "path" else f"\0{name}")
        ear.settimeout(PATIENCE_S)
        yield address, ear


@pytest.fixture
def service(tmp_path, ear):
    world = World(tmp_path, dimension=256, voyage={"base_url": "http://127.0.0.1:1/v1"})
    service = Service(world, *ear)
    yield service
    service.process.kill()
    service.process.wait()


def test_ready_watchdog_reload_stopping(service):
    service.until("READY=1")
    assert service.heard[0] == "STATUS=Starting"
    assert "WATCHDOG=1" not in service.heard
    service.until("WATCHDOG=1")
    service.until("STATUS=Idle: nothing waits")
    service.heard.clear()
    service.process.send_signal(signal.SIGHUP)
    assert int(service.until("MONOTONIC_USEC=").partition("=")[2]) > 0
    assert "RELOADING=1" in service.heard
    service.until("READY=1")
    service.until("WATCHDOG=1")
    service.process.send_signal(signal.SIGTERM)
    service.until("STOPPING=1")
    assert service.process.wait(PATIENCE_S) == 0


def test_a_stopped_process_feeds_no_watchdog(service):
    service.until("WATCHDOG=1")
    os.kill(service.process.pid, signal.SIGSTOP)
    os.waitpid(service.process.pid, os.WUNTRACED)
    service.ear.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            service.ear.recv(65536)
    service.ear.settimeout(1.0)  # three periods
    with pytest.raises(TimeoutError):
        service.ear.recv(65536)
    service.ear.settimeout(PATIENCE_S)
    os.kill(service.process.pid, signal.SIGCONT)
    service.until("WATCHDOG=1")
