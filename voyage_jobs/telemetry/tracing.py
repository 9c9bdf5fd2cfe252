"""OpenTelemetry traces, for those who ask: one span a step that did something, one a vendor call.

An extra (`voyage-jobs[otel]`), loaded only where `tracing.enabled` is set. Spans carry words of ours and the batch's
`ref`: no texts, no names of files, no ids of the provider, no key.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import Clock
from voyage_jobs.core.observe import Call, Observer, Step, current_ref
from voyage_jobs.errors import ConfigError
from voyage_jobs.version import __version__

_SERVICE = "voyage-jobs"
_NS = 1_000_000_000
_FIRST_BAD_STATUS = 400


@contextlib.contextmanager
def tracing(settings: Settings, clock: Clock, exporter: Any = None) -> Iterator[list[Observer]]:
    """The observer that traces, in a list; an empty one where tracing is off. What is left is sent at the end.

    `exporter` stands in for OTLP over HTTP in tests. Raises ConfigError where the extra is not installed.
    """
    if not settings.tracing.enabled:
        yield []
        return
    provider = _provider(exporter)
    try:
        yield [Tracer(provider.get_tracer(_SERVICE, __version__), clock)]
    finally:
        provider.shutdown()


def _provider(exporter: Any) -> Any:
    try:
        from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        if exporter is None:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            exporter = OTLPSpanExporter()
    except ImportError as exc:
        raise ConfigError(
            "tracing.enabled is set, and OpenTelemetry is not installed.",
            hint="Install it with `pip install 'voyage-jobs[otel]'`, or set tracing.enabled to false.",
        ) from exc
    about = {SERVICE_VERSION: __version__}
    if not os.environ.get("OTEL_SERVICE_NAME"):
        about[SERVICE_NAME] = _SERVICE
    provider = TracerProvider(resource=Resource.create(about))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


class Tracer:
    """Makes spans. A step's span begins, looking back, when the step turns out to have done something."""

    def __init__(self, tracer: Any, clock: Clock) -> None:
        self._tracer, self._clock = tracer, clock
        self._step: _Go | None = None

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """A span, unless the step had nothing to do and called nobody."""
        go = self._step = _Go(self._tracer, name, self._now())
        step = Step(name)
        try:
            yield step
        except BaseException as exc:
            go.last_error = type(exc).__name__
            raise
        finally:
            self._step = None
            if step.did or go.last_error or go.span is not None:
                go.end(self._now())

    @contextlib.contextmanager
    def call(self, method: str, endpoint: str) -> Iterator[Call]:
        """A span below that of the step at hand."""
        from opentelemetry.trace import SpanKind, Status, StatusCode

        about = {"http.request.method": method, "url.template": endpoint}
        ref = current_ref()
        if ref is not None:
            about["voyage_jobs.ref"] = ref
        above = self._step.context() if self._step else None
        span = self._tracer.start_span(
            f"{method} {endpoint}",
            context=above,
            kind=SpanKind.CLIENT,
            attributes=about,
            start_time=self._now(),
        )
        call = Call(method, endpoint)
        try:
            yield call
        finally:
            if call.code.isdecimal():
                span.set_attribute("http.response.status_code", int(call.code))
            if not call.code.isdecimal() or int(call.code) >= _FIRST_BAD_STATUS:
                span.set_attribute("error.type", call.code)
                span.set_status(Status(StatusCode.ERROR))
            span.end(self._now())

    def put_off(self, reason: str) -> None:
        """The step at hand is in trouble."""
        if self._step is not None:
            self._step.last_error = reason

    def lines(self, outcome: str, count: int) -> None:
        """How a batch came back, on the span of its step."""
        if self._step is not None:
            self._step.lines[outcome] = self._step.lines.get(outcome, 0) + count

    def _now(self) -> int:
        return int(self._clock.wall() * _NS)


class _Go:
    """One go of a step, whose span is made when it is needed."""

    def __init__(self, tracer: Any, name: str, began: int) -> None:
        self._tracer, self._name, self._began = tracer, name, began
        self.span: Any = None
        self.last_error: str | None = None
        self.lines: dict[str, int] = {}

    def context(self) -> Any:
        """What a call hangs on."""
        from opentelemetry.trace import set_span_in_context

        return set_span_in_context(self._made())

    def _made(self) -> Any:
        if self.span is None:
            about = {"voyage_jobs.step": self._name}
            self.span = self._tracer.start_span(
                f"step {self._name}", attributes=about, start_time=self._began
            )
        return self.span

    def end(self, now: int) -> None:
        """Close the span with what is known by then."""
        from opentelemetry.trace import Status, StatusCode

        span = self._made()
        for outcome, count in self.lines.items():
            span.set_attribute(f"voyage_jobs.lines.{outcome}", count)
        if self.last_error is not None:
            span.set_attribute("error.type", self.last_error)
            span.set_status(Status(StatusCode.ERROR))
        span.end(now)
