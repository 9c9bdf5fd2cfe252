"""`init` writes a configuration that loads, guesses what it can see, and destroys nothing."""

import json
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from voyage_jobs.cli.main import cli
from voyage_jobs.config import load_settings

SECRET = "pa-NotARealKey0123456789abcdefghijklmnop"


@pytest.fixture
def here(tmp_path, monkeypatch):
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in (
        "VOYAGE_API_KEY",
        "VOYAGE_API_KEY_FILE",
        "CREDENTIALS_DIRECTORY",
        "XDG_DATA_HOME",
        "STATE_DIRECTORY",
    ):
        monkeypatch.delenv(name, raising=False)
    return folder


def init(*args):
    return CliRunner().invoke(cli, ["init", *args])


def sources(path):
    return [(source.name, source.path) for source in load_settings(path, {"HOME": "/home/me"}).sources]


@pytest.fixture(autouse=True)
def no_local_model(monkeypatch):
    """As where the extra is not installed, whatever this environment has."""
    monkeypatch.setattr("voyage_jobs.config.provider.is_installed", lambda provider: False)


def test_it_never_overwrites_unless_told_to(here):
    file = here / "voyage-jobs.toml"
    file.write_text("# mine")
    result = init()
    assert result.exit_code == 2
    assert "already exists" in result.stderr
    assert "--force" in result.stderr
    assert file.read_text() == "# mine"
    assert init("--force").exit_code == 0
    assert sources(file) == [("docs", here / "docs")]


def test_what_would_not_load_is_not_written(here, tmp_path):
    result = init("--source", str(tmp_path))  # the data folder would be in sight
    assert result.exit_code == 2
    assert "lies inside source" in result.stderr
    assert not (here / "voyage-jobs.toml").exists()


def test_a_folder_that_is_not_there_and_a_place_that_cannot_be_written(here):
    assert init("--source", "absent").exit_code == 2
    (here / "file").write_text("")
    result = init("--path", "file/x.toml")
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr


def test_a_name_that_is_too_long_is_told(here):
    name = "x" * 300
    for result in (init("--path", name), CliRunner().invoke(cli, ["--config", name, "plan"])):
        assert result.exit_code == 2
        assert f"{here / name}: File name too long." in result.stderr


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([], ("docs", "docs")),
        (["docs/a.md", "b.md"], ("docs", "docs")),
        (["notes/deep/a.md"], ("work", ".")),
        ([".hidden/a.md", "code.py"], ("docs", "docs")),
    ],
)
def test_it_proposes_the_folder_it_can_see(here, files, expected):
    for name in files:
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text("# x")
    assert init().exit_code == 0
    name, path = expected
    assert sources(here / "voyage-jobs.toml") == [(name, here / path)]


def test_a_folder_without_source_is_met_with_the_command_that_is_meant(here):
    result = init("docs", "my notes")
    assert result.exit_code == 2
    assert "`voyage-jobs init --source docs --source 'my notes'`" in result.stderr
    assert not (here / "voyage-jobs.toml").exists()


def test_given_folders_get_names_of_their_own(here, tmp_path):
    odd = tmp_path / "Größe & \"Maß\" \\ 'x'"
    folders = [here / "a" / "docs", here / "b" / "docs", odd]
    for folder in folders:
        folder.mkdir(parents=True)
    assert init(*(arg for folder in folders for arg in ("--source", str(folder)))).exit_code == 0
    names, paths = zip(*sources(here / "voyage-jobs.toml"), strict=True)
    assert names[:2] == ("docs", "docs-2")
    assert list(paths) == folders


def test_a_command_with_a_path_that_has_blanks_can_be_typed(here):
    result = init("--path", "sp ace/my conf.toml", "--json")
    _, option, path, command = shlex.split(json.loads(result.stdout)["next"][0])
    assert (option, path, command) == ("--config", str(here / "sp ace" / "my conf.toml"), "plan")


def test_it_says_what_comes_next_and_where_the_key_goes(here, monkeypatch):
    text = init().stdout
    assert f"Wrote {here}/voyage-jobs.toml" in text
    assert "not there yet" in text
    assert "VOYAGE_API_KEY_FILE" in text
    assert "voyage-jobs plan " in text
    assert "voyage-jobs sync " in text
    monkeypatch.setenv("VOYAGE_API_KEY", SECRET)
    text = init("--path", "sub/other.toml").stdout
    assert "API key: from the variable VOYAGE_API_KEY." in text
    assert SECRET not in text
    assert f"voyage-jobs --config {here}/sub/other.toml plan" in text


def test_it_says_what_it_sees(here):
    (here / "docs").mkdir()
    assert "no documents: the folder is empty" in init().stdout
    for name in ("a.md", "b.md", "page.html", "c.html", "Makefile"):
        (here / "docs" / name).write_text("# x")
    told = " ".join(init("--force").stdout.split())
    assert "2 documents; passed over: 3 other files (2 .html, 1 with no ending)" in told


