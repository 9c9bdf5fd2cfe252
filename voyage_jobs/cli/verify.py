"""`voyage-jobs verify`: do folders, state, segments, table and provider agree, and if not, mend it."""

from __future__ import annotations

from typing import Any

import click

from voyage_jobs.cli.context import json_option, settings_of, start_logging
from voyage_jobs.cli.exits import ExitCode
from voyage_jobs.core.plural import counted


@click.command()
@click.option(
    "--remote", is_flag=True, help="Look at the jobs and files at the provider, too (needs the key)."
)
@click.option("--deep", is_flag=True, help="Read every source file, also those that look unchanged.")
@click.option("--repair", is_flag=True, help="Repair what can be repaired. No other process may be running.")
@click.option("--dry-run", is_flag=True, help="With --repair: only show what it would do, and its price.")
@json_option
@click.pass_context
def verify(
    ctx: click.Context, remote: bool, deep: bool, repair: bool, dry_run: bool, as_json: bool
) -> ExitCode:
    """Compare folders, state, stored vectors and table with each other; with --remote, the provider too.

    Without --repair it only reads, and works beside a running process (it may then count what changes meanwhile). A
    repair costs nothing by itself: what must be embedded again is sent by the next `sync` or `run`.

    \b
    Exit codes: 0  everything agrees, or does so after --repair
                3  something differs and is not repaired
                4  --repair, and another process is running
                6  something differs that only you can repair
    """
    from voyage_jobs.cli.output import emit_json, progress
    from voyage_jobs.config.prices import batch_price
    from voyage_jobs.core.clock import SystemClock
    from voyage_jobs.maintenance.audit.repair import compare, foretell, verify_and_repair
    from voyage_jobs.maintenance.audit.verify import Scope, report
    from voyage_jobs.maintenance.audit.verify import verify as audit
    from voyage_jobs.state.door import open_state
    from voyage_jobs.telemetry.logs import get_logger

    if dry_run and not repair:
        raise click.UsageError("--dry-run goes with --repair.")
    settings, clock, scope = settings_of(ctx), SystemClock(), Scope(deep, remote)
    start_logging(ctx, "error")
    mended: list[dict[str, Any]] | None = None
    with progress() as bar:
        if repair and not dry_run:
            before, found = verify_and_repair(settings, clock, get_logger(), scope, progress=bar)
            mended = compare(before, found)
        else:
            found = audit(settings, clock, scope, progress=bar)
    result = report(found, clock, settings, scope, mended=mended)
    if dry_run:
        result["would"] = foretell(found, open_state(settings), batch_price(settings))
    if as_json:
        emit_json(result)
    else:
        _show(result)
    return exit_code(result)


def exit_code(result: dict[str, Any]) -> ExitCode:
    """The worst finding decides."""
    if result["clean"]:
        return ExitCode.DONE
    person = any(finding["person"] for finding in result["findings"])
    return ExitCode.OPERATOR if person else ExitCode.UNFINISHED


def _show(result: dict[str, Any]) -> None:
    from voyage_jobs.cli.output import number, printable, usd, wrapped

    for each in result["mended"] or ():
        done = "mended" if not each["left"] else f"{number(each['left'])} left"
        click.echo(f"{each['class']}: {number(each['count'])}, {done} ({each['do']})")
    checked = ", ".join(_counted(what, count) for what, count in result["checked"].items() if count)
    click.echo(f"Checked: {checked or 'nothing'}.")
    if result["checked"]["files"]:
        by = f"Files were compared by {result['compared_by']}; --deep reads them."
        click.echo("Every file was read." if result["deep"] else by)
    if result["clean"]:
        click.echo("Everything agrees.")
        return
    for finding in result["findings"]:
        found = _counted(finding["unit"], finding["count"])
        click.echo(f"\n{finding['class']}: {found}: {finding['means']}")
        for example in finding["examples"]:
            click.echo(f"  {printable(example)}")
        click.echo(f"  -> {finding['mend']}" + (" (only you can)" if finding["person"] else ""))
    click.echo("")
    if "would" in result:
        click.echo("--repair would, in this order:")
    for each in result.get("would", ()):
        done = "leave it to you" if each["person"] else each["do"]
        click.echo(f"  {each['class']}, {number(each['count'])}: {done}")
        if each["tokens"]:
            paid = f"about {number(each['tokens'])} tokens to be paid again, {usd(each['cost_usd'])}"
            click.echo(f"    {paid}")
    if result["at_work"] is not None:
        click.echo(f"Process {result['at_work']} is running: what is moving just now may be counted here.")
    if result["mended"] is not None or all(finding["person"] for finding in result["findings"]):
        return
    if "would" in result:
        click.echo("Nothing was changed; without --dry-run it is done.")
    else:
        click.echo(
            wrapped("`voyage-jobs verify --repair` repairs it; with --dry-run it says what it would do.")
        )


def _counted(what: str, count: int) -> str:
    """`packs`, the name of segments in the JSON of the first release, is not a word for people."""
    noun = {"packs": "segment", "indexes": "index", "batches": "batch"}.get(what, what.removesuffix("s"))
    return counted(count, noun.replace("_", " "))
