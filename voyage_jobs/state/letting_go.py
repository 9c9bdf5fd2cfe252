"""Texts that wait to be sent and are not wanted any more: their files are gone, or their source, or its path."""

from __future__ import annotations

import json

from sqlalchemy import ColumnElement, Connection, exists, select

from voyage_jobs.core import states
from voyage_jobs.state import embeddings, meta
from voyage_jobs.state import versions as version_rows
from voyage_jobs.state.schema import is_in, stored, transitions, versions
from voyage_jobs.state.store import Tx

_WAITS = is_in(versions, states.Version.WAITING, states.Version.READY)
_THEIRS = versions.alias("theirs")
# Of a version that no table has shown, and that is not to bring other vectors for what one shows.
_NEVER_SHOWN = (
    versions.c.publication_id.is_(None)
    & ~exists().where(
        transitions.c.kind == "version",
        transitions.c.subject == versions.c.id,
        transitions.c.origin == stored(states.Version.PUBLISHED),
    )
    & ~exists().where(
        _THEIRS.c.document_id == versions.c.document_id,
        is_in(_THEIRS, states.Version.PUBLISHED),
        _THEIRS.c.profile_id != versions.c.profile_id,
    )
)


def unshown(tx: Tx, where: ColumnElement[bool], cause: str) -> list[int]:
    """Let go of versions that wait and were never shown; what nothing else needs of them is not sent.

    Returns their ids. A scan makes them again once it has read their files again: see `versions.read_soon`.
    """
    chosen = where & _NEVER_SHOWN
    ids = list(tx.connection.execute(select(versions.c.id).where(_WAITS, chosen)).scalars())
    if ids:
        version_rows.supersede_where(tx, chosen, cause)
        version_rows.discard(tx, ids)
    return ids


def of_source(tx: Tx, source_id: int, cause: str) -> None:
    """Let go of what a source had to send; where it is to be sent after all, its next scan finds it again."""
    found = unshown(tx, versions.c.source_id == source_id, cause)
    if found:
        version_rows.read_soon(tx, found)
        embeddings.drop_unneeded(tx)
        meta.put(tx, meta.LET_GO, json.dumps({**since(tx.connection), source_id: tx.now}))


def since(connection: Connection) -> dict[int, int]:
    """Sources -> when (microseconds) what they had to send was let go of; batches made before may still hold it."""
    known = json.loads(meta.get(connection, meta.LET_GO) or "{}")
    return {int(source_id): int(at) for source_id, at in known.items()}


def forget(tx: Tx) -> None:
    """No batch holds any of it."""
    meta.forget(tx, meta.LET_GO)
