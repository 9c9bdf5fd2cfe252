"""Sources: what is configured, what is frozen, when each is to be scanned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from sqlalchemy import Connection, insert, select, text, update

from voyage_jobs.core import states
from voyage_jobs.core.profile import Profile
from voyage_jobs.state import letting_go, moves
from voyage_jobs.state.schema import profiles, sources
from voyage_jobs.state.statements import Prepared, new_id
from voyage_jobs.state.store import Tx


@dataclass(frozen=True)
class SourceRow:
    """One source as the state knows it. `frozen_reason` is None unless frozen."""

    id: int
    name: str
    path: str
    state: str
    frozen_reason: str | None
    configured: bool
    device: int | None
    inode: int | None
    rules_fingerprint: str | None
    splitter_fingerprint: str | None
    profile_id: int | None
    scanned_at: int | None
    scan_due_at: int
    confirmed_at: int | None
    defaults: int = 0
    """Which of the settings' defaults hold where nothing is set: those of the release that it began with."""


DEFAULTS = 1
"""Those of a source that is new: 0 took what .gitignore and the default excludes leave out."""
NOT_CONFIGURED = "it is no longer in the configuration"
ANOTHER_FOLDER = "its path was changed, and they are not in that folder"
NOT_WANTED = "not wanted by its patterns any more"


_COLUMNS = [field.name for field in fields(SourceRow)]
_ALL = Prepared(select(*(sources.c[name] for name in _COLUMNS)).order_by(sources.c.name))


def all_sources(connection: Connection) -> list[SourceRow]:
    """Every source that was ever configured, by name."""
    rows = (dict(zip(_COLUMNS, row, strict=True)) for row in _ALL.rows(connection))
    return [SourceRow(**{**row, "configured": bool(row["configured"])}) for row in rows]


# Purpose: which sources the table shows something of.
_SHOWN = Prepared(select(sources.c.id).where(sources.c.published > 0))


def shown_names(connection: Connection) -> list[str]:
    """Those of which the table shows something, also where they have left the configuration."""
    shown = {id_ for (id_,) in _SHOWN.rows(connection)}
    return [row.name for row in all_sources(connection) if row.id in shown]


def with_what_they_may_lose(connection: Connection) -> list[SourceRow]:
    """The same; one that has left the configuration, and of which the table shows nothing, is not frozen any more."""
    shown = {id_ for (id_,) in _SHOWN.rows(connection)}
    return [
        row if row.configured or row.id in shown else replace(row, frozen_reason=None)
        for row in all_sources(connection)
    ]


def by_name(connection: Connection, name: str) -> SourceRow | None:
    """One source, or None."""
    return next((row for row in all_sources(connection) if row.name == name), None)


def configure(tx: Tx, wanted: Sequence[tuple[str, str]]) -> None:
    """Make the rows agree with the configuration: (name, encoded path) pairs.

    A source that left the configuration is frozen, not emptied. One whose path was changed by its owner forgets the
    identity of its old root. What either had to send and never showed is let go of: it is not wanted any more, or the
    next scan finds it in the new place. Every configured source is due for a scan.
    """
    known = {row.name: row for row in all_sources(tx.connection)}
    for name, path in wanted:
        row = known.pop(name, None)
        if row is None:
            values: dict[str, Any] = {
                "name": name,
                "path": path,
                "state": str(states.Source.ACTIVE),
                "configured": 1,
            }
            values["defaults"] = DEFAULTS
            row_id = new_id(tx.connection, insert(sources).values(values))
            moves.record(tx, "source", row_id, None, states.Source.ACTIVE, "configured")
            continue
        values = {"configured": 1, "scan_due_at": 0}
        if row.path != path:
            values |= {"path": path, "device": None, "inode": None}
            letting_go.of_source(tx, row.id, "the path of its source was changed")
        tx.connection.execute(update(sources).where(sources.c.id == row.id).values(values))
        if row.frozen_reason == NOT_CONFIGURED:
            thaw(tx, row.id, "configured again")
    for row in known.values():
        tx.connection.execute(update(sources).where(sources.c.id == row.id).values(configured=0))
        if row.state == states.Source.ACTIVE:
            freeze(tx, row.id, NOT_CONFIGURED)
        if wanted:  # settings without any, as those of the jobs of `eval`, take nothing away
            letting_go.of_source(tx, row.id, "its source is no longer in the configuration")


def freeze(tx: Tx, source_id: int, reason: str) -> None:
    """Stop deleting anything of this source. Freezing a frozen source renews the reason."""
    row = tx.connection.execute(select(sources.c.state).where(sources.c.id == source_id)).scalar_one()
    if row == states.Source.FROZEN:
        tx.connection.execute(update(sources).where(sources.c.id == source_id).values(frozen_reason=reason))
        return
    moves.move(
        tx, sources, source_id, states.Source.ACTIVE, states.Source.FROZEN, reason, frozen_reason=reason
    )


def thaw(tx: Tx, source_id: int, cause: str) -> None:
    """Let the source be scanned and lose documents again."""
    moves.move(tx, sources, source_id, states.Source.FROZEN, states.Source.ACTIVE, cause, frozen_reason=None)


def note(tx: Tx, source_id: int, **values: object) -> None:
    """Set columns that are not states (identity of the root, fingerprints, due times)."""
    tx.connection.execute(update(sources).where(sources.c.id == source_id).values(**values))


def due_no_later(tx: Tx, latest: int) -> None:
    """Let no scan wait beyond a time (after the clock was set back)."""
    tx.connection.execute(update(sources).where(sources.c.scan_due_at > latest).values(scan_due_at=latest))


def scan_soon(tx: Tx, name: str) -> None:
    """Have a source scanned at the next opportunity."""
    tx.connection.execute(update(sources).where(sources.c.name == name).values(scan_due_at=0))


def profile_id(tx: Tx, profile: Profile) -> int:
    """The row of a profile, made at its first use."""
    return _profile_row(tx, profile.fingerprint, profile.to_json())


# Purpose: one row per profile that was ever used.
_PROFILE = text(
    "INSERT INTO profiles (fingerprint, body) VALUES (:fingerprint, :body)"
    " ON CONFLICT (fingerprint) DO UPDATE SET body = excluded.body RETURNING id"
)


def _profile_row(tx: Tx, fingerprint: str, body: str) -> int:
    return int(tx.connection.execute(_PROFILE, {"fingerprint": fingerprint, "body": body}).scalar_one())


def load_profile(connection: Connection, row_id: int) -> Profile:
    """The profile of a row."""
    body = connection.execute(select(profiles.c.body).where(profiles.c.id == row_id)).scalar_one()
    return Profile.from_json(body)


def known_profiles(connection: Connection) -> dict[int, Profile]:
    """Every profile that was ever used here, by its row."""
    rows = connection.execute(select(profiles.c.id, profiles.c.body))
    return {row_id: Profile.from_json(body) for row_id, body in rows}
