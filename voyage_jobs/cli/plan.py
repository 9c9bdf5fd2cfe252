"""`plan`: what would be sent and what it would cost."""

from __future__ import annotations

import shlex
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from voyage_jobs.cli import output, paths
from voyage_jobs.cli.context import json_option, settings_of
from voyage_jobs.cli.numbers import Whole
from voyage_jobs.core.bounds import MOST
from voyage_jobs.core.clock import SystemClock
from voyage_jobs.core.plural import counted
from voyage_jobs.vendors.tokenizer import ESTIMATE


@click.command()
@json_option
@click.option(
    "--write",
    "folder",
    type=paths.FOLDER,
    metavar="DIR",
    help="Leave the exact JSONL files that would be uploaded in this (new or empty) folder.",
)
@click.option(
    "--out",
    type=paths.FILE,
    metavar="FILE",
    help="Write the plan to this file, for `sync --plan FILE`.",
)
@click.option(
    "--max-inputs",
    type=Whole(1, MOST),
    metavar="N",
    help="Plan a call of `sync` with the same option.",
)
@click.pass_context
def plan(
    ctx: click.Context, as_json: bool, folder: Path | None, out: Path | None, max_inputs: int | None
) -> None:
    """Show what would be sent and what it would cost; send nothing.

    Scans the sources without recording anything, before the first run as well as while the daemon works. Tokens are
    counted by the model's tokenizer if it is here (`fetch-tokenizer`), else estimated on the high side. The key is not
    needed.
    """
    from voyage_jobs.planning import plan as planning

    settings = settings_of(ctx)
    with output.progress() as progress:
        found = planning.plan(
            settings, SystemClock(), max_inputs=max_inputs, folder=folder, out=out, progress=progress
        )
    if as_json:
        output.emit_json(found)
    else:
        _show(found, out, own_tokenizer=bool(settings.section.tokenizer))


def _show(plan: dict[str, Any], out: Path | None, *, own_tokenizer: bool) -> None:
    _show_sources(plan)
    batches, tokens, sent = plan["batches"], plan["tokens"], plan["embeddings"]
    exact = plan["tokens_counted_by"] != ESTIMATE
    click.echo()
    click.echo(
        output.wrapped(
            f"{counted(plan['chunks'], 'chunk')} in new and changed documents;"
            f" {output.number(plan['reused_chunks'])} of them repeat a known text."
        )
    )
    if not sent["to_send"]:
        _line("to send", "nothing: no text waits to be sent")
    else:
        _show_sending(plan, exact)
    show_price(plan["price_usd"])
    show_finish(plan["finish"], plan["as_of"], batches["count"])
    if plan["written"]:
        click.echo(f"\nWritten to {output.printable(plan['written'])}; nothing was sent.")
    if out is not None:
        file = output.printable(shlex.quote(str(out)))
        click.echo(f"\nThe plan is written: `voyage-jobs sync --plan {file}` carries it out.")
    if not exact and tokens["to_send"] and plan["price_usd"]["batch_per_million"] != 0:
        click.echo()
        click.echo(output.wrapped(estimate_told(plan["calibration"], own_tokenizer=own_tokenizer)))
    for warning in plan["warnings"]:
        click.echo("\n" + output.hanging("! ", warning))


def _show_sending(plan: dict[str, Any], exact: bool) -> None:
    """What would be sent, in how many batches, and where most of it comes from."""
    sent, tokens, batches = plan["embeddings"], plan["tokens"], plan["batches"]
    _line("to send", f"{counted(sent['to_send'], 'embedding')}, {tokens_told(tokens['to_send'], exact)}")
    if sent["already_waiting"]:
        _line("", f"{output.number(sent['already_waiting'])} of them were found by earlier scans")
    if plan["max_inputs"] is not None:
        _line("at most", f"{counted(plan['max_inputs'], 'input')} now (--max-inputs)")
    _line(
        "in",
        f"{counted(batches['count'], 'batch')}, {counted(batches['inputs'], 'input')},"
        f" {output.size(batches['bytes'])}, {tokens_told(batches['tokens'], exact)}",
    )
    if fresh := plan["fresh"]["calls"]:
        what = f"{counted(plan['fresh']['documents'], 'document')}, {tokens_told(plan['fresh']['tokens'], exact)}"
        calls, price = counted(fresh, "call"), output.usd(plan["fresh"]["usd"])
        _line("at once", f"{what} in {calls}: {price}, to be fresh")
    if plan["windows"]:
        from voyage_jobs.splitting.windows import insertion_told

        _line("windows", f"{output.number(plan['windows']['count'])}; {insertion_told(plan['windows'])}")
    _show_dearest(plan["dearest"], exact)


