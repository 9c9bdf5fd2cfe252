"""`install-service`: what it prints and writes for this machine."""

import json
import os
import shlex

import pytest
from click.testing import CliRunner

from voyage_jobs.cli.main import cli

SECRETS = [
    f"{name}{suffix}"
    for name in (
        "OPENAI_API_KEY",
        "OPENAI_SYNC_API_KEY",
        "VOYAGE_JOBS_NOTIFY_SECRET",
        "VOYAGE_JOBS_SERVER_TOKEN",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
    )
    for suffix in ("", "_FILE")
]


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("VOYAGE_API_KEY_FILE", "VOYAGE_JOBS_CONFIG", "STATE_DIRECTORY", "XDG_DATA_HOME", *SECRETS):
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


def credentials(result):
    given = [
        line.removeprefix("LoadCredential=") for line in lines(result) if line.startswith("LoadCredential=")
    ]
    return dict(line.split(":", 1) for line in given)


def test_a_provider_is_given_its_own_key(config, home, monkeypatch):
    config.write_text('[provider]\ntype = "openai"\n' + config.read_text())
    result = call(config)
    assert credentials(result) == {"openai_api_key": str(home / "openai_api_key")}
    assert "paste OPENAI_API_KEY" in result.stderr
    monkeypatch.setenv("OPENAI_API_KEY_FILE", "/etc/okey")
    monkeypatch.setenv("VOYAGE_API_KEY_FILE", "/etc/vkey")
    assert credentials(call(config)) == {"openai_api_key": "/etc/okey"}
    own = lines(call(config, "--user"))
    assert "Environment=OPENAI_API_KEY_FILE=/etc/okey" in own
    assert not any("VOYAGE_API_KEY_FILE" in line for line in own)
    assert credentials(call(config, "--key-file", "/etc/other")) == {"openai_api_key": "/etc/other"}


def test_a_model_on_this_machine_is_given_no_key(config, monkeypatch):
    config.write_text('[provider]\ntype = "local"\n' + config.read_text())
    monkeypatch.setenv("VOYAGE_API_KEY_FILE", "/etc/vkey")
    result = call(config)
    assert credentials(result) == {}, "systemd starts no unit whose credential is not there"
    assert "paste" not in result.stderr
    assert not any("API_KEY" in line for line in lines(call(config, "--user")))
    refused = call(config, "--key-file", "/etc/key")
    assert refused.exit_code == 2
    assert "takes no key" in refused.stderr


def test_a_key_that_may_be_absent_is_given_only_where_it_is_set(config, home, monkeypatch):
    config.write_text(
        '[provider]\ntype = "openai-sync"\n[openai_sync]\nbase_url = "http://127.0.0.1:1/v1"\nmodel = "m"\n'
        + config.read_text()
    )
    assert credentials(call(config)) == {}
    assert credentials(call(config, "--key-file", "/etc/key")) == {"openai_sync_api_key": "/etc/key"}
    monkeypatch.setenv("OPENAI_SYNC_API_KEY", "planted-secret-key")
    assert credentials(call(config)) == {"openai_sync_api_key": str(home / "openai_sync_api_key")}


def test_what_signs_webhooks_opens_the_page_or_the_store_goes_along(config, home, monkeypatch):
    assert set(credentials(call(config))) == {"voyage_api_key"}
    monkeypatch.setenv("VOYAGE_JOBS_NOTIFY_SECRET_FILE", "/etc/notify")
    monkeypatch.setenv("VOYAGE_JOBS_SERVER_TOKEN_FILE", "/etc/page.token")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY_FILE", "/etc/s3")
    given = credentials(call(config, "--key-file", "/etc/key"))
    assert given == {
        "voyage_api_key": "/etc/key",
        "voyage_jobs_notify_secret": "/etc/notify",
        "voyage_jobs_server_token": "/etc/page.token",
    }, "the table is in a folder"
    config.write_text(config.read_text() + '[lancedb]\nuri = "s3://bucket/prefix"\n')
    assert credentials(call(config))["aws_secret_access_key"] == "/etc/s3"
    assert "Environment=VOYAGE_JOBS_SERVER_TOKEN_FILE=/etc/page.token" in lines(call(config, "--user"))


def test_a_secret_without_which_it_does_not_start_is_asked_for(config, home):
    config.write_text(
        '[notify]\nwebhook = "https://example.com/hook"\n[server]\nlisten = "0.0.0.0:8765"\n'
        + config.read_text()
    )
    result = call(config)
    assert credentials(result)["voyage_jobs_notify_secret"] == str(home / "voyage_jobs_notify_secret")
    assert credentials(result)["voyage_jobs_server_token"] == str(home / "voyage_jobs_server_token")
    assert "paste VOYAGE_JOBS_SERVER_TOKEN" in result.stderr


def test_a_secret_address_is_written_into_no_unit(config, monkeypatch):
    monkeypatch.setenv("VOYAGE_JOBS_NOTIFY__WEBHOOK", "https://example.com/planted-secret-key")
    result = call(config)
    assert result.exit_code == 2
    assert "[notify]" in result.stderr
    assert "planted-secret-key" not in result.output


