"""Metrics as text: the Prometheus exposition format, version 0.0.4."""

from __future__ import annotations

from typing import Any

from voyage_jobs.telemetry.metrics.recorder import Recorder
from voyage_jobs.telemetry.metrics.state import StateCollector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """What one process shows: its own counts, if it does work, its resources, and the state."""

    def __init__(
        self, state: StateCollector, recorder: Recorder | None = None, *, process: bool = True
    ) -> None:
        from prometheus_client import CollectorRegistry, ProcessCollector

        self.state = state
        self._registries: list[Any] = [CollectorRegistry()]
        self._registries[0].register(state)
        if process:
            ProcessCollector(registry=self._registries[0])
        if recorder is not None:
            self._registries.append(recorder.registry)

    def render(self) -> bytes:
        """Everything, as of now."""
        from prometheus_client import generate_latest

        return b"".join(generate_latest(registry) for registry in self._registries)
