"""`status` and `batches`: where everything is, for people and for scripts."""

from __future__ import annotations

import contextlib
import select
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from voyage_jobs.cli import output, paths
from voyage_jobs.cli.context import json_option, settings_of, short_lived
from voyage_jobs.cli.exits import ExitCode
from voyage_jobs.cli.numbers import Finite, limit_option
from voyage_jobs.core.clock import SystemClock

if TYPE_CHECKING:
    from voyage_jobs.config import Settings
    from voyage_jobs.core.clock import Clock
    from voyage_jobs.diagnosis.blocker import Blocker

_ON_THE_WAY = ("waiting", "packed", "submitted", "held")


@click.command()
@json_option
@click.option(
    "--markdown", is_flag=True, help="Report as a page of Markdown: for a CI job, a ticket, a mail."
)
@click.option(
    "--plan",
    "plan_file",
    type=paths.FILE_THERE,
    metavar="FILE",
    help="With --markdown: what `plan --json` said.",
)
@click.option(
    "--sync",
    "sync_file",
    type=paths.FILE_THERE,
    metavar="FILE",
    help="With --markdown: what `sync --json` said.",
)
@click.option("--metrics", is_flag=True, help="Report as Prometheus metrics: for work from cron or CI.")
@click.option(
    "--out",
    type=paths.FILE,
    metavar="FILE",
    help="With --metrics: write them to FILE, replaced as a whole.",
)
@click.option("--watch", is_flag=True, help="Keep showing it; leave with q or Ctrl-C.")
@click.option(
    "--interval",
    "interval_s",
    type=Finite(0.2, 86_400),
    default=2.0,
    show_default=True,
    metavar="S",
    help="With --watch: show it every S seconds.",
)
@click.option("--check", is_flag=True, help="Say by the exit code how things are.")
@click.option("--alive", is_flag=True, help="Say by the exit code (0 or 1) whether a process works.")
@click.pass_context
def status(
    ctx: click.Context,
    /,
    *,
    plan_file: Path | None,
    sync_file: Path | None,
    out: Path | None,
    interval_s: float,
    check: bool,
    **ways: bool,
) -> ExitCode | None:
    """Show the state of everything: sources, chunks, batches, money, problems.

    It reads only, and works while the daemon writes. The daemon serves the same at `/` and `/metrics` if [server] is
    set; without one, `serve` does.

    \b
    With --check:
      0  everything is published and well
      3  work remains, or items failed
      5  the provider refuses the key or the account
      6  you must decide something
    """
    with short_lived():
        settings, clock = settings_of(ctx), SystemClock()
    way = _only(ways, check=check, pages=plan_file or sync_file, out=out)
    if way == "alive":
        return _alive(settings, clock)
    if way == "watch":
        _watch(settings, clock, interval_s)
        return None
    if way == "metrics":
        from voyage_jobs.cli.metrics import metrics

        return metrics(settings, clock, out)
    if way == "markdown":
        from voyage_jobs.cli.summary import summary

        summary(settings, clock, plan_file, sync_file)
        return None
    with short_lived():
        from voyage_jobs.report.status import look

        report, problems = look(settings, clock)
    if way == "as_json":
        output.emit_json(report)
    else:
        from voyage_jobs.cli.status_view import view

        output.show(view(report))
    return exit_code(report, problems) if check else None


def _only(ways: dict[str, bool], *, check: bool, pages: Path | None, out: Path | None) -> str | None:
    """The one way in which it is shown, None for people. Raises UsageError for what does not go together."""
    asked = [way for way, on in ways.items() if on]
    way = asked[0] if asked else None
    if len(asked) > 1 or (check and way not in (None, "as_json")):
        both = [*asked, *(["check"] if check else [])][:2]
        raise click.UsageError(
            " and ".join(f"--{each.removeprefix('as_')}" for each in both) + " do not go together."
        )
    if pages is not None and way != "markdown":
        raise click.UsageError("--plan and --sync need --markdown.")
    if out is not None and way != "metrics":
        raise click.UsageError("--out needs --metrics.")
    if way == "watch" and not sys.stdout.isatty():
        raise click.UsageError("--watch needs a terminal; for scripts there is --json.")
    return way


def _alive(settings: Settings, clock: Clock) -> ExitCode:
    from voyage_jobs.report.alive import health

    found = health(settings, clock)
    click.echo(found.message)
    return ExitCode.DONE if found.alive else ExitCode.UNEXPECTED


def exit_code(report: dict[str, Any], problems: list[Blocker]) -> ExitCode:
    """What `--check` answers: the worst fact decides."""
    from voyage_jobs.diagnosis.blocker import Mover

    real = [problem for problem in problems if problem.severity == "problem"]
    movers = {problem.moved_by for problem in real}
    if Mover.ACCOUNT in movers:
        return ExitCode.REFUSED
    if Mover.DECISION in movers:
        return ExitCode.OPERATOR
    if any(problem.code == "state_unreadable" for problem in real):
        return ExitCode.UNEXPECTED
    remains = report["open_batches"] or any(report["chunks"][place] != 0 for place in _ON_THE_WAY)
    unseen = any(problem.code in ("never_scanned", "reprofiling") for problem in problems)
    return ExitCode.UNFINISHED if real or remains or unseen else ExitCode.DONE


def _watch(settings: Settings, clock: Clock, interval_s: float) -> None:
    from rich.live import Live

    from voyage_jobs.cli.status_view import view
    from voyage_jobs.report.status import look

    first = view(look(settings, clock)[0])
    live = Live(first, console=output.console(), auto_refresh=False, screen=True)
    with contextlib.suppress(KeyboardInterrupt), _keys() as pressed, live:
        while not pressed(interval_s, clock):
            live.update(view(look(settings, clock)[0]), refresh=True)


@contextlib.contextmanager
def _keys() -> Iterator[Any]:
    """A function that waits and tells whether `q` was pressed meanwhile; without a keyboard it only waits."""
    if not sys.stdin.isatty():
        yield lambda seconds, clock: clock.wait(seconds)
        return
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)

    def pressed(seconds: float, _clock: Clock) -> bool:
        ready, _, _ = select.select([sys.stdin], [], [], seconds)
        return bool(ready) and sys.stdin.read(1) in ("q", "Q", "")

    try:
        yield pressed
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


@click.command()
@json_option
@click.option("--all", "everything", is_flag=True, help="Closed ones, too, newest first.")
@limit_option()
@click.pass_context
def batches(ctx: click.Context, as_json: bool, everything: bool, limit: int) -> None:
    """List the open batches, oldest first: their states, jobs, deadlines and what holds them up.

    Those of `eval --batch` are marked: they ask for queries.

    `status` counts them; `history REF` and `why REF` say everything about one.
    """
    from voyage_jobs.evaluation.jobs import states
    from voyage_jobs.report.batches import listing

    settings, clock = settings_of(ctx), SystemClock()
    report = listing(settings, clock, everything=everything, limit=limit, of_queries=states(settings))
    if as_json:
        output.emit_json(report)
        return
    from voyage_jobs.cli.status_view import batch_table

    if report["batches"]:
        output.show(batch_table(report["batches"], report["as_of"]))
        if report["more"]:
            click.echo("\n" + output.wrapped(f"More batches exist; --limit {limit * 2} shows more of them."))
    else:
        click.echo("There are no batches." if everything else "No batch is open; --all shows closed ones.")
