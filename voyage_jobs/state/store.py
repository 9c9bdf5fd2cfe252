"""`Store`: the one writer, and the fence between two of them.

Inside `with store.write() as tx:` everything happens in one transaction, or nothing does. No network and no LanceDB
call may stand in such a block. `with store.read() as connection:` sees the last committed state and cannot write.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from voyage_jobs.core import private
from voyage_jobs.core.clock import Clock, now_us
from voyage_jobs.errors import BusyError, DiskFullError, EpochLostError, StateDamagedError, StateError
from voyage_jobs.state import health, migrate
from voyage_jobs.state.engine import (
    BUSY_TIMEOUT_MS,
    SQLITE_FULL,
    reading_engine,
    sqlite_module,
    writing_engine,
)
from voyage_jobs.state.statements import Prepared

# Purpose: the number of the instance that may write.
_EPOCH = Prepared("SELECT value FROM meta WHERE key = 'epoch'")
# Purpose: an instance takes over; whoever was before stops at its next transaction.
_TAKE_EPOCH = text(
    "INSERT INTO meta (key, value) VALUES ('epoch', '1')"
    " ON CONFLICT (key) DO UPDATE SET value = CAST(CAST(meta.value AS INTEGER) + 1 AS TEXT) RETURNING value"
)
# Purpose: an instance goes on under a higher number, above that of another one that it learned of.
_SET_EPOCH = text("UPDATE meta SET value = :epoch WHERE key = 'epoch'")

# SQLite's primary result codes; the extended ones carry these in their low byte.
_SQLITE_READONLY, _SQLITE_IOERR, _SQLITE_CORRUPT, _SQLITE_NOTADB = 8, 10, 11, 26
_SQLITE_PERM, _SQLITE_BUSY, _SQLITE_CANTOPEN = 3, 5, 14
_TOO_LARGE = "integer overflow"
NOT_OPENED_HINT = "Check that data_dir is there, its owner and permissions."
DRIVER_ERROR: type[Exception] = sqlite_module().Error


@dataclass(frozen=True)
class Tx:
    """One writing transaction: its connection, its time (microseconds UTC) and the writer's epoch."""

    connection: Connection
    now: int
    epoch: int


def _make_private(path: Path) -> None:
    """A new database is its owner's alone; SQLite gives what lies beside it the same mode. One that is there is not
    opened: closing it would end the locks that SQLite holds on it in this process. What is wrong, SQLite tells."""
    with contextlib.suppress(OSError):
        os.close(private.opener(str(path), os.O_RDWR | os.O_CREAT | os.O_EXCL))


