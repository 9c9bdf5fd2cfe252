"""The process that carries out tasks: `python -m voyage_jobs.engine.child MODULE:FUNCTION SOCKET LIFELINE`.

It reads what it is sent, and answers; all else is taken from it: memory, CPU time, files to write, the way to gain
rights. A document that breaks its parser meets a process with nothing to take.
"""

from __future__ import annotations

import array
import ctypes
import fcntl
import importlib
import os
import resource
import select
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import orjson

MEMORY_BYTES = 1 << 30
CPU_S = 30
MOST_FILES = 500
SPENT_BYTES = 512 << 20
GATEWAY = "voyage_jobs.engine.on_ray:carry_out"
"""This one task reads no document itself: it hands on what others find, and keeps its rights for that."""
_HEADER_BYTES = 8
_NO_NEW_PRIVS = 38

Task: TypeAlias = Callable[[bytes, BinaryIO], dict[str, Any]]


def main() -> None:
    """Answer until nobody asks any more."""
    channel = socket.socket(fileno=int(sys.argv[2]))
    _die_with_parent(int(sys.argv[3]))
    if sys.argv[1] != GATEWAY:
        _give_up_rights()
    task = named(sys.argv[1])
    for served in range(1, MOST_FILES + 1):
        asked = _asked(channel)
        if asked is None:
            return
        _allow_cpu()
        answer = _answer(task, *asked)
        if answer.get("spent") is None:
            answer["spent"] = served == MOST_FILES or _is_spent()
        data = orjson.dumps(answer, default=_plain)
        channel.sendall(len(data).to_bytes(_HEADER_BYTES, "big") + data)


def _plain(value: object) -> tuple[object, ...]:
    """A named tuple, which orjson takes for no tuple, as one."""
    if isinstance(value, tuple):
        return tuple(value)
    raise TypeError(type(value).__name__)


def named(task: str) -> Task:
    """The function that a task's name is about."""
    module, _, function = task.partition(":")
    found: Task = getattr(importlib.import_module(module), function)
    return found


def _die_with_parent(lifeline: int) -> None:
    """Have the kernel end our process group once the parent's end of the pipe closes, whatever we are doing."""
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([lifeline], [], [], 0)[0]:  # it closed before we were listening
        sys.exit()


def _give_up_rights() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)


def _allow_cpu() -> None:
    """For this file, on top of what was used up to now."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + 1 + CPU_S, hard))


def _is_spent() -> bool:
    """Whether another process had better take the next file: it has grown, or a reader has started processes."""
    if _resident_bytes() > SPENT_BYTES:
        return True
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


def _resident_bytes() -> int:
    """What it holds now. Not `ru_maxrss`: Linux hands that on to a new program, so a large parent would count."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * resource.getpagesize()


def _asked(channel: socket.socket) -> tuple[bytes, int] | None:
    """The next request, with its open file."""
    room = socket.CMSG_SPACE(array.array("i").itemsize)
    header, ancillary, _, _ = channel.recvmsg(_HEADER_BYTES, room)
    if not header:
        return None
    files = array.array("i")
    files.frombytes(ancillary[0][2])
    return channel.recv(int.from_bytes(header, "big"), socket.MSG_WAITALL), files[0]


def _answer(task: Task, request: bytes, descriptor: int) -> dict[str, Any]:
    own = os.getpid()
    with os.fdopen(descriptor, "rb") as file:
        try:
            return task(request, file)
        finally:
            if os.getpid() != own:  # a reader has forked, and this is the other one
                os._exit(0)


if __name__ == "__main__":
    main()
