"""Which profile the table has, and which one is being built beside it.

`meta.PROFILE` names the profile of the vectors in the table. While a build is running, versions under its target
wait beside the published ones; nothing of it reaches the table before the switch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import orjson
from sqlalchemy import Connection, bindparam, func, select, text

from voyage_jobs.core import states
from voyage_jobs.core.profile import Profile
from voyage_jobs.state import embeddings as embedding_rows
from voyage_jobs.state import meta, moves, versions
from voyage_jobs.state.ledger import BILLED
from voyage_jobs.state.schema import PATH, chunks, embeddings, is_in, profiles
from voyage_jobs.state.schema import versions as version_table
from voyage_jobs.state.store import Tx

_BUILD = "reprofile"


@dataclass(frozen=True)
class Build:
    """A new table in the making. `publication`: the commit that is to switch, once it was begun; `kept`: the table's
    version before it. `leave_out`: you accept what cannot be embedded. `hold`: you want to look before the switch.
    Times are microseconds UTC.
    """

    target: Profile
    began_at: int
    who: str
    leave_out: bool = False
    publication: int | None = None
    kept: int | None = None
    hold: bool = False


def served(connection: Connection) -> Profile | None:
    """The profile of the vectors in the table; None for a folder in which nothing was done yet."""
    known = meta.get(connection, meta.PROFILE)
    return None if known is None else Profile.from_json(known)


# Purpose: was any vector ever paid for, or is any here?
_HAS_VECTORS = text(
    f"SELECT EXISTS (SELECT 1 FROM spend WHERE kind IN {BILLED} OR kind = 'maybe_paid')"
    f" OR EXISTS (SELECT 1 FROM packs) OR EXISTS (SELECT 1 FROM versions WHERE state = '{states.Version.PUBLISHED}')"
)


def has_vectors(connection: Connection) -> bool:
    """Whether anything was ever embedded, or may have been."""
    return bool(connection.execute(_HAS_VECTORS).scalar_one())


def build(connection: Connection) -> Build | None:
    """The build that is running, if one is."""
    known = meta.get(connection, _BUILD)
    if known is None:
        return None
    values = orjson.loads(known)
    return Build(**{**values, "target": Profile(**values["target"])})


def active(connection: Connection) -> Profile | None:
    """The profile under which texts are embedded: that of the build, else that of the table."""
    under_way = build(connection)
    return served(connection) if under_way is None else under_way.target


def note_build(tx: Tx, value: Build) -> None:
    """Set what is known of the build. What is not held is written as older programs know it."""
    told = {name: field for name, field in vars(value).items() if name != "hold" or field}
    meta.put(tx, _BUILD, orjson.dumps(told).decode())


def forget_build(tx: Tx) -> None:
    """No build is running any more."""
    meta.forget(tx, _BUILD)


# --- how far a build is ---


@dataclass(frozen=True)
class Progress:
    """A build in numbers. `unscanned_sources`: not read whole under the target; `unread`: documents that the table
    shows and that have not been read under it; `refused`: documents none of whose chunks could be embedded.
    """

    documents: int
    ready: int
    chunks: int
    open_chunks: int
    failed_chunks: int
    refused: int
    unread: int
    unscanned_sources: tuple[str, ...]
    frozen_sources: tuple[str, ...]

    @property
    def scanned(self) -> bool:
        """Whether every source was read whole that can be."""
        return not self.unscanned_sources

    def complete(self, *, leave_out: bool) -> bool:
        """Whether the switch can be made; `leave_out`: without what cannot be embedded."""
        if self.unscanned_sources or self.open_chunks:
            return False
        return leave_out or not (self.failed_chunks or self.unread or self.frozen_sources)

    @property
    def blocked(self) -> bool:
        """Whether only an operator, or a file that comes back, lets it be switched."""
        return (
            self.scanned
            and not self.open_chunks
            and bool(self.failed_chunks or self.unread or self.frozen_sources)
        )


# Purpose: what is wanted under the target.
_WANTED = text(
    "SELECT COUNT(*) AS documents, COUNT(*) FILTER (WHERE state = 'ready') AS ready,"
    " COALESCE(SUM(chunks), 0) AS chunks,"
    " COALESCE(SUM(open_chunks), 0) AS open_chunks, COALESCE(SUM(failed_chunks), 0) AS failed_chunks,"
    " COUNT(*) FILTER (WHERE state = 'waiting' AND open_chunks = 0) AS refused"
    " FROM versions WHERE state IN ('waiting', 'ready') AND profile_id = :profile"
)
# What the table shows: also what is to be published again there, and has not been.
_SHOWN = "(v.state = 'published' OR v.state IN ('waiting', 'ready') AND v.publication_id IS NOT NULL) AND v.retire = 0"
# Purpose: what the table shows and nothing under the target would replace.
_UNREAD = text(
    f"SELECT COUNT(DISTINCT v.document_id) FROM versions v WHERE {_SHOWN} AND v.profile_id != :profile"
    " AND NOT EXISTS (SELECT 1 FROM versions n WHERE n.document_id = v.document_id"
    "  AND n.state IN ('waiting', 'ready') AND n.profile_id = :profile)"
)
# Purpose: which sources have not been scanned to their end under the target.
_SCANS = text(
    "SELECT name, frozen_reason IS NOT NULL AS frozen FROM sources WHERE configured = 1"
    " AND COALESCE(profile_id, 0) != :profile ORDER BY name"
)


def progress(connection: Connection, profile_id: int) -> Progress:
    """How far the build under a profile is. Looks at every document."""
    values = {"profile": profile_id}
    row = connection.execute(_WANTED, values).one()
    scans = connection.execute(_SCANS, values).all()
    return Progress(
        **row._mapping,
        unread=int(connection.execute(_UNREAD, values).scalar_one()),
        unscanned_sources=tuple(scan.name for scan in scans if not scan.frozen),
        frozen_sources=tuple(scan.name for scan in scans if scan.frozen),
    )


# Purpose: is anything certainly missing yet? Asked at every turn: looks at no more rows than it must.
_SURELY_OPEN = text(
    "SELECT EXISTS (SELECT 1 FROM sources WHERE configured = 1 AND frozen_reason IS NULL"
    "  AND COALESCE(profile_id, 0) != :profile)"
    " OR EXISTS (SELECT 1 FROM versions WHERE state = 'waiting' AND state IN ('waiting', 'ready') AND open_chunks > 0"
    "  AND profile_id = :profile)"
)


def surely_open(connection: Connection, profile_id: int) -> bool:
    """Whether a quick look shows that the build is not complete."""
    return bool(connection.execute(_SURELY_OPEN, {"profile": profile_id}).scalar_one())


# Purpose: the paths of documents that would be left out, to look at.
_UNREAD_PATHS = text(
    f"SELECT DISTINCT s.name || ':' || {PATH} FROM versions v"
    " JOIN documents d ON d.id = v.document_id JOIN folders f ON f.id = d.folder_id"
    " JOIN sources s ON s.id = d.source_id"
    f" WHERE {_SHOWN} AND v.profile_id != :profile"
    " AND NOT EXISTS (SELECT 1 FROM versions n WHERE n.document_id = v.document_id"
    "  AND n.state IN ('waiting', 'ready') AND n.profile_id = :profile) ORDER BY 1 LIMIT :most"
)


def unread_paths(connection: Connection, profile_id: int, most: int) -> list[str]:
    """The first of the documents that the table shows and that could not be read under the target."""
    return list(connection.execute(_UNREAD_PATHS, {"profile": profile_id, "most": most}).scalars())


@dataclass(frozen=True)
class Spent:
    """Tokens and USD of batches under a profile since a time: paid, and at stake. USD is None without a price."""

    settled_tokens: int
    settled_usd: float | None
    reserved_tokens: int
    reserved_usd: float | None


# Purpose: what batches under a profile have cost since a time.
_SPENT = text(
    f"SELECT COALESCE(SUM(CASE WHEN p.kind IN {BILLED} THEN p.tokens ELSE 0 END), 0),"
    f" SUM(CASE WHEN p.kind IN {BILLED} THEN p.usd END),"
    " COALESCE(SUM(CASE p.kind WHEN 'reserved' THEN p.tokens WHEN 'released' THEN -p.tokens ELSE 0 END), 0),"
    " SUM(CASE p.kind WHEN 'reserved' THEN p.usd WHEN 'released' THEN -p.usd END),"
    " COUNT(*) FILTER (WHERE p.usd IS NULL)"
    " FROM batches b JOIN spend p ON p.batch_id = b.id WHERE b.profile_id = :profile AND b.created_at >= :since"
)


def spent(connection: Connection, profile_id: int, since: int) -> Spent:
    """What a build has cost so far."""
    row = connection.execute(_SPENT, {"profile": profile_id, "since": since}).one()
    settled, settled_usd, reserved, reserved_usd, unpriced = row
    if unpriced:
        settled_usd = reserved_usd = None
    else:
        settled_usd, reserved_usd = settled_usd or 0.0, max(0.0, reserved_usd or 0.0)
    return Spent(int(settled), settled_usd, max(0, int(reserved)), reserved_usd)


_UNDER = select(func.coalesce(func.sum(embeddings.c.tokens), 0)).where(
    embeddings.c.profile_id
    == select(profiles.c.id).where(profiles.c.fingerprint == bindparam("fingerprint")).scalar_subquery()
)


def live_tokens(connection: Connection, fingerprint: str) -> int:
    """Tokens of all live texts, embedded under a profile; rather too many, since it reads no file."""
    of_chunks = connection.execute(select(func.coalesce(func.sum(chunks.c.tokens), 0))).scalar_one()
    ever = _UNDER.where(~is_in(embeddings, states.Embedding.DROPPED))
    return int(min(of_chunks, connection.execute(ever, {"fingerprint": fingerprint}).scalar_one()))


def held_tokens(connection: Connection, fingerprint: str) -> int:
    """Tokens whose vectors are in segments under a profile, needed or not."""
    held = _UNDER.where(is_in(embeddings, states.Embedding.HELD))
    return int(connection.execute(held, {"fingerprint": fingerprint}).scalar_one())


# --- beginning and giving up ---

# Purpose: have every file read again, whatever its stat says, and know which sources have been through it.
_READ_ALL = text("UPDATE documents SET mtime_ns = -1")
_UNSCANNED = text("UPDATE sources SET profile_id = NULL")
# Purpose: have those files read again whose present content is not what the table shows. What each version was made by
# is compared by the next scan, document by document.
_READ_CHANGED = text(
    "UPDATE documents SET mtime_ns = -1 WHERE NOT EXISTS (SELECT 1 FROM versions v WHERE v.document_id = documents.id"
    " AND v.state = 'published' AND v.doubtful = 0 AND v.content_hash = documents.content_hash)"
)
_UNCOMPARED = text("UPDATE sources SET splitter_fingerprint = NULL")
_READ_RECORDS = text("UPDATE record_files SET mtime_ns = -1, made_by = NULL")
_SCAN_NOW = text("UPDATE sources SET scan_due_at = 0")


def read_again(tx: Tx, *, everything: bool) -> None:
    """Scan all sources soon, and read every file, or only those that are not shown as they are."""
    if everything:
        tx.connection.execute(_UNSCANNED)
    tx.connection.execute(_READ_ALL if everything else _READ_CHANGED)
    tx.connection.execute(_UNCOMPARED)
    tx.connection.execute(_READ_RECORDS)
    tx.connection.execute(_SCAN_NOW)


def give_up_waiting(tx: Tx, cause: str, *, but: int | None) -> int:
    """Supersede every version that waits, except those under the profile `but`. Returns how many."""
    where = version_table.c.id > 0 if but is None else version_table.c.profile_id != but
    given_up = versions.supersede_where(tx, where, cause)
    _let_go_of_chunks(tx)
    embedding_rows.drop_unneeded(tx)
    return given_up


# Purpose: the chunks and texts of versions that nobody wants any more.
_LET_GO = (
    text(
        "DELETE FROM chunks WHERE version_id IN (SELECT id FROM versions WHERE state IN ('retired', 'superseded'))"
    ),
    text(
        "DELETE FROM texts WHERE version_id IN (SELECT id FROM versions WHERE state IN ('retired', 'superseded'))"
    ),
)


def _let_go_of_chunks(tx: Tx) -> None:
    for statement in _LET_GO:
        tx.connection.execute(statement)


# --- the switch ---

# Purpose: note which publication is about to show everything that is ready under the target.
_TAKE_UP = text(
    "UPDATE versions SET publication_id = :publication WHERE state = 'ready' AND state IN ('waiting', 'ready')"
    " AND profile_id = :profile"
)
# Purpose: the switch did not reach the table: no doubt is left about what it shows.
_BREAK_OFF = text(
    "UPDATE versions SET publication_id = NULL WHERE state IN ('waiting', 'ready') AND profile_id = :profile"
)


def take_up(tx: Tx, value: Build, profile_id: int) -> None:
    """Note, before the table is touched, which publication is about to switch it."""
    note_build(tx, value)
    tx.connection.execute(_TAKE_UP, {"publication": value.publication, "profile": profile_id})


def break_off(tx: Tx, value: Build, profile_id: int) -> None:
    """The switch that was begun did not reach the table."""
    note_build(tx, replace(value, publication=None, kept=None))
    tx.connection.execute(_BREAK_OFF, {"profile": profile_id})


def switch(tx: Tx, target: Profile, profile_id: int, cause: str) -> None:
    """From now on the table has the vectors of `target`; everything under another profile is over."""
    others = version_table.c.profile_id != profile_id
    published, retired = states.Version.PUBLISHED, states.Version.RETIRED
    moves.move_where(tx, version_table, others, published, retired, cause, retire=0)
    meta.put(tx, meta.PROFILE, target.to_json())
    forget_build(tx)
    give_up_waiting(tx, cause, but=profile_id)