class Store:
    """`state.db`, opened by the process that holds the lock."""

    def __init__(self, path: Path, clock: Clock, writer: Engine, epoch: int) -> None:
        self.path = path
        self.clock = clock
        self.epoch = epoch
        self._writer = writer
        self._reader = reading_engine(path)
        self._idle: list[Connection] = []  # to take one up again costs half of what a look costs

    @classmethod
    def open(cls, path: Path, clock: Clock) -> Store:
        """Create or upgrade the database and become its one writer. The caller holds the lock.

        Raises `StateError` for a newer or damaged file, or one that cannot be written.
        """
        engine = writing_engine(path)
        with plain_errors(path):
            _make_private(path)
            migrate.upgrade(engine)
            with engine.begin() as connection:
                epoch = int(connection.execute(_TAKE_EPOCH).scalar_one())
        return cls(path, clock, engine, epoch)

    @contextlib.contextmanager
    def write(self) -> Iterator[Tx]:
        """One transaction, begun with a write lock; commits at the end, rolls back on any exception."""
        with plain_errors(self.path), self._writer.begin() as connection:
            if int(_EPOCH.value(connection)) != self.epoch:
                raise EpochLostError
            yield Tx(connection, now_us(self.clock), self.epoch)

    def outgrow(self, tx: Tx, epoch: int) -> None:
        """Go on with an epoch above this one: a later instance of a newer state had it. Committed with `tx`."""
        self.epoch = max(self.epoch, epoch) + 1
        tx.connection.execute(_SET_EPOCH, {"epoch": str(self.epoch)})

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A view of the last committed state."""
        with plain_errors(self.path):
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = self._reader.connect()
            try:
                yield connection
                connection.rollback()
            except BaseException:
                connection.close()
                raise
            self._idle.append(connection)

    def _let_go(self) -> None:
        while self._idle:
            self._idle.pop().close()
        self._reader.dispose()

    def checkpoint(self) -> None:
        """Fold the write-ahead log into the file and give freed pages back; for idle moments and the end.

        A reader that holds on to an old state is not waited for: the log is folded in another time. No statistics are
        taken for the planner: taken of a young folder they say that tables have one row, and the first large scan after
        that is planned by them. The schema's indexes are chosen such that it plans well without.
        """
        with plain_errors(self.path):
            raw = self._writer.raw_connection()
            try:
                cursor = raw.cursor()
                cursor.execute("PRAGMA incremental_vacuum").fetchall()
                cursor.execute("PRAGMA busy_timeout=0").fetchall()
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                cursor.close()
            finally:
                raw.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}").fetchall()
                raw.close()

    def shrink(self) -> None:
        """Let go of the pages that SQLite keeps in memory, 64 MiB a connection or less; they are read again."""
        with plain_errors(self.path):
            raw = self._writer.raw_connection()
            try:
                raw.execute("PRAGMA shrink_memory").fetchall()
            finally:
                raw.close()
            self._let_go()

    def close(self) -> None:
        """Fold the log in and let go of the file."""
        with contextlib.suppress(StateError, DiskFullError):
            self.checkpoint()
        self._writer.dispose()
        self._let_go()


def is_overflow(exc: Exception) -> bool:
    """Whether a sum left 64 bits, in SQLite or on its way there.

    SQLite has no code of its own for that, but the text is one of its documented phrases (`sum()`).
    """
    if isinstance(exc, OverflowError):
        return "SQLite INTEGER" in str(exc)
    return str(getattr(exc, "orig", exc)) == _TOO_LARGE


@contextlib.contextmanager
def plain_errors(path: Path) -> Iterator[None]:
    """Turn the driver's errors into ours, by result code and never by text (but see `is_overflow`)."""
    try:
        yield
    except (DBAPIError, DRIVER_ERROR, OverflowError) as exc:
        if is_overflow(exc):
            raise StateError(
                f"{path} holds numbers of tokens that cannot be: they are too large to be added up.",
                hint="`voyage-jobs verify` shows them, `voyage-jobs verify --repair` puts estimates in their place.",
            ) from exc
        code = getattr(getattr(exc, "orig", exc), "sqlite_errorcode", None)
        primary = code & 0xFF if code is not None else None
        if primary in (SQLITE_FULL, _SQLITE_IOERR):
            raise DiskFullError(
                f"SQLite cannot write {path} (disk full or failing).",
                hint="Free some space; nothing was lost and work resumes by itself.",
            ) from exc
        if primary in (_SQLITE_CORRUPT, _SQLITE_NOTADB):
            raise StateDamagedError(
                f"{path} is damaged or is not a voyage-jobs database.", hint=health.DAMAGED_HINT
            ) from exc
        if primary == _SQLITE_READONLY:
            raise StateError(f"{path} cannot be written.", hint="Check its owner and permissions.") from exc
        if primary in (_SQLITE_CANTOPEN, _SQLITE_PERM):
            raise StateError(f"{path} cannot be opened.", hint=NOT_OPENED_HINT) from exc
        if primary == _SQLITE_BUSY:
            raise BusyError(
                f"{path} is locked by another program.",
                hint="Only voyage-jobs may write to it; close the other one.",
            ) from exc
        raise
