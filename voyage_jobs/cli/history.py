"""`history REF`: the whole story of a document, chunk, batch or embedding, in plain words."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import click

from voyage_jobs.cli import output
from voyage_jobs.cli.context import json_option, settings_of
from voyage_jobs.cli.numbers import MOST_SHOWN
from voyage_jobs.clock import iso

if TYPE_CHECKING:
    from voyage_jobs.report.story import Story

_WIDTH = 79
_MOST_ROWS = 20
_TIME = 22  # columns of a time and the space after it


@click.command()
@click.argument("ref", required=False)
@json_option
@click.option("--source", metavar="NAME", help="Look for the document in this source only.")
@click.option(
    "--acts", is_flag=True, help="List what people asked for (retry, pause, cancel ...), newest first."
)
@click.option(
    "--limit", type=click.IntRange(1, MOST_SHOWN), default=50, show_default=True, help="Most acts to list."
)
@click.pass_context
def history(
    ctx: click.Context, ref: str | None, as_json: bool, source: str | None, acts: bool, limit: int
) -> None:
    """Tell the story of REF: what was seen, sent, answered, paid and published, and what it waits for.

    REF is a document's path (relative to its source, SOURCE:PATH, or absolute), a chunk_id, a batch's ref or its
    beginning, Voyage's id of a job, or an embedding key.
    """
    from voyage_jobs.report import history as report

    if acts == (ref is not None):
        raise click.UsageError("Name a document, chunk, batch or key; or list what people did with --acts.")
    if ref is None:
        _show_acts(report.acts(settings_of(ctx), limit), as_json)
        return
    told = report.history(settings_of(ctx), ref, source)
    if as_json:
        output.emit_json(told.as_dict())
    else:
        _show(told)


def _show_acts(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        output.emit_json({"acts": rows})
        return
    for row in rows:
        asked = _row(row["arguments"]) or "everything"
        came = "not done yet" if row["result"] is None else _row(row["result"]) or "done"
        said = f"{row['command']} ({asked}) by {row['who']}: {came}"
        click.echo(_hanging(f"{row['asked_at']:<{_TIME}}", _TIME, said))
    if not rows:
        click.echo("Nobody has asked for anything.")


def _show(told: Story) -> None:
    from voyage_jobs.sources.names import display

    click.echo(f"{told.kind} {display(told.ref)}")
    click.echo(_wrapped(told.summary))
    if told.hint:
        click.echo(_wrapped(f"Next: {told.hint}"))
    facts = {key: value for key, value in told.facts.items() if value not in (None, [], {}, "")}
    if facts:
        click.echo()
        width = max(map(len, facts)) + 2
        for key, value in facts.items():
            click.echo(_hanging(f"{key.replace('_', ' '):<{width}}", width, _plain(value)))
    if told.events:
        click.echo("\nWhat happened (UTC)")
        for at, what in told.timeline():
            click.echo(_hanging(f"{iso(at):<{_TIME}}", _TIME, what))
    for name, rows in told.parts.items():
        if rows:
            click.echo(f"\n{name.replace('_', ' ').capitalize()} ({len(rows)})")
            for row in rows[:_MOST_ROWS]:
                click.echo(_hanging("- ", 2, _row(row)))
            if len(rows) > _MOST_ROWS:
                click.echo(f"  and {len(rows) - _MOST_ROWS} more; --json shows all.")


def _row(row: dict[str, Any]) -> str:
    told = [
        f"{key.replace('_', ' ')} {_plain(value)}" for key, value in row.items() if value not in (None, "")
    ]
    return ", ".join(told)


def _plain(value: Any) -> str:
    from voyage_jobs.sources.names import display

    if isinstance(value, dict):
        return "(" + _row(value) + ")"
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    if isinstance(value, bool) or not isinstance(value, int):
        return display(str(value))
    return output.number(value)


def _wrapped(text: str) -> str:
    return textwrap.fill(output.printable(text), _WIDTH, break_long_words=False, break_on_hyphens=False)


def _hanging(head: str, indent: int, text: str) -> str:
    """The text behind its head; below it where it has a word, such as a hash, that finds no room beside it."""
    told, above = output.printable(text), ""
    if max(map(len, told.split()), default=0) > _WIDTH - indent:
        above, head, indent = head.rstrip() + "\n", "  ", 2
    return above + textwrap.fill(
        told,
        _WIDTH,
        initial_indent=head,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
