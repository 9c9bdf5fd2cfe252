"""The frame of the command line: help is quick and complete, every error has its code and its next step."""

import json
import os
import re
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from voyage_jobs import __version__, errors
from voyage_jobs.cli import main as frame
from voyage_jobs.cli.context import frame_of, json_option, settings_of, start_logging
from voyage_jobs.cli.exits import MEANINGS, ExitCode

SECRET = "pa-NotARealKeyEither0123456789abcdefghij"  # read by no other test, so masked by its look alone
HEAVY = (
    "lancedb",
    "pyarrow",
    "pydantic",
    "sqlalchemy",
    "httpx",
    "numpy",
    "rich",
    "structlog",
    "voyage_jobs.config",
)


@pytest.fixture
def run(monkeypatch):
    """Run `voyage-jobs ...`, with the command `status` replaced by what the test gives."""

    def run(*args, command=None):
        if command is not None:
            monkeypatch.setattr(frame.LazyGroup, "get_command", lambda self, ctx, name: command)
        return CliRunner().invoke(frame.cli, list(args), prog_name="voyage-jobs")

    return run


def failing(error):
    @click.command()
    @json_option
    def status(as_json):
        raise error

    return status


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError(), 2),
        (errors.LockedError(), 4),
        (errors.EpochLostError(), 4),
        (errors.StateError(), 1),
        (errors.AuthError(), 5),
        (errors.QuotaError(), 5),
        (errors.NeedsOperatorError(), 6),
        (errors.OutcomeUnknownError(), 1),
        (ValueError("odd"), 1),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
        (BrokenPipeError(), 141),
        (click.UsageError("no"), 2),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_every_error_has_its_exit_code(run, error, code):
    result = run("status", command=failing(error))
    assert result.exit_code == code
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_an_error_says_what_and_what_next_and_no_secret(run):
    result = run("status", command=failing(errors.AuthError(f"key {SECRET} refused", hint="Set another.")))
    assert result.stderr == "error: key pa-*** refused\nhint: Set another.\n"


def test_with_json_an_error_is_json_on_standard_error(run):
    result = run(
        "status", "--json", command=failing(errors.NeedsOperatorError("Frozen.", hint="confirm docs"))
    )
    assert result.stdout == ""
    assert json.loads(result.stderr) == {
        "error": {"code": "needs_operator", "message": "Frozen.", "hint": "confirm docs"}
    }
    result = run("status", "--json", command=failing(RuntimeError("odd")))
    assert json.loads(result.stderr)["error"]["code"] == "unexpected"


def test_what_this_user_may_not_use_is_told_without_a_traceback_to_look_for(run):
    error = PermissionError(13, "Permission denied", "/data/vectors/a.arrow")
    first, second = run("status", command=failing(error)).stderr.splitlines()
    assert first == "error: /data/vectors/a.arrow cannot be used by this user."
    assert "permissions" in second


def test_a_wrong_command_line_is_told_as_any_other_error(run):
    first, second = run("status", "--wach").stderr.splitlines()
    assert first.startswith("error: No such option '--wach'.")
    assert second == "hint: `voyage-jobs status --help` has the usage."
    told = json.loads(run("status", "--json", "--wach").stderr)["error"]
    assert (told["code"], told["hint"]) == ("usage", "`voyage-jobs status --help` has the usage.")


@pytest.mark.parametrize("wrong", [("--verbos",), ("--config", "/"), ("--config", "")])
def test_a_wrong_option_before_the_command_is_told_so_too(run, wrong):
    plain, as_json = run(*wrong, "status"), run(*wrong, "status", "--json")
    assert (plain.exit_code, as_json.exit_code) == (2, 2)
    told = json.loads(as_json.stderr)["error"]
    assert (told["code"], told["hint"]) == ("usage", "`voyage-jobs --help` has the usage.")
    assert plain.stderr == f"error: {told['message']}\nhint: {told['hint']}\n"


def test_the_unexpected_is_one_line_and_with_v_a_traceback(run, monkeypatch):
    monkeypatch.delenv("VOYAGE_JOBS_DEBUG", raising=False)
    error = RuntimeError(f"odd {SECRET}")
    plain = run("status", command=failing(error)).stderr
    assert plain.splitlines()[0] == "error: unexpected: RuntimeError: odd pa-***"
    assert "-v" in plain.splitlines()[1]
    verbose = run("-v", "status", command=failing(error)).stderr
    assert "Traceback" in verbose
    assert "NotARealKey" not in verbose
    monkeypatch.setenv("VOYAGE_JOBS_DEBUG", "1")
    assert "Traceback" in run("status", command=failing(error)).stderr


