"""Watching one source, in a thread of its own that only leaves notes: the state belongs to the main loop.

The order that leaves no gap: the folders are listed, then watched, then scanned. What changes after the watch was set
up is heard; what changed before it is found by the scan. When folders come or go, a new eye is opened before the old
one closes, and the scan follows. Nothing here is relied upon: whatever is missed, the next periodic scan finds.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from voyage_jobs.config.source_sections import SourceSettings
from voyage_jobs.core.clock import Clock
from voyage_jobs.core.retry import POLICIES
from voyage_jobs.service.watching.file_events import (
    FileEvents,
    OpenFileEvents,
    WatchError,
    WatchLimitError,
    open_file_events,
)
from voyage_jobs.service.watching.news import judge
from voyage_jobs.service.watching.settling import Settling
from voyage_jobs.sources import names
from voyage_jobs.sources.source import RootMissing
from voyage_jobs.steps.reading import source_of

LONGEST_SETTLE_S = 30.0
CHECK_S = 10.0  # whether the folder is still the one that is watched: a mount may have come over it
RETRY_S = POLICIES["watch"].first_s
_TRIES = 5  # a folder may vanish between being listed and being watched


@dataclass(frozen=True)
class Watched:
    """How the watching of a source goes. `mode` is events or poll; `code` is None while it works.

    `left_out` folders have names that are no text and cannot be watched. `setups` counts how often the watch was set
    up, `heard` how often something was heard that is worth a scan.
    """

    mode: str
    code: str | None = None
    message: str = ""
    folders: int = 0
    left_out: int = 0
    setups: int = 0
    heard: int = 0


class _Elsewhere(Exception):  # noqa: N818 - not a fault
    """The root is another folder now, or nothing was heard where something should have been: set up again."""


class Watcher:
    """Calls `hint` (from its own thread) when the source has changed and come to rest, `told` when its state
    changed.
    """

    def __init__(
        self,
        source: SourceSettings,
        clock: Clock,
        *,
        settle_s: float,
        poll_s: float | None,
        hint: Callable[[str], None],
        told: Callable[[], None],
        opening: OpenFileEvents = open_file_events,
        retry_s: float = RETRY_S,
    ) -> None:
        self.source = source
        self.watched = Watched("events" if poll_s is None else "poll", "watch_starting")
        self._clock = clock
        self._settle_s = settle_s
        self._settling = Settling(settle_s, LONGEST_SETTLE_S)
        self._folders_changed = False
        self._poll_s = poll_s
        self._hint, self._told = hint, told
        self._opening = opening
        self._retry_s = retry_s
        self._stopping = threading.Event()
        self._renew = threading.Event()
        self._names: frozenset[str] = frozenset()
        self._documents = source_of(source)
        self._thread = threading.Thread(target=self._run, name=f"watch {source.name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end; `join` waits for that."""
        self._stopping.set()

    def join(self) -> None:
        """Wait until the thread has ended: at most for the library's step."""
        if self._thread.is_alive():
            self._thread.join(5.0)

    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def set_up_anew(self) -> None:
        """Somebody has reason to believe that it hears nothing."""
        self._renew.set()

    # --- in the thread ---

    def _run(self) -> None:
        while not self._stopping.is_set():
            wait_s = self._retry_s
            try:
                self._watch()
            except _Elsewhere:
                wait_s = 0.0
            except RootMissing as exc:
                if self.watched.code is None:
                    self._ripe()  # it was there: the scan freezes the source, and an operator hears of it now
                self._say("watch_waiting", exc.message)
                wait_s = min(CHECK_S, self._retry_s)
            except WatchLimitError as exc:
                self._say("watch_limit", exc.message)
            except Exception as exc:  # noqa: BLE001 - whatever it is, the periodic scans go on and status tells
                self._say("watch_failed", f"{type(exc).__name__}: {exc}")
            if wait_s:
                self._stopping.wait(wait_s)

    def _watch(self) -> None:
        """Set up and listen until something ends it."""
        identity, is_first = self._documents.identity(), self.watched.code == "watch_starting"
        events = self._open()
        try:
            if not is_first:
                self._ripe()  # nobody knows what changed while nothing was watched
            checked = self._clock.mono()
            while not self._stopping.is_set():
                if not self._listen(events):
                    events = self._instead_of(events)
                now = self._clock.mono()
                if self._settling.take(now):
                    if self._folders_changed:
                        events = self._instead_of(events)
                    self._ripe()
                if self._renew.is_set():
                    self._renew.clear()
                    raise _Elsewhere
                if now - checked >= CHECK_S:
                    checked = now
                    if self._documents.identity() != identity:
                        raise _Elsewhere
        finally:
            events.close()

    def _listen(self, events: FileEvents) -> bool:
        """Look for a while and note what is heard; False if this eye has seen a name that blinds it."""
        left_s = self._settling.left_s(self._clock.mono())
        changes = events.look(CHECK_S if left_s is None else left_s, self._stopping)
        if changes is None:
            self._heard()
            self._stopping.wait(self._settle_s)  # whoever writes under such a name may do so all day
            return False
        news = judge(changes, os.fspath(self.source.path), self._documents, self._names)
        self._folders_changed |= news.folders
        if news.worth_a_scan:
            self._heard()
        return True

    def _heard(self) -> None:
        self._settling.heard(self._clock.mono())
        self.watched = replace(self.watched, heard=self.watched.heard + 1)

    def _instead_of(self, events: FileEvents) -> FileEvents:
        """A new eye on the folders that there are now; the old one looks until it is open."""
        fresh = self._open()
        events.close()
        return fresh

    def _open(self) -> FileEvents:
        """List the folders and watch them."""
        for _ in range(_TRIES):
            self._folders_changed = False
            self._documents = source_of(self.source)  # another .gitignore may have come
            found, left_out = self._folders()
            with contextlib.suppress(FileNotFoundError):
                events = self._opening(found, self._poll_s)
                self._names = frozenset(found)
                setups = self.watched.setups + 1
                heard = self.watched.heard
                self.watched = Watched(
                    self.watched.mode, None, "", len(found), left_out, setups=setups, heard=heard
                )
                self._told()
                return events
        raise WatchError("folders vanish faster than they can be watched")

    def _folders(self) -> tuple[list[str], int]:
        found, left_out = [], 0
        for path in self._documents.to_watch():
            try:
                found.append(path.decode())
            except UnicodeDecodeError:
                left_out += 1
        return found, left_out

    def _ripe(self) -> None:
        self._hint(self.source.name)

    def _say(self, code: str, message: str) -> None:
        self.watched = replace(self.watched, code=code, message=names.display(message), folders=0)
        self._told()
