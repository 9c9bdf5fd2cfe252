"""`history REF`: what happened to a document, chunk, batch or embedding, when, and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from voyage_jobs.cli import output
from voyage_jobs.cli.context import json_option, settings_of, short_lived
from voyage_jobs.cli.numbers import limit_option
from voyage_jobs.core.clock import US, SystemClock, moment

if TYPE_CHECKING:
    from voyage_jobs.explain.record import History

_MOST_ROWS = 20
_GAP = 12  # columns of a duration
_TIME = 22  # columns of a time and the space after it
_NOTHING: tuple[Any, ...] = (None, "", [], {})


@click.command()
@click.argument("ref", required=False)
@json_option
@click.option("--source", metavar="NAME", help="Look for the document in this source only.")
@click.option("--timeline", is_flag=True, help="Only what happened, and the time in between.")
@click.option("--acts", is_flag=True, help="List what operators asked for, such as retry, newest first.")
@limit_option("With --acts: list at most N.")
@click.pass_context
def history(
    ctx: click.Context,
    ref: str | None,
    as_json: bool,
    source: str | None,
    timeline: bool,
    acts: bool,
    limit: int,
) -> None:
    """Show what happened to REF, when, and what took how long; then its details.

    REF is a document's path (relative to its source, SOURCE:PATH, or absolute), a chunk_id, a batch's ref, the
    provider's id of a job, or an embedding key; of refs and keys the beginning is enough. `why REF` says what to do
    about it.
    """
    from voyage_jobs.evaluation.jobs import history_of
    from voyage_jobs.explain.history import acts as recorded

    if acts == (ref is not None):
        raise click.UsageError(
            "Name a document, chunk, batch or key; or list what operators did with --acts."
        )
    if ref is None:
        _show_acts(recorded(settings_of(ctx), limit), as_json)
        return
    with short_lived():
        found = history_of(settings_of(ctx), SystemClock(), ref, source)
    if as_json:
        output.emit_json(found.as_dict())
    else:
        _show(found, details=not timeline)


def _show_acts(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        output.emit_json({"acts": rows})
        return
    for row in rows:
        asked = _row({**row["arguments"], "asked_at": None}) or "everything"  # stands before it
        came = "not done yet" if row["result"] is None else _row(row["result"]) or "done"
        said = f"{row['command']} ({asked}) by {row['who']}: {came}"
        click.echo(output.hanging(f"{row['asked_at']:<{_TIME}}", said))
    if not rows:
        click.echo("Nobody has asked for anything.")


def _show(found: History, *, details: bool) -> None:
    from voyage_jobs.sources.names import display

    click.echo(f"{found.kind} {display(found.ref)}")
    click.echo(output.wrapped(found.summary))
    if found.next:
        click.echo(output.wrapped(f"Next: {found.next}"))
    facts = {key: value for key, value in found.facts.items() if value not in _NOTHING}
    if details and facts:
        click.echo()
        width = max(map(len, facts)) + 2
        for key, value in facts.items():
            click.echo(output.hanging(f"{key.replace('_', ' '):<{width}}", _plain(value)))
    _show_events(found)
    for name, rows in found.parts.items() if details else ():
        if rows:
            click.echo(f"\n{name.replace('_', ' ').capitalize()} ({len(rows)})")
            for row in rows[:_MOST_ROWS]:
                click.echo(output.hanging("- ", _row(row)))
            if len(rows) > _MOST_ROWS:
                click.echo(f"  and {len(rows) - _MOST_ROWS} more; --json shows all.")


def _show_events(found: History) -> None:
    """What happened day by day, each with the time since the event before, and the longest of these waits."""
    from voyage_jobs.report.words import span

    rows = [(each.at, each.after_us or 0, each.what) for each in found.events]
    if not rows:
        return
    if found.under_way:
        rows.append((found.as_of, found.as_of - rows[-1][0], "now, and more is to come"))
    click.echo("\nWhat happened (UTC)")
    day = ""
    for at, after_us, what in rows:
        shown_at = moment(at)
        if day != shown_at.date().isoformat():
            day = shown_at.date().isoformat()
            click.echo(day)
        gap = f"+{span(after_us / US)}" if after_us else ""
        click.echo(output.hanging(f"{shown_at:%H:%M:%S}{gap:>{_GAP}}  ", what))
    _, longest_us, until = max(rows, key=lambda row: row[1])
    if longest_us:
        total = f"{span((rows[-1][0] - rows[0][0]) / US)} {'so far' if found.under_way else 'in all'}"
        click.echo(output.wrapped(f"{total}; the longest wait was {span(longest_us / US)}, until: {until}"))


def _row(row: dict[str, Any]) -> str:
    shown = {key: value for key, value in row.items() if value not in _NOTHING}
    return ", ".join(f"{key.replace('_', ' ')} {_plain(value)}" for key, value in shown.items())


def _plain(value: Any) -> str:
    from voyage_jobs.sources.names import display

    if isinstance(value, dict):
        return "(" + _row(value) + ")"
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    if isinstance(value, float):
        return f"{value:.10f}".rstrip("0").rstrip(".")
    if isinstance(value, bool) or not isinstance(value, int):
        return display(str(value))
    return output.number(value)