@pytest.mark.parametrize(
    ("value", "code"), [(None, 0), (ExitCode.UNFINISHED, 3), (0, 0), (True, 0), ("text", 0)]
)
def test_what_a_command_returns_is_its_exit_code(run, value, code):
    assert run("status", command=click.command()(lambda: value)).exit_code == code


def test_a_closed_pipe_is_quiet():
    script = (
        f"exec 2>&1; {sys.executable} -m voyage_jobs --help | head -c 10 >/dev/null; echo ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert "Traceback" not in done.stdout
    assert "Exception" not in done.stdout


def test_a_command_nobody_knows_names_the_nearest(run):
    result = run("statsu")
    assert result.exit_code == 2
    assert "Did you mean 'status'?" in result.stderr


def test_help_teaches_commands_and_exit_codes(run):
    for result in (run(), run("--help"), run("-h")):
        assert result.exit_code == 0
        lines = result.stdout.splitlines()
        assert {f"{group}:" for group in (*frame.GROUPS, "Exit codes")} <= set(lines)
        for name, entry in frame.COMMANDS.items():
            assert [line.split(None, 1)[1] for line in lines if line.startswith(f"  {name} ")] == [entry.help]
        assert not any(line.startswith(f"  {name} ") for name in frame.ALIASES for line in lines)
        assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(("name", "now"), frame.ALIASES.items())
def test_an_older_name_is_another_way_to_call_a_command(name, now):
    assert name not in frame.COMMANDS
    shown, meant = (
        CliRunner().invoke(frame.cli, [*call, "--help"], prog_name="voyage-jobs").stdout
        for call in ([name], now)
    )
    assert shown == meant
    assert shown.startswith(f"Usage: voyage-jobs {now[0]} ")


def test_each_exit_code_has_a_meaning_and_each_error_one_of_the_codes():
    assert set(MEANINGS) == set(ExitCode)
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    used = {kind.exit_code for kind in kinds if issubclass(kind, errors.VoyageJobsError)}
    assert used <= set(map(int, ExitCode))


def test_version(run):
    assert run("--version").stdout == f"voyage-jobs {__version__}\n"


def test_help_loads_nothing_heavy():
    script = (
        "import sys, voyage_jobs.cli.main as m\n"
        "try: m.cli(['--help'])\n"
        "except SystemExit: pass\n"
        f"print([n for n in {HEAVY!r} if n in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("name", frame.COMMANDS)
def test_every_command_in_the_table_exists_and_has_help(name):
    command = frame.cli.get_command(click.Context(frame.cli), name)
    assert command is not None
    assert command.name == name
    result = CliRunner().invoke(frame.cli, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert command.help
    assert all(param.help for param in command.params if isinstance(param, click.Option))


@pytest.mark.parametrize("name", frame.COMMANDS)
def test_the_help_of_every_command_fits_80_columns_and_names_no_types(name):
    shown = CliRunner().invoke(frame.cli, [name, "--help"], env={"COLUMNS": "80"}, terminal_width=80).stdout
    assert max(map(len, shown.splitlines())) <= 80
    assert not re.findall(r"(INTEGER|FLOAT|TEXT|PATH|DIRECTORY)( RANGE)?(?=  |$)", shown.split("Options:")[1])


def test_settings_are_loaded_once_and_their_warnings_said_once(run, tmp_path):
    file = tmp_path / "c.toml"
    file.write_text('[[sources]]\nname = "a"\npath = "a"\n[voyage]\nmodel = "voyage-99"\n')

    @click.command()
    @click.pass_context
    def status(ctx):
        first, second = settings_of(ctx), settings_of(ctx)
        assert first is second is frame_of(ctx).settings
        start_logging(ctx)
        click.echo(first.sources[0].path)

    result = run("--config", str(file), "status", command=status)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{tmp_path}/a\n"
    assert "warning" not in result.stderr  # whoever looks has heard of it
    assert run("--config", str(file), "sync", command=status).stderr.count("warning: voyage-99") == 1
    assert run("--config", "/dev/null", "status", command=status).exit_code == 2  # it names no source
    missing = run("--config", str(tmp_path / "none.toml"), "status", command=status)
    assert missing.exit_code == 2
    assert "none.toml: no such file (named by --config)" in missing.stderr


def test_file_names_that_are_no_text_can_be_printed():
    script = (
        "import voyage_jobs.cli.main as m, sys; sys.argv = ['x', '--version']\n"
        "try: m.main()\n"
        "except SystemExit: print('a\\udcffb')"
    )
    environ = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, env=environ)
    assert done.stdout.splitlines()[-1] == b"a\\udcffb"
