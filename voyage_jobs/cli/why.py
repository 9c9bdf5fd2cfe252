"""`why REF`: exactly why something is, or is not, in the table."""

from __future__ import annotations

import click

from voyage_jobs.cli import output
from voyage_jobs.cli.context import json_option, settings_of, short_lived
from voyage_jobs.core.clock import SystemClock, now_us


@click.command()
@click.argument("ref")
@json_option
@click.option("--source", metavar="NAME", help="Look for the document in this source only.")
@click.pass_context
def why(ctx: click.Context, ref: str, as_json: bool, source: str | None) -> None:
    """Say whether REF is in the table, and if not, exactly why not, until when, and what to do.

    REF is a path on disk, SOURCE:PATH, a chunk_id, a batch's ref, the provider's id of a job, or an embedding key; of
    refs and keys the beginning is enough. Files that were never seen get an answer, too.
    """
    with short_lived():
        from voyage_jobs.evaluation.jobs import why_of

        settings, clock = settings_of(ctx), SystemClock()
        answer = why_of(settings, clock, ref, source)
    if as_json:
        output.emit_json(answer.as_dict(now_us(clock)))
        return
    click.echo(output.wrapped(answer.paragraph))
    click.echo(output.wrapped(f"Next: {answer.next}"))
