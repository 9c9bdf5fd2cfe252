"""`voyage-jobs doctor` as people and scripts meet it."""

from __future__ import annotations

import json
import os

import pytest
from click.testing import CliRunner
from world import KEY, World

from voyage_jobs.cli.main import cli


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in [name for name in os.environ if name.startswith("VOYAGE_")]:
        monkeypatch.delenv(name)


def doctor(world, *args):
    return CliRunner().invoke(cli, ["--config", str(world.root / "voyage-jobs.toml"), "doctor", *args])


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path, dimension=256)
    made.write("a.md", "text")
    made.config_file()
    return made


def test_a_broken_configuration_is_the_first_thing_to_mend(world):
    (world.root / "voyage-jobs.toml").write_text("odd = 1\n")
    result = doctor(world)
    assert result.exit_code == 2
    assert result.stdout.startswith("BAD configuration:")
    report = json.loads(doctor(world, "--json").stdout)
    assert [check["name"] for check in report["checks"]] == ["configuration"]


def test_a_missing_key_is_told_with_where_to_put_it(world):
    result = doctor(world)
    assert result.exit_code == 2
    assert "BAD key: There is no Voyage API key." in result.stdout
    assert "VOYAGE_API_KEY" in result.stdout


def test_all_well(world, monkeypatch):
    monkeypatch.setenv("VOYAGE_API_KEY", KEY)
    result = doctor(world)
    assert result.exit_code == 0, result.stdout
    assert "ok  source docs" in result.stdout
    assert KEY not in result.stdout
    assert not world.data_dir.exists()
    report = json.loads(doctor(world, "--json").stdout)
    assert report["ok"] is True
    assert report["exit_code"] == 0
    assert set(report["checks"][0]) == {"name", "verdict", "why", "fix"}


def test_another_provider_that_is_unreachable_is_named_with_its_setting(world, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    world.config_file(provider={"type": "openai"}, openai={"base_url": "http://127.0.0.1:9/v1"})
    told = " ".join(doctor(world, "--probe").stdout.split())
    assert "BAD probe: OpenAI" in told
    assert "proxy settings and openai.base_url" in told


def test_an_unreachable_vendor(world, monkeypatch):
    monkeypatch.setenv("VOYAGE_API_KEY", KEY)
    world.config_file(voyage={"base_url": "http://127.0.0.1:9/v1"})
    result = doctor(world, "--probe")
    assert "proxy settings and voyage.base_url" in " ".join(result.stdout.split())
    assert result.exit_code == 3
    assert "BAD probe:" in result.stdout
