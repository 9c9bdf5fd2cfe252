"""Logs: event names with fields (`batch.submitted ref=... inputs=...`), on standard error, without secrets.

Every event stands in docs/logs.md with its level, its fields and its meaning; a test holds the two together.

On a terminal a line is for people; elsewhere it is one JSON object: `time` (UTC), `level`, `event`, then the
fields. What libraries log through the standard module comes out the same way, from WARNING up. Until
`configure` is called, only warnings are written, so that a report on standard output stays nothing but the
report.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any, TextIO, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from voyage_jobs.core.clock import Clock, SystemClock
from voyage_jobs.core.observe import current_ref
from voyage_jobs.core.redact import clean_fields
from voyage_jobs.telemetry.repeats import Repeats

_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
_CONTROLS_BUT_LINES = {code: text for code, text in _CONTROLS.items() if code != ord("\n")}
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def get_logger() -> FilteringBoundLogger:
    """A logger. `bind(ref=...)` gives one that adds fields to every event."""
    return cast(FilteringBoundLogger, structlog.get_logger())


def configure(
    level: str = "info",
    form: str = "auto",
    *,
    repeat_s: float = 0.0,
    stream: TextIO | None = None,
    clock: Clock | None = None,
) -> None:
    """Write events of `level` and above to `stream` (standard error); call again to change it.

    `level` is debug, info, warning or error; `form` is console, json, or auto (console on a terminal). Within
    `repeat_s` seconds the same is not written twice (see repeats.py); with 0 every line is.
    """
    log_repeats(all_of_them=True)
    clock = clock or SystemClock()
    _held_back.repeats = Repeats(clock, repeat_s)
    _configure_ours(level, form, _Stream(stream), clock)
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Libraries)]:
        root.removeHandler(handler)
    root.addHandler(_Libraries(level=logging.WARNING))
    root.setLevel(logging.WARNING)


class _HeldBack:
    """The one place that knows what was held back; there is one standard error, too."""

    repeats: Repeats | None = None


_held_back = _HeldBack()


def log_repeats(*, all_of_them: bool = False) -> None:
    """Write how often things were held back, where their interval is over: to be called now and then, and at last."""
    if _held_back.repeats is None:
        return
    for level, event in _held_back.repeats.summaries(all_of_them=all_of_them):
        fields = {key: value for key, value in event.items() if key != "level"}
        structlog.get_logger().log(_LEVELS.get(level, logging.ERROR), **fields)


def _without_repeats(_logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Lines with `held_back` are summaries, and pass."""
    repeats = _held_back.repeats
    if repeats is None or "held_back" in event or repeats.passes(str(event.get("level", method)), event):
        return event
    raise structlog.DropEvent


def _with_ref(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """What is logged while a batch is worked on is about that batch, whoever logs it."""
    ref = current_ref()
    if ref is not None:
        event.setdefault("ref", ref)
    return event


def _configure_ours(level: str, form: str, stream: _Stream, clock: Clock) -> None:
    console = form == "console" or (form == "auto" and stream.isatty())
    structlog.configure(
        processors=_processors(console, stream.isatty(), clock),
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, stream)),
        cache_logger_on_first_use=False,  # a reload of the configuration reaches loggers that exist already
    )


def _processors(console: bool, terminal: bool, clock: Clock) -> list[Processor]:
    common: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        _with_ref,
        _without_repeats,
        _Timestamp(clock),
        structlog.processors.format_exc_info,
        _without_secrets,
    ]
    if not console:
        return [*common, _as_json]
    colors = terminal and not os.environ.get("NO_COLOR")
    renderer = structlog.dev.ConsoleRenderer(
        colors=colors,
        exception_formatter=structlog.dev.plain_traceback,
        pad_event_to=24,
        sort_keys=False,
        timestamp_key="time",
    )
    return [*common, _without_controls, renderer]


class _Stream:
    """Standard error, whichever it is at the moment, or a given stream.

    Writing to it never fails: a full disk or a closed pipe on the log's side must not stop the work.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._given = stream

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    @property
    def _stream(self) -> TextIO:
        return self._given or sys.stderr


class _Timestamp:
    """Adds `time`, UTC with milliseconds; from our clock, so that tests need no real one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        now = datetime.fromtimestamp(self._clock.wall(), UTC)
        event["time"] = now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03d}Z"
        return event


def _without_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return clean_fields(event)


def _without_controls(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A file name may hold line ends and escape sequences; a terminal must not obey them."""
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = value.translate(_CONTROLS_BUT_LINES if key == "exception" else _CONTROLS)
    return event


def _as_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    first = {key: event.pop(key) for key in ("time", "level", "event") if key in event}
    return json.dumps({**first, **event})  # ASCII: a lone surrogate from a file name stays valid JSON


class _Libraries(logging.Handler):
    """Hands on what libraries log, as event `library` with the logger's name."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            log = structlog.get_logger()
            fields: dict[str, Any] = {"logger": record.name, "message": record.getMessage()}
            if record.exc_info:
                fields["exc_info"] = record.exc_info
            log.log(min(record.levelno, logging.CRITICAL), "library", **fields)
        except Exception:  # noqa: BLE001 - the contract of logging.Handler: never raise into the library
            self.handleError(record)


if not structlog.is_configured():
    _configure_ours("warning", "console", _Stream(None), SystemClock())
