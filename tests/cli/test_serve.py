"""`serve`, and `run` with a page: real processes, real ports."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import threading

import pytest
import ready
from click.testing import CliRunner

from tests.world import KEY, World
from voyage_jobs.cli.main import cli

PATIENCE_S = 60


class Process:
    """A command of ours in a process of its own; what it says on standard error."""

    def __init__(self, world, *args, environ=None, **sections):
        config = str(world.config_file(**sections))
        environ = {**os.environ, "VOYAGE_API_KEY": KEY, **(environ or {})}
        self.process = ready.start(
            "voyage_jobs", "--config", config, *args, env=environ, stderr=subprocess.PIPE
        )
        self.said = []

    def __enter__(self):
        self._alarm = threading.Timer(PATIENCE_S, self.process.kill)
        self._alarm.start()
        return self

    def __exit__(self, *error):
        self._alarm.cancel()
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()

    def until(self, pattern):
        for line in self.process.stderr:
            self.said.append(line)
            if match := re.search(pattern, line):
                return match
        raise AssertionError(self.said)

    def end(self, number):
        self.process.send_signal(number)
        self.process.stderr.read()
        return self.process.wait(PATIENCE_S)


def get(port, path, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


@pytest.fixture
def world(tmp_path):
    return World(tmp_path, dimension=256, voyage={"base_url": "http://127.0.0.1:1/v1"})


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--listen", "nowhere"], "HOST:PORT"),
        (["--listen", "0.0.0.0:0"], "no token is set"),
        (["--listen", "192.0.2.1:0"], "no token is set"),
    ],
)
def test_what_cannot_be_listened_on_is_told(world, args, told):
    result = CliRunner().invoke(cli, ["--config", str(world.config_file()), "serve", *args])
    assert result.exit_code == 2
    assert re.search(told, result.stderr)


def test_a_port_that_is_taken_ends_serve_with_a_sentence(world):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        result = CliRunner().invoke(cli, ["--config", str(world.config_file()), "serve", "--listen", listen])
    assert result.exit_code == 2
    assert "Address already in use" in result.stderr
    assert "--listen" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_answers_without_a_daemon_and_ends_with_0(world, number):
    with Process(world, "serve", "--listen", "127.0.0.1:0") as serve:
        port = int(serve.until(r"http://127\.0\.0\.1:(\d+)/")[1])
        assert get(port, "/healthz") == (200, b"ok\n")
        assert get(port, "/readyz")[0] == 503
        assert json.loads(get(port, "/api/status")[1])["problems"][0]["code"] == "no_state"
        assert serve.end(number) == 0
    assert not world.data_dir.exists()


def test_serve_logs_wrong_tokens_as_the_settings_say(world):
    environ = {"VOYAGE_JOBS_SERVER_TOKEN": "0123456789abcdef0123456789"}
    for level, said in (("info", True), ("error", False)):
        sections = {"logging": {"level": level}}
        with Process(world, "serve", "--listen", "127.0.0.1:0", environ=environ, **sections) as serve:
            port = int(serve.until(r"http://127\.0\.0\.1:(\d+)/")[1])
            assert get(port, "/api/status", Authorization="Bearer wrong")[0] == 401
            serve.process.send_signal(signal.SIGTERM)
            rest = serve.process.stderr.read()
        assert ('"event": "page.token_rejected"' in rest) is said


def test_run_serves_while_it_works_and_ends_in_good_order(world):
    token = "0123456789abcdef0123456789"
    with Process(
        world, "run", server={"listen": "127.0.0.1:0"}, environ={"VOYAGE_JOBS_SERVER_TOKEN": token}
    ) as run:
        line = run.until(r'"event": "page.listening"')
        port = int(re.search(r":(\d+)/", line.string)[1])
        run.until(r'"event": "daemon.started"')
        head = {"Authorization": f"Bearer {token}"}
        assert get(port, "/api/status")[0] == 401
        code, body = get(port, "/metrics", **head)
        assert code == 200
        assert b"voyage_jobs_worker_running 1.0" in body
        assert get(port, "/readyz", **head)[0] == 200
        assert run.end(signal.SIGTERM) == 0
        assert not any(token in line for line in run.said)


def test_run_goes_on_without_its_page(world):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with Process(world, "run", server={"listen": listen}) as run:
            run.until(r'"event": "page.not_served"')
            run.until(r'"event": "daemon.started"')
            assert run.end(signal.SIGTERM) == 0


def test_run_refuses_an_open_address_without_a_token(world):
    config = str(world.config_file(server={"listen": "0.0.0.0:0"}))
    result = CliRunner().invoke(
        cli, ["--config", config, "run"], env={"VOYAGE_API_KEY": KEY, "VOYAGE_JOBS_SERVER_TOKEN": ""}
    )
    assert result.exit_code == 2
    assert "no token is set" in result.stderr
