"""`expedite`: one document now, at the full price, said beforehand."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from voyage_jobs.cli import output
from voyage_jobs.cli.context import json_option, settings_of, start_logging
from voyage_jobs.cli.exits import ExitCode
from voyage_jobs.core.plural import counted

if TYPE_CHECKING:
    from voyage_jobs.config import Settings


@click.command(short_help="Embed one document at once, at the full price.")
@click.argument("path")
@click.option("--source", metavar="NAME", help="Look for the document in this source only.")
@click.option("--yes", is_flag=True, help="Agree to the price; without a terminal it must be said so.")
@click.option("--dry-run", is_flag=True, help="Say what would be sent, and its price; send nothing.")
@click.option(
    "--also-in-flight",
    is_flag=True,
    help="Send what waits in a batch, too: what the provider has is then paid twice.",
)
@json_option
@click.pass_context
def expedite(
    ctx: click.Context,
    path: str,
    *,
    source: str | None,
    yes: bool,
    dry_run: bool,
    also_in_flight: bool,
    as_json: bool,
) -> int:
    """Embed what document PATH lacks at once, by the synchronous API at its full price, and publish it.

    PATH is relative to its source, SOURCE:PATH, or absolute. The file is read as it is now. What would be sent, and
    what it costs, is said first; what waits in a batch is not sent again. A running daemon does it; Ctrl-C leaves it
    at that. Batches and budgets go on as before: nothing else is ever sent at this price.

    An answer that gets lost may have been billed. It is not asked for again by itself, and shown as maybe paid
    (`voyage-jobs cost`).

    \b
    Exit codes: 0  the table shows the document
                2  wrong use, no --yes, over budget, or changed; nothing was sent
                3  something of it still waits, or may have been paid in vain
                5  the provider refuses the key or the account
              130  stopped by Ctrl-C, 143 by SIGTERM
    """
    from voyage_jobs.core.clock import SystemClock
    from voyage_jobs.report.expedite import preview
    from voyage_jobs.service.signals import EXIT_BASE

    settings, clock = settings_of(ctx), SystemClock()
    offer = preview(settings, clock, path, source, also_in_flight=also_in_flight)
    if not as_json:
        _show(offer)
    if dry_run or not (offer["send"]["texts"] or offer["changed_since_scan"] or offer["state"] == "ready"):
        if as_json:
            output.emit_json({"dry_run": dry_run, "preview": offer, "result": None})
        elif not dry_run:
            click.echo("There is nothing to send.")
        return ExitCode.DONE if dry_run else _code_of_nothing(offer)
    _demand_consent(offer, yes=yes, as_json=as_json)
    if offer["send"]["texts"]:
        settings.api_key()  # none: say so before anything is done
    start_logging(ctx, "error")
    answer, stopped_by = _carry_out(settings, clock, offer, also_in_flight=also_in_flight)
    if as_json:
        output.emit_json({"dry_run": False, "preview": offer, "result": answer})
    else:
        _tell(answer)
    return _code_of(answer) if stopped_by is None else EXIT_BASE + stopped_by


# --- beforehand ---


def _show(offer: dict[str, Any]) -> None:
    from voyage_jobs.sources.names import display

    send = offer["send"]
    about = "" if send["exact"] else "about "
    click.echo(f"{offer['source']}:{output.printable(display(offer['path']))}")
    if offer["changed_since_scan"]:
        click.echo("  its file is new or has changed since the last scan: it is read as it is now")
    click.echo(
        f"  to send     {counted(send['texts'], 'text')}, {about}{output.number(send['tokens'])} tokens"
    )
    if send["texts"]:
        price, batch = output.usd(send["usd"]), output.usd(send["usd_by_batch"])
        click.echo(f"  price       {price} now, at the full price; {batch} by batch")
    if offer["paid_twice"] and offer["paid_twice"]["texts"]:
        twice = offer["paid_twice"]
        click.echo(
            f"  paid twice  {counted(twice['texts'], 'text')} of these, {output.number(twice['tokens'])} tokens:"
        )
        click.echo("              a batch has them, and its results are paid all the same")
    for ref, texts in offer["in_batches"].items():
        click.echo(f"  not sent    {counted(texts, 'text')}: in batch {ref}")
    if offer["in_batches"]:
        click.echo("              (--also-in-flight sends these; a job made already is paid, too)")
    if offer["failed"] or offer["cancelled"]:
        stuck = offer["failed"] + offer["cancelled"]
        click.echo(f"  not sent    {counted(stuck, 'text')}: failed or cancelled; see `voyage-jobs retry`")
    if offer["held"]:
        click.echo(f"  here        {counted(offer['held'], 'text')} with vectors already")
    for limit in offer["over_budget"]:
        left = output.number(limit["tokens_left"])
        click.echo(f"  budget      {limit['limit']} allows {left} tokens at this price")


def at_a_terminal() -> bool:
    """Whether somebody is there to be asked."""
    return sys.stdin.isatty()


def _demand_consent(offer: dict[str, Any], *, yes: bool, as_json: bool) -> None:
    from voyage_jobs.errors import ConfigError

    if offer["over_budget"]:
        limit = offer["over_budget"][0]
        raise ConfigError(
            f"{limit['limit']} allows {limit['tokens_left']:,} tokens at the full price,"
            f" {offer['send']['tokens']:,} are to be sent. Nothing was sent.",
            hint="Raise it, or leave the document to the batches.",
        )
    if yes or not offer["send"]["tokens"]:
        return
    if as_json or not at_a_terminal():
        raise ConfigError(
            "Nothing was sent: the price was not agreed to.", hint="Say --yes, or --dry-run to only look."
        )
    if not click.confirm("Send it?", err=True):
        raise click.Abort


# --- doing it ---


def _carry_out(
    settings: Settings, clock: Any, offer: dict[str, Any], *, also_in_flight: bool
) -> tuple[dict[str, Any] | None, int | None]:
    """What came of it (None: it goes on elsewhere), and the signal that ended the waiting."""
    from voyage_jobs.cli.acts import who
    from voyage_jobs.core.clock import now_us
    from voyage_jobs.service.ask import Leisure, ask
    from voyage_jobs.service.signals import Signals
    from voyage_jobs.telemetry.logs import get_logger

    order = clock.token()
    arguments = {
        "order": order,
        "asked_at": now_us(clock),
        "source": offer["source"],
        "path": offer["path"],
        "also_in_flight": also_in_flight,
        "most_tokens": offer["send"]["tokens"],
    }
    with output.progress() as progress, Signals() as signals:
        leisure = Leisure(progress, signals.stopping, _watcher(settings, order, progress, signals.stopping))
        reply = ask(settings, clock, get_logger(), "expedite", arguments, who(), at_leisure=leisure)
        return reply.answer, signals.stopped_by


def _watcher(
    settings: Settings, order: str, progress: output.Report, stopping: threading.Event
) -> Callable[[], bool]:
    """Shows how far the process at work is; Ctrl-C ends the waiting, not the work."""
    from voyage_jobs.state import orders
    from voyage_jobs.state.door import open_state

    def waits() -> bool:
        with open_state(settings).read() as connection:
            made = orders.batches_of(connection, order)
        if made:
            done = sum(batch.inputs for batch in made if batch.ended_at is not None)
            progress("expediting", done, None)
        else:
            progress("waiting for the running process", 0, None)
        return stopping.is_set()

    return waits


# --- afterwards ---


def _tell(answer: dict[str, Any] | None) -> None:
    if answer is None:
        click.echo("The running process continues with it; `voyage-jobs history` tells the rest.")
        return
    done, maybe, left = answer["expedited"], answer["maybe_paid"], answer["left"]
    if answer["interrupted"]:
        click.echo(
            "The process that did it ended in the middle. This is what is on record; nothing was sent again."
        )
    if done["texts"] or done["tokens"]:
        paid = f"{output.number(done['tokens'])} tokens, {output.usd(done['usd'])}"
        click.echo(f"Embedded {counted(done['texts'], 'text')}: {paid}.")
    if maybe["texts"]:
        cost = f"{output.number(maybe['tokens'])} tokens, {output.usd(maybe['usd'])}"
        click.echo(f"Maybe paid: {counted(maybe['texts'], 'text')}, at most {cost}.")
        click.echo("  The answer was lost, and nobody can tell whether it was billed. To ask")
        click.echo("  again now may be to pay twice; by themselves they come by batch.")
    stopped = answer["stopped"]
    if stopped is not None:
        click.echo(f"{stopped['code']}: {output.printable(stopped['message'])}", err=True)
        if stopped["hint"]:
            click.echo(f"  {output.printable(stopped['hint'])}", err=True)
    _show_left(left)
    click.echo(_STANDS.get(answer["state"] or "", "Nothing of it is wanted."))


def _show_left(left: dict[str, Any]) -> None:
    for ref, texts in left["in_batches"].items():
        click.echo(f"To come with batch {ref}: {counted(texts, 'text')}.")
    if left["malformed"]:
        click.echo(f"Answered with something that is not a vector: {counted(left['malformed'], 'text')}.")
    if left["without_text"]:
        click.echo(
            f"Not to be read now, which the next scan sees to: {counted(left['without_text'], 'text')}."
        )
    if left["wanted"]:
        click.echo(f"Left for the next batch: {counted(left['wanted'], 'text')}.")
    if left["failed"] or left["cancelled"]:
        stuck = left["failed"] + left["cancelled"]
        click.echo(f"Failed or cancelled, for `voyage-jobs retry`: {counted(stuck, 'text')}.")


_STANDS = {
    "published": "The table shows the document as it is now.",
    "ready": "All its vectors are here; the next publication shows it.",
    "waiting": "The table shows it once the rest is here.",
}


def _code_of_nothing(offer: dict[str, Any]) -> ExitCode:
    """Nothing is to be sent: done if nothing is lacking either."""
    lacking = offer["in_batches"] or offer["failed"] or offer["cancelled"]
    return ExitCode.UNFINISHED if lacking else ExitCode.DONE


def _code_of(answer: dict[str, Any] | None) -> ExitCode:
    if answer is None:
        return ExitCode.UNFINISHED
    stopped = answer["stopped"]
    from voyage_jobs.diagnosis.circuits import ACCOUNT_CODES

    if stopped is not None and stopped["code"] in ACCOUNT_CODES:
        return ExitCode.REFUSED
    whole = (
        answer["state"] == "published" and not answer["left"]["total"] and not answer["maybe_paid"]["texts"]
    )
    return ExitCode.DONE if whole else ExitCode.UNFINISHED
