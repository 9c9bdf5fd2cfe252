"""`serve`: the page beside a daemon, or without one."""

from __future__ import annotations

import click

from voyage_jobs.cli.context import settings_of, start_logging
from voyage_jobs.core.clock import SystemClock

_DEFAULT = "127.0.0.1:8765"
_PATIENCE_S = 30.0
_REPEATS_S = 60.0  # between two looks for log lines that were held back


@click.command()
@click.option(
    "--listen",
    metavar="HOST:PORT",
    help=f"The address to listen on.  [default: server.listen of the configuration, else {_DEFAULT}]",
)
@click.pass_context
def serve(ctx: click.Context, listen: str | None) -> None:
    """Serve the page and the metrics, read-only, until stopped.

    `run` serves the same if [server] listen is set: use this one beside `sync`, or where the daemon must not listen.
    Only this machine can connect, unless a token is set in VOYAGE_JOBS_SERVER_TOKEN or in the file that
    VOYAGE_JOBS_SERVER_TOKEN_FILE names. Nothing is changed, but what a
    search that reranks costs is booked.
    """
    from voyage_jobs.config.address import Address
    from voyage_jobs.errors import ConfigError
    from voyage_jobs.server.door import Door
    from voyage_jobs.server.ready import OthersReadiness
    from voyage_jobs.service.signals import Signals
    from voyage_jobs.telemetry.logs import get_logger, log_repeats

    settings, clock = settings_of(ctx), SystemClock()
    try:
        address = Address.parse(listen or settings.server.listen or _DEFAULT)
    except ValueError as exc:
        raise click.UsageError(f"--listen {exc}.") from exc
    start_logging(ctx, daemon=True)
    ready = OthersReadiness(settings, clock)
    with Signals() as signals, Door(settings, address, clock, get_logger(), ready=ready) as door:
        door.wait_settled(_PATIENCE_S)
        if door.port is None:
            raise ConfigError(
                door.problem or "The page could not be started.", hint="Name another with --listen HOST:PORT."
            )
        url = Address(address.host, door.port).url
        click.echo(f"The page is at {url} (Ctrl-C stops it).", err=True)
        while not signals.stopping.is_set():
            clock.wait(_REPEATS_S, signals.wake)
            log_repeats()
