"""What a simulation leaves out because it is slow and proves nothing here: migrations, reconnects, log folding.

Lives start from one migrated file; readers keep their connections; the write-ahead log is folded in by SQLite alone.
What is left out has its own tests.
"""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.pool import QueuePool

from voyage_jobs.clock import VirtualClock
from voyage_jobs.store import engine as engines
from voyage_jobs.store.store import Store


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
        mock.patch("voyage_jobs.store.migrate.upgrade", lambda engine: None),
        mock.patch("voyage_jobs.store.store.reading_engine", _pooled_reader),
        mock.patch.object(Store, "checkpoint", lambda self: None),
    ):
        yield


def _pooled_reader(path: Path) -> Engine:
    """The production reader's connections, kept open between reads."""
    original = engines.reading_engine(path)
    kept = create_engine(
        "sqlite+pysqlite://",
        module=engines.sqlite_module(),
        creator=original.pool._creator,
        poolclass=QueuePool,
        pool_size=4,
        max_overflow=16,
        pool_use_lifo=True,
    )

    @event.listens_for(kept, "begin")
    def on_begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN")

    return kept
