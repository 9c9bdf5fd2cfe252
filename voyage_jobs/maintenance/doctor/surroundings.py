"""Disk, sources, watches."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from voyage_jobs.config.settings import Settings
from voyage_jobs.config.source_sections import SourceSettings
from voyage_jobs.core.durable import free_bytes
from voyage_jobs.core.plural import room
from voyage_jobs.diagnosis.source_conditions import when_frozen
from voyage_jobs.errors import DiskFullError, StateError
from voyage_jobs.maintenance.doctor.check import Check, bad, good, note
from voyage_jobs.sources import names
from voyage_jobs.sources.commits import CommitsUnknownError, commits
from voyage_jobs.sources.source import RootMissing
from voyage_jobs.state import sources
from voyage_jobs.state.door import open_state
from voyage_jobs.state.sources import SourceRow
from voyage_jobs.steps import disk
from voyage_jobs.steps.reading import source_of

_WATCHES = Path("/proc/sys/fs/inotify/max_user_watches")


def check_surroundings(settings: Settings) -> Iterator[Check]:
    """What must be around the data folder."""
    yield _disk(settings)
    rows = _known(settings)
    for source in settings.sources:
        yield _source(source, rows.get(source.name))
    yield from _watches()


def _disk(settings: Settings) -> Check:
    folder = next(path for path in (settings.data_dir, *settings.data_dir.parents) if path.exists())
    free, needed = free_bytes(folder), settings.disk.min_free_bytes + disk.of_batch(settings)
    why = f"{room(free)} are free under {folder}"
    if free >= needed:
        return good("disk", why)
    return bad("disk", f"{why}; {room(needed)} are needed before more is sent", f"{disk.MORE_ROOM}.")


def _known(settings: Settings) -> dict[str, SourceRow]:
    if not open_state(settings).exists():
        return {}
    try:
        with open_state(settings).read() as connection:
            return {row.name: row for row in sources.all_sources(connection)}
    except (StateError, DiskFullError):
        return {}


def _source(source: SourceSettings, row: SourceRow | None) -> Check:
    """There, readable, the same folder as before, and not frozen."""
    name = f"source {source.name}"
    try:
        identity = source_of(source).identity()
        with os.scandir(source.path) as entries:
            empty = next(entries, None) is None
    except RootMissing as exc:
        return bad(name, exc.message, "Mount it, or correct its path; until then nothing of it is deleted.")
    except OSError as exc:
        return bad(name, f"{source.path} cannot be listed: {exc.strerror}", "Give this user access to it.")
    if row is not None and row.frozen_reason is not None:
        return bad(name, f"frozen: {names.display(row.frozen_reason)}", when_frozen(row), exit_code=6)
    if row is not None and row.device is not None and row.device != identity.device:
        why = f"{source.path} is on another device than at the last scan"
        return note(name, why, "Is something not mounted? Nothing is deleted in doubt.")
    if empty:
        return note(name, f"{source.path} is empty", "Is something not mounted?")
    if source.dates == "git" and (why := _no_commits(source)):
        return note(
            name, f"its dates are not to be had from git: {why}", "Until then they are those of the files."
        )
    return good(name, names.display(names.encode(os.fsencode(source.path))))


def _no_commits(source: SourceSettings) -> str:
    try:
        commits(bytes(source.path))
    except CommitsUnknownError as exc:
        return str(exc)
    return ""


def _watches() -> Iterator[Check]:
    """For information: folders are scanned at intervals, and no watch is needed for that."""
    try:
        limit = int(_WATCHES.read_text())
    except (OSError, ValueError):
        return
    yield note("watches", f"the system allows {limit:,} inotify watches for this user; scans need none")
