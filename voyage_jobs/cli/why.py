"""`why REF` and `trace REF`: exactly why something is (not) in the table, and what happened to it when."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import click

from voyage_jobs.cli import output
from voyage_jobs.cli.context import json_option, settings_of, short_lived
from voyage_jobs.clock import US, SystemClock, moment, now_us

if TYPE_CHECKING:
    from voyage_jobs.report.trace import Trace

_WIDTH = 79
_GAP = 12  # columns of a duration

_source = click.option("--source", metavar="NAME", help="Look for the document in this source only.")


@click.command()
@click.argument("ref")
@json_option
@_source
@click.pass_context
def why(ctx: click.Context, ref: str, as_json: bool, source: str | None) -> None:
    """Say whether REF is in the table, and if not, exactly why not, until when, and what to do.

    REF is a path on disk, SOURCE:PATH, a chunk_id, a batch's ref, Voyage's id of a job, or an embedding key; of refs
    and keys the beginning is enough. Files that were never seen get an answer, too.
    """
    with short_lived():
        from voyage_jobs.report.why import why as report

        settings, clock = settings_of(ctx), SystemClock()
        answer = report(settings, clock, ref, source)
    if as_json:
        output.emit_json(answer.as_dict(now_us(clock)))
        return
    click.echo(_wrapped(answer.paragraph))
    click.echo(_wrapped(f"Next: {answer.next}"))


@click.command()
@click.argument("ref")
@json_option
@_source
@click.pass_context
def trace(ctx: click.Context, ref: str, as_json: bool, source: str | None) -> None:
    """Show what happened to REF, when, and how long it took in between.

    REF is a document's path, a chunk_id, a batch's ref, Voyage's id of a job, or an embedding key.
    """
    with short_lived():
        from voyage_jobs.report.trace import trace as report

        told, now = report(settings_of(ctx), SystemClock(), ref, source)
    if as_json:
        output.emit_json(told.as_dict(now))
    else:
        _show(told, now)


def _show(told: Trace, now: int) -> None:
    from voyage_jobs.report.words import span
    from voyage_jobs.sources.names import display

    click.echo(f"{told.kind} {display(told.ref)}")
    shown = [(each.at, each.after_us, each.what) for each in told.events]
    if told.under_way and shown:
        shown.append((now, now - shown[-1][0], "now, and more is to come"))
    day = ""
    for at, after_us, what in shown:
        shown_at = moment(at)
        if day != f"{shown_at.date().isoformat()} UTC":
            day = f"{shown_at.date().isoformat()} UTC"
            click.echo(f"\n{day}")
        gap = "" if after_us is None else f"+{span(after_us / US)}"
        click.echo(_hanging(f"{shown_at:%H:%M:%S}{gap:>{_GAP}}  ", what))
    click.echo()
    longest = told.longest
    if longest is not None:
        gap, total = span((longest[1].at - longest[0].at) / US), span(told.elapsed_us / US)
        click.echo(_wrapped(f"{total} in all; the longest wait was {gap}, until: {longest[1].what}"))
    click.echo(_wrapped(told.summary))
    if told.next:
        click.echo(_wrapped(f"Next: {told.next}"))


def _wrapped(text: str) -> str:
    return textwrap.fill(output.printable(text), _WIDTH, break_long_words=False, break_on_hyphens=False)


def _hanging(head: str, text: str) -> str:
    return textwrap.fill(
        output.printable(text),
        _WIDTH,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_on_hyphens=False,
    )
