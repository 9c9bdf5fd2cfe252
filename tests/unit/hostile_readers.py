"""Readers in a process of their own that do what parsers of hostile formats may come to do; the file says what."""

from __future__ import annotations

import ctypes
import os
import subprocess
import time

from voyage_jobs.readers.reader import Reader, Refused, Text


def _hang():
    while True:
        time.sleep(1)


def _fork():
    if os.fork() == 0:
        _hang()


def _fork_and_return():
    os.fork()


def _start():
    subprocess.Popen(["/bin/sleep", "1000"])


def _print():
    os.write(1, b"\0" * 100_000)
    print("x" * 100_000)


def _allocate():
    return bytearray(10 << 30)


def _write():
    with open("/tmp/never-written", "wb") as file:
        file.write(b"x")


def _refuse():
    raise Refused("encrypted", "it needs a password")


ACTS = {
    "segfault": lambda: ctypes.string_at(0),
    "exit": lambda: os._exit(3),
    "hang": _hang,
    "fork": _fork,
    "fork and return": _fork_and_return,
    "start": _start,
    "print": _print,
    "allocate": _allocate,
    "write": _write,
    "refuse": _refuse,
    "raise": lambda: 1 // 0,
    "wait": lambda: time.sleep(2),
    "nothing": lambda: None,
}


class Hostile(Reader):
    name = "hostile"
    version = 1
    suffixes = (".bad",)
    isolated = True

    def read(self, file, options):
        act = file.read().decode()
        if act == "long":
            yield Text("x" * (65 << 20))
        elif act == "surrogate":
            yield Text("a\ud800")
        elif act == "environment":
            yield Text("\n".join(os.environ))
        elif act == "who":
            yield Text(f"{os.getpid()} {os.getpgrp()}")
        else:
            ACTS[act]()
            yield Text(f"after {act}", title=options.get("title", ""))
