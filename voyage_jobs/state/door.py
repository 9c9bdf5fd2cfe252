"""The one door to the state, for everybody outside this folder: to look, to write, to leave a word, to copy.

Which database holds the state, and in which file, is known here and below. Another kind of database is a class that
comes through `tests/unit/test_state_contract.py`, and a line in `KINDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from voyage_jobs.core.clock import Clock
    from voyage_jobs.state.store import Tx

FILE = "state.db"
FILES = (FILE, f"{FILE}-wal", f"{FILE}-shm")
"""What a state may leave in a data folder."""
_KIND = "sqlite"


class Address(Protocol):
    """What says where a state is: the settings do."""

    @property
    def data_dir(self) -> Path:
        """The data folder."""


@dataclass(frozen=True)
class At:
    """The state of a folder that no settings name, such as a backup."""

    data_dir: Path


class Reader(Protocol):
    """Whatever lets one look at the state."""

    def read(self) -> AbstractContextManager[Connection]:
        """A view of the last committed state, which cannot write. Raises `StateError` if there is none to be had."""


class Writer(Reader, Protocol):
    """The state in the hands of the process that holds the lock."""

    epoch: int
    """The number of this instance among those that have written."""

    def write(self) -> AbstractContextManager[Tx]:
        """One transaction: all of it or nothing. Raises `EpochLostError` after another instance took over."""

    def outgrow(self, tx: Tx, epoch: int) -> None:
        """Go on with an epoch above this one. Committed with `tx`."""

    def checkpoint(self) -> None:
        """Make the files small; for idle moments."""

    def shrink(self) -> None:
        """Let go of memory that can be filled again."""

    def close(self) -> None:
        """Let go of the state. It can be looked at and written by others."""


class State(Reader, Protocol):
    """A state as it is addressed: it may not be there, nor be ours."""

    @property
    def place(self) -> Path:
        """Where it is, as messages say it."""

    def exists(self) -> bool:
        """Whether there is anything in that place."""

    def demand(self) -> None:
        """Raise `StateError` unless there is."""

    def revision(self) -> str:
        """The revision of its schema."""

    def disk_bytes(self) -> int:
        """What it takes on this machine's disk."""

    def writer(self, clock: Clock) -> Writer:
        """Make it or bring it up to date, and become its one writer. The caller holds the lock.

        Raises `StateError` for one that is newer, damaged, or cannot be written.
        """

    def beside(self, clock: Clock) -> AbstractContextManager[Tx]:
        """One short transaction beside the process that holds the lock, for a request to it; its epoch stays.

        Raises `LockedError` where a second writer is not safe or not let in.
        """

    def throw_away(
        self, clock: Clock, progress: Callable[[int, int], None]
    ) -> AbstractContextManager[Writer]:
        """A copy of one moment that nobody else sees and that is gone with its last user; empty where there is none.

        `progress` as for `copy_to`. Raises `StateError`, `DiskFullError`.
        """

    def copy_to(self, folder: Path, progress: Callable[[int, int], None]) -> Path:
        """Copy one moment of it into `folder`, durable on return, while work goes on; the file that it is in.

        `progress` hears (parts done, parts in all). Raises `StateError`, `DiskFullError`. `open_state(At(folder))`
        reads the copy.
        """


def _sqlite(data_dir: Path) -> State:
    from voyage_jobs.state.sqlite import SqliteState  # SQLAlchemy costs 0.1 s: not before it is needed

    return SqliteState(data_dir / FILE)


KINDS: Mapping[str, Callable[[Path], State]] = {"sqlite": _sqlite}


def open_state(address: Address) -> State:
    """The state of these settings. Nothing is opened, made or looked at before it is asked to."""
    return KINDS[_KIND](address.data_dir)
