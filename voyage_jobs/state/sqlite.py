"""A state that is an SQLite file: looked at, written, written beside the writer, copied."""

from __future__ import annotations

import contextlib
import functools
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from voyage_jobs.core import durable, generation
from voyage_jobs.core.clock import Clock, now_us
from voyage_jobs.errors import BusyError, LockedError, NoStateError, StateError, StateLostError
from voyage_jobs.state.engine import (
    copy_pages,
    library_is_safe,
    library_version,
    reading_engine,
    sqlite_module,
    writing_engine,
)
from voyage_jobs.state.migrate import refuse_newer
from voyage_jobs.state.store import DRIVER_ERROR, NOT_OPENED_HINT, Store, Tx, is_overflow, plain_errors

_NO_EPOCH = 0  # an instance's epoch is at least 1
_SQLITE_ERROR = 1
# Purpose: tell an empty or foreign file from one of ours without loading Alembic.
_REVISION = text("SELECT version_num FROM alembic_version")


class SqliteState:
    """`state.db`. Looking never creates, migrates or blocks, and keeps nothing open."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._is_known = False

    @functools.cached_property
    def _reader(self) -> Engine:
        return reading_engine(self.place)

    def exists(self) -> bool:
        """Whether there is anything in that place."""
        return self.place.exists()

    def demand(self) -> None:
        """Raise `NoStateError` unless there is, `StateError` where nobody can tell or it is no file."""
        try:
            found = self.place.stat()
        except FileNotFoundError:
            if generation.read(self.place.with_name(generation.FILE)) is not None:
                raise StateLostError(
                    f"{self.place} is gone, and this data folder was worked with.",
                    hint="Put it back if it was moved away; else `voyage-jobs recover`, or the next `voyage-jobs sync`"
                    " or `voyage-jobs run`, makes it again from what is here and at the provider.",
                ) from None
            raise NoStateError(
                f"There is no state yet at {self.place}.",
                hint="Run `voyage-jobs sync` or `voyage-jobs run` first.",
            ) from None
        except OSError as exc:
            raise StateError(f"{self.place} cannot be opened: {exc.strerror}.", hint=NOT_OPENED_HINT) from exc
        if stat.S_ISDIR(found.st_mode):  # SQLite would tell of a disk that fails
            raise StateError(f"{self.place} is a folder, not a file.", hint="Move it aside.")

    def _file(self) -> Path:
        """The place, where a file is or may be made. Raises `StateError` as `demand`."""
        if self.exists():
            self.demand()
        return self.place

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A view of the last committed state. Raises `StateError` if there is none to be had."""
        self.demand()
        try:
            with (
                plain_errors(self.place),
                _other_schema(self.place),
                self._reader.connect() as connection,
            ):
                self._refuse_newer(connection)
                yield connection
        finally:
            self._reader.dispose()

    def _refuse_newer(self, connection: Connection) -> None:
        """What a newer program wrote may mean something else; looked at once."""
        if not self._is_known:
            refuse_newer(str(connection.execute(_REVISION).scalar_one()))
            self._is_known = True

    def revision(self) -> str:
        """The schema revision of the file."""
        with self.read() as connection:
            return str(connection.execute(_REVISION).scalar_one())

    def disk_bytes(self) -> int:
        """The file and its log."""
        total = 0
        for suffix in ("", "-wal"):
            with contextlib.suppress(OSError):
                total += os.stat(f"{self.place}{suffix}").st_size
        return total

    def writer(self, clock: Clock) -> Store:
        """Create or upgrade the file and become its one writer. The caller holds the lock."""
        return Store.open(self._file(), clock)

    @contextlib.contextmanager
    def beside(self, clock: Clock) -> Iterator[Tx]:
        """The one exception to "one writer": a transaction that leaves the epoch to the process at work.

        Two processes that write need a library with the fix of the WAL-reset race; with an older one nothing is
        written.
        """
        if not library_is_safe():
            raise LockedError(
                f"Another voyage-jobs is at work, and SQLite {library_version()} does not let two processes write"
                " safely.",
                hint="Stop it first, or install the pysqlite3 package, which brings its own SQLite.",
            )
        self.revision()  # a writing engine would make a file where there is none
        engine = writing_engine(self.place)
        try:
            with plain_errors(self.place), engine.begin() as connection:
                yield Tx(connection, now_us(clock), _NO_EPOCH)
        except BusyError:
            raise LockedError(
                "The process at work has been writing for long, and has not taken note.",
                hint="Ask again when its present step is over; `voyage-jobs status` shows what it is at.",
            ) from None
        finally:
            engine.dispose()

    def throw_away(self, clock: Clock, progress: Callable[[int, int], None]) -> AbstractContextManager[Store]:
        """A copy in a file without a name, brought to the present schema."""
        from voyage_jobs.state.throwaway import throw_away

        return throw_away(self._file() if self.exists() else None, clock, progress)

    def copy_to(self, folder: Path, progress: Callable[[int, int], None]) -> Path:
        """Copy the last committed state into a new file of the same name, durable on return.

        The open read transaction pins one moment, so that later commits neither get in nor make the copy begin again;
        nobody waits for it.
        """
        self.demand()
        target = folder / self.place.name
        with plain_errors(self.place), durable.no_room_is_one_error(str(target)):
            with contextlib.closing(sqlite_module().connect(str(target), isolation_level=None)) as writer:
                copy_pages(self.place, writer, progress)
                # One file, without a log beside it; the first start turns logging on again.
                writer.execute("PRAGMA journal_mode=DELETE").fetchone()
            durable.sync_file(target)
        return target


@contextlib.contextmanager
def _other_schema(path: Path) -> Iterator[None]:
    """A reader does not migrate, and what it knows nothing of may be missing or new: say so."""
    try:
        yield
    except (DBAPIError, DRIVER_ERROR) as exc:
        if getattr(getattr(exc, "orig", exc), "sqlite_errorcode", 0) != _SQLITE_ERROR or is_overflow(exc):
            raise
        raise StateError(
            f"{path} is not, or not yet, a state of this version of voyage-jobs.",
            hint="`voyage-jobs sync` or `voyage-jobs run` brings an older one up to date; a newer one needs a newer"
            " voyage-jobs.",
        ) from exc