def test_json(here, monkeypatch):
    (here / "docs").mkdir()
    (here / "docs" / "a.md").write_text("# x")
    (here / "docs" / "b.png").write_text("x")
    monkeypatch.setenv("VOYAGE_API_KEY", SECRET)
    result = init("--json")
    assert json.loads(result.stdout) == {
        "path": str(here / "voyage-jobs.toml"),
        "sources": [
            {
                "name": "docs",
                "path": str(here / "docs"),
                "exists": True,
                "repository": False,
                "documents": 1,
                "passed_over": {".png": 1},
                "more": False,
            }
        ],
        "data_dir": str(here / ".voyage-jobs"),
        "provider": "voyage",
        "model": "voyage-4",
        "key": {"needed": True, "found": True, "from": "the variable VOYAGE_API_KEY"},
        "next": ["voyage-jobs plan", "voyage-jobs sync"],
    }


def test_the_root_of_a_repository_is_pointed_out(here):
    (here / "a.md").write_text("# x")
    assert "root of a repository" not in init().stdout
    (here / ".git").mkdir()
    told = init("--force").stdout
    assert "root of a repository" in told
    assert max(map(len, told.replace(str(here), "/home/me/project").splitlines())) <= 100


def data_dir(path, **environ):
    return load_settings(path, {"HOME": "/home/me", **environ}).data_dir


def test_each_project_has_a_data_folder_of_its_own_even_where_the_folder_itself_is_the_source(here):
    (here / "a.md").write_text("# x")
    (here / "other").mkdir()
    assert init().exit_code == 0
    assert init("--path", "other/voyage-jobs.toml", "--source", "other").exit_code == 0
    assert data_dir(here / "voyage-jobs.toml") == here / ".voyage-jobs"
    assert data_dir(here / "other" / "voyage-jobs.toml") == here / "other" / ".voyage-jobs"


def test_under_systemd_the_data_folder_is_the_services(here, monkeypatch):
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/vj")
    assert init().exit_code == 0
    assert data_dir(here / "voyage-jobs.toml", STATE_DIRECTORY="/var/lib/vj") == Path("/var/lib/vj")


@pytest.mark.parametrize(
    ("old", "kept"),
    [
        ('data_dir = "/elsewhere"', "/elsewhere"),
        ("", "/home/me/.local/share/voyage-jobs"),
        ("[voyage]", "/home/me/.local/share/voyage-jobs"),
    ],
)
def test_a_file_that_is_overwritten_keeps_the_folder_with_what_was_paid(here, old, kept):
    file = here / "voyage-jobs.toml"
    file.write_text(old)
    assert init("--force").exit_code == 0
    assert data_dir(file) == Path(kept)


@pytest.mark.parametrize(
    "old",
    [b'data_dir = "/srv/paid"\n[voyage\n', b'data_dir = "/srv/paid"\n# \xff\n', b"data_dir = 5\n"],
)
def test_a_file_that_does_not_tell_its_data_folder_is_not_overwritten(here, old):
    file = here / "voyage-jobs.toml"
    file.write_bytes(old)
    result = init("--force")
    assert result.exit_code == 2
    assert f"{file} cannot be read, so" in result.stderr
    assert "move it aside" in result.stderr
    assert file.read_bytes() == old


def test_the_short_file_lists_what_most_projects_decide_and_the_full_one_everything(here):
    assert init("--path", "short.toml").exit_code == 0
    assert init("--path", "full.toml", "--full").exit_code == 0
    short, full = ((here / name).read_text() for name in ("short.toml", "full.toml"))
    assert len(short.splitlines()) < 70
    for key in ("data_dir", "model", "path", "exclude", "monthly_usd", "listen"):
        assert f"{key} = " in short
    assert "quarantine_s" not in short
    assert "quarantine_s" in full
    assert load_settings(here / "short.toml", {}).voyage == load_settings(here / "full.toml", {}).voyage


def test_without_a_key_the_local_model_is_taken_where_it_is_installed(here, monkeypatch):
    monkeypatch.setattr("voyage_jobs.config.provider.is_installed", lambda provider: provider == "local")
    text = init().stdout
    assert "all-MiniLM-L6-v2-int8, on this machine: no key, no price" in text
    assert "VOYAGE_API_KEY" not in text
    assert load_settings(here / "voyage-jobs.toml", {}).provider.type == "local"

    monkeypatch.setenv("VOYAGE_API_KEY", SECRET)
    assert "API key: from" in init("--force").stdout
    assert load_settings(here / "voyage-jobs.toml", {}).provider.type == "voyage"
