"""`voyage-jobs sync` and `voyage-jobs run`: the same steps, once to their end or until stopped."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from voyage_jobs.cli import paths
from voyage_jobs.cli.context import (
    frame_of,
    json_option,
    load_again,
    settings_of,
    start_logging,
)
from voyage_jobs.cli.numbers import Finite, Whole
from voyage_jobs.core.bounds import LONGEST_S, MOST, MOST_USD
from voyage_jobs.core.plural import counted

if TYPE_CHECKING:
    from voyage_jobs.config import Settings
    from voyage_jobs.service.sync import Outcome


@click.command()
@click.option(
    "--dry-run", is_flag=True, help="Show what would be sent, and its price; send nothing (`plan`)."
)
@click.option(
    "--write",
    "folder",
    type=paths.FOLDER,
    metavar="DIR",
    help="With --dry-run: leave the exact JSONL files that would be uploaded in this (new or empty) folder.",
)
@click.option("--no-wait", is_flag=True, help="Send and collect what is possible now; wait for no job.")
@click.option(
    "--max-inputs",
    type=Whole(1, MOST),
    metavar="N",
    help="Send at most N inputs in this call: a first small try.",
)
@click.option(
    "--plan",
    "plan_file",
    type=paths.FILE,
    metavar="FILE",
    help="Send exactly what `plan --out FILE` wrote, or nothing if anything has changed since.",
)
@click.option(
    "--max-usd",
    type=Finite(0, MOST_USD),
    metavar="USD",
    help="Send texts for at most this many US dollars in this call.",
)
@click.option(
    "--max-tokens",
    type=Whole(0, MOST),
    metavar="N",
    help="Send at most N tokens in this call.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=Finite(0, LONGEST_S),
    metavar="SECONDS",
    help="End after this time, whatever remains.  [default: no limit]",
)
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but what is wrong.")
@json_option
@click.pass_context
def sync(
    ctx: click.Context,
    *,
    dry_run: bool,
    folder: Path | None,
    quiet: bool,
    no_wait: bool,
    max_inputs: int | None,
    plan_file: Path | None,
    max_usd: float | None,
    max_tokens: int | None,
    timeout_s: float | None,
    as_json: bool,
) -> int:
    """Bring the table up to date once: scan, send, wait for the jobs, publish, end.

    Texts that have a vector already are not sent. Jobs take minutes as a rule; Voyage promises 12 hours at
    most, OpenAI 24. Stop it whenever you like (Ctrl-C): jobs at the provider keep running, and the next call resumes.

    \b
    Exit codes: 0  the table shows everything
                2  the plan is not valid any more; nothing was sent
                3  work remains (a limit, a budget, --no-wait), or items failed
                5  the provider refuses the key or the account
                6  you must decide something; everything else is done
              130  stopped by Ctrl-C, 143 by SIGTERM
    """
    from voyage_jobs.planning.file import read_plan
    from voyage_jobs.service.outcome import exit_code, summary

    if folder is not None and not dry_run:
        raise click.UsageError("--write goes with --dry-run.")
    if dry_run:
        _demand_a_plan(
            no_wait=no_wait, plan=plan_file, max_usd=max_usd, max_tokens=max_tokens, timeout=timeout_s
        )
        _plan_instead(ctx, as_json=as_json, folder=folder, max_inputs=max_inputs)
        return 0
    if plan_file is not None and max_inputs is not None:
        raise click.UsageError("--max-inputs belongs to `plan --out`: a plan is carried out as it is.")
    settings = settings_of(ctx)
    settings.demand_secrets()
    outcome, stopped_by = _synced(
        ctx,
        settings,
        quiet=quiet,
        plan=None if plan_file is None else read_plan(plan_file),
        wait=not no_wait,
        most_inputs=max_inputs,
        max_usd=max_usd,
        max_tokens=max_tokens,
        timeout_s=timeout_s,
    )
    _tell(summary(outcome, settings, stopped_by), as_json, quiet)
    return exit_code(outcome.ending, stopped_by)


def _synced(ctx: click.Context, settings: Settings, *, quiet: bool, **how: Any) -> tuple[Outcome, int | None]:
    """Do it, with the progress on the screen; what came of it, and by which signal it was stopped."""
    from voyage_jobs.cli.display import Display
    from voyage_jobs.core.clock import SystemClock, now_us
    from voyage_jobs.service.once import sync_once
    from voyage_jobs.service.signals import Signals
    from voyage_jobs.telemetry.logs import get_logger

    clock = SystemClock()
    with Display(quiet=quiet) as display, Signals() as signals:
        start_logging(ctx, "error" if quiet else "warning" if display.shown else None)
        outcome = sync_once(
            settings,
            clock,
            get_logger(),
            signals,
            progress=display.report,
            watch=lambda rest: display.waiting(rest, now_us(clock)),
            **how,
        )
    return outcome, signals.stopped_by


@click.command()
@click.pass_context
def run(ctx: click.Context) -> None:
    """Keep the table up to date until stopped (the daemon).

    It scans the sources every `scan_interval_s`, gathers new texts for up to `linger_s`, sends them, collects the
    results and publishes. It waits out every error that can pass; `voyage-jobs status` shows them.

    SIGTERM or Ctrl-C: finish the current step and end with 0; jobs at the provider keep running and are collected after
    the next start. Ctrl-C twice: end at once (130). SIGHUP: read the configuration again. A kill at any moment does
    no harm.
    """
    from voyage_jobs.cli.page import page_of
    from voyage_jobs.core.clock import SystemClock
    from voyage_jobs.core.observe import together
    from voyage_jobs.service import daemon
    from voyage_jobs.service.signals import Signals
    from voyage_jobs.service.systemd import Manager
    from voyage_jobs.telemetry.logs import get_logger
    from voyage_jobs.telemetry.tracing import tracing

    settings = settings_of(ctx)
    settings.demand_secrets()
    start_logging(ctx, daemon=True)
    if sys.stderr.isatty():
        _announce(settings)
    log, clock = get_logger(), SystemClock()

    def accept(fresh: Settings) -> None:
        frame_of(ctx).settings = fresh
        start_logging(ctx, daemon=True)

    with (
        tracing(settings, clock) as traced,
        Signals(hangup=True) as signals,
        page_of(settings, clock, log) as (page, counting),
    ):
        daemon.run(
            settings,
            clock,
            log,
            signals,
            reload=lambda: load_again(ctx),
            accept=accept,
            manager=Manager.from_environment(os.environ),
            observer=together([*counting, *traced]),
            page=page,
        )


def _announce(settings: Settings) -> None:
    from voyage_jobs.cli.output import printable
    from voyage_jobs.version import __version__

    asked, lance = settings.section, settings.lancedb
    rows = [
        ("config", str(settings.origin) if settings.origin else "from the environment"),
        ("data", str(settings.data_dir)),
        *((f"source {source.name}", str(source.path)) for source in settings.sources),
        ("model", f"{asked.model}, {asked.output_dimension} x {asked.output_dtype}"),
        *([("at", asked.base_url)] if asked.base_url else []),
        ("table", f"{lance.table} in {lance.uri}"),
        ("key", f"from {settings.api_key.describe()}"),
        *([("page", f"http://{settings.server.listen}/")] if settings.server.listen else []),
    ]
    click.echo(
        f"voyage-jobs {__version__}. Ctrl-C stops it; `voyage-jobs status` shows where everything is.",
        err=True,
    )
    for name, text in rows:
        click.echo(f"  {name:<14} {printable(text)}", err=True)


def _demand_a_plan(**others: object) -> None:
    """Raise UsageError for an option that a plan does not know."""
    for name, value in others.items():
        if value not in (None, False):
            raise click.UsageError(f"--dry-run and --{name.replace('_', '-')} do not go together.")


def _plan_instead(ctx: click.Context, **options: object) -> None:
    from voyage_jobs.cli.plan import plan

    ctx.invoke(plan, out=None, **options)


def _tell(report: dict[str, Any], as_json: bool, quiet: bool) -> None:
    from voyage_jobs.cli.output import duration, emit_json, number, printable, usd

    if as_json:
        emit_json(report)
        return
    documents, batches, tokens, cost = (report[key] for key in ("documents", "batches", "tokens", "cost_usd"))
    removed = f", {number(documents['removed'])} removed" if documents["removed"] else ""
    rows = [
        (
            "published",
            f"{counted(documents['published'], 'document')}, {counted(report['chunks_published'], 'chunk')}{removed}",
        ),
        ("sent", f"{counted(report['embeddings_sent'], 'embedding')} in {counted(batches['sent'], 'batch')}"),
        ("collected", f"{counted(batches['collected'], 'batch')}"),
        ("paid", f"{counted(tokens['settled'], 'token')}, {usd(cost['settled'])}"),
        ("table", f"{report['table']['name']} in {printable(report['table']['uri'])}"),
    ]
    if tokens["saved"]:
        saved = f"{number(tokens['saved'])} tokens, {usd(cost['saved'])}: repeated texts are sent once"
        rows.insert(-1, ("saved", saved))
    head = _HEADS[report["result"]]
    if report["result"] == "person" and any(p["moved_by"] != "decision" for p in report["problems"]):
        head = _HEAD_OF_BOTH
    if not quiet:
        click.echo(head.format(duration(report["elapsed_s"])))
        for name, text in rows:
            click.echo(f"  {name:<10} {text}")
    for problem in report["problems"]:
        click.echo(f"{problem['code']}: {printable(problem['message'])}", err=True)
        click.echo(f"  {printable(problem['hint'])}", err=True)


_HEADS = {
    "done": "Done after {}.",
    "unfinished": "Work remains, after {}.",
    "refused": "The provider refuses the key or the account ({}).",
    "person": "Needs your decision. Everything else is done ({}).",
    "stopped": "Stopped after {}; nothing is lost.",
}
_HEAD_OF_BOTH = "Needs your decision, and work remains ({})."
