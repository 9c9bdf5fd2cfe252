"""Waiting for the daemon while the audience watches: its log line by line, and where the provider's job is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from voyage_jobs.core.clock import Clock
from voyage_jobs.demo.narrator import DemoError, Narrator
from voyage_jobs.demo.stage import Stage
from voyage_jobs.report.status import status

Report = dict[str, Any]

_LONGEST_S = 180.0
_LOOK_S = 0.05
_REF_SHOWN = 10
_SENTENCES = ("cause", "error", "message")
_ONLY_WITHOUT_TERMINAL = ("batch.progress",)
# What is shown of a log entry; entries that are not named here would bore.
_SHOWN: dict[str, tuple[str, ...]] = {
    "daemon.started": ("epoch", "profile"),
    "scan.recorded": ("versions", "chunks", "new", "reused"),
    "batch.assembled": ("ref", "inputs"),
    "batch.uploaded": ("ref", "bytes"),
    "create.unknown": ("error",),
    "batch.submitted": ("ref", "cause", "inputs"),
    "batch.progress": ("remote_status", "completed"),
    "batch.ended": ("remote_status", "completed", "failed"),
    "batch.collected": ("held", "tokens"),
    "documents.published": ("documents", "rows", "table_version"),
    "daemon.stopped": ("message",),
}


class Watch:
    """Follows the daemon's log from where the last wait left it."""

    def __init__(self, stage: Stage, narrator: Narrator, clock: Clock) -> None:
        self._stage = stage
        self._narrator = narrator
        self._clock = clock
        self._read_to = 0

    def until(self, done: Callable[[], bool], what: str) -> None:
        """Wait until `done`. Raises `DemoError` if the daemon ends or too much time passes."""
        daemon, began = self._stage.daemon, self._clock.mono()
        while True:
            self.show_log()
            if done():
                self.show_log()
                self._narrator.end_wait()
                return
            if daemon is None or daemon.poll() is not None:
                raise DemoError(f"The daemon has ended while one waited for this: {what}.")
            passed_s = self._clock.mono() - began
            if passed_s > _LONGEST_S:
                raise DemoError(f"It took more than {_LONGEST_S:.0f} s: {what}.")
            self._narrator.wait(f"{what}{self._vendor_word()}, {passed_s:.0f} s")
            self._clock.wait(_LOOK_S)

    def report(self) -> Report:
        """What `status --json` says."""
        return status(self._stage.settings, self._clock)

    def show_log(self) -> None:
        """Quote what has been logged since the last time."""
        for event in self._new_events():
            text = _told(event)
            if text and (event["event"] not in _ONLY_WITHOUT_TERMINAL or not self._narrator.on_terminal):
                self._narrator.quote(text)

    def _new_events(self) -> Iterator[dict[str, Any]]:
        if not self._stage.log.exists():
            return
        with open(self._stage.log, "rb") as log:
            log.seek(self._read_to)
            for line in log:
                if not line.endswith(b"\n"):
                    break
                self._read_to += len(line)
                try:
                    event = json.loads(line)
                except ValueError:
                    continue
                if isinstance(event, dict) and "event" in event:
                    yield event

    def _vendor_word(self) -> str:
        jobs = self._stage.vendor.jobs()
        if not jobs:
            return ""
        job = max(jobs, key=lambda job: str(job["created_at"]))
        counts = job["request_counts"]
        return f"; at the provider: {job['status']}, {counts['completed']} of {counts['total']} lines"


def _told(event: dict[str, Any]) -> str | None:
    """A log entry in one short line; None for what is left out."""
    name = event["event"]
    if name not in _SHOWN:
        return None
    fields = {key: event[key] for key in _SHOWN[name] if event.get(key) not in (0, None)}
    if "ref" in fields:
        fields["ref"] = str(fields["ref"])[:_REF_SHOWN]
    sentences = [str(fields.pop(key)) for key in _SENTENCES if key in fields]
    details = [f"{key} {value}" for key, value in fields.items()]
    return f"{event['time'][11:19]} {name:<16} {', '.join([*details, *sentences])}"
