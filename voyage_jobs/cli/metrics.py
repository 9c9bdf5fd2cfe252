"""`metrics`: the state as Prometheus metrics, for those who do not keep a daemon running."""

from __future__ import annotations

from pathlib import Path

import click

from voyage_jobs.cli.context import settings_of
from voyage_jobs.cli.exits import ExitCode
from voyage_jobs.clock import SystemClock


@click.command()
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write them to FILE, replaced as a whole, instead of printing them.",
)
@click.pass_context
def metrics(ctx: click.Context, out: Path | None) -> ExitCode:
    """Print what the state says as Prometheus metrics.

    For work from cron or CI, where no process is there to be scraped: after each `sync`, write them to a FILE.prom in
    the folder that node_exporter's textfile collector reads. `run` serves the same, and what it counts itself, at
    /metrics (see [server] in the configuration). It only looks; the exit code is 1 if the state cannot be read.
    """
    from voyage_jobs.metrics.state import StateCollector
    from voyage_jobs.metrics.text import Metrics

    state = StateCollector(settings_of(ctx), SystemClock())
    text = Metrics(state, process=False).render()
    if out is None:
        click.echo(text, nl=False)
    else:
        _write(out, text)
    return ExitCode.DONE if state.readable else ExitCode.UNEXPECTED


def _write(out: Path, text: bytes) -> None:
    from voyage_jobs.durable import writing
    from voyage_jobs.errors import ConfigError

    try:
        with writing(out) as file:
            file.write(text)
    except OSError as exc:
        raise ConfigError(
            f"{out} cannot be written: {exc.strerror}.", hint="Name a file in a folder that is there."
        ) from exc
