"""The one place where connections to `state.db` are made, for the daemon, the readers and the migrations alike.

Every setting has a reason:

- the SQLite library carries the fix of the WAL-reset race (3.51.3): `pysqlite3` brings its own on Linux, since system
  libraries lag by years;
- WAL, so that `status` never blocks the daemon nor waits for it. SQLite answers with the old mode when it cannot
  switch, so the answer is checked;
- `synchronous=FULL`: under NORMAL a power loss may roll back committed transactions, and the row that says "a create
  call is about to be sent" must not roll back;
- explicit `BEGIN IMMEDIATE` for every writing transaction: a transaction that begins by reading can fail at once with
  SQLITE_BUSY_SNAPSHOT whatever the timeout is. The driver's own transaction handling is switched off, which is also
  what makes a migration all or nothing;
- foreign keys on, STRICT tables: the file refuses nonsense;
- `auto_vacuum=INCREMENTAL`, set before the first table: texts leave the file again after publication;
- no `mmap_size`: a stray write through a mapping can damage the file.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, NoneType
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.pool import QueuePool, StaticPool
from sqlalchemy.util import LRUCache

from voyage_jobs.errors import StateError

BUSY_TIMEOUT_MS = 30_000
CACHE_KIB = 64 * 1024
_PAGES_PER_STEP = 2_048
SQLITE_FULL, _SQLITE_IOERR_WRITE = 13, 778
AUTOCHECKPOINT_PAGES = (
    16_384  # 64 MiB: large commits rewrite the same index pages, so let them gather in the log
)
SAFE_LIBRARY = (3, 51, 3)


_COMPILED: LRUCache[Any, Any] = LRUCache(500)
"""What engines of this process have compiled: as many statements as SQLAlchemy would keep for each."""


class _Reading(SQLiteDialect_pysqlite):
    """SQL is the same for all engines of a process, so what one has compiled, the next does not compile again."""

    supports_statement_cache = True
    begin = "BEGIN"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Reading)

    def __hash__(self) -> int:
        return hash(_Reading)

    def do_begin(self, dbapi_connection: Any) -> None:
        """Ask the driver itself: this stands before whatever is read."""
        dbapi_connection.execute(self.begin)


class _Writing(_Reading):
    supports_statement_cache = True
    begin = "BEGIN IMMEDIATE"


registry.register("sqlite.reading", __name__, _Reading.__name__)
registry.register("sqlite.writing", __name__, _Writing.__name__)


def sqlite_module() -> ModuleType:
    """The DB-API module with the newest SQLite library at hand."""
    module = _newest_module()
    # Of bytes and None the driver asks, value by value and by way of an error (1 us), whether somebody adapts them.
    module.register_adapter(bytes, bytes)
    module.register_adapter(NoneType, _as_it_is)
    return module


def _newest_module() -> ModuleType:
    try:
        import pysqlite3.dbapi2 as bundled
    except ImportError:  # not Linux: there is no wheel
        return sqlite3
    return bundled if bundled.sqlite_version_info >= sqlite3.sqlite_version_info else sqlite3


def _as_it_is(value: None) -> None:
    return value


def library_version() -> str:
    """The SQLite library in use, such as "3.53.4"."""
    return str(sqlite_module().sqlite_version)


def library_is_safe() -> bool:
    """Whether the library has the fix of the WAL-reset race."""
    return bool(sqlite_module().sqlite_version_info >= SAFE_LIBRARY)


def writing_engine(path: Path) -> Engine:
    """An engine with exactly one connection, for the process that holds the lock."""
    engine = create_engine(
        URL.create(
            "sqlite+writing", database=str(path)
        ),  # spelled out, a `?` or `%` in the path would mean something
        module=sqlite_module(),
        poolclass=StaticPool,
        connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_MS / 1000},
        execution_options={"compiled_cache": _COMPILED},
    )

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        run = connection.execute
        run("PRAGMA auto_vacuum=INCREMENTAL")
        mode = run("PRAGMA journal_mode=WAL").fetchone()[0]
        if str(mode).lower() != "wal":
            raise StateError(
                f"SQLite cannot use write-ahead logging on {path} (it answers {mode!r}).",
                hint="Put data_dir on a local disk; network file systems are not supported.",
            )
        run("PRAGMA synchronous=FULL")
        run("PRAGMA foreign_keys=ON")
        run(f"PRAGMA cache_size=-{CACHE_KIB}")
        run(f"PRAGMA wal_autocheckpoint={AUTOCHECKPOINT_PAGES}")
        run("PRAGMA temp_store=MEMORY")

    return engine


def reading_engine(path: Path) -> Engine:
    """An engine whose connections cannot write and never block the writer."""
    module = sqlite_module()

    def connect() -> Any:
        connection = module.connect(
            f"file:{quote(os.fsencode(path))}?mode=ro",
            uri=True,
            timeout=BUSY_TIMEOUT_MS / 1000,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.execute("PRAGMA query_only=ON")
        connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        return connection

    return create_engine(
        "sqlite+reading://",
        module=module,
        creator=connect,
        poolclass=QueuePool,
        execution_options={"compiled_cache": _COMPILED},
    )


def copy_pages(source: Path, target: Any, progress: Callable[[int, int], None]) -> None:
    """Copy one moment of a database into an open connection of the driver; nothing is synced.

    The open read transaction pins the moment, so that later commits neither get in nor make the copy begin again;
    nobody waits for it. `progress` hears (pages done, pages in all). Raises OSError where the target has no room.
    """
    module, status = sqlite_module(), 0

    def noted(now: int, left: int, total: int) -> None:
        nonlocal status
        status = now
        progress(total - left, total)

    uri = f"file:{quote(os.fsencode(source))}?mode=ro"
    reader = module.connect(uri, uri=True, timeout=BUSY_TIMEOUT_MS / 1000, isolation_level=None)
    try:
        reader.execute("BEGIN")
        reader.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        reader.backup(target, pages=_PAGES_PER_STEP, progress=noted)
    except module.Error as exc:
        # An error of a backup carries no result code: it is that of the last step.
        code = exc.sqlite_errorcode = getattr(exc, "sqlite_errorcode", status)
        if code & 0xFF == SQLITE_FULL or code == _SQLITE_IOERR_WRITE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from exc
        raise
    finally:
        reader.close()
