"""`mcp`: the table for language models, as a server of the Model Context Protocol."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

import click

from voyage_jobs.cli.context import settings_of, start_logging
from voyage_jobs.core.clock import SystemClock

if TYPE_CHECKING:
    from voyage_jobs.config.address import Address
    from voyage_jobs.config.settings import Settings


@click.command()
@click.option(
    "--http",
    "listen",
    metavar="HOST:PORT",
    help="Serve HTTP at this address of this machine, at /mcp; without it, standard input and output.",
)
@click.pass_context
def mcp(ctx: click.Context, listen: str | None) -> None:
    """Let language models search and read the table, by the Model Context Protocol.

    Clients start it themselves and talk to it by standard input and output, or connect to --http. There are four
    tools: search, read, list_documents, status. None of them changes anything. Needs the extra `mcp`.
    """
    from voyage_jobs.errors import ConfigError

    settings, clock = settings_of(ctx), SystemClock()
    start_logging(ctx, daemon=True)
    try:
        from voyage_jobs.mcp import server
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] not in ("mcp", "mcp_types"):
            raise
        raise ConfigError(
            "The Model Context Protocol needs a package that is not installed.",
            hint="pip install 'voyage-jobs[mcp]'",
        ) from exc
    from voyage_jobs.mcp.tools import Tools
    from voyage_jobs.telemetry.logs import get_logger

    tools = Tools(settings, clock)
    if listen is None:
        server.serve_pipe(tools)
        return
    listener = _listener(_address(listen, settings))
    server.serve_http(
        tools,
        settings,
        clock,
        get_logger(),
        listener,
        settled=lambda url: click.echo(
            f"Serving the Model Context Protocol at {url} (Ctrl-C stops it).", err=True
        ),
    )


def _address(listen: str, settings: Settings) -> Address:
    from voyage_jobs.config.address import Address
    from voyage_jobs.errors import ConfigError

    try:
        address = Address.parse(listen)
    except ValueError as exc:
        raise click.UsageError(f"--http {exc}.") from exc
    if not address.is_loopback:
        raise ConfigError(
            f"--http names {address.host}, which others can reach.",
            hint="Listen on 127.0.0.1, and put a proxy with TLS in front for other machines.",
        )
    settings.page_token()  # one that cannot be used is told now, not to each client
    return address


def _listener(address: Address) -> socket.socket:
    from voyage_jobs.errors import ConfigError

    host, port = address
    with contextlib.ExitStack() as undo:
        try:
            family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            listener = undo.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(where)
        except OSError as exc:
            raise ConfigError(
                f"Cannot listen on {host}:{port}: {exc.strerror}.",
                hint="Name another with --http HOST:PORT.",
            ) from exc
        undo.pop_all()
    return listener
