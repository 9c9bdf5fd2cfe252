"""`completion`: the printed scripts in the real shells, and that a Tab loads no more than it must."""

import os
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner

from voyage_jobs.cli.completion import VARIABLE
from voyage_jobs.cli.main import COMMANDS, cli

# What the shells do with a script in `$script` to complete `voyage-jobs st`, and `voyage-jobs sync --max-`.
BASH = """
source "$script"
complete -p voyage-jobs >/dev/null
COMP_WORDS=(%s); COMP_CWORD=%d
_voyage_jobs_completion voyage-jobs
printf '%%s\\n' "${COMPREPLY[@]}"
"""
ZSH = """
autoload -Uz compinit; compinit -u -D
source "$script"
[[ -n ${_comps[voyage-jobs]} ]]
_describe() { print -rl -- ${(P)3} }
compadd() { print -rl -- ${(P)@[-1]} }
words=(%s); CURRENT=%d
_voyage_jobs_completion
"""
FISH = """
source "$script"
complete -C '%s'
"""


@pytest.fixture
def complete(tmp_path):
    """Complete a line in a real shell; the first word of every proposal."""
    shim = tmp_path / "bin" / "voyage-jobs"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m voyage_jobs "$@"\n')
    shim.chmod(0o755)

    def complete(shell, line):
        if shutil.which(shell) is None:
            pytest.skip(f"{shell} is not installed")
        script = tmp_path / f"script.{shell}"
        script.write_text(CliRunner().invoke(cli, ["completion", shell]).stdout)
        words = line.split(" ")
        quoted = " ".join(f"'{word}'" for word in words)
        program = {
            "bash": lambda: BASH % (quoted, len(words) - 1),
            "zsh": lambda: ZSH % (quoted, len(words)),
            "fish": lambda: FISH % line,
        }[shell]()
        arguments = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
        environ = {**os.environ, "PATH": f"{shim.parent}:{os.environ['PATH']}", "script": str(script)}
        environ |= {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
        done = subprocess.run(
            [shell, *arguments, "-c", program],
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return {text.split("\t")[0].split(":")[0] for text in done.stdout.splitlines() if text}

    return complete


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_commands_are_completed(complete, shell):
    assert complete(shell, "voyage-jobs st") == {"status"}
    assert complete(shell, "voyage-jobs ") == set(COMMANDS)
    assert complete(shell, "voyage-jobs help rep") == {"reprofile"}
    assert complete(shell, "voyage-jobs help mon") == {"money"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_options_of_a_command_are_completed(complete, shell):
    assert complete(shell, "voyage-jobs sync --max-") == {"--max-inputs", "--max-usd", "--max-tokens"}
    assert complete(shell, "voyage-jobs completion z") == {"zsh"}
    assert complete(shell, "voyage-jobs trace --so") == {"--source"}


def test_a_shell_that_nobody_knows_is_refused():
    assert CliRunner().invoke(cli, ["completion", "tcsh"]).exit_code == 2


def test_a_tab_for_a_command_imports_no_command():
    program = (
        "import sys; from voyage_jobs.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(*(name for name in sys.modules if name.startswith('voyage_jobs.')), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, VARIABLE: "bash_complete", "COMP_WORDS": "voyage-jobs s", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "plain,status" in done.stdout
    assert "plain,summary" not in done.stdout
    assert set(done.stderr.split()) <= {
        "voyage_jobs.cli",
        "voyage_jobs.cli.main",
        "voyage_jobs.cli.context",
        "voyage_jobs.cli.exits",
        "voyage_jobs.cli.paths",
        "voyage_jobs.core",
        "voyage_jobs.core.crash",
        "voyage_jobs.core.memory",
        "voyage_jobs.errors",
        "voyage_jobs.core.exit_codes",
        "voyage_jobs.core.redact",
        "voyage_jobs.version",
    }


def test_a_shell_that_shows_descriptions_names_the_group():
    asked = {VARIABLE: "fish_complete", "COMP_WORDS": "voyage-jobs hist", "COMP_CWORD": "hist"}
    assert CliRunner().invoke(cli, [], prog_name="voyage-jobs", complete_var=VARIABLE, env=asked).stdout == (
        f"plain,history\tSee: {COMMANDS['history'].help}\n"
    )


def test_the_end_of_a_command_looks_for_no_garbage():
    script = (
        "import atexit, gc, sys; from voyage_jobs.cli.main import main\n"
        "atexit.register(lambda: print(gc.get_freeze_count(), file=sys.stderr))\n"
        "sys.argv = ['voyage-jobs', '--help']\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stderr) > 1_000
