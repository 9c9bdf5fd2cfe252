"""`fetch-tokenizer`: from estimated tokens to exact ones."""

from __future__ import annotations

import os

import click

from voyage_jobs.cli import output
from voyage_jobs.cli.context import json_option, settings_of
from voyage_jobs.errors import ConfigError


@click.command("fetch-tokenizer")
@json_option
@click.option(
    "--hub",
    metavar="URL",
    help="A mirror of the Hugging Face hub.  [default: $HF_ENDPOINT, else https://huggingface.co]",
)
@click.pass_context
def fetch_tokenizer(ctx: click.Context, as_json: bool, hub: str | None) -> None:
    """Fetch the model's tokenizer, so that tokens are counted exactly.

    Voyage publishes it on the Hugging Face hub as voyageai/MODEL; it is kept in data_dir. No key is sent. `plan` counts
    by it at once, a running daemon from its next start or SIGHUP on; what waits to be sent is then counted again.
    """
    from voyage_jobs.config.provider import vendor_of
    from voyage_jobs.core import private
    from voyage_jobs.core.lock import make_data_dir

    settings = settings_of(ctx)
    if settings.section.tokenizer:
        raise ConfigError(
            f"[{settings.section_name}] tokenizer names a file of yours, {settings.section.tokenizer}: nothing is"
            " fetched.",
            hint="Take the setting out to use the one of the hub.",
        )
    target, model = settings.tokenizer_file, settings.section.model
    make_data_dir(settings.data_dir)
    private.make_folder(target.parent)
    size = vendor_of(settings).fetch_tokenizer(model, target, hub or os.environ.get("HF_ENDPOINT"))
    if as_json:
        output.emit_json({"model": model, "file": str(target), "bytes": size})
        return
    click.echo(f"The tokenizer of {model} ({output.size(size)}) is at {output.printable(str(target))}.")
    click.echo("A running daemon takes it up when it is started again, or on SIGHUP.")
