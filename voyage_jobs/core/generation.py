"""Which state works on a data folder, and how often it was started: kept beside `state.db`.

Each start of a process that writes makes the number grow, in the state (its epoch) and, after that, in this file. So a
state whose number is not above that of the file is an older copy that was put back.

The file also says by which rules the state splits, for one that is made again where the state was lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from voyage_jobs.core import durable
from voyage_jobs.core.bounds import MOST

FILE = "generation"
_MOST_BYTES = 200


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who writes: the id of a state, its generation, which grows with every start, and the rules by which it splits."""

    state: str
    generation: int
    rules: int = 1
    """1 where it does not say, as those of older releases."""


def read(path: Path) -> Stamp | None:
    """What the file says; None if there is none, or none that can be understood."""
    words = _words(path)
    if len(words) not in (2, 3) or not all(map(_is_number, words[1:])):
        return None
    return Stamp(words[0], *map(int, words[1:]))


def _words(path: Path) -> list[str]:
    try:
        with open(path, "rb") as file:
            return file.read(_MOST_BYTES).decode("ascii", "replace").split()
    except OSError:
        return []


def _is_number(word: str) -> bool:
    return word.isdecimal() and int(word) <= MOST


def write(path: Path, stamp: Stamp) -> None:
    """Note the stamp, durable on return. Raises DiskFullError."""
    with durable.writing(path, private=True) as out:
        out.write(f"{stamp.state} {stamp.generation} {stamp.rules}\n".encode())
