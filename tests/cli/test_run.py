"""`run` as a real process against a simulator behind a port: what it says, and how it ends."""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest
from click.testing import CliRunner

from tests.world import KEY, World
from voyage_jobs.cli.main import cli
from voyage_jobs.core.clock import SystemClock
from voyage_jobs.simulator import Simulator
from voyage_jobs.simulator.server import HttpServer

PATIENCE_S = 30
DIMENSION = 256  # the smallest that a configuration file may name


class Process:
    """`voyage-jobs run`, its log read as JSON lines."""

    def __init__(self, config):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "voyage_jobs", "--config", str(config), "run"],
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "VOYAGE_API_KEY": KEY},
        )
        self.events = []
        self._watchdog = threading.Timer(PATIENCE_S, self.process.kill)
        self._watchdog.start()

    def until(self, event):
        """Read on until an event of that name; its fields."""
        for line in self.process.stderr:
            self.events.append(json.loads(line))
            if self.events[-1]["event"] == event:
                return self.events[-1]
        raise AssertionError(f"{event} never came: {self.events}")

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def close(self):
        self._watchdog.cancel()
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()
        self.process.stdout.close()


@pytest.fixture
def simulator():
    """The address of a simulator whose jobs take no time."""
    with HttpServer(Simulator(SystemClock(), api_key=KEY, batch_seconds=0)) as served:
        yield f"http://127.0.0.1:{served.port}/v1"


@pytest.fixture
def world(tmp_path, simulator):
    world = World(
        tmp_path,
        dimension=DIMENSION,
        voyage={"base_url": simulator},
        batching={"linger_s": 0},
        polling={"interval_s": 0.1},
        logging={"repeat_s": 0},
        sources=[{"name": "docs", "path": str(tmp_path / "docs"), "scan_interval_s": 0.5}],
    )
    world.write("a.md", "# A\n\nThe first.\n")
    return world


@pytest.fixture
def start(world):
    started = []

    def start():
        started.append(Process(world.config_file()))
        return started[-1]

    yield start
    for process in started:
        process.close()


def test_without_a_key_it_does_not_start(world, monkeypatch):
    monkeypatch.delenv("VOYAGE_API_KEY", raising=False)
    monkeypatch.delenv("VOYAGE_API_KEY_FILE", raising=False)
    result = CliRunner().invoke(cli, ["--config", str(world.config_file()), "run"])
    assert result.exit_code == 2
    assert "VOYAGE_API_KEY" in result.stderr
    assert not world.data_dir.exists()


def test_a_second_one_ends_with_4(world, start, monkeypatch):
    monkeypatch.setenv("VOYAGE_API_KEY", KEY)
    start().until("daemon.started")
    result = CliRunner().invoke(cli, ["--config", str(world.config_file()), "run"])
    assert result.exit_code == 4


def test_it_rests_and_goes_on_as_it_is_told(world, start, monkeypatch):
    monkeypatch.setenv("VOYAGE_API_KEY", KEY)

    def order(*args):
        result = CliRunner().invoke(cli, ["--config", str(world.config_file()), *args, "--json"])
        assert result.exit_code == 0, result.output
        answer = json.loads(result.stdout)
        assert answer["by"] == "running process"
        return answer

    run = start()
    run.until("documents.published")
    assert order("pause", "--sending")["what"] == "sending"
    assert run.until("pause.begun")["who"]
    world.write("b.md", "# B\n\nThe second.\n")
    assert run.until("scan.recorded")["new"] == 1
    assert order("retry", "--failed")["embeddings"] == 0
    assert order("cancel", "--source", "docs")["waiting"] == 1
    assert order("resume")["ended"] == ["sending"]
    assert order("retry", "--source", "docs")["embeddings"] == 1
    assert run.until("documents.published")["documents"] == 1
    names = [event["event"] for event in run.events]
    assert "batch.assembled" not in names[names.index("pause.begun") : names.index("pause.ended")]
    assert run.end() == 0


def test_it_publishes_what_comes_takes_new_settings_and_ends_with_0(world, start):
    run = start()
    assert run.until("documents.published")["documents"] == 1
    world.write("b.md", "# B\n\nThe second.\n")
    assert run.until("documents.published")["documents"] == 1
    world.config_file(splitting={"max_chars": 1000})
    run.process.send_signal(signal.SIGHUP)
    assert run.until("config.reloaded")["sources"] == ["docs"]
    world.config_file(lancedb={"table": "others"})
    run.process.send_signal(signal.SIGHUP)
    assert "restart" in run.until("config.refused")["hint"]
    assert run.end() == 0
    assert run.until("daemon.stopped")["in_flight"] == 0
    assert KEY not in json.dumps(run.events)
    assert {row["path"] for row in world.table_rows("path")} == {"a.md", "b.md"}


def test_an_interrupt_ends_it_with_0_too(start):
    run = start()
    run.until("daemon.started")
    assert run.end(signal.SIGINT) == 0


def test_after_a_kill_the_next_one_goes_on(world, start):
    first = start()
    first.until("batch.assembled")
    assert first.end(signal.SIGKILL) == -signal.SIGKILL
    second = start()
    assert second.until("documents.published")["documents"] == 1
    assert second.end() == 0
    assert len(world.table_rows()) == 1


def test_help_tells_the_signals():
    text = CliRunner().invoke(cli, ["run", "--help"]).stdout
    assert "SIGTERM" in text
    assert "SIGHUP" in text
