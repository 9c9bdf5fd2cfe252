"""When files were committed last, and by whom: what git says of a folder.

Git is asked about what is committed and what its index knows; nothing that a repository could name (hooks, filters,
monitors, signatures) is run. A file that differs from its last commit is in no answer, nor is one whose last commit
a shallow clone does not have.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO

DEADLINE_S = 30.0
"""For each call of git: 50,000 commits take a few seconds."""
_MOST_AUTHOR_CHARS = 200
_MARK, _BETWEEN = b"\x01", b"\x02"
_CUT_OFF = b"grafted"
_PART_BYTES = 1 << 20
_GIT = (
    *(
        "git",
        "--no-pager",
        "--no-optional-locks",
        "-c",
        "core.fsmonitor=false",
        "-c",
        "core.hooksPath=/dev/null",
    ),
    *("-c", "log.showSignature=false"),
)
_LOG = (
    *(
        "log",
        "--relative",
        "--no-renames",
        "--name-status",
        "-z",
        "--encoding=UTF-8",
        f"--format={_MARK.decode()}%ct{_BETWEEN.decode()}%D{_BETWEEN.decode()}%aN",
    ),
    *("--", "."),
)
_CHANGED = ("diff-index", "--relative", "--name-only", "-z", "--ignore-submodules", "HEAD", "--", ".")
_ENVIRONMENT = ("PATH", "HOME", "XDG_CONFIG_HOME")


class CommitsUnknownError(Exception):
    """Git does not answer: it is not installed, the folder is in no repository, or in one of another user."""


@dataclass(frozen=True, slots=True)
class Commit:
    """The last commit of a file: microseconds since 1970 UTC, and the author's name."""

    at_us: int
    author: str


def commits(folder: bytes) -> Mapping[bytes, Commit]:
    """The last commit of each file below a folder that is as it was committed, by its path from there.

    Raises CommitsUnknownError.
    """
    found: dict[bytes, Commit | None] = {}
    commit, entries = None, _entries(folder, _LOG)
    for entry in entries:
        word = entry.lstrip(b"\n")
        if word.startswith(_MARK):
            commit = _commit(word)
        elif word:
            path = next(entries, b"")
            found.setdefault(path, None if word == b"D" else commit)
    for path in _entries(folder, _CHANGED):
        found.pop(path, None)
    return {path: commit for path, commit in found.items() if commit is not None}


def _commit(header: bytes) -> Commit | None:
    seconds, names, author = header.removeprefix(_MARK).split(_BETWEEN, 2)
    if not seconds.isdigit():  # one from before 1970
        return None
    if _CUT_OFF in names.split(b", "):  # the first that a shallow clone has: it seems to have made every file
        return None
    return Commit(int(seconds) * 1_000_000, author.decode(errors="replace").strip()[:_MOST_AUTHOR_CHARS])


def _entries(folder: bytes, asked: tuple[str, ...]) -> Iterator[bytes]:
    """What git prints, up to each NUL."""
    kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(  # noqa: S603 - our own command
                [*_GIT, "-C", folder, *asked],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**kept, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"},
            )
        except OSError as exc:
            raise CommitsUnknownError(f"git cannot be run: {exc.strerror}") from exc
        timer = threading.Timer(DEADLINE_S, process.kill)
        timer.start()
        try:
            yield from _parts(process.stdout)  # type: ignore[arg-type]
            code = process.wait()
        finally:
            timer.cancel()
            process.kill()
            process.wait()
        if code:
            errors.seek(0)
            raise CommitsUnknownError(_why(code, errors.read(_PART_BYTES)))


def _parts(out: IO[bytes]) -> Iterator[bytes]:
    rest = b""
    with out:
        while part := out.read(_PART_BYTES):
            *whole, rest = (rest + part).split(b"\0")
            yield from whole


def _why(code: int, told: bytes) -> str:
    if code < 0:
        return f"git gave no answer within {DEADLINE_S:.0f} seconds"
    first = next(iter(told.decode(errors="replace").splitlines()), "").removeprefix("fatal: ")
    if "dubious ownership" in first:
        return f"git does not trust it ({first}); `git config --global --add safe.directory FOLDER` says that you do"
    return f"git says: {first}" if first else f"git ended with {code}"
