"""Segments on record: the files of vectors that collected batches left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from voyage_jobs.state.schema import segments
from voyage_jobs.state.statements import new_id
from voyage_jobs.state.store import Tx


def has_segment(connection: Connection, profile_id: int, batch_id: int | None = None) -> bool:
    """Whether a segment with vectors of a profile (of this batch) is on record."""
    where = segments.c.profile_id == profile_id
    if batch_id is not None:
        where &= segments.c.batch_id == batch_id
    return connection.execute(select(segments.c.id).where(where).limit(1)).first() is not None


def forget(tx: Tx, segment_id: int) -> None:
    """It is off the record: a file of its name is one that nobody knows."""
    tx.connection.execute(delete(segments).where(segments.c.id == segment_id))


@dataclass(frozen=True)
class SegmentRow:
    """One segment file."""

    id: int
    name: str
    profile_id: int
    batch_id: int | None
    rows: int
    bytes: int
    sha256: str


def add_segment(
    tx: Tx, name: str, profile_id: int, batch_id: int | None, rows: int, size: int, sha256: str
) -> int:
    """Record a segment on disk. The same name is the same batch collected again: its facts are replaced."""
    facts: dict[str, object] = {"rows": rows, "bytes": size, "sha256": sha256}
    found = tx.connection.execute(select(segments.c.id).where(segments.c.name == name)).scalar()
    if found is not None:
        tx.connection.execute(update(segments).where(segments.c.id == found).values(**facts))
        return int(found)
    values = {"name": name, "profile_id": profile_id, "batch_id": batch_id, "created_at": tx.now, **facts}
    return new_id(tx.connection, insert(segments).values(**values))


def all_segments(connection: Connection) -> Sequence[SegmentRow]:
    """Every segment on record, oldest first."""
    columns = [
        segments.c[name] for name in ("id", "name", "profile_id", "batch_id", "rows", "bytes", "sha256")
    ]
    return [
        SegmentRow(**row) for row in connection.execute(select(*columns).order_by(segments.c.id)).mappings()
    ]
