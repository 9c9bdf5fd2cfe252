"""Running readers of hostile formats in a process of their own, which can be killed.

A child serves one file at a time and is kept for the next one; it gets an open descriptor, never a path or a key.
Whatever it does (hangs, crashes, eats memory, prints, forks) ends in a text or a reason, and it dies with its parent,
whatever that dies of: the child's process group is signalled when the parent's end of a pipe closes, even while a
parser is busy.
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
from collections.abc import Generator
from typing import Any, BinaryIO

import orjson

from voyage_jobs.core.crash import crash_point
from voyage_jobs.readers.reader import Heading, Place, Refusal, Refused, Text
from voyage_jobs.readers.registry import Registered

DEADLINE_S = 30.0
"""For one try, by the clock on the wall; the child has the same as a limit on its CPU time."""
MOST_BYTES = 64 * 1024 * 1024
"""Of an answer: a text with its headings."""
_HEADER_BYTES = 8
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ")
_MOMENT_S = 0.5
"""How long whoever waits for an answer is kept at most before it may do something else."""


class _Child:
    """A running child. Raises OSError if none can be started."""

    def __init__(self) -> None:
        self.is_fresh = True
        """Whether it has answered nothing yet, so that no file before can be the cause of what it does."""
        self._late = False
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(_MOMENT_S)
        lifeline, self._lifeline = os.pipe()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "voyage_jobs.readers.child",
                    str(theirs.fileno()),
                    str(lifeline),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), lifeline),
                cwd="/",
                env=_environment(),
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
        try:
            socket.send_fds(self._socket, [len(request).to_bytes(_HEADER_BYTES, "big")], [file])
            self._socket.sendall(request)
        except OSError as exc:
            raise EOFError from exc

    def answer(self) -> Generator[None, None, dict[str, Any]]:
        """What it says; yields while there is nothing. Raises EOFError if it is lost, Refused for an answer that is too
        long."""
        until = time.monotonic() + DEADLINE_S
        try:
            size = int.from_bytes((yield from self._receive(_HEADER_BYTES, until)), "big")
            if size > MOST_BYTES:
                raise Refused(Refusal.LIMIT, f"its text has more than {MOST_BYTES:,} bytes")
            answer = orjson.loads((yield from self._receive(size, until)))
        except OSError as exc:
            raise EOFError from exc
        if not isinstance(answer, dict):
            raise TypeError(type(answer).__name__)
        self.is_fresh = False
        return answer

    def end(self) -> int:
        """Kill it with all that it has started; how it ended, as `Popen.returncode`."""
        # One that dies by itself is given a moment, lest our signal hides its own.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_MOMENT_S)
        self._kill()
        self._socket.close()
        os.close(self._lifeline)
        return self._process.wait()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _receive(self, size: int, until: float) -> Generator[None, None, bytes]:
        parts = bytearray()
        while len(parts) < size:
            try:
                part = self._socket.recv(min(size - len(parts), 1 << 20))
            except TimeoutError:
                if time.monotonic() >= until:  # looked at after the socket: others may have had a long turn
                    self._late = True
                    self._kill()
                    raise EOFError from None
                yield
                continue
            if not part:
                raise EOFError
            parts += part
        return bytes(parts)

    def why_lost(self) -> Refused:
        """How it ended, once it gave no answer."""
        code = self.end()
        if self._late or code == -signal.SIGXCPU:
            return Refused(Refusal.TIMEOUT, f"no text within {DEADLINE_S:.0f} seconds")
        return Refused(Refusal.CRASHED, f"signal {-code}" if code < 0 else f"exit code {code}")


_lock = threading.Lock()
_idle: list[_Child] = []


def reading_isolated(chosen: Registered, file: BinaryIO) -> Generator[None, None, Text]:
    """The text of a file by its reader, in a child; yields while that is busy. Where the child is lost, the file is
    tried once more in a fresh one, unless it was alone with that, too, and took all the time there is.

    Raises Refused. What is given is the child's word: it is for the caller to check.
    """
    kind = type(chosen.reader)
    request = orjson.dumps([kind.__module__, kind.__qualname__, chosen.options])
    with _in_memory(file) as copy:
        child = _taken()
        alone = child.is_fresh
        try:
            answer = yield from _ask(child, request, copy.fileno())
        except Refused as refused:
            if refused.reason == Refusal.LIMIT or (alone and refused.reason == Refusal.TIMEOUT):
                raise
            answer = yield from _ask(_Child(), request, copy.fileno())
    if "refused" in answer:
        reason, detail = answer["refused"]
        raise Refused(str(reason), str(detail))
    return _text(answer["text"])


def rest() -> None:
    """End the children that wait for a file; the next file starts another."""
    with _lock:
        children, _idle[:] = [*_idle], []
    for child in children:
        child.end()


atexit.register(rest)


def _taken() -> _Child:
    """A child that nobody else asks meanwhile."""
    with _lock:
        return _idle.pop() if _idle else _Child()


def _ask(child: _Child, request: bytes, file: int) -> Generator[None, None, dict[str, Any]]:
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
            _idle.append(child)
    return answer


def _in_memory(file: BinaryIO) -> BinaryIO:
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


def _environment() -> dict[str, str]:
    """Nothing of ours but what a language and a search path need: no key, no setting."""
    kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    paths = os.pathsep.join(os.path.abspath(each) for each in sys.path)
    return {**kept, "PYTHONPATH": paths, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}


def _text(found: dict[str, Any]) -> Text:
    headings = found["headings"]
    given = None if headings is None else [Heading(**each) for each in headings]
    return Text(**{**found, "headings": given, "places": tuple(Place(**each) for each in found["places"])})
