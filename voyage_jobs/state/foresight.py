"""What a plan asks the state: is this content known, is this embedding paid for? And a state where there is none."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, create_engine, select, text
from sqlalchemy.pool import StaticPool

from voyage_jobs.state.engine import sqlite_module
from voyage_jobs.state.schema import metadata, profiles
from voyage_jobs.state.statements import RAW, slices
from voyage_jobs.state.story import View
from voyage_jobs.state.versions import Made


class NoState:
    """An empty state in memory, so that a plan before the first run asks the same questions."""

    def __init__(self) -> None:
        self._engine = create_engine(
            "sqlite+pysqlite://",
            module=sqlite_module(),
            poolclass=StaticPool,
            connect_args={"check_same_thread": False},
        )
        metadata.create_all(self._engine)

    @contextlib.contextmanager
    def read(self) -> Iterator[View]:
        """Always there, always empty."""
        with self._engine.connect() as connection:
            yield connection


@dataclass(frozen=True)
class KnownDocument:
    """What the state knows at one place: `identities` are those of what is wanted or served."""

    state: str
    content_hash: bytes | None
    identities: frozenset[Made]


# Purpose: what is known at one place.
_DOCUMENT = text("SELECT id, state, content_hash FROM documents WHERE folder_id = :folder AND name = :name")
# Purpose: what is wanted or served of it.
_LIVE = text(
    "SELECT content_hash, text_hash, splitter FROM versions"
    " WHERE document_id = :id AND state IN ('waiting', 'ready', 'published') AND profile_id = :profile"
)


def known_document(
    connection: Connection, folder_id: int, name: str, profile_id: int | None
) -> KnownDocument | None:
    """What the state knows of a file, or None."""
    row = connection.execute(_DOCUMENT, {"folder": folder_id, "name": name}).one_or_none()
    if row is None:
        return None
    live = connection.execute(_LIVE, {"id": row.id, "profile": profile_id})
    return KnownDocument(row.state, row.content_hash, frozenset(Made(*v) for v in live))


def embedding_states(connection: Connection, keys: Sequence[bytes]) -> dict[bytes, int]:
    """Key -> stored state of those embeddings that are known."""
    found = (row for part in slices(keys) for row in RAW["embeddings by key"].rows(connection, *part))
    return {key: state for _, key, state in found}


def profile_row(connection: Connection, fingerprint: str) -> int | None:
    """The row of a profile, or None if it was never used."""
    return connection.execute(select(profiles.c.id).where(profiles.c.fingerprint == fingerprint)).scalar()
