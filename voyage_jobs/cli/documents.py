"""`documents`: which documents there are, the state of each, and why some are skipped."""

from __future__ import annotations

from typing import Any

import click

from voyage_jobs.cli import output
from voyage_jobs.cli.context import json_option, settings_of, short_lived
from voyage_jobs.cli.numbers import limit_option
from voyage_jobs.core.clock import SystemClock
from voyage_jobs.core.plural import counted
from voyage_jobs.core.states import DOCUMENT_STANDINGS
from voyage_jobs.sources.names import in_shell


@click.command()
@click.argument("source", required=False)
@click.option("--state", type=click.Choice(DOCUMENT_STANDINGS), help="Only those in this state.")
@limit_option()
@json_option
@click.pass_context
def documents(ctx: click.Context, source: str | None, state: str | None, limit: int, as_json: bool) -> None:
    """List documents, all or those of SOURCE, by path: the state of each, and why some are skipped.

    \b
    published  the table shows it
    waiting    a version is on its way, or failed or was cancelled: then why
    skipped    `include` names it, and it cannot be taken
    missing    gone from its source, and the table still has it
    gone       it has left the table; listed only with --state gone
    """
    with short_lived():
        from voyage_jobs.report.documents import documents as listing
        from voyage_jobs.report.passed_over import passed_over

        settings = settings_of(ctx)
        report = listing(settings, SystemClock(), source=source, state=state, limit=limit)
    if as_json:
        output.emit_json(report)
        return
    if report["documents"]:
        output.show(
            output.table(
                ("document", "state", "chunks", "why"),
                map(_row, report["documents"]),
                right=("chunks",),
                spare=("chunks",),
            )
        )
    else:
        click.echo(f"No document is {state}." if state else "There are no documents yet.")
    if report["more"]:
        click.echo("\n" + output.wrapped(f"More documents exist; --limit {limit * 2} shows more of them."))
    for name, kinds in report["passed_over"].items():
        if others := passed_over(name, kinds):
            click.echo(output.wrapped(others))


def _row(document: dict[str, Any]) -> tuple[str, str, str, str]:
    chunks, failed = document["chunks"], document["failed_chunks"]
    why = str(document["why"] or "")
    if failed:
        path = in_shell(f"{document['source']}:{document['path']}")
        why = f"{counted(failed, 'chunk')} failed; `voyage-jobs why {path}`"
    return (
        f"{document['source']}:{document['path']}",
        str(document["state"]),
        "-" if chunks is None else str(chunks),
        why,
    )
