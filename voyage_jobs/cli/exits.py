"""How a command ends: exit codes that scripts may rely on, and errors that say what to do next.

Error text goes to standard error. With `--json` it is one object there, `{"error": {"code", "message",
"hint"}}`, and standard output stays empty; `code` is the error's class in snake case (`config`, `locked`,
`unexpected`).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import traceback
from collections.abc import Callable

import click

from voyage_jobs.cli.context import Frame
from voyage_jobs.core.exit_codes import MEANINGS, ExitCode
from voyage_jobs.core.redact import redact
from voyage_jobs.errors import VoyageJobsError

__all__ = ["BROKEN_PIPE", "INTERRUPTED", "MEANINGS", "ExitCode", "run_command"]

INTERRUPTED = 130  # as a shell reports SIGINT
BROKEN_PIPE = 141  # as a shell reports SIGPIPE: whoever read our output has gone


def run_command(call: Callable[[], object], frame: Frame) -> int:
    """Run a command and return its exit code; every error becomes a message and a code."""
    try:
        result = _and_its_log(call)
        sys.stdout.flush()  # here, where a closed pipe can still be told from success
    except VoyageJobsError as exc:
        _say(frame, _code_of(exc), exc.message, exc.hint, exc)
        return exc.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted.", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        _leave_stdout()
        return BROKEN_PIPE
    except click.ClickException as exc:
        context = exc.ctx if isinstance(exc, click.UsageError) else None
        hint = None if context is None else f"`{context.command_path} --help` has the usage."
        _say(frame, "usage", exc.format_message(), hint, exc)
        return exc.exit_code
    except click.exceptions.Exit:
        raise
    except PermissionError as exc:
        hint = "Check the owner and the permissions of it, and of the folders above it."
        _say(frame, "not_permitted", f"{exc.filename or exc} cannot be used by this user.", hint, exc)
        return ExitCode.UNEXPECTED
    except Exception as exc:  # noqa: BLE001 - the last stop: everything else is told and becomes code 1
        hint = None if frame.verbose else "Run it again as `voyage-jobs -v ...` to see where."
        _say(frame, "unexpected", f"unexpected: {type(exc).__name__}: {exc}", hint, exc)
        return ExitCode.UNEXPECTED
    return int(result) if isinstance(result, int) and not isinstance(result, bool) else ExitCode.DONE


def _and_its_log(call: Callable[[], object]) -> object:
    """The call; whatever comes of it, lines of the log that were only counted are told of."""
    try:
        return call()
    finally:
        logs = sys.modules.get("voyage_jobs.telemetry.logs")  # no log was begun otherwise
        if logs is not None:
            logs.log_repeats(all_of_them=True)


def _say(frame: Frame, code: str, message: str, hint: str | None, exc: Exception) -> None:
    message, hint = redact(message), redact(hint) if hint else None
    if frame.json:
        text = json.dumps({"error": {"code": code, "message": message, "hint": hint}})
    else:
        text = _for_people("error: ", message) + (f"\n{_for_people('hint: ', hint)}" if hint else "")
    if frame.verbose or os.environ.get("VOYAGE_JOBS_DEBUG"):
        text = redact("".join(traceback.format_exception(exc))) + text
    with contextlib.suppress(OSError):
        click.echo(text, err=True)


def _for_people(head: str, text: str) -> str:
    """Wrapped at words where standard error is a terminal; whole elsewhere, so that scripts find what they look for."""
    if not sys.stderr.isatty():
        return head + text
    from voyage_jobs.cli.output import hanging

    return "\n".join(hanging(head if at == 0 else "  ", line) for at, line in enumerate(text.splitlines()))


def _code_of(exc: VoyageJobsError) -> str:
    name = type(exc).__name__.removesuffix("Error")
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _leave_stdout() -> None:
    """Point standard output at nothing, so that the interpreter's last flush does not fail noisily."""
    with contextlib.suppress(OSError, ValueError):
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())
        os.close(devnull)
