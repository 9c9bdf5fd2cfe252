"""`simulate` as a real process: it says where it is, answers the right key, and ends on SIGTERM."""

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from click.testing import CliRunner

from voyage_jobs.cli.main import cli
from voyage_jobs.config import parse_settings


@pytest.fixture
def served(tmp_path):
    args = [
        "simulate",
        "--port",
        "0",
        "--api-key",
        "made-up",
        "--batch-seconds",
        "0",
        "--storage",
        str(tmp_path / "s"),
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "voyage_jobs", *args, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = ""
    while not lines.endswith("\n}\n"):
        line = process.stdout.readline()
        assert line, process.stderr.read()
        lines += line
    yield process, json.loads(lines)
    process.kill()
    process.wait()
    process.stdout.close()
    process.stderr.close()


def ask(base_url, key):
    request = urllib.request.Request(f"{base_url}/files", headers={"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def test_it_serves_and_says_where_and_stops_on_sigterm(served, tmp_path):
    process, said = served
    assert ask(said["base_url"], "made-up")["data"] == []
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(said["base_url"], "another")
    refused.value.close()
    assert refused.value.code in (401, 403)
    environ = {"VOYAGE_JOBS_SOURCES": '[{"name": "a", "path": "/a"}]', **said["environment"]}
    settings = parse_settings("", None, environ)
    assert settings.voyage.base_url == said["base_url"]
    assert settings.api_key() == "made-up"
    assert not settings.data_dir.exists()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 0


def test_a_port_that_is_taken_is_a_usage_error(served):
    _, said = served
    port = said["base_url"].rsplit(":", 1)[1].removesuffix("/v1")
    result = CliRunner().invoke(cli, ["simulate", "--port", port])
    assert result.exit_code == 2
    assert f"Cannot listen on 127.0.0.1, port {port}" in result.stderr
    assert "--port 0" in result.stderr


@pytest.mark.parametrize("host", ["300.1.1.1", "192.0.2.1"])
def test_a_host_that_is_none_of_this_machine_is_told_as_that(host):
    told = CliRunner().invoke(cli, ["simulate", "--port", "0", "--host", host]).stderr.splitlines()
    assert told[0].startswith(f"error: Cannot listen on {host}, port 0: ")
    assert told[1] == "hint: Use an address of this machine as --host."


def test_a_real_key_is_refused_and_not_repeated():
    secret = "pa-NotARealKey0123456789abcdefghijklmnop"
    result = CliRunner().invoke(cli, ["simulate", "--port", "0", "--api-key", secret])
    assert result.exit_code == 2
    assert "Make one up" in result.stderr
    assert secret not in result.output


def test_a_bad_fault_script_is_named(tmp_path):
    script = tmp_path / "faults.json"
    script.write_text("{]")
    result = CliRunner().invoke(cli, ["simulate", "--port", "0", "--faults", str(script)])
    assert result.exit_code == 2
    assert "faults.json" in result.stderr


def test_for_people_it_prints_lines_to_paste(monkeypatch):
    def no_serving(simulator, host, port, ready):
        ready(4711)

    monkeypatch.setattr("voyage_jobs.simulator.server.serve", no_serving)
    text = CliRunner().invoke(cli, ["simulate", "--host", "0.0.0.0"]).stdout
    assert "export VOYAGE_JOBS_VOYAGE__BASE_URL=http://localhost:4711/v1" in text
    assert "export VOYAGE_API_KEY=simulated" in text
    assert "export VOYAGE_JOBS_DATA_DIR=/" in text
    assert (
        'base_url = "http://[::1]:4711/v1"' in CliRunner().invoke(cli, ["simulate", "--host", "::1"]).stdout
    )


def test_another_provider_has_its_own_variables_and_a_tier(monkeypatch):
    seen = []

    def no_serving(simulator, host, port, ready):
        seen.append(simulator.options)
        ready(4711)

    monkeypatch.setattr("voyage_jobs.simulator.server.serve", no_serving)
    run = CliRunner().invoke
    text = run(cli, ["simulate", "--provider", "openai", "--tier", "2"]).stdout
    said = json.loads(run(cli, ["simulate", "--provider", "openai", "--json"]).stdout)
    environ = {"VOYAGE_JOBS_SOURCES": '[{"name": "a", "path": "/a"}]', **said["environment"]}
    settings = parse_settings("", None, environ)

    assert [each.max_in_flight_tokens for each in seen] == [20_000_000, 3_000_000]
    assert "Simulated OpenAI API" in text
    assert 'type = "openai"' in text
    assert (settings.provider.type, settings.section.base_url) == ("openai", said["base_url"])
    assert settings.api_key() == "simulated"
    refused = run(cli, ["simulate", "--tier", "2"])
    assert (refused.exit_code, "--provider openai" in refused.stderr) == (2, True)


def test_a_script_that_names_the_provider_is_announced_as_such(tmp_path, monkeypatch):
    script = tmp_path / "faults.json"
    script.write_text('{"options": {"vendor": "openai"}}')
    monkeypatch.setattr("voyage_jobs.simulator.server.serve", lambda _, _host, port, ready: ready(port))
    result = CliRunner().invoke(cli, ["simulate", "--port", "18", "--faults", str(script)])
    assert "Simulated OpenAI API" in result.stdout
    assert "export VOYAGE_JOBS_PROVIDER__TYPE=openai" in result.stdout
