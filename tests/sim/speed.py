"""What a simulation leaves out because it is slow and proves nothing here: migrations and log folding.

Lives start from one migrated file; the write-ahead log is folded in by SQLite alone. What is left out has its own
tests.
"""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from voyage_jobs.core.clock import VirtualClock
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
        mock.patch.object(Store, "checkpoint"),
    ):
        yield
