"""What an exit code means; scripts and programs may rely on it."""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    """What a command's exit code means; a command returns one, None means DONE."""

    DONE = 0
    UNEXPECTED = 1
    USAGE = 2
    UNFINISHED = 3
    LOCKED = 4
    REFUSED = 5
    OPERATOR = 6


MEANINGS = {
    ExitCode.DONE: "done",
    ExitCode.UNEXPECTED: "something unexpected went wrong",
    ExitCode.USAGE: "the command line or the configuration is wrong",
    ExitCode.UNFINISHED: "work remains, or some items have failed",
    ExitCode.LOCKED: "another instance works on this data folder",
    ExitCode.REFUSED: "the provider refuses (key, quota)",
    ExitCode.OPERATOR: "you must act (parked batch, frozen source)",
}