def step(result, word):
    (found,) = [
        each for each in json.loads(result.stdout)["next"] if word in shlex.split(each, comments=True)
    ]
    return shlex.split(found, comments=True)


@pytest.mark.parametrize("by_sudo", [True, False])
def test_the_step_that_writes_makes_the_unit_that_was_shown(home, monkeypatch, by_sudo):
    config = home / "sp ace" / "my jobs.toml"
    config.parent.mkdir()
    config.write_text('[[sources]]\nname = "docs"\npath = "~/docs"\n')
    state = home / ".local" / "share" / "voyage-jobs" / "state.db"
    state.parent.mkdir(parents=True)
    state.touch()
    monkeypatch.setattr(os, "geteuid", lambda: 1000 if by_sudo else 0)
    monkeypatch.setenv("VOYAGE_JOBS_VOYAGE__MODEL", "voyage-4-lite")
    monkeypatch.setenv("VOYAGE_JOBS_SERVER_TOKEN", "planted-secret-key")
    shown = call(config, "--json", "--name", "other", "--run-as", "someone", "--key-file", "/etc/my key")
    assert "planted-secret-key" not in shown.output
    words = step(shown, "--write")
    assert (words[0] == "sudo") == by_sudo
    for name in (
        "VOYAGE_JOBS_VOYAGE__MODEL",
        "VOYAGE_JOBS_SERVER_TOKEN",
        "VOYAGE_API_KEY",
        *(["HOME"] if by_sudo else []),
    ):
        monkeypatch.delenv(name)  # as sudo does
    words = words[words.index("env") + 1 :]
    assigned = dict(word.split("=", 1) for word in words[: words.index("--config")] if "=" in word)
    arguments = [word for word in words[words.index("--config") :] if word != "--write"]
    again = CliRunner(env=assigned).invoke(cli, [*arguments, "--json"])
    assert os.path.isabs(next(word for word in words if "=" not in word)), (
        "sudo looks into no virtual environment"
    )
    for key in ("path", "unit"):
        assert json.loads(again.stdout)[key] == json.loads(shown.stdout)[key]


def test_the_step_that_writes_overwrites_where_that_was_said(config):
    assert "--force" in step(call(config, "--json", "--force"), "--write")
    assert "--force" not in step(call(config, "--json"), "--write")


def test_a_folder_of_someone_else_is_given_to_the_user(config, home):
    data = home / "the data"
    data.mkdir(mode=0o700)
    config.write_text(f'data_dir = "{data}"\n' + config.read_text())
    assert step(call(config, "--json", "--run-as", "someone"), "chown") == [
        *(["sudo"] if os.geteuid() else []),
        "chown",
        "-R",
        "someone:",
        str(data),
    ]
    owner = data.owner()
    assert "chown" not in call(config, "--run-as", owner).stderr
    if owner == "root":
        assert "User=voyage-jobs" in lines(call(config)), "root only if that is said"


def test_a_folder_of_tables_which_others_may_share_is_given_to_nobody(config, home):
    tables = home / "tables"
    tables.mkdir()
    config.write_text(config.read_text() + f'[lancedb]\nuri = "{tables}"\n')
    told = call(config, "--run-as", "someone").stderr
    assert "chown" not in told
    assert f"# someone must be able to write in {tables}: it belongs to {tables.owner()}." in told


def test_a_place_that_the_user_cannot_reach_is_told(config, home):
    home.chmod(0o700)
    result = call(config, "--run-as", "someone")
    assert f"# someone cannot reach {config}, as {home} does not let it in" in result.stderr
    home.chmod(0o711)
    assert f"as {home} does not" not in call(config, "--run-as", "someone").stderr


def test_an_interpreter_in_a_home_folder_is_not_hidden_from_the_service(config, monkeypatch):
    link = config.parent / "python"
    link.symlink_to("/home/someone/pythons/bin/python3")
    monkeypatch.setattr("sys.executable", str(link))
    assert "ProtectHome=read-only" in lines(call(config))
    link.unlink()
    link.symlink_to("/usr/bin/python3")
    assert "ProtectHome=yes" in lines(call(config))


def test_a_data_folder_that_a_variable_names_is_named_in_full(config, home, monkeypatch):
    monkeypatch.chdir(home)
    monkeypatch.setenv("VOYAGE_JOBS_DATA_DIR", "data")
    assert f"Environment=VOYAGE_JOBS_DATA_DIR={home / 'data'}" in lines(call(config)), "a service starts in /"
    monkeypatch.setenv("VOYAGE_JOBS_DATA_DIR", str(home / ".local/share/voyage-jobs"))
    monkeypatch.setenv("VOYAGE_JOBS_LANCEDB__URI", "tables")
    shown = lines(call(config))
    assert f"Environment=VOYAGE_JOBS_LANCEDB__URI={home / 'tables'}" in shown
    assert f"ReadWritePaths={home}/.local/share/voyage-jobs {home}/tables" in shown
    assert not [line for line in shown if line.startswith("StateDirectory=")], "the usual one, but chosen"


def test_the_template_is_printed_alone(home):
    result = CliRunner().invoke(cli, ["install-service", "--template"])
    assert result.exit_code == 0
    assert "StateDirectory=voyage-jobs/%i" in lines(result)
    assert result.stderr == ""
