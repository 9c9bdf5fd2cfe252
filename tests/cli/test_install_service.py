"""`install-service`: what it prints and writes for this machine."""

import json
import os

import pytest
from click.testing import CliRunner

from voyage_jobs.cli.main import cli


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("VOYAGE_API_KEY_FILE", "VOYAGE_JOBS_CONFIG", "STATE_DIRECTORY", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("VOYAGE_API_KEY", "planted-secret-key")
    (tmp_path / "docs").mkdir()
    return tmp_path


@pytest.fixture
def config(home):
    path = home / "jobs.toml"
    path.write_text('[[sources]]\nname = "docs"\npath = "docs"\n')
    return path


def call(config, *arguments):
    return CliRunner().invoke(cli, ["--config", str(config), "install-service", *arguments])


def lines(result):
    return result.stdout.splitlines()


def test_it_prints_a_unit_and_says_on_the_other_stream_what_comes_next(config):
    result = call(config)
    assert result.exit_code == 0
    assert "StateDirectory=voyage-jobs" in lines(result)
    assert f"LoadCredential=voyage_api_key:{config.parent / 'voyage_api_key'}" in lines(result)
    assert any(
        line.startswith("ExecStart=") and line.endswith(f"--config {config} run") for line in lines(result)
    )
    assert lines(result)[-1] == "WantedBy=multi-user.target"
    assert "enable --now voyage-jobs.service" in result.stderr
    assert "Not written" in result.stderr
    assert "planted-secret-key" not in result.output


def test_the_key_of_the_environment_is_never_in_it(config, monkeypatch):
    monkeypatch.setenv("VOYAGE_JOBS_VOYAGE__MODEL", "voyage-4-lite")
    result = call(config, "--json", "--user")
    assert "planted-secret-key" not in result.output
    unit = json.loads(result.stdout)["unit"]
    assert "Environment=VOYAGE_JOBS_VOYAGE__MODEL=voyage-4-lite" in unit, (
        "settings of the environment go along"
    )


def test_a_data_folder_that_is_in_use_stays_the_data_folder(config, home):
    state = home / ".local" / "share" / "voyage-jobs" / "state.db"
    state.parent.mkdir(parents=True)
    state.touch()
    result = call(config)
    assert f"Environment=VOYAGE_JOBS_DATA_DIR={state.parent}" in lines(result), "or everything is paid again"
    assert f"ReadWritePaths={state.parent}" in lines(result)
    assert not any(line.startswith("StateDirectory") for line in lines(result))


def test_a_data_folder_and_a_table_that_were_chosen_may_be_written(config, home):
    config.write_text(f'data_dir = "{home}/data dir"\n' + config.read_text() + '[lancedb]\nuri = "table"\n')
    result = call(config)
    assert f'ReadWritePaths="{home}/data dir" {home}/table' in lines(result)
    assert "install -d -m 0700" in result.stderr


def test_it_runs_as_the_owner_of_the_data(config, home):
    data = home / "data"
    data.mkdir()
    if os.geteuid():
        pytest.skip("only root can give a folder away")
    os.chown(data, 1, 1)
    config.write_text(f'data_dir = "{data}"\n' + config.read_text())
    assert "User=daemon" in lines(call(config))
    assert "User=someone" in lines(call(config, "--run-as", "someone"))


def test_a_users_own_unit_needs_no_root(config, home):
    result = call(config, "--user", "--write")
    assert result.exit_code == 0
    path = home / "config" / "systemd" / "user" / "voyage-jobs.service"
    text = path.read_text()
    assert "User=" not in text
    assert f"VOYAGE_API_KEY_FILE={home / 'voyage_api_key'}" in text
    assert "WantedBy=default.target" in text
    assert "systemctl --user enable --now voyage-jobs.service" in result.stdout
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_unit_that_differs_is_not_overwritten_unasked(config, home):
    assert call(config, "--user", "--write").exit_code == 0
    assert call(config, "--user", "--write").exit_code == 0, "the same again is no change"
    refused = call(config, "--user", "--write", "--key-file", "/etc/key")
    assert refused.exit_code == 2
    assert "--force" in refused.stderr
    assert call(config, "--user", "--write", "--key-file", "/etc/key", "--force").exit_code == 0


def test_a_folder_that_cannot_be_written_is_an_error_that_says_what_to_do(config, home):
    (home / "config").write_text("a file where a folder should be")
    result = call(config, "--user", "--write")
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr


def test_settings_without_a_file_make_no_service(home, monkeypatch):
    monkeypatch.chdir(home)
    monkeypatch.setenv("VOYAGE_JOBS_SOURCES", '[{"name": "docs", "path": "docs"}]')
    result = CliRunner().invoke(cli, ["install-service"])
    assert result.exit_code == 2
    assert "voyage-jobs init" in result.stderr


@pytest.mark.parametrize("arguments", [["--name", "../evil"], ["--user", "--run-as", "me"]])
def test_what_makes_no_sense_is_refused(config, arguments):
    assert call(config, *arguments).exit_code == 2


def test_the_template_is_printed_alone(home):
    result = CliRunner().invoke(cli, ["install-service", "--template"])
    assert result.exit_code == 0
    assert "StateDirectory=voyage-jobs/%i" in lines(result)
    assert result.stderr == ""
