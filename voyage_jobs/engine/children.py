"""Child processes that carry out tasks, and that can be killed.

A child serves one request at a time, of one task, and is kept for the next one; it gets an open descriptor, never a
path or a key. Whatever it does (hangs, crashes, eats memory, prints, forks) ends in an answer or in `Lost`, and it dies
with its parent, whatever that dies of: the child's process group is signalled when the parent's end of a pipe closes,
even while a task is busy.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any, BinaryIO

import orjson

from voyage_jobs.core.crash import crash_point
from voyage_jobs.engine.child import GATEWAY
from voyage_jobs.engine.waiting import MOMENT_S, Steps

DEADLINE_S = 30.0
"""For one try, by the clock on the wall; the child has the same as a limit on its CPU time."""
MOST_BYTES = 64 * 1024 * 1024
"""Of an answer."""
_HEADER_BYTES = 8
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ")


class Lost(Exception):  # noqa: N818 - what became of a child, not a fault of ours
    """A child gave no answer. `late`: it took all the time there is; else how it ended, as `Popen.returncode`."""

    def __init__(self, code: int, *, late: bool = False) -> None:
        self.code = code
        self.late = late or code == -signal.SIGXCPU
        super().__init__(code, self.late)


class Away(Exception):  # noqa: N818 - what became of an engine, not a fault of ours
    """An engine elsewhere cannot be asked. What was to be done is not, and its file is at its start again."""


class TooLong(Exception):  # noqa: N818 - an answer, not a fault
    """An answer has more than `MOST_BYTES`."""


class Child:
    """A running child. Raises OSError if none can be started."""

    def __init__(self, task: str) -> None:
        self.is_fresh = True
        """Whether it has answered nothing yet, so that no file before can be the cause of what it does."""
        self._late = False
        self._until = 0.0
        self._socket, theirs = socket.socketpair()
        lifeline, self._lifeline = os.pipe()
        command = [sys.executable, "-P", "-m", "voyage_jobs.engine.child", task]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                [*command, str(theirs.fileno()), str(lifeline)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), lifeline),
                cwd="/",
                env=_environment(task),
                start_new_session=True,
            )
        except BaseException:
            self._socket.close()
            os.close(self._lifeline)
            raise
        finally:
            theirs.close()
            os.close(lifeline)

    def ask(self, request: bytes, file: int) -> None:
        """Ask it about one file. Raises EOFError if it is lost."""
        self._until = time.monotonic() + DEADLINE_S
        self._socket.settimeout(DEADLINE_S)
        try:
            socket.send_fds(self._socket, [len(request).to_bytes(_HEADER_BYTES, "big")], [file])
            self._socket.sendall(request)
        except OSError as exc:
            raise EOFError from exc
        self._socket.setblocking(False)

    def answer(self) -> Steps[dict[str, Any]]:
        """What it says; yields while there is nothing. Raises EOFError if it is lost, TooLong."""
        try:
            size = int.from_bytes((yield from self._receive(_HEADER_BYTES)), "big")
            if size > MOST_BYTES:
                raise TooLong
            answer = orjson.loads((yield from self._receive(size)))
        except OSError as exc:
            raise EOFError from exc
        if not isinstance(answer, dict):
            raise TypeError(type(answer).__name__)
        self.is_fresh = False
        return answer

    def end(self) -> None:
        """Kill it with all that it has started."""
        self._kill()
        self._socket.close()
        os.close(self._lifeline)
        self._process.wait()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _receive(self, size: int) -> Steps[bytes]:
        parts = bytearray()
        while len(parts) < size:
            try:
                part = self._socket.recv(min(size - len(parts), 1 << 20))
            except BlockingIOError:
                if (
                    time.monotonic() >= self._until
                ):  # looked at after the socket: others may have had a long turn
                    self._late = True
                    self._kill()
                    raise EOFError from None
                yield self._socket.fileno()
                continue
            if not part:
                raise EOFError
            parts += part
        return bytes(parts)

    def why_lost(self) -> Lost:
        """How it ended, once it gave no answer."""
        # One that dies by itself is given a moment, lest our signal hides its own.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(MOMENT_S)
        self.end()
        return Lost(self._process.returncode, late=self._late)


_lock = threading.Lock()
_idle: list[tuple[str, Child]] = []


def ask(task: str, request: bytes, file: BinaryIO) -> Steps[dict[str, Any]]:
    """What a child says to this; yields while it is busy. Where it is lost, the same is tried once more in a fresh one,
    unless it was alone with that, too, and took all the time there is.

    Raises Lost, TooLong. What is given is the child's word: it is for the caller to check.
    """
    with in_memory(file) as copy:
        child = _taken(task)
        alone = child.is_fresh
        try:
            return (yield from _ask(task, child, request, copy.fileno()))
        except Lost as lost:
            if alone and lost.late:
                raise
        return (yield from _ask(task, Child(task), request, copy.fileno()))


def rest() -> None:
    """End the children that wait for a request; the next one starts another."""
    with _lock:
        children, _idle[:] = [*_idle], []
    for _, child in children:
        child.end()


atexit.register(rest)


def _taken(task: str) -> Child:
    """A child that nobody else asks meanwhile. One that has seen another task's files is never taken."""
    with _lock:
        for at, (does, child) in enumerate(_idle):
            if does == task:
                del _idle[at]
                return child
    return Child(task)


def _ask(task: str, child: Child, request: bytes, file: int) -> Steps[dict[str, Any]]:
    os.lseek(file, 0, os.SEEK_SET)
    try:
        child.ask(request, file)
        crash_point("read.asked")
        answer = yield from child.answer()
        crash_point("read.answered")
    except EOFError:
        raise child.why_lost() from None
    except (
        BaseException
    ):  # no answer, or nobody waits for it any more: what it says next is not for the next file
        child.end()
        raise
    if answer.get("spent"):
        child.end()
    else:
        with _lock:
            _idle.append((task, child))
    return answer


def in_memory(file: BinaryIO) -> BinaryIO:
    """A copy that has a descriptor and no path, and that nobody can write to."""
    copy = os.fdopen(os.memfd_create("document", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), "w+b")
    try:
        shutil.copyfileobj(file, copy, 1 << 20)
        copy.flush()
        fcntl.fcntl(copy, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
    except BaseException:
        copy.close()
        raise
    return copy


def _environment(task: str) -> dict[str, str]:
    """Nothing of ours but what a language, a search path and, for its driver, Ray need: no key, no setting.

    numpy would start a thread for each processor, with 40 MB of addresses each, of which a child has not many.
    """
    kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    if task == GATEWAY:
        kept |= {
            name: value for name, value in os.environ.items() if name == "HOME" or name.startswith("RAY_")
        }
    paths = os.pathsep.join(os.path.abspath(each) for each in sys.path)
    fixed = {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "OPENBLAS_NUM_THREADS": "1"}
    return {**kept, **fixed, "PYTHONPATH": paths}
