"""Which indexes the table had after its last upkeep: for `status`, which does not open the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import orjson
from sqlalchemy import Connection

from voyage_jobs.state import meta
from voyage_jobs.state.store import Tx


@dataclass(frozen=True)
class Indexed:
    """One index: of which column, rows in it, rows that are read beside it, segments."""

    name: str
    column: str
    rows: int
    unindexed_rows: int
    segments: int


@dataclass(frozen=True)
class Indexes:
    """All of them as an upkeep left them at `at` (microseconds UTC)."""

    at: int
    each: Sequence[Indexed]


def note(tx: Tx, found: Sequence[Indexed]) -> None:
    """An upkeep has just seen to them."""
    body = orjson.dumps({"at": tx.now, "each": [asdict(index) for index in found]})
    meta.put(tx, meta.INDEXES, body.decode())


def noted(connection: Connection) -> Indexes | None:
    """As the last upkeep left them; None if the table has had none since it was made or replaced."""
    body = meta.get(connection, meta.INDEXES)
    if body is None:
        return None
    found = orjson.loads(body)
    return Indexes(found["at"], [Indexed(**index) for index in found["each"]])


def forget(tx: Tx) -> None:
    """The table was replaced as a whole: what is known of its indexes is of another."""
    meta.forget(tx, meta.INDEXES)
