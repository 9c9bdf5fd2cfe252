"""What a simulation leaves out because it is slow and proves nothing here: migrations, log folding, compiling again.

Lives start from one migrated file; the write-ahead log is folded in by SQLite alone; statements that one engine has
compiled are not compiled again by the next. What is left out has its own tests.
"""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from sqlalchemy import Engine

from voyage_jobs.core.clock import VirtualClock
from voyage_jobs.state import sqlite
from voyage_jobs.state import store as stores
from voyage_jobs.state.store import Store


def scratch() -> str | None:
    """A folder in memory if there is one: the disk's own durability is not what is simulated."""
    shm = Path("/dev/shm")
    return str(shm) if shm.is_dir() else None


@functools.cache
def empty_state() -> bytes:
    """The bytes of a fresh, migrated `state.db`."""
    with tempfile.TemporaryDirectory(dir=scratch()) as folder:
        path = Path(folder) / "state.db"
        Store.open(path, VirtualClock()).close()
        return path.read_bytes()


@contextlib.contextmanager
def fast_stores() -> Iterator[None]:
    """Open stores without their costly habits."""
    empty_state()
    with (
        mock.patch("voyage_jobs.state.migrate.upgrade"),
        mock.patch.object(stores, "writing_engine", _WRITERS),
        mock.patch.object(stores, "reading_engine", _READERS),
        mock.patch.object(sqlite, "reading_engine", _READERS),
        mock.patch.object(Store, "checkpoint"),
    ):
        yield


class _OneDialect:
    """Makes engines that share the first one's dialect, and with it everything it has compiled."""

    def __init__(self, make: Callable[..., Engine]) -> None:
        self._make = make
        self._first: Engine | None = None

    def __call__(self, *args: Any, **options: Any) -> Engine:
        engine = self._make(*args, **options)
        if self._first is None:
            with engine.connect():  # the dialect learns about the database on its first connection
                self._first = engine
        engine.dialect = engine.pool._dialect = self._first.dialect
        engine._compiled_cache = self._first._compiled_cache
        return engine


_WRITERS = _OneDialect(stores.writing_engine)
_READERS = _OneDialect(stores.reading_engine)
