"""What this process does, counted: an observer that keeps Prometheus metrics."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from voyage_jobs.core.clock import Clock
from voyage_jobs.core.observe import Call, Step
from voyage_jobs.telemetry.metrics.catalog import METRICS, Metric

# Put off by the way of things, not by trouble: the step that meets it has not failed.
_NO_LAST_ERROR = {"in_flight_limit", "quarantined"}


class Recorder:
    """Counts; `registry` is to be shown. Steps run in one thread, calls may come from any."""

    def __init__(self, clock: Clock) -> None:
        from prometheus_client import CollectorRegistry

        self.registry: Any = CollectorRegistry()
        self._clock = clock
        self._kept = {metric.name: self._made(metric) for metric in METRICS if metric.of == "process"}
        self._last_error = False

    def _made(self, metric: Metric) -> Any:
        from prometheus_client import Counter, Gauge, Histogram

        name, about = metric.full_name, (metric.help, metric.labels)
        if metric.kind == "histogram":
            return Histogram(name, *about, buckets=metric.buckets, registry=self.registry)
        return (Counter if metric.kind == "counter" else Gauge)(name, *about, registry=self.registry)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Time it if it did anything; note whether it ended well."""
        step, began, self._last_error = Step(name), self._clock.mono(), False
        try:
            yield step
        except BaseException:
            self._last_error = True
            raise
        finally:
            if step.did or self._last_error:
                self._kept["step_seconds"].labels(name).observe(self._clock.mono() - began)
            if self._last_error:
                self._kept["step_failures_total"].labels(name).inc()
            else:
                self._kept["step_last_success_timestamp_seconds"].labels(name).set(self._clock.wall())

    @contextlib.contextmanager
    def call(self, method: str, endpoint: str) -> Iterator[Call]:
        """Time it and count it by how it ended."""
        call, began = Call(method, endpoint), self._clock.mono()
        try:
            yield call
        finally:
            self._kept["vendor_calls_total"].labels(method, endpoint, call.code).inc()
            self._kept["vendor_call_seconds"].labels(method, endpoint).observe(self._clock.mono() - began)

    def put_off(self, reason: str) -> None:
        """Count it; the step at hand is in trouble."""
        self._last_error = self._last_error or reason not in _NO_LAST_ERROR
        self._kept["retries_total"].labels(reason).inc()

    def lines(self, outcome: str, count: int) -> None:
        """Count them."""
        self._kept["lines_total"].labels(outcome).inc(count)
