"""All audits, one after the other, and the report they come to."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voyage_jobs.config.profile import profile_of
from voyage_jobs.config.provider import connect
from voyage_jobs.config.settings import Settings
from voyage_jobs.core import lock
from voyage_jobs.core.clock import Clock, iso, now_us
from voyage_jobs.core.profile import Profile
from voyage_jobs.errors import CorruptionError, StateDamagedError
from voyage_jobs.maintenance.audit.findings import LOOKED_AT, Findings
from voyage_jobs.maintenance.audit.folders import audit_folders
from voyage_jobs.maintenance.audit.segments import audit_segments
from voyage_jobs.maintenance.audit.state import audit_state
from voyage_jobs.maintenance.served import settings_in_force, settings_of_table
from voyage_jobs.segments import SegmentStore
from voyage_jobs.service import worker
from voyage_jobs.state import meta, publications, rebuild, setback
from voyage_jobs.state.door import Reader, open_state
from voyage_jobs.steps.context import Progress, no_progress
from voyage_jobs.table import TableDoor

if TYPE_CHECKING:
    import httpx

    from voyage_jobs.vendors.base import Client


@dataclass(frozen=True)
class Scope:
    """How far to look: `deep` reads every source file and table column, `remote` asks the provider."""

    deep: bool = False
    remote: bool = False


@dataclass(frozen=True)
class Audit:
    """What an audit works with. `client` is there only for a remote one."""

    settings: Settings
    clock: Clock
    store: Reader
    segments: SegmentStore
    table_door: TableDoor
    client: Client | None
    scope: Scope
    progress: Progress

    def run(self) -> Findings:
        """Compare everything with everything. Raises StateError if there is no state, VendorError."""
        found = Findings()
        with self.store.read() as connection:
            profile = rebuild.served(connection) or profile_of(self.settings)
            sound = audit_state(connection, found)
        if not sound:
            return found
        audit_folders(self.store, self.settings, found, self.progress, deep=self.scope.deep)
        bad_segments = audit_segments(self.store, self.segments, found, self.progress)
        if self._table_is_sound(found):
            self._indexes(found)
            self._rows(profile, found, bad_segments)
        if self.client is not None:
            from voyage_jobs.maintenance.audit.remote import audit_remote

            audit_remote(self.settings, self.clock, self.store, self.client, found, self.progress)
        return found

    def _table_is_sound(self, found: Findings) -> bool:
        """Whether there is a table that can be read, or none and none is needed."""
        with self.store.read() as connection:
            acknowledged = publications.last_table_version(connection)
            filled = meta.get(connection, meta.TABLE)
            ours = setback.own_ids(connection)
        place = self.table_door.place
        if not self.table_door.exists():
            if acknowledged is not None:
                found.add("table_missing", place)
            return acknowledged is None
        owner = self.table_door.owner()
        if owner and owner not in ours:
            found.add("table_of_another", place)
            return False
        if acknowledged is not None and filled not in (None, place):
            found.add("table_missing", f"{place}: what is published went to {filled}")
            return False
        health = self.table_door.check()
        if not health.ok:
            found.add(f"table_{health.reason}", " ".join(filter(None, (health.detail, health.hint))))
            return False
        if (health.version or 0) < (acknowledged or 0):
            found.add("table_behind", f"{place}: version {health.version} of {acknowledged}")
            return False
        return True

    def _indexes(self, found: Findings) -> None:
        if not self.table_door.exists():
            return
        table = self.table_door.open()
        faults = table.index_faults()
        for name, why in faults.items():
            found.add("index_damaged", f"{name}: {why}", name)
        indexes = table.indexes()
        for each in indexes:
            if each.outside and not each.inside and each.name not in faults:
                found.add("index_empty", f"{each.name}: {each.outside:,} rows outside", each.name)
        if indexes:
            found.looked_at("indexes", len(indexes))

    def _rows(self, profile: Profile, found: Findings, bad_segments: set[str]) -> None:
        from voyage_jobs.maintenance.audit.rows import audit_rows

        table = self.table_door.open() if self.table_door.exists() else None
        try:
            audit_rows(self.store, self.segments, table, profile, found, bad_segments, self.progress)
        except CorruptionError as exc:
            found.add("table_torn", exc.message)


def verify(
    settings: Settings,
    clock: Clock,
    scope: Scope,
    *,
    progress: Progress = no_progress,
    transport: httpx.BaseTransport | None = None,
    table_door: TableDoor | None = None,
) -> Findings:
    """Audit without the lock: nothing is written, and a process at work goes on working.

    Raises StateError if there is no state, VendorError if the provider was to be asked and does not answer.
    """
    state = open_state(settings)
    state.demand()
    door = table_door or worker.lance_door(settings_of_table(settings))
    with _client(settings_in_force(settings), clock, scope, transport) as client:
        segments = SegmentStore(settings.paths.vectors)
        try:
            return Audit(settings, clock, state, segments, door, client, scope, progress).run()
        except StateDamagedError as exc:  # so badly that SQLite cannot even look for what is wrong
            damaged = Findings()
            damaged.add("state_damaged", exc.message)
            return damaged


def _client(
    settings: Settings, clock: Clock, scope: Scope, transport: httpx.BaseTransport | None
) -> contextlib.AbstractContextManager[Client | None]:
    if not scope.remote:
        return contextlib.nullcontext()
    settings.api_key()  # none: say so before anything is read
    return connect(settings, clock, transport)


def report(
    found: Findings, clock: Clock, settings: Settings, scope: Scope, *, mended: list[dict[str, Any]] | None
) -> dict[str, Any]:
    """What `--json` prints. `mended` is None where nothing was to be repaired."""
    return {
        "as_of": iso(now_us(clock)),
        "clean": not found.total,
        "deep": scope.deep,
        "compared_by": "content" if scope.deep else "size, times and inode",
        "remote": scope.remote,
        "at_work": lock.holder(settings.paths.lock),
        "checked": dict.fromkeys(LOOKED_AT, 0) | found.checked,
        "findings": [finding.as_dict() for finding in found.all()],
        "mended": mended,
    }
