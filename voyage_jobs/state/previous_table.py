"""The shelf: what the table showed before the last switch, for as long as that can be brought back.

The table keeps its version of then; the shelf keeps which chunks its rows are, apart from what is needed now.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import orjson
from sqlalchemy import Connection, delete, text

from voyage_jobs.core import states
from voyage_jobs.core.profile import Profile
from voyage_jobs.state import embeddings, meta, moves, rebuild, sources, versions
from voyage_jobs.state.schema import DROPPED, FAILED, HELD, PATH, shelf
from voyage_jobs.state.schema import versions as version_table
from voyage_jobs.state.store import Tx

_PREVIOUS = "previous_profile"
_GOING_BACK = "switching_back"


@dataclass(frozen=True)
class Previous:
    """What the table was before the last switch, in which version of the table, and until when that is kept."""

    profile: Profile
    table_version: int
    switched_at: int
    until_at: int


def previous(connection: Connection) -> Previous | None:
    """What can be switched back to, if anything can."""
    return _previous(meta.get(connection, _PREVIOUS))


def going_back(connection: Connection) -> Previous | None:
    """What a switch back that was begun is to bring back."""
    return _previous(meta.get(connection, _GOING_BACK))


def _previous(known: str | None) -> Previous | None:
    if known is None:
        return None
    values = orjson.loads(known)
    return Previous(**{**values, "profile": Profile(**values["profile"])})


def begin_to_go_back(tx: Tx, value: Previous) -> None:
    """Note, before the table is touched, that it is to become what it was."""
    meta.put(tx, _GOING_BACK, orjson.dumps(value).decode())


def forget_previous(tx: Tx) -> None:
    """There is nothing to switch back to any more."""
    meta.forget(tx, _PREVIOUS)
    meta.forget(tx, _GOING_BACK)
    tx.connection.execute(delete(shelf))


# Purpose: what the table showed until now, chunk by chunk.
_SHELVE = text(
    'INSERT INTO shelf (version_id, ordinal, embedding_id, slot, start, "end", section, tokens)'
    ' SELECT c.version_id, c.ordinal, c.embedding_id, c.slot, c.start, c."end", c.section, c.tokens'
    " FROM versions v JOIN chunks c ON c.version_id = v.id WHERE v.state = 'published' AND v.profile_id != :profile"
)


def shelve(tx: Tx, profile_id: int) -> None:
    """Keep what the table showed until now, apart from what is needed."""
    tx.connection.execute(delete(shelf))
    tx.connection.execute(_SHELVE, {"profile": profile_id})


def note_previous(tx: Tx, value: Previous) -> None:
    """Set what can be switched back to."""
    meta.put(tx, _PREVIOUS, orjson.dumps(value).decode())


_RANKED = (
    "WITH ranked AS (SELECT version_id, ROW_NUMBER() OVER (ORDER BY version_id) AS number"
    " FROM (SELECT DISTINCT version_id FROM shelf)) "
)
# Purpose: versions that the table shows again: new ones, since what was retired stays so. Of documents that have gone
# meanwhile they are to leave the table. (Files that have turned into no text are for the next scan and its guard.)
_REVIVE = text(
    "INSERT INTO versions (id, document_id, source_id, profile_id, content_hash, splitter, state, chunks, open_chunks,"
    " failed_chunks, seen_at, modified_at, published_at, publication_id, retire, doubtful, title, sections, metadata,"
    " text_hash, reading, headers) "
    + _RANKED
    + "SELECT :last + r.number, v.document_id, v.source_id, v.profile_id, v.content_hash, v.splitter, 'published',"
    " v.chunks, 0, v.failed_chunks, v.seen_at, v.modified_at, COALESCE(v.published_at, :now), :publication,"
    " d.state = 'gone', v.doubtful, v.title, v.sections, v.metadata, v.text_hash, v.reading, v.headers"
    " FROM ranked r JOIN versions v ON v.id = r.version_id JOIN documents d ON d.id = v.document_id"
)
_REVIVE_CHUNKS = text(
    'INSERT INTO chunks (version_id, ordinal, embedding_id, slot, start, "end", section, tokens) '
    + _RANKED
    + 'SELECT :last + r.number, s.ordinal, s.embedding_id, s.slot, s.start, s."end", s.section, s.tokens'
    " FROM ranked r JOIN shelf s ON s.version_id = r.version_id"
)
_PUBLISHED = text(
    f"SELECT s.name, {PATH}"
    " FROM versions v JOIN documents d ON d.id = v.document_id JOIN folders f ON f.id = d.folder_id"
    " JOIN sources s ON s.id = d.source_id WHERE v.state = 'published'"
)
# Purpose: a document that the table shows and that was being mended when the table was switched: what it shows is the
# last that was made of it under that profile, or something older, so it is published, and doubtful.
_OWN = text(
    "INSERT INTO versions (document_id, source_id, profile_id, content_hash, splitter, state, chunks, open_chunks,"
    " failed_chunks, seen_at, modified_at, published_at, publication_id, retire, doubtful, title, sections, metadata,"
    " text_hash, reading, headers)"
    " SELECT v.document_id, v.source_id, v.profile_id, v.content_hash, v.splitter, 'published',"
    " v.chunks, 0, v.failed_chunks, v.seen_at, v.modified_at, :now, :publication, d.state = 'gone', 1, v.title,"
    " v.sections, v.metadata, v.text_hash, v.reading, v.headers"
    " FROM documents d JOIN folders f ON f.id = d.folder_id JOIN sources s ON s.id = d.source_id"
    " JOIN versions v ON v.document_id = d.id"
    f" WHERE s.name = :source AND {PATH} = :path"
    " AND v.profile_id = :profile ORDER BY v.id DESC LIMIT 1"
)
_LAST = text("SELECT COALESCE(MAX(id), 0) FROM versions")
# Purpose: what was shown and has no vector any more, or never had one.
_LACKING = text(
    f"SELECT DISTINCT e.id, e.state FROM shelf s JOIN embeddings e ON e.id = s.embedding_id WHERE e.state != {HELD}"
)


def switch_back(
    tx: Tx, value: Previous, publication: int, shown: Iterable[tuple[str, str]], cause: str
) -> None:
    """The table shows again, by this publication, what it showed before the last switch: these (source, path)."""
    published, retired = states.Version.PUBLISHED, states.Version.RETIRED
    moves.move_where(tx, version_table, version_table.c.id > 0, published, retired, cause, retire=0)
    rebuild.give_up_waiting(tx, cause, but=None)
    last = int(tx.connection.execute(_LAST).scalar_one())
    tx.connection.execute(_REVIVE, {"last": last, "now": tx.now, "publication": publication})
    tx.connection.execute(_REVIVE_CHUNKS, {"last": last})
    _own_what_is_shown(tx, value, publication, shown)
    newest = int(tx.connection.execute(_LAST).scalar_one())
    moves.record_births(tx, version_table, last + 1, newest, cause)
    _want_what_is_lacking(tx, tx.connection.execute(_LACKING).all(), cause)
    meta.put(tx, meta.PROFILE, value.profile.to_json())
    forget_previous(tx)
    rebuild.read_again(tx, everything=False)


def _own_what_is_shown(tx: Tx, value: Previous, publication: int, shown: Iterable[tuple[str, str]]) -> None:
    """No document may be in the table without a version that says so: nothing would ever take its rows out."""
    known = {(source, path) for source, path in tx.connection.execute(_PUBLISHED)}
    profile_id = sources.profile_id(tx, value.profile)
    values = {"now": tx.now, "publication": publication, "profile": profile_id}
    for source, path in sorted(set(shown) - known):
        tx.connection.execute(_OWN, {**values, "source": source, "path": path})


def _want_what_is_lacking(tx: Tx, lacking: Sequence[tuple[int, int]], cause: str) -> None:
    stuck = [(embedding_id, stored) for embedding_id, stored in lacking if stored in (FAILED, DROPPED)]
    embeddings.want_again(tx, stuck, cause)
    versions.publish_again(tx, [embedding_id for embedding_id, _ in lacking], cause)
