"""`status --metrics`: the state as Prometheus metrics, where no daemon is there to be scraped."""

from __future__ import annotations

from pathlib import Path

import click

from voyage_jobs.cli.exits import ExitCode
from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import Clock
from voyage_jobs.core.durable import writing
from voyage_jobs.errors import ConfigError
from voyage_jobs.telemetry.metrics.state import StateCollector
from voyage_jobs.telemetry.metrics.text import Metrics


def metrics(settings: Settings, clock: Clock, out: Path | None) -> ExitCode:
    """Print them, or write them to `out` as a whole; UNEXPECTED if the state cannot be read. Raises ConfigError."""
    state = StateCollector(settings, clock)
    text = Metrics(state, process=False).render()
    if out is None:
        click.echo(text, nl=False)
    else:
        _write(out, text)
    return ExitCode.DONE if state.readable else ExitCode.UNEXPECTED


def _write(out: Path, text: bytes) -> None:
    try:
        with writing(out) as file:
            file.write(text)
    except OSError as exc:
        raise ConfigError(
            f"{out} cannot be written: {exc.strerror}.", hint="Name a file in a folder that is there."
        ) from exc
