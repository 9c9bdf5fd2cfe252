"""A copy of `state.db` as of one moment, while the process that writes it goes on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from voyage_jobs import durable
from voyage_jobs.clock import Clock
from voyage_jobs.state import setback
from voyage_jobs.state.engine import BUSY_TIMEOUT_MS, sqlite_module
from voyage_jobs.state.store import Store, told_plainly

_PAGES_PER_STEP = 2_048


def copy_state(source: Path, target: Path, progress: Callable[[int, int], None]) -> None:
    """Copy the last committed state into the new file `target`, durable on return.

    `progress` hears (pages done, pages in all). The open read transaction pins one moment, so that later commits
    neither get in nor make the copy begin anew; nobody waits for it. Raises StateError, DiskFullError.
    """
    with told_plainly(source), durable.no_room_is_one_error(str(target)):
        writer = sqlite_module().connect(str(target), isolation_level=None)
        try:
            copy_pages(source, writer, progress)
            # One file, without a log beside it; the first start turns logging on again.
            writer.execute("PRAGMA journal_mode=DELETE").fetchone()
        finally:
            writer.close()
        durable.sync_file(target)


def copy_pages(source: Path, writer: Any, progress: Callable[[int, int], None]) -> None:
    """The same into an open connection of the driver, without syncing anything."""
    uri = f"file:{quote(os.fsencode(source))}?mode=ro"
    reader = sqlite_module().connect(uri, uri=True, timeout=BUSY_TIMEOUT_MS / 1000, isolation_level=None)
    try:
        reader.execute("BEGIN")
        reader.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        reader.backup(
            writer,
            pages=_PAGES_PER_STEP,
            progress=lambda _status, left, total: progress(total - left, total),
        )
    finally:
        reader.close()


def mark_restored(path: Path, clock: Clock) -> None:
    """Have a state that is older than the world claim its jobs at the vendor before it sends anything."""
    store = Store.open(path, clock)
    try:
        with store.write() as tx:
            setback.note(tx, setback.RESTORED)
    finally:
        store.close()
