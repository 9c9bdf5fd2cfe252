"""`cost`: the bill, as a table, a chart, JSON or CSV."""

from __future__ import annotations

import csv
import sys
from datetime import datetime
from typing import Any

import click

from voyage_jobs.cli import output
from voyage_jobs.cli.context import json_option, settings_of
from voyage_jobs.cli.exits import ExitCode
from voyage_jobs.core.clock import US, SystemClock, day_or_span
from voyage_jobs.core.plural import counted

_BY = ("day", "source", "model", "batch")
_BAR_WIDTH = 12
_UNKNOWN = {"day": "?", "source": "(not known)", "model": "(not known)", "batch": "(no batch)"}
_FIELDS = (
    "name",
    "batches",
    "paid_tokens",
    "paid_usd",
    "reserved_tokens",
    "reserved_usd",
    "saved_tokens",
    "saved_usd",
    "expedited_tokens",
    "expedited_usd",
    "maybe_paid_tokens",
    "maybe_paid_usd",
    "assumed_tokens",
    "assumed_usd",
    "fresh_tokens",
    "fresh_usd",
)


class Since(click.ParamType[datetime]):
    """A day (2026-03-01) or a span back from now (30d), in UTC."""

    name = "since"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The moment that is meant."""
        if isinstance(value, datetime):
            return value
        try:
            return day_or_span(value, SystemClock())
        except ValueError:
            self.fail(f"{value!r} is neither a day such as 2026-03-01 nor a span such as 30d.", param, ctx)


@click.command()
@json_option
@click.option(
    "--by", type=click.Choice(_BY), default="day", show_default=True, help="What the bill is split by."
)
@click.option(
    "--since",
    type=Since(),
    metavar="DAY",
    help="Since a day (UTC), as in 2026-03-01, or the last days, as in 30d.",
)
@click.option("--csv", "as_csv", is_flag=True, help="Report as CSV.")
@click.option(
    "--recompute", is_flag=True, help="Add up all lines again and compare; exit code 3 if they differ."
)
@click.pass_context
def cost(
    ctx: click.Context, *, as_json: bool, by: str, since: datetime | None, as_csv: bool, recompute: bool
) -> ExitCode:
    """Show what was paid, by day, source, model or batch.

    Paid is what the provider's answers say, line by line, at the price when the batch was made. Reserved is what
    batches in flight may still cost. Saved is what texts would have cost that had a vector already. A text that several
    sources share is on the bill of the one that had it first.

    Where an answer does not say what was billed, the tokens that were reserved count as paid; that part is shown
    separately, as assumed. So is the part that `expedite` paid at the full price, and so are calls whose answer was
    lost: they may have been billed, and are in no column.
    """
    from voyage_jobs.report import cost as report

    if as_json and as_csv:
        raise click.UsageError("Choose --json or --csv.")
    if recompute and as_csv:
        raise click.UsageError("--recompute reports in words or as --json.")
    settings, clock = settings_of(ctx), SystemClock()
    if recompute:
        found = report.recompute(settings, clock)
        output.emit_json(found) if as_json else _show_recomputed(found)
        return ExitCode.DONE if found["equal"] else ExitCode.UNFINISHED
    found = report.cost(settings, clock, by, 0 if since is None else int(since.timestamp() * US))
    if as_json:
        output.emit_json(found)
    elif as_csv:
        _write_csv(found)
    else:
        _show(found)
    return ExitCode.DONE


def _write_csv(found: dict[str, Any]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow((found["by"], *_FIELDS[1:]))
    for row in found["rows"]:
        writer.writerow(["" if row[field] is None else row[field] for field in _FIELDS])


def _show(found: dict[str, Any]) -> None:
    if not found["rows"]:
        click.echo("Nothing was spent" + (" since then." if found["since"] else " yet."))
        return
    most = max(row["paid_usd"] or 0 for row in found["rows"])
    rows: list[tuple[str, ...]] = [
        (
            row["name"] or _UNKNOWN[found["by"]],
            output.number(row["paid_tokens"]),
            output.usd(row["paid_usd"]),
            _bar(row["paid_usd"], most),
            output.usd(row["reserved_usd"]),
            output.usd(row["saved_usd"]),
        )
        for row in found["rows"]
    ]
    total = found["total"]
    sums = [output.usd(total[f"{word}_usd"]) for word in ("reserved", "saved")]
    rows.append(("total", output.number(total["paid_tokens"]), output.usd(total["paid_usd"]), "", *sums))
    columns = (found["by"], "tokens", "paid", "", "reserved", "saved")
    right, spare = ("tokens", "paid", "reserved", "saved"), ("", "saved", "reserved", "tokens")
    output.show(output.table(columns, rows, right=right, spare=spare))
    if total["assumed_tokens"]:
        tokens, price = output.number(total["assumed_tokens"]), output.usd(total["assumed_usd"])
        said = f"Of what was paid, {price} for {tokens} tokens is assumed: the provider reported no usage for that."
        click.echo(output.wrapped(said))
    _show_calls(found)


def _show_calls(found: dict[str, Any]) -> None:
    """What synchronous calls have to do with it, where there were any."""
    total, maybe, twice = found["total"], found["maybe_paid"], found["paid_twice"]
    if total["expedited_tokens"]:
        tokens, price = output.number(total["expedited_tokens"]), output.usd(total["expedited_usd"])
        said = f"Of what was paid, {price} for {tokens} tokens was expedited, at the full price."
        click.echo(output.wrapped(said))
    if total["fresh_tokens"]:
        tokens, price = output.number(total["fresh_tokens"]), output.usd(total["fresh_usd"])
        said = f"Of that, {price} for {tokens} tokens was for changes that were to be fresh."
        click.echo(output.wrapped(said))
    if twice["tokens"]:
        tokens, price = output.number(twice["tokens"]), output.usd(twice["usd"])
        said = f"{price} for {tokens} tokens was paid twice: batches had what was expedited, too."
        click.echo(output.wrapped(said))
    if maybe["calls"]:
        tokens, price = output.number(maybe["tokens"]), output.usd(maybe["usd"])
        calls = "1 call" if maybe["calls"] == 1 else f"{output.number(maybe['calls'])} calls"
        said = (
            f"Maybe paid on top: at most {price} for {tokens} tokens. The answer to {calls} was lost, and nobody can"
            " tell whether that was billed."
        )
        click.echo(output.wrapped(said))


def _bar(value: float | None, most: float) -> str:
    return (
        ""
        if not value or not most
        else ("█" if output.blocks() else "#") * max(1, round(_BAR_WIDTH * value / most))
    )


def _show_recomputed(found: dict[str, Any]) -> None:
    click.echo(
        f"{counted(found['batches'], 'batch')}: {output.number(found['booked_tokens'])} tokens booked,"
        f" {output.number(found['line_tokens'])} tokens in their lines."
    )
    if found["equal"]:
        click.echo("The books agree with the lines.")
        return
    for each in found["differences"]:
        booked, of_lines = output.number(each["booked_tokens"]), output.number(each["line_tokens"])
        click.echo(f"! batch {each['ref']}, source {each['source'] or '?'}:")
        click.echo(f"  {booked} tokens booked, {of_lines} in its lines")
    click.echo(f"{output.number(found['differing'])} differ. `voyage-jobs verify --repair` books them again.")
