"""`status` and `batches`: where everything is, for people and for scripts."""

from __future__ import annotations

import contextlib
import select
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from voyage_jobs.cli import output
from voyage_jobs.cli.context import json_option, settings_of, short_lived
from voyage_jobs.cli.exits import ExitCode
from voyage_jobs.cli.numbers import MOST_SHOWN, Finite
from voyage_jobs.clock import SystemClock

if TYPE_CHECKING:
    from voyage_jobs.clock import Clock
    from voyage_jobs.config import Settings
    from voyage_jobs.diagnosis.blocker import Blocker

_ON_THE_WAY = ("waiting", "packed", "submitted", "held")


@click.command()
@json_option
@click.option("--watch", is_flag=True, help="Keep showing it; leave with q or Ctrl-C.")
@click.option(
    "--interval",
    "interval_s",
    type=Finite(0.2, 86_400),
    default=2.0,
    show_default=True,
    metavar="S",
    help="Seconds between two looks of --watch.",
)
@click.option(
    "--check", is_flag=True, help="Tell by the exit code: 0 healthy and done, 3, 5, 6 as in --help."
)
@click.option("--alive", is_flag=True, help="Only: 0 if a process works here and gets on, else 1.")
@click.pass_context
def status(
    ctx: click.Context, as_json: bool, watch: bool, interval_s: float, check: bool, alive: bool
) -> ExitCode | None:
    """Show where everything is: sources, chunks, batches, money, problems.

    It only looks: it works while the daemon writes, and never creates anything. With --check the exit code is 0 when
    all is published and well, 3 when work remains or items failed, 5 when the vendor refuses the key or the account,
    6 when a person must act.
    """
    with short_lived():
        settings, clock = settings_of(ctx), SystemClock()
    if alive:
        if as_json or check or watch:
            raise click.UsageError("--alive goes alone.")
        return _alive(settings, clock)
    if watch:
        if as_json or check:
            raise click.UsageError("--watch goes with neither --json nor --check.")
        if not sys.stdout.isatty():
            raise click.UsageError("--watch needs a terminal; for scripts there is --json.")
        _watch(settings, clock, interval_s)
        return None
    with short_lived():
        from voyage_jobs.report.status import look

        report, problems = look(settings, clock)
    if as_json:
        output.emit_json(report)
    else:
        from voyage_jobs.cli.status_view import view

        output.show(view(report))
    return exit_code(report, problems) if check else None


def _alive(settings: Settings, clock: Clock) -> ExitCode:
    from voyage_jobs.report.alive import pulse

    found = pulse(settings, clock)
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
        return ExitCode.PERSON
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
@click.option(
    "--limit",
    type=click.IntRange(1, MOST_SHOWN),
    default=50,
    show_default=True,
    help="The most that are shown.",
)
@click.pass_context
def batches(ctx: click.Context, as_json: bool, everything: bool, limit: int) -> None:
    """List the batches: those that are under way, or all of them."""
    from voyage_jobs.report.batches import listing

    settings, clock = settings_of(ctx), SystemClock()
    report = listing(settings, clock, everything=everything, limit=limit)
    if as_json:
        output.emit_json(report)
        return
    from voyage_jobs.cli.status_view import batch_table

    if report["batches"]:
        output.show(batch_table(report["batches"], report["as_of"]))
        if report["more"]:
            click.echo(f"\nThere are more; --limit {limit * 2} shows more of them.")
    else:
        click.echo("There are no batches." if everything else "No batch is open; --all shows closed ones.")
