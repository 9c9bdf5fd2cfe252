"""What can be asked, as plain data. Dear answers are kept for a moment, so that many who look cost as much as one."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

from voyage_jobs.config.item_sources import names_of, with_item_sources
from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import Clock
from voyage_jobs.errors import ConfigError, VoyageJobsError
from voyage_jobs.evaluation.jobs import history_of, states
from voyage_jobs.report.batches import listing
from voyage_jobs.report.failures import failures
from voyage_jobs.report.status import status
from voyage_jobs.retrieval.passage import snippet, words_of
from voyage_jobs.retrieval.retriever import Retriever
from voyage_jobs.server.question import asked_in
from voyage_jobs.sources import names
from voyage_jobs.telemetry.metrics.recorder import Recorder
from voyage_jobs.telemetry.metrics.state import StateCollector
from voyage_jobs.telemetry.metrics.text import Metrics

_LONGEST_QUESTION = 1_000
_BATCHES = 60
_SNIPPET_CHARS = 300
_LEAST_KEPT_S = 1.0
_KEPT_TIMES = 10  # as long as it took: at most a tenth of a core, however many ask


class BusyError(VoyageJobsError):
    """Somebody else is searching; try again in a moment."""


class Kept:
    """One answer, made by one thread at a time and given to all who ask meanwhile or soon after."""

    def __init__(self, make: Callable[[], Any], clock: Clock) -> None:
        self._make, self._clock = make, clock
        self._lock = threading.Lock()
        self._value: Any = None
        self._fresh_until = -1.0
        self._age = self._made_at_age = 0
        self.kept_s = _LEAST_KEPT_S
        """For how long the answer is kept: asking sooner brings the same one."""

    def __call__(self) -> Any:
        """The answer. What making it raises is raised to each who asks."""
        with self._lock:
            began, age = self._clock.mono(), self._age
            if began >= self._fresh_until or age != self._made_at_age:
                self._value, self._made_at_age = self._make(), age
                took_s = self._clock.mono() - began
                self.kept_s = max(_LEAST_KEPT_S, _KEPT_TIMES * took_s)
                self._fresh_until = began + took_s + self.kept_s
            return self._value

    def forget(self) -> None:
        """Have it made anew for the next who asks; waits for nobody who is making it."""
        self._age += 1


class Views:
    """Everything the server can tell. Threads may ask at once; nothing here writes."""

    def __init__(self, settings: Settings, clock: Clock, recorder: Recorder | None = None) -> None:
        self._settings, self._clock = settings, clock
        self._collector = StateCollector(settings, clock, wait_for_table=False)
        self._metrics = Metrics(self._collector, recorder)
        self._searching = threading.Lock()
        self._retriever = Retriever(settings, clock)
        self.status = Kept(lambda: status(self._now, clock), clock)
        """The report of `status --json`."""
        self.batches = Kept(lambda: _batches(self._now, clock), clock)
        """That of `batches --all --json`, the newest ones."""
        self.failures = Kept(lambda: failures(self._now, clock), clock)
        self.metrics = Kept(self._measured, clock)

    def take_up(self, settings: Settings) -> None:
        """Tell by other settings from now on; the data folder and the table are the same."""
        self._settings, self._retriever = settings, Retriever(settings, self._clock)
        for kept in (self.status, self.batches, self.failures, self.metrics):
            kept.forget()

    @property
    def _now(self) -> Settings:
        """The settings, with the sets of items that there are now."""
        return with_item_sources(self._settings)

    def _measured(self) -> bytes:
        self._collector.settings = self._now
        return self._metrics.render()

    def warm_up(self) -> None:
        """Load what takes a second, before somebody waits for it."""
        with contextlib.suppress(VoyageJobsError):
            self._collector.table.read()

    def history(self, ref: str, source: str | None) -> dict[str, Any]:
        """The history of what a word means, as `history REF --json`; of files that the state does not know, nothing.

        Raises ConfigError, StateError.
        """
        with contextlib.suppress(
            ValueError
        ):  # a path as the other views write it, bytes that are no text included
            ref = os.fsdecode(names.decode(ref))
        return history_of(self._now, self._clock, ref, source, disk=False).as_dict()

    def find(self, params: Any) -> dict[str, Any]:
        """The report of `search --json` for what an address asks, with a snippet for each hit and the words to mark.

        Raises BusyError while another search runs, ConfigError, CorruptionError.
        """
        query = asked_in(params, self._clock)
        words = words_of(_demanded(query.text))
        with self._one_at_a_time():
            found = self._retriever.search(query, names_of(self._settings)).as_dict()
        for hit in found["hits"]:
            hit["snippet"] = snippet(hit["text"], words, _SNIPPET_CHARS)
        return {**found, "words": words}

    @contextlib.contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        if not self._searching.acquire(blocking=False):
            raise BusyError
        try:
            yield
        finally:
            self._searching.release()


def _batches(settings: Settings, clock: Clock) -> dict[str, Any]:
    return listing(settings, clock, everything=True, limit=_BATCHES, of_queries=states(settings))


def _demanded(question: str) -> str:
    if not question.strip():
        raise ConfigError("There is no q in the question.")
    if len(question) > _LONGEST_QUESTION or "\0" in question:
        raise ConfigError(f"q must be at most {_LONGEST_QUESTION:,} characters, without NUL.")
    return question