def _show_sources(plan: dict[str, Any]) -> None:
    from voyage_jobs.report.parts import data_left_out, parts_left_out
    from voyage_jobs.report.passed_over import passed_over

    counts = ("new", "changed", "moved", "vanished", "unchanged")
    rows = []
    for source in plan["sources"]:
        skipped = sum(source["skipped"].values())
        numbers = [output.number(source[name]) for name in counts]
        rows.append((source["name"], *numbers, output.number(skipped), output.number(source["chunks"])))
    columns = ("source", *counts, "skipped", "chunks")
    spare = ("unchanged", "moved", "skipped", "vanished", "changed")
    output.show(output.table(columns, rows, right=columns[1:], spare=spare))
    for source in plan["sources"]:
        if source["skipped"]:
            reasons = ", ".join(f"{count} {reason}" for reason, count in source["skipped"].items())
            click.echo(output.wrapped(f"Skipped in {source['name']}: {reasons}"))
        if source["left_out"]:
            rules = ", ".join(
                _LEFT_OUT[rule].format(counted(count, "path")) for rule, count in source["left_out"].items()
            )
            click.echo(output.wrapped(f"Left out of {source['name']}: {rules}"))
        if others := passed_over(source["name"], source["passed_over"]):
            click.echo(output.wrapped(others))
        if data := data_left_out(source["name"], source["data"]):
            click.echo(output.wrapped(data))
        if parts := parts_left_out(source["name"], source["parts_left_out"]):
            click.echo(output.wrapped(parts))
        if source["kept"]:
            click.echo(
                f"Kept of {source['name']} although their files are gone: {output.number(source['kept'])}"
            )


_LEFT_OUT = {"gitignored": "{} by .gitignore", "generated": "{} generated by tools"}


def _show_dearest(dearest: dict[str, Any], exact: bool) -> None:
    """Where most of it is spent; nothing where there is one file, or no folder."""
    for what in ("folders", "files"):
        if what == "folders" or len(dearest["files"]) > 1:
            for at, each in enumerate(dearest[what]):
                name = output.printable(f"{each['source']}:{each['path']}")
                head = "" if at else f"dearest {what}"
                click.echo(f"{head:<16}{tokens_told(each['tokens'], exact)}  {name}")


def show_price(price: dict[str, Any]) -> None:
    """The lines about the price of a plan."""
    if price["batch"] is None:
        _line("price", f"not known for this model (table of {price['as_of']})")
        return
    of_a_million = f"${price['batch_per_million']:g} per million tokens, {price['as_of']}"
    by_batch = " by batch" if price["batch_per_million"] != price["synchronous_per_million"] else ""
    _line("price", f"{output.usd(price['batch'])}{by_batch} ({of_a_million})")
    if by_batch and price["batch"]:
        dear, saved = output.usd(price["synchronous"]), output.usd(price["saved_by_batch"])
        _line("", f"{dear} by the synchronous endpoint: {saved} saved by batch")
    if price["saved_by_reuse"]:
        _line("", f"{output.usd(price['saved_by_reuse'])} saved by reuse of what is known")


def show_finish(finish: dict[str, Any], as_of: str, count: int) -> None:
    """The line about when `count` batches would be over."""
    if not count:
        return
    if finish["likely_at"] is None:
        window_s = finish["window_s"]
        most = f" (at most {output.duration(window_s)} each)" if window_s else ""
        _line("finish", f"unknown: no batch has finished here yet{most}")
        return
    now = datetime.fromisoformat(as_of)
    likely, late = (
        output.duration((datetime.fromisoformat(finish[key]) - now).total_seconds())
        for key in ("likely_at", "late_at")
    )
    known = counted(finish["batches_known"], "batch")
    _line("finish", f"likely in {likely}, {late} at the 90th percentile of {known}")


def _line(label: str, text: str) -> None:
    click.echo(output.hanging(f"{label:<16}", text))


def estimate_told(found: dict[str, Any] | None, *, own_tokenizer: bool) -> str:
    """Which estimate the tokens are, and what they are likely to come to where batches of before tell that. None is
    fetched in place of a tokenizer of one's own: a warning says what is the matter with that."""
    exact = "" if own_tokenizer else " Exact ones: `voyage-jobs fetch-tokenizer`"
    if found is None:
        return f"Tokens are estimated on the high side.{exact}"
    usd = found["batch_usd_likely"]
    likely = f"{output.number(found['tokens_likely'])} tokens" + (
        "" if usd is None else f", {output.usd(usd)}"
    )
    last = "the last batch" if found["batches"] == 1 else f"the last {counted(found['batches'], 'batch')}"
    known = f"of {last} {found['billed_share']:.0%} of the estimate was billed"
    return f"Tokens are estimated on the high side: {known}, which makes these about {likely}.{exact}"


def tokens_told(count: int, exact: bool) -> str:
    """`1,234 tokens`, and whether that is an estimate."""
    return f"{output.number(count)} tokens" + ("" if exact else " (estimated)")
