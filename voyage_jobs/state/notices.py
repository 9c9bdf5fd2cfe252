"""Notices: which facts people were told of, and which messages are still to be delivered to which sink.

A row of `notices` is a fact that was worth telling; while it holds, it is not told again. A row of `deliveries` is one
message for one sink. What was told long ago is forgotten, what waits to be delivered is bounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, insert, select, text, update

from voyage_jobs.state.schema import FAILED, deliveries, notices
from voyage_jobs.state.statements import Prepared, new_id
from voyage_jobs.state.store import Tx


@dataclass(frozen=True)
class OpenNotice:
    """A fact that people were told of and that still holds."""

    id: int
    event: str
    key: str
    size: int | None


_OPEN = Prepared(
    select(notices.c.id, notices.c.event, notices.c.key, notices.c.size).where(notices.c.over_at.is_(None))
)


def open_notices(connection: Connection) -> list[OpenNotice]:
    """Every fact that was told and is not over."""
    return [OpenNotice(*row) for row in _OPEN.rows(connection)]


def tell(
    tx: Tx,
    sinks: Sequence[str],
    *,
    token: str,
    event: str,
    key: str,
    size: int | None,
    ref: str | None,
    body: bytes,
    over: bool,
) -> int:
    """Note that something is told, and have it delivered to each of the sinks. `over`: it is no state that lasts."""
    values = {
        "token": token,
        "event": event,
        "key": key,
        "size": size,
        "ref": ref,
        "at": tx.now,
        "body": body,
    }
    row = insert(notices).values(**values, over_at=tx.now if over else None)
    notice_id = new_id(tx.connection, row)
    for sink in sinks:
        tx.connection.execute(insert(deliveries).values(notice_id=notice_id, sink=sink, due_at=tx.now))
    return notice_id


def end(tx: Tx, notice_id: int) -> None:
    """The fact does not hold any more; if it comes back, it is told again."""
    tx.connection.execute(update(notices).where(notices.c.id == notice_id).values(over_at=tx.now))


@dataclass(frozen=True)
class Waiting:
    """A message that a sink has not taken yet. `at` is when the fact was noted."""

    notice_id: int
    sink: str
    token: str
    event: str
    at: int
    due_at: int
    failures: int
    error: str | None
    body: bytes


_WAITING = Prepared(
    select(
        notices.c.id,
        deliveries.c.sink,
        notices.c.token,
        notices.c.event,
        notices.c.at,
        deliveries.c.due_at,
        deliveries.c.failures,
        deliveries.c.error,
        notices.c.body,
    )
    .join(notices, notices.c.id == deliveries.c.notice_id)
    .where(deliveries.c.done_at.is_(None))
    .order_by(deliveries.c.notice_id, deliveries.c.sink)
)


def waiting(connection: Connection) -> list[Waiting]:
    """Everything that is still to be delivered, oldest first."""
    return [Waiting(*row) for row in _WAITING.rows(connection)]


def settle(tx: Tx, notice_id: int, sink: str, error: str | None) -> None:
    """The sink took it (`error` is None), or nobody tries any more."""
    _note(tx, notice_id, sink, done_at=tx.now, error=error)


def put_off(tx: Tx, notice_id: int, sink: str, due_at: int, failures: int, error: str) -> None:
    """Try again later."""
    _note(tx, notice_id, sink, due_at=due_at, failures=failures, error=error)


def _note(tx: Tx, notice_id: int, sink: str, **values: object) -> None:
    row = (deliveries.c.notice_id == notice_id) & (deliveries.c.sink == sink)
    tx.connection.execute(update(deliveries).where(row).values(**values))


def due_no_later(tx: Tx, latest: int) -> None:
    """Let no delivery wait beyond a time (after the clock was set back)."""
    tx.connection.execute(
        update(deliveries)
        .where(deliveries.c.done_at.is_(None), deliveries.c.due_at > latest)
        .values(due_at=latest)
    )


_OLD = select(notices.c.id).where(
    notices.c.over_at < bindparam("before"),
    ~select(deliveries.c.sink)
    .where(deliveries.c.notice_id == notices.c.id, deliveries.c.done_at.is_(None))
    .exists(),
)


def forget(tx: Tx, before: int) -> None:
    """Forget what was over before a time and has been delivered, or given up."""
    old = list(tx.connection.execute(_OLD, {"before": before}).scalars())
    for notice_id in old:
        tx.connection.execute(delete(deliveries).where(deliveries.c.notice_id == notice_id))
        tx.connection.execute(delete(notices).where(notices.c.id == notice_id))


@dataclass(frozen=True)
class Told:
    """A notice as people look at it: `sinks` is (sink, when it was over, error) for each."""

    token: str
    event: str
    key: str
    at: int
    over_at: int | None
    body: bytes
    sinks: tuple[tuple[str, int | None, int, str | None], ...]


def newest(connection: Connection, most: int) -> list[Told]:
    """The last notices, newest first; of each delivery (sink, done_at, failures, error)."""
    found = []
    for row in connection.execute(select(notices).order_by(notices.c.id.desc()).limit(most)):
        of_notice = select(deliveries).where(deliveries.c.notice_id == row.id).order_by(deliveries.c.sink)
        sinks = tuple(
            (each.sink, each.done_at, each.failures, each.error) for each in connection.execute(of_notice)
        )
        found.append(Told(row.token, row.event, row.key, row.at, row.over_at, row.body, sinks))
    return found


@dataclass(frozen=True)
class Untold:
    """A sink that does not take messages: how many wait or were given up lately, and the last error."""

    sink: str
    waiting: int
    given_up: int
    error: str


# Purpose: sinks that have failed several times in a row, or messages that were given up.
_LAST_ERROR = text(
    "SELECT sink, COUNT(*) FILTER (WHERE done_at IS NULL) AS waiting, COUNT(done_at) AS given_up, MAX(error) AS error"
    " FROM deliveries WHERE error IS NOT NULL AND"
    " ((done_at IS NULL AND failures >= :failures) OR done_at >= :since) GROUP BY sink ORDER BY sink"
)


def untold(connection: Connection, failures: int, since: int) -> list[Untold]:
    """Sinks with messages that failed so often, or that were given up since a time."""
    rows = connection.execute(_LAST_ERROR, {"failures": failures, "since": since})
    return [Untold(row.sink, int(row.waiting), int(row.given_up), row.error) for row in rows]


# Purpose: what was refused for good and is still in a document.
_FAILED = Prepared(
    f"SELECT COUNT(*) FROM embeddings e WHERE e.state = {FAILED}"
    " AND EXISTS (SELECT 1 FROM chunks c WHERE c.embedding_id = e.id)"
)


def count_failed(connection: Connection) -> int:
    """Embeddings that have failed and that something still needs."""
    return int(_FAILED.value(connection))


# Purpose: since when each source has something that is not in the table (the partial index has just these).
_UNPUBLISHED = Prepared(
    "SELECT s.name, u.oldest, u.documents FROM (SELECT source_id, MIN(seen_at) AS oldest, COUNT(*) AS documents"
    " FROM versions WHERE state IN ('waiting', 'ready') GROUP BY source_id) u"
    " JOIN sources s ON s.id = u.source_id ORDER BY s.name"
)


def unpublished_since(connection: Connection) -> list[tuple[str, int, int]]:
    """(source, when its oldest unpublished version was first seen, how many there are)."""
    return _UNPUBLISHED.rows(connection)
