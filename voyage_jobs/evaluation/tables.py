"""Which table a run asks: this one as it is, an older version, the one before the last switch, one that is being built
for another profile, or that of another configuration.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from voyage_jobs.config.load import load_settings
from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import Clock, now_us
from voyage_jobs.core.profile import Profile
from voyage_jobs.errors import ConfigError
from voyage_jobs.evaluation.kept import Progress
from voyage_jobs.segments.store import SegmentStore
from voyage_jobs.state import plan_state, previous_table, rebuild
from voyage_jobs.state.door import Reader, open_state
from voyage_jobs.state.throwaway import folder_for_copies
from voyage_jobs.steps.rows import RowMaker, ready_versions
from voyage_jobs.table import PublishedTable, Upkeep
from voyage_jobs.table.view import View, view_of

NEW, PREVIOUS = "new", "previous"


@dataclass(frozen=True)
class Table:
    """One version of a table, and the settings under which it is searched. `notes` say what it lacks."""

    settings: Settings
    view: View
    notes: tuple[str, ...] = ()


class Tables:
    """Opens each table once. A context manager: what was made for the time being goes with it."""

    def __init__(self, settings: Settings, clock: Clock, progress: Progress) -> None:
        self._settings, self._clock, self._progress = settings, clock, progress
        self._stack = ExitStack()
        self._known: dict[str, Table] = {}

    def __enter__(self) -> Tables:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def at(self, where: str) -> Table:
        """The table as it is now (empty), a version's number, `new`, `previous`, or a configuration's file.

        Raises ConfigError where there is no such table, CorruptionError, StateError.
        """
        if where not in self._known:
            self._known[where] = self._opened(where)
        return self._known[where]

    def _opened(self, where: str) -> Table:
        if where == NEW:
            return self._stack.enter_context(new_table(self._settings, self._clock, self._progress))
        if where == PREVIOUS:
            return _of(self._settings, _version_before_the_switch(self._settings))
        if not where or where.isdecimal():
            return _of(self._settings, int(where) if where else None)
        if not os.path.isfile(where):
            raise ConfigError(
                f"{where!r} is no table: neither {NEW}, {PREVIOUS}, a version's number nor a configuration's file."
            )
        return _of(load_settings(Path(where), os.environ), None)


def _of(settings: Settings, version: int | None) -> Table:
    return Table(settings, view_of(settings.lancedb.uri, settings.lancedb.table, version))


def _version_before_the_switch(settings: Settings) -> int:
    with open_state(settings).read() as connection:
        previous = previous_table.previous(connection)
    if previous is None:
        raise ConfigError(
            "No previous table is kept.",
            hint="`voyage-jobs reprofile --status` shows what is kept.",
        )
    return previous.table_version


@dataclass(frozen=True)
class _Making:
    """What rows are made of: see `steps.rows.Making`."""

    store: Reader
    segments: SegmentStore
    profile: Profile
    progress: Callable[[str, int, int | None], None]


@contextmanager
def new_table(settings: Settings, clock: Clock, progress: Progress) -> Iterator[Table]:
    """The table that a switch would show now, out of stored vectors, in a folder that goes afterwards.

    Nothing is sent, and the state is only read. Raises ConfigError where no table is being built, or nothing of it is
    there yet.
    """
    state = open_state(settings)
    with state.read() as connection:
        build = rebuild.build(connection)
        if build is None:
            raise ConfigError(
                "No table is being built for another profile.",
                hint="Change the configuration; `voyage-jobs reprofile --hold` builds one, and waits with the switch.",
            )
        profile_id = plan_state.profile_row(connection, build.target.fingerprint) or 0
        found = rebuild.progress(connection, profile_id)
    if not found.ready:
        raise ConfigError(
            f"Nothing of the table for {build.target.told} is there yet.",
            hint="`voyage-jobs sync` builds it; `voyage-jobs reprofile --status` shows how far it is.",
        )
    making = _Making(state, SegmentStore(settings.paths.vectors), build.target, progress)
    rows = RowMaker(making, ready_versions(state, profile_id), now_us(clock))
    with tempfile.TemporaryDirectory(prefix="voyage-jobs-eval-", dir=folder_for_copies()) as folder:
        empty = PublishedTable.open(folder, settings.lancedb.table, build.target, create=True)
        empty.remake(build.target, rows.batches())
        made = PublishedTable.open(folder, settings.lancedb.table, build.target)
        made.tend(Upkeep(language=settings.search.language))
        lacking = () if found.complete(leave_out=False) else (_lacking(found),)
        yield Table(settings, view_of(folder, settings.lancedb.table), lacking)


def _lacking(found: rebuild.Progress) -> str:
    return (
        f"The new table is not complete: {found.ready:,} of {found.documents + found.unread:,} documents are in it,"
        f" and {found.open_chunks + found.failed_chunks:,} chunks have no vector."
    )
