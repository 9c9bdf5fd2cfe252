"""`voyage-jobs simulate`: the bundled simulator of Voyage or OpenAI as an HTTP server, and the way to it."""

from __future__ import annotations

import errno
import ipaddress
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from voyage_jobs.cli import paths
from voyage_jobs.cli.context import json_option
from voyage_jobs.cli.numbers import Finite, Whole
from voyage_jobs.core.bounds import LONGEST_S
from voyage_jobs.core.redact import is_key
from voyage_jobs.errors import ConfigError

if TYPE_CHECKING:
    from voyage_jobs.simulator import FaultScript, Options

_ANY_KEY = "simulated"


@click.command()
@click.option(
    "--port", type=Whole(0, 65535), metavar="N", default=8766, show_default=True, help="0: any free one."
)
@click.option(
    "--host", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="The address to listen on."
)
@click.option(
    "--provider",
    type=click.Choice(["voyage", "openai"]),
    default="voyage",
    show_default=True,
    help="Whose API to serve.",
)
@click.option(
    "--tier",
    type=Whole(1, 5),
    metavar="N",
    help="OpenAI's usage tier: how many tokens may be enqueued.  [default: 1]",
)
@click.option("--api-key", metavar="KEY", help="The only key to accept, a made-up one.  [default: any]")
@click.option(
    "--batch-seconds",
    type=Finite(0, LONGEST_S),
    metavar="S",
    default=30.0,
    show_default=True,
    help="How many seconds a batch takes.",
)
@click.option(
    "--faults",
    type=paths.FILE_THERE,
    metavar="FILE",
    help="A fault script (JSON): what goes wrong, and when.",
)
@click.option(
    "--storage",
    type=paths.FOLDER,
    metavar="DIR",
    help="Where large files go.  [default: a temporary folder]",
)
@click.option(
    "--tokenizer",
    type=paths.FILE_THERE,
    metavar="FILE",
    help="Count and bill by this tokenizer.json.  [default: four bytes are a token]",
)
@click.option(
    "--seed",
    type=int,
    metavar="N",
    default=0,
    show_default=True,
    help="Another seed, another order of events.",
)
@json_option
def simulate(
    *,
    port: int,
    host: str,
    provider: str,
    tier: int | None,
    api_key: str | None,
    batch_seconds: float,
    faults: Path | None,
    storage: Path | None,
    tokenizer: Path | None,
    seed: int,
    as_json: bool,
) -> None:
    """Serve a simulated Voyage API, or OpenAI's, until stopped (Ctrl-C).

    It has files, batches and embeddings, and for Voyage contextualized embeddings and rerank. A search in its results
    makes sense, but they are worth nothing elsewhere: keep them in a data folder of their own, as the printed lines do.
    """
    from voyage_jobs.core.clock import SystemClock
    from voyage_jobs.simulator import Simulator
    from voyage_jobs.simulator.server import serve

    if api_key and is_key(api_key):
        raise ConfigError(
            "--api-key looks like a real key, which has no place on a command line.", hint="Make one up."
        )
    if storage is not None:
        storage.mkdir(parents=True, exist_ok=True)
    script, options = _script(provider, tier, faults, tokenizer)
    clock = SystemClock()
    # A simulator knows nothing of an earlier one's batches, so each run gets a data folder of its own.
    data_dir = Path(tempfile.gettempdir()) / f"voyage-jobs-simulated-{clock.token()[:8]}"
    simulator = Simulator(
        clock,
        api_key=api_key,
        seed=seed,
        batch_seconds=batch_seconds,
        faults=script,
        options=options,
        storage_dir=storage,
    )
    try:
        serve(
            simulator,
            host,
            port,
            lambda bound: _announce(
                options.vendor, f"http://{_reachable(host)}:{bound}/v1", data_dir, api_key, as_json
            ),
        )
    except BrokenPipeError:  # nobody reads what is announced; that says nothing about the port
        raise
    except OSError as exc:
        is_port = exc.errno in (errno.EADDRINUSE, errno.EACCES)
        hint = "Use --port 0 for a free port." if is_port else "Use an address of this machine as --host."
        raise ConfigError(f"Cannot listen on {host}, port {port}: {exc.strerror}.", hint=hint) from exc


def _script(
    provider: str, tier: int | None, faults: Path | None, tokenizer: Path | None
) -> tuple[FaultScript, Options]:
    """What goes wrong, and how the API is. Raises ConfigError for what does not go together or cannot be read."""
    from voyage_jobs.simulator import FaultScript, Options
    from voyage_jobs.simulator.tokens import tokens_of

    if tier is not None and provider != "openai":
        raise ConfigError("--tier is for --provider openai.")
    named = {"vendor": provider} | ({} if tier is None else {"tier": tier})
    script = FaultScript.from_file(faults, named) if faults else FaultScript.none()
    options = script.options or Options.from_mapping(named)
    if tokenizer is not None:
        tokens_of(str(tokenizer))  # raises now, not with the first batch
        options = replace(options, tokenizer=str(tokenizer))
    return script, options


def _announce(provider: str, base_url: str, data_dir: Path, api_key: str | None, as_json: bool) -> None:
    from voyage_jobs.cli.output import emit_json
    from voyage_jobs.vendors.registry import by_type

    vendor = by_type(provider)
    environment = {
        "VOYAGE_JOBS_PROVIDER__TYPE": provider,  # the configuration at hand may name another, such as the local model
        f"VOYAGE_JOBS_{provider.upper()}__BASE_URL": base_url,
        "VOYAGE_JOBS_DATA_DIR": str(data_dir),
        vendor.traits.key_variable: api_key or _ANY_KEY,
    }
    if as_json:
        emit_json({"base_url": base_url, "environment": environment})
        return
    click.echo(f"Simulated {vendor.title} API at {base_url}\n\nIn another shell:")
    for name, value in environment.items():
        click.echo(f"  export {name}={value}")
    click.echo("\nor in a configuration of its own:")
    click.echo(
        f'  data_dir = "{data_dir}"\n'
        f'  [provider]\n  type = "{provider}"\n'
        f'  [{provider}]\n  base_url = "{base_url}"'
    )
    click.echo("\nCtrl-C stops it.")


def _reachable(host: str) -> str:
    """The host as a client on this machine writes it."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        return "localhost"
    return f"[{host}]" if address.version == 6 else host
