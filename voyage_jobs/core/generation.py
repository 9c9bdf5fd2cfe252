"""Which state works on a data folder, and how often it was started: kept beside `state.db`.

Each start of a process that writes makes the number grow, in the state (its epoch) and, after that, in this file. So a
state whose number is not above that of the file is an older copy that was put back.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from voyage_jobs.core import durable
from voyage_jobs.core.bounds import MOST

_MOST_BYTES = 200


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who writes: the id of a state, and its generation, which grows with every start."""

    state: str
    generation: int


def read(path: Path) -> Stamp | None:
    """What the file says; None if there is none, or none that can be understood."""
    try:
        with open(path, "rb") as file:
            words = file.read(_MOST_BYTES).decode("ascii", "replace").split()
    except OSError:
        return None
    if len(words) != 2 or not words[1].isdecimal() or int(words[1]) > MOST:
        return None
    return Stamp(words[0], int(words[1]))


def write(path: Path, stamp: Stamp) -> None:
    """Note the stamp, durable on return. Raises DiskFullError."""
    with durable.writing(path, private=True) as out:
        out.write(f"{stamp.state} {stamp.generation}\n".encode())
