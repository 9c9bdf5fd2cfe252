"""`eval make FILE`: sections of the table to write questions for."""

from __future__ import annotations

import json
from pathlib import Path

import click

from voyage_jobs.cli import output, paths
from voyage_jobs.cli.context import json_option, settings_of
from voyage_jobs.cli.numbers import Whole
from voyage_jobs.core.plural import counted


@click.command("make")
@click.argument("file", type=paths.FILE)
@click.option(
    "-n",
    "count",
    type=Whole(1, 10_000),
    metavar="N",
    default=100,
    show_default=True,
    help="So many sections.",
)
@click.option("--source", "sources", multiple=True, metavar="NAME", help="Of this source only; repeatable.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@json_option
@click.pass_context
def make(
    ctx: click.Context, *, file: Path, count: int, sources: tuple[str, ...], force: bool, as_json: bool
) -> None:
    """Draw N sections from the table, and write them to FILE as questions to be written.

    Each line has the section as `relevant`, how its text begins as `about`, and an empty `query`. Write what a reader
    would ask who does not know the text, in other words than its own; lines without a query are left out.
    """
    from voyage_jobs.core.durable import is_there, writing
    from voyage_jobs.errors import ConfigError
    from voyage_jobs.evaluation.sampling import sample
    from voyage_jobs.retrieval.retriever import demand_sources
    from voyage_jobs.table.view import view_of

    settings = settings_of(ctx)
    known = [source.name for source in settings.sources]
    demand_sources(settings, sources, known)
    if is_there(file) and not force:
        raise ConfigError(f"{file} already exists; with --force it is replaced.")
    drawn = sample(view_of(settings.lancedb.uri, settings.lancedb.table), count, sources)
    if not drawn:
        raise ConfigError("The table has no section to draw from.")
    lines = "".join(f"{json.dumps(each.as_dict(), ensure_ascii=False)}\n" for each in drawn)
    try:
        with writing(file) as out:
            out.write(lines.encode())
    except OSError as exc:
        raise ConfigError(f"{file} cannot be written: {exc.strerror}.") from exc
    if as_json:
        output.emit_json({"file": str(file), "sections": len(drawn)})
    else:
        click.echo(
            f"{counted(len(drawn), 'section')} in {file}. Write each `query`, then: voyage-jobs eval {file}"
        )
