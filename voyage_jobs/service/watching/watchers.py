"""All watched sources of a daemon: which are watched and how, and what of it `status` should know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import orjson

from voyage_jobs.config.settings import Settings
from voyage_jobs.config.source_sections import SourceSettings
from voyage_jobs.core import lock
from voyage_jobs.core.clock import Clock
from voyage_jobs.service.schedule import Note, Notes
from voyage_jobs.service.watching.file_events import OpenFileEvents, open_file_events
from voyage_jobs.service.watching.silence import Silence
from voyage_jobs.service.watching.watcher import Watched, Watcher

HINT = "hint"  # the note that a source has changed and come to rest
LOOK = "look"  # the note that there is news for `status`


class Watching(Protocol):
    """What the daemon needs of it."""

    def arm(self, settings: Settings) -> None:
        """Watch the sources of these settings, and no others."""

    def scan_begins(self, source: str) -> None:
        """A scan of any kind begins."""

    def scan_found(self, source: str, changed: int) -> None:
        """A periodic scan has ended, and found this many new versions."""

    def report(self) -> str | None:
        """How it goes, as `status` reads it; None if nothing is new since the last call."""

    def close(self) -> None:
        """Watch nothing any more."""


class Watchers:
    """`Watching` with a thread for each source."""

    def __init__(
        self, notes: Notes, clock: Clock, log: Any, *, opening: OpenFileEvents = open_file_events
    ) -> None:
        self._notes, self._clock, self._log = notes, clock, log
        self._opening = opening
        self._running: dict[str, Watcher] = {}
        self._how: dict[str, tuple[object, ...]] = {}
        self._silence = Silence()
        self._told: dict[str, str | None] = {}
        self._reported: str | None = None

    def arm(self, settings: Settings) -> None:
        """Watchers whose settings are as they were go on."""
        wanted = {source.name: how_to_watch(source, settings) for source in settings.sources}
        for name in [name for name in self._running if wanted.get(name) != self._how[name]]:
            self._drop(name)
        for source in settings.sources:
            how = wanted[source.name]
            if how is not None and source.name not in self._running:
                self._begin(source, how)

    def _begin(self, source: SourceSettings, how: tuple[object, ...]) -> None:
        settle_s, poll_s, *_ = how
        watcher = Watcher(
            source,
            self._clock,
            settle_s=float(settle_s),  # type: ignore[arg-type]
            poll_s=poll_s,  # type: ignore[arg-type]
            hint=lambda name: self._notes.leave(Note(HINT, name)),
            told=lambda: self._notes.leave(Note(LOOK)),
            opening=self._opening,
        )
        self._running[source.name], self._how[source.name] = watcher, how
        watcher.start()

    def _drop(self, name: str) -> None:
        watcher = self._running.pop(name)
        watcher.stop()
        del self._how[name]
        self._silence.forget(name)
        self._told.pop(name, None)

    def close(self) -> None:
        """Ask all of them to end, then wait for each."""
        watchers = list(self._running.values())
        for watcher in watchers:
            watcher.stop()
        for watcher in watchers:
            watcher.join()
        self._running.clear()

    # --- silence ---

    def scan_begins(self, source: str) -> None:
        """Remember what was heard so far."""
        watched = self._listening(source)
        if watched is None:
            self._silence.forget(source)
        else:
            self._silence.scan_begins(source, watched.setups, watched.heard)

    def scan_found(self, source: str, changed: int) -> None:
        """Compare it with what was heard."""
        if self._listening(source) is not None:
            self._silence.scan_found(source, changed, self._clock.mono())

    def _listening(self, source: str) -> Watched | None:
        """The watch of a source if it is by events, works, and covers every folder.

        Polling reads what a scan reads, so it cannot be deaf.
        """
        watcher = self._running.get(source)
        watched = watcher.watched if watcher is not None else None
        if watched is None or watched.mode != "events" or watched.code or watched.left_out:
            return None
        return watched

    # --- what status should know ---

    def report(self) -> str | None:
        """As JSON: by source `mode`, `folders`, `left_out`, `code` and `message`. What changed is logged."""
        found = {name: self._state(name, watcher) for name, watcher in sorted(self._running.items())}
        for name, state in found.items():
            self._log_change(name, state)
        body = orjson.dumps(found).decode()
        if body == self._reported:
            return None
        self._reported = body
        return body

    def _state(self, name: str, watcher: Watcher) -> dict[str, object]:
        watched = watcher.watched
        code, message = watched.code, watched.message
        if not watcher.is_alive() and code is None:
            code, message = "watch_failed", "the watching thread has ended"
        elif self._listening(name) is not None:
            if self._silence.look(name, watched.setups, watched.heard, self._clock.mono()):
                watcher.set_up_anew()
            if name in self._silence.silent:
                code = "watch_silent"
        return {
            "mode": watched.mode,
            "folders": watched.folders,
            "left_out": watched.left_out,
            "code": code,
            "message": message,
        }

    def _log_change(self, name: str, state: Mapping[str, object]) -> None:
        code = state["code"]
        if code == "watch_starting" or (name in self._told and self._told[name] == code):
            return
        self._told[name] = None if code is None else str(code)
        if code is None:
            self._log.info(
                "watch.started",
                source=name,
                mode=state["mode"],
                folders=state["folders"],
                left_out=state["left_out"],
            )
        elif code == "watch_waiting":
            self._log.info("watch.waiting", source=name, why=state["message"])
        else:
            self._log.warning("watch.off", source=name, code=code, why=state["message"])


def how_to_watch(source: SourceSettings, settings: Settings) -> tuple[object, ...] | None:
    """(settle_s, poll_s or None, what else makes another watch); None: not at all.

    On a network file system the kernel only hears of this machine's changes, so that one is looked at again and again.
    """
    if source.watch is False:
        return None
    watch = settings.watch
    polled = source.watch == "poll" or lock.is_network(lock.file_system_of(source.path))
    poll_s = watch.poll_interval_s if polled else None
    return (watch.settle_s, poll_s, source)


MakeWatching = Callable[[Notes, Clock, Any], Watching]
"""How the daemon comes by it; tests bring their own."""
