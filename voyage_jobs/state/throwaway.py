"""A throw-away copy of the state: what is tried out in it nobody sees, and nothing of it outlives the process.

It lies in a file that has no name: opened, then unlinked while it is still empty. So whatever ends the process, the
file system takes what is in it back, and there is nothing that a later process would have to clear away (but for an
empty file, if it ends in the very moment between the two). One connection serves for reading and writing, since a file
without a name cannot be opened twice.

docs/design.md, "Planning", has what else was considered.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.pool import StaticPool

from voyage_jobs.core.clock import Clock, now_us
from voyage_jobs.core.durable import free_bytes, no_room_is_one_error
from voyage_jobs.core.plural import room
from voyage_jobs.errors import DiskFullError
from voyage_jobs.state import migrate
from voyage_jobs.state.engine import CACHE_KIB, copy_pages, sqlite_module
from voyage_jobs.state.store import Store, Tx, plain_errors

_ON_DISK = Path("/var", "tmp")
# Nothing is ever undone or found again here, so nothing is journaled or synced. Foreign keys are what the real state
# holds to: they are not checked a second time.
_PRAGMAS = (
    "locking_mode=EXCLUSIVE",
    "journal_mode=OFF",
    "synchronous=OFF",
    f"cache_size=-{CACHE_KIB}",
    "temp_store=MEMORY",
)
# Where the format of a database file says whether there is a write-ahead log beside it: 2 for yes, 1 for no.
_LOG_BYTES, _LOG, _NO_LOG = 18, b"\x02\x02", b"\x01\x01"


class ThrowAwayStore(Store):
    """A state of one process and one thread. Close it; what an error broke off in it is of no use any more."""

    def __init__(self, clock: Clock, engine: Engine, folder: Path) -> None:
        super().__init__(folder / "a throw-away copy of state.db", clock, engine, epoch=1)
        self._one = engine.connect()

    @contextlib.contextmanager
    def write(self) -> Iterator[Tx]:
        """One transaction. An error leaves it open: there is no way back."""
        with plain_errors(self.path):
            self._one.exec_driver_sql("BEGIN")
            yield Tx(self._one, now_us(self.clock), self.epoch)
            self._one.exec_driver_sql("COMMIT")

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """The same connection: it sees what was written last."""
        with plain_errors(self.path):
            yield self._one

    def close(self) -> None:
        """Let go of it: the file is gone with its last connection."""
        self._one.close()
        self._writer.dispose()


def folder_for_copies() -> Path:
    """Where throw-away copies go: `TMPDIR`, else /var/tmp, which is on a disk where /tmp may be memory."""
    for folder in (os.environ.get("TMPDIR"), _ON_DISK):
        if folder is not None and os.access(folder, os.W_OK | os.X_OK):
            return Path(folder)
    return Path(tempfile.gettempdir())


@contextlib.contextmanager
def throw_away(
    state: Path | None, clock: Clock, progress: Callable[[int, int], None]
) -> Iterator[ThrowAwayStore]:
    """A copy of the last committed state at `state`, brought to the present schema; an empty state for None.

    The process that writes the state is neither waited for nor kept waiting. `progress` hears (pages done, pages in
    all). The copy takes as much room on its disk as the state does. Raises StateError for a state that cannot be read
    or that a newer program wrote, DiskFullError where the disk for temporary files is too small.
    """
    folder = folder_for_copies()
    if state is not None:
        _demand_room(state, folder)
    with contextlib.closing(_open(state, clock, folder, progress)) as store:
        yield store


def _open(
    state: Path | None, clock: Clock, folder: Path, progress: Callable[[int, int], None]
) -> ThrowAwayStore:
    with plain_errors(folder), no_room_is_one_error(str(folder)):
        descriptor, raw = _nameless(folder)
        try:
            if state is not None:
                _copy(state, raw, descriptor, progress)
            engine = create_engine(
                "sqlite+pysqlite://", module=sqlite_module(), creator=lambda: raw, poolclass=StaticPool
            )
            if state is None:
                with engine.begin() as connection:
                    migrate.make(connection)
            else:
                migrate.upgrade(engine)
            return ThrowAwayStore(clock, engine, folder)
        except BaseException:
            raw.close()
            raise
        finally:
            os.close(descriptor)


def _demand_room(state: Path, folder: Path) -> None:
    size = 0
    for path in (state, Path(f"{state}-wal")):
        with contextlib.suppress(FileNotFoundError):  # the log comes and goes
            size += path.stat().st_size
    free = free_bytes(folder)
    if free < size:
        raise DiskFullError(
            f"{folder} has {room(free)} free; a copy of the state takes {room(size)} there.",
            hint="Name a folder on a larger disk in the environment variable TMPDIR.",
        )


def _copy(state: Path, raw: Any, descriptor: int, progress: Callable[[int, int], None]) -> None:
    with plain_errors(state):
        copy_pages(state, raw, progress)
    if os.pread(descriptor, len(_LOG), _LOG_BYTES) == _LOG:
        # A log would need a name. What SQLite has read of the page that says so is to be read again.
        raw.execute("PRAGMA shrink_memory").fetchall()
        os.pwrite(descriptor, _NO_LOG, _LOG_BYTES)


def _nameless(folder: Path) -> tuple[int, Any]:
    """A database file without a name: a descriptor of it, and a connection. Raises OSError."""
    descriptor, name = tempfile.mkstemp(prefix="voyage-jobs-", dir=folder)
    try:
        raw = sqlite_module().connect(name, isolation_level=None, check_same_thread=False)
        for pragma in _PRAGMAS:
            raw.execute(f"PRAGMA {pragma}").fetchall()
    except BaseException:
        os.close(descriptor)
        raise
    finally:
        os.unlink(name)
    return descriptor, raw
