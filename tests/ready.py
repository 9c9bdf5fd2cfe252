"""Commands as processes of their own that need not load the program first: each is forked from one that has it loaded.

Loading takes a second of CPU, most of what a short command takes, and says nothing about how a process dies or what it
leaves. What is forked is a process like any other: it has its own memory, environment, descriptors and signals, its
`python -m MODULE` begins at the first line, and it ends as Python ends. How a command is really started is proven where
that is the question (`tests/cli/test_main.py`, `tests/cli/test_run.py`).
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

TESTS = Path(__file__).resolve().parent
PATHS = (str(TESTS.parent), str(TESTS))
_LIBRARIES = ("httpx", "lance", "pyarrow.dataset", "pysqlite3.dbapi2", "rich.console")
_NOT_LOADED = ("demo", "integrations", "mcp", "simulator")  # what hardly a command uses that is started here
_LARGEST = 1 << 17  # bytes of a request


class Process:
    """A process that was forked; as `subprocess.Popen`, as far as the tests need it."""

    def __init__(self, pid: int, nursery: _Nursery) -> None:
        self.pid = pid
        self.stdout: IO[str] | None = None
        self.stderr: IO[str] | None = None
        self.returncode: int | None = None
        self._nursery = nursery

    def poll(self) -> int | None:
        """Its exit code (negative for a signal), or None while it runs."""
        return self._ended_within(0)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once it has ended. Raises `subprocess.TimeoutExpired`."""
        if self._ended_within(timeout) is None:
            raise subprocess.TimeoutExpired(["python", "-m"], timeout or 0)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it, unless it has ended."""
        self.send_signal(signal.SIGKILL)

    def _ended_within(self, seconds: float | None) -> int | None:
        if self.returncode is None:
            self.returncode = self._nursery.ending(self.pid, seconds)
        return self.returncode


def start(
    module: str,
    *args: str,
    env: Mapping[str, str],
    stdout: int | IO[Any] = subprocess.DEVNULL,
    stderr: int | IO[Any] = subprocess.DEVNULL,
) -> Process:
    """Begin `python -m MODULE ARGS`, which finds modules in `PATHS`; files as for `subprocess.Popen`."""
    ends: list[IO[str] | None] = []
    with contextlib.ExitStack() as ours, open(os.devnull, "r+b") as nothing:
        theirs = [nothing.fileno()]
        for file in (stdout, stderr):
            ends.append(None)
            if file == subprocess.PIPE:
                end, write = os.pipe()
                ours.callback(os.close, write)
                theirs.append(write)
                ends[-1] = os.fdopen(end)
            elif file == subprocess.DEVNULL:
                theirs.append(nothing.fileno())
            else:
                theirs.append(file if isinstance(file, int) else file.fileno())
        process = _nursery().start({"module": module, "args": args, "env": dict(env)}, theirs)
    process.stdout, process.stderr = ends
    return process


@functools.cache
def _nursery() -> _Nursery:
    return _Nursery()


class _Nursery:
    """The process that has everything loaded, as seen from the tests. It ends when its socket closes."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._endings: dict[int, int] = {}
        self._lock = threading.Lock()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("VOYAGE_")}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ready", str(theirs.fileno())],
                env=kept | {"PYTHONPATH": os.pathsep.join(PATHS)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
            )
        atexit.register(self._end)

    def _end(self) -> None:
        self._socket.close()
        self._process.wait()

    def start(self, request: Mapping[str, object], files: Sequence[int]) -> Process:
        with self._lock:
            socket.send_fds(self._socket, [json.dumps(request | {"cwd": os.getcwd()}).encode()], files)
            while True:
                told = self._told()
                if "pid" in told:
                    return Process(told["pid"], self)

    def ending(self, pid: int, seconds: float | None) -> int | None:
        until = None if seconds is None else time.monotonic() + seconds
        while True:
            with self._lock:
                while pid not in self._endings and select.select([self._socket], [], [], 0)[0]:
                    self._told()
                if pid in self._endings:
                    return self._endings.pop(pid)
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                return None
            select.select([self._socket], [], [], left)

    def _told(self) -> dict[str, int]:
        line = self._socket.recv(_LARGEST)
        if not line:
            raise EOFError("the process that has everything loaded is gone")
        told: dict[str, int] = json.loads(line)
        if "ended" in told:
            self._endings[told["ended"]] = told["code"]
        return told


# --- in the process that has everything loaded ---


def _load() -> None:
    """Whatever commands import. No thread may run afterwards that a fork would miss."""
    import voyage_jobs

    importlib.import_module("voyage_jobs.service.worker")  # says how Arrow is to be loaded
    skipped = tuple(f"voyage_jobs.{name}" for name in _NOT_LOADED)
    for found in pkgutil.walk_packages(voyage_jobs.__path__, "voyage_jobs."):
        if not found.name.startswith(skipped) and not found.name.endswith("__main__"):
            with contextlib.suppress(ImportError):  # what rests on an extra
                importlib.import_module(found.name)
    for name in _LIBRARIES:
        importlib.import_module(name)


def _serve(server: socket.socket) -> dict[str, object]:
    """Fork for each request, and tell of each end; what a forked process is to do."""
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests, which then close the socket
    while True:
        ready, _, _ = select.select([server, wake], [], [])
        if wake in ready:
            os.read(wake, 4096)
            for pid, code in _ended():
                server.send(json.dumps({"ended": pid, "code": code}).encode())
        if server not in ready:
            continue
        message, files, _, _ = socket.recv_fds(server, _LARGEST, 3)
        if not message:
            os._exit(0)
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            for number, file in enumerate(files):
                os.dup2(file, number)
            for each in (*files, wake, woken):
                os.close(each)
            server.close()
            request: dict[str, object] = json.loads(message)
            return request
        for each in files:
            os.close(each)
        server.send(json.dumps({"pid": pid}).encode())


def _ended() -> list[tuple[int, int]]:
    found = []
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            found.append((ended[0], os.waitstatus_to_exitcode(ended[1])))
    return found


def _become(request: dict[str, object]) -> None:
    """Be `python -m MODULE ARGS`."""
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    sys.argv = [str(request["module"]), *request["args"]]
    runpy.run_module(str(request["module"]), run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    warnings.filterwarnings("ignore", message=".*fork")  # Lance's, and Python's: neither has begun to work
    _load()
    gc.collect()
    gc.freeze()
    task = _serve(socket.socket(fileno=int(sys.argv[1])))
    warnings.resetwarnings()
    _become(task)
