"""Small facts about this data folder: what it was made for, who works on it, what people asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import cast

import orjson
from sqlalchemy import Connection, bindparam, delete, exists, insert, select, text, update

from voyage_jobs.state.schema import daemon, meta, requests
from voyage_jobs.state.statements import Prepared, new_id
from voyage_jobs.state.store import Tx

PROFILE = "profile"
TABLE = "table"
TAKEN_OVER = (
    ""  # of TABLE: no place, so that the next start fills the table as one that it has not filled yet
)
TABLE_ROWS = "table_rows"  # place and revision of the table, and how many rows it then showed, as JSON
UNTOUCHED = "table_files"  # how the files of the table looked when a `sync` left it whole, as JSON
FORMAT = "table_format"  # the format from which the table is being brought to the present one
OLD_FORMAT = (
    "table_format_kept"  # the version in the former format, and until when it is kept (microseconds UTC)
)
PAGE = "page_problem"  # why the page of the daemon at work cannot be served
RUN_BUDGET = "run_budget"  # what the run at work, or the last one, may send
ORPHANED_FILES = "strays"  # since when an upload may have left a file at the provider that is not on record
UPLOAD_LIMIT = (
    "upload_limit"  # bytes of an input file that the provider may still take, after it refused a larger one
)
MOST_IN_FLIGHT = (
    "most_in_flight"  # how many tokens may be in flight, after a job was refused for want of room, as JSON
)
LET_GO = "let_go"  # which sources had texts to send that are not wanted any more, and since when, as JSON
DAEMON = "daemon"  # the pid of a `run` that has begun, and has not ended in good order
CLAIM = "claim"  # the state was lost: whether jobs are to be claimed before anything is assembled, or were
WATCHING = "watching"  # how the watching of the sources goes, as JSON; by the daemon that is named below
TOLD_UP_TO = "told_up_to"  # where the history stood when people were last told of an end of work
INDEXES = (
    "indexes"  # the table's indexes as the last upkeep left them, as JSON; unset once the table is another
)
SPLITTING_RULES = (
    "splitting_rules"  # by which the state began to split; a state before them has 1, by a migration
)
EPOCH = "epoch"  # the number of the latest start; `Store` makes it grow
CLAIM_DUE, CLAIM_DONE = "due", "done"

# Purpose: set one fact.
_PUT = text(
    "INSERT INTO meta (key, value) VALUES (:key, :value) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)
# Purpose: say who works here.
_HERE = text(
    "INSERT INTO daemon (id, pid, mode, started_at, heartbeat_at) VALUES (1, :pid, :mode, :now, :now)"
    " ON CONFLICT (id) DO UPDATE SET pid = excluded.pid, mode = excluded.mode, started_at = excluded.started_at,"
    " heartbeat_at = excluded.heartbeat_at, step = NULL, stopped_at = NULL"
)


# Purpose: one fact. Asked many times a turn.
_GET = Prepared(select(meta.c.value).where(meta.c.key == bindparam("key")))


def get(connection: Connection, key: str) -> str | None:
    """One fact, or None."""
    return cast(str | None, _GET.value(connection, key=key))


def put(tx: Tx, key: str, value: str) -> None:
    """Set one fact."""
    tx.connection.execute(_PUT, {"key": key, "value": value})


def forget(tx: Tx, key: str) -> None:
    """Unset one fact."""
    tx.connection.execute(delete(meta).where(meta.c.key == key))


def learn_upload_limit(tx: Tx, size: int, max_bytes: int) -> None:
    """An input file was refused as too large; one of `size` bytes may pass. Holds for this `batching.max_bytes`.

    A single line may be larger than what is known to be too large: that teaches nothing new.
    """
    known = upload_limit(tx.connection, max_bytes)
    put(tx, UPLOAD_LIMIT, f"{size if known is None else min(known, size)}:{max_bytes}")


def upload_limit(connection: Connection, max_bytes: int) -> int | None:
    """Bytes of an input file that may pass, where a larger one did not; None if none was refused under this setting."""
    size, _, under = (get(connection, UPLOAD_LIMIT) or "").partition(":")
    return int(size) if under == str(max_bytes) else None


def arrive(tx: Tx, pid: int, mode: str) -> Here | None:
    """This process works here from now on; `mode` is run, sync or act. Returns the one before if it died at work."""
    before = who(tx.connection)
    forget(tx, WATCHING)
    tx.connection.execute(_HERE, {"pid": pid, "mode": mode, "now": tx.now})
    if mode == "run":
        put(tx, DAEMON, str(pid))
    return before if before is not None and before.stopped_at is None else None


def beat(tx: Tx, step: str | None) -> None:
    """Still alive, and at which step."""
    tx.connection.execute(update(daemon).values(heartbeat_at=tx.now, step=step))


def leave(tx: Tx) -> None:
    """This process ends in good order. After an act, a daemon that died before it is still missing."""
    here = who(tx.connection)
    forget(tx, WATCHING)
    tx.connection.execute(update(daemon).values(stopped_at=tx.now, step=None))
    if here is not None and here.mode != "act":
        forget(tx, DAEMON)


@dataclass(frozen=True)
class Here:
    """The process that works, or last worked, on this folder."""

    pid: int
    mode: str
    started_at: int
    heartbeat_at: int
    step: str | None
    stopped_at: int | None


_HERE_NOW = Prepared(select(*(daemon.c[field.name] for field in fields(Here))))


def who(connection: Connection) -> Here | None:
    """The process that works, or last worked, here; None if there never was one."""
    row = _HERE_NOW.row(connection)
    return None if row is None else Here(*row)


def watching(connection: Connection, holder: int | None) -> dict[str, dict[str, object]]:
    """By source, how the daemon that holds the lock says that its watching goes; what an earlier one left is
    nothing.
    """
    here, body = who(connection), get(connection, WATCHING)
    if body is None or here is None or here.mode != "run" or here.pid != holder:
        return {}
    parsed: dict[str, dict[str, object]] = orjson.loads(body)
    return parsed


@dataclass(frozen=True)
class Request:
    """Something an operator asked for on the command line while the daemon was running."""

    id: int
    command: str
    arguments: dict[str, object]
    who: str


def ask(tx: Tx, who_: str, command: str, arguments: Mapping[str, object]) -> int:
    """Leave a request for the process that holds the lock."""
    body = orjson.dumps(dict(arguments)).decode()
    values = {"asked_at": tx.now, "who": who_, "command": command, "arguments": body}
    return new_id(tx.connection, insert(requests).values(**values))


_OPEN_REQUESTS = Prepared(
    select(requests.c.id, requests.c.command, requests.c.arguments, requests.c.who)
    .where(requests.c.done_at.is_(None))
    .order_by(requests.c.id)
)


def open_requests(connection: Connection) -> list[Request]:
    """What was asked and not done yet, oldest first."""
    rows = _OPEN_REQUESTS.rows(connection)
    return [
        Request(row_id, command, orjson.loads(arguments), who_) for row_id, command, arguments, who_ in rows
    ]


_ANY_OPEN = Prepared(select(exists().where(requests.c.done_at.is_(None))))


def any_open(connection: Connection) -> bool:
    """Whether anything was asked for and is not done yet."""
    return bool(_ANY_OPEN.value(connection))


def answer(tx: Tx, request_id: int, result: Mapping[str, object]) -> None:
    """A request was carried out, or could not be."""
    values = {"done_at": tx.now, "result": orjson.dumps(dict(result)).decode()}
    tx.connection.execute(update(requests).where(requests.c.id == request_id).values(**values))


def result_of(connection: Connection, request_id: int) -> dict[str, object] | None:
    """The answer to a request, or None while there is none."""
    found = connection.execute(select(requests.c.result).where(requests.c.id == request_id)).scalar()
    if found is None:
        return None
    parsed: dict[str, object] = orjson.loads(found)
    return parsed


@dataclass(frozen=True)
class Act:
    """Something an operator asked for, and what came of it. Times are microseconds UTC; `done_at` None: not yet."""

    asked_at: int
    done_at: int | None
    who: str
    command: str
    arguments: dict[str, object]
    result: dict[str, object] | None


_ACTS = select(requests).order_by(requests.c.id.desc()).limit(bindparam("most"))


def acts(connection: Connection, most: int) -> list[Act]:
    """What people asked for, newest first."""
    return [
        Act(
            row.asked_at,
            row.done_at,
            row.who,
            row.command,
            orjson.loads(row.arguments),
            None if row.result is None else orjson.loads(row.result),
        )
        for row in connection.execute(_ACTS, {"most": most})
    ]
