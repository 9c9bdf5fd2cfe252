"""`voyage-jobs reprofile`: another model, or other vectors, on purpose: a new table beside the one that is shown."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from voyage_jobs.cli import output
from voyage_jobs.cli.context import json_option, settings_of, start_logging
from voyage_jobs.cli.exits import ExitCode
from voyage_jobs.core.plural import counted

if TYPE_CHECKING:
    from voyage_jobs.config import Settings
    from voyage_jobs.diagnosis.rebuild import Vectors

_GOES_ON = "`voyage-jobs sync` builds it now, `voyage-jobs run` beside its other work."


@click.command()
@click.option("--yes", is_flag=True, help="Begin without asking.")
@click.option("--hold", is_flag=True, help="Build it, but do not switch to it before --switch.")
@click.option("--switch", is_flag=True, help="Make the switch that --hold deferred.")
@click.option("--status", "show", is_flag=True, help="Show the progress and cost of a new table.")
@click.option("--abandon", is_flag=True, help="Abandon the new table. What was paid for is kept.")
@click.option("--switch-back", is_flag=True, help="Bring back the previous table, at no cost.")
@click.option("--accept-failures", is_flag=True, help="Switch without what cannot be embedded.")
@json_option
@click.pass_context
def reprofile(
    ctx: click.Context,
    *,
    yes: bool,
    hold: bool,
    switch: bool,
    show: bool,
    abandon: bool,
    switch_back: bool,
    accept_failures: bool,
    as_json: bool,
) -> int:
    """Embed everything again as it is configured now, into a new table that replaces this one when it is complete.

    Change model, output_dimension, output_dtype, input_type or endpoint in the configuration first; until you call
    this, nothing is sent. It shows what the change costs, and asks. Readers see the present table, as it is now, until
    every document has its new vectors; then one commit replaces it. The previous table is kept for
    lancedb.keep_previous_s (7 days), and --switch-back brings it back at no cost. With --hold the switch waits, so that
    `voyage-jobs eval` can compare the two tables first.

    \b
    Exit codes: 0  done, or begun
                2  it makes no sense now
                6  it would cost something, and nobody has said yes
    """
    from voyage_jobs.steps import reprofile as acts

    asked = {
        acts.ABANDON: abandon,
        acts.BACK: switch_back,
        acts.ACCEPT: accept_failures,
        acts.SWITCH: switch,
    }
    wanted = [what for what, given in asked.items() if given]
    if len(wanted) + show > 1 or ((yes or hold) and (wanted or show)):
        raise click.UsageError(
            "Give one of --yes, --status, --abandon, --switch, --switch-back and --accept-failures."
        )
    settings = settings_of(ctx)
    if show:
        return _show_status(settings, as_json)
    if wanted:
        return _tell(_ask(ctx, settings, {"do": wanted[0]}), as_json)
    return _begin(ctx, settings, yes, hold, as_json)


def _begin(ctx: click.Context, settings: Settings, yes: bool, hold: bool, as_json: bool) -> int:
    from voyage_jobs.config.profile import profile_of
    from voyage_jobs.errors import StateError

    found = _look(settings)
    if found.table is None:
        raise StateError(
            f"Nothing was embedded in {settings.data_dir} yet: there is nothing to embed again.",
            hint="`voyage-jobs sync` begins with what the configuration asks for.",
        )
    if found.build is not None and not found.changed and not hold:
        return _show_status(settings, as_json)
    change = found.build is None and found.changed
    if change and not yes and not _confirmed(settings, found, as_json):
        return ExitCode.OPERATOR
    arguments = {"do": "begin", "target": profile_of(settings).to_json(), "hold": hold}
    return _tell(_ask(ctx, settings, arguments), as_json)


def _look(settings: Settings) -> Vectors:
    from voyage_jobs.core.clock import SystemClock, now_us
    from voyage_jobs.diagnosis.rebuild import look
    from voyage_jobs.state.door import open_state

    with open_state(settings).read() as connection:
        return look(connection, settings, now_us(SystemClock()))


def _ask(ctx: click.Context, settings: Settings, arguments: dict[str, object]) -> dict[str, Any]:
    """Have it done, here or by the process at work."""
    from voyage_jobs.cli.acts import who
    from voyage_jobs.core.clock import SystemClock
    from voyage_jobs.service.ask import ask
    from voyage_jobs.telemetry.logs import get_logger

    start_logging(ctx, "error")
    reply = ask(settings, SystemClock(), get_logger(), "reprofile", arguments, who())
    return {
        "done": reply.answer is not None,
        "by": "this call" if reply.here else "running process",
        **(reply.answer or {}),
    }


# --- what it would cost ---


def _confirmed(settings: Settings, found: Vectors, as_json: bool) -> bool:
    """Say what it costs, and ask where there is somebody to ask."""
    from voyage_jobs.core.clock import SystemClock
    from voyage_jobs.diagnosis.rebuild import as_dict
    from voyage_jobs.planning.plan import plan

    with output.progress() as progress:
        cost = plan(settings, SystemClock(), progress=progress)
    if as_json:
        output.emit_json({"done": False, "state": "to be confirmed", "profile": as_dict(found), "plan": cost})
        return False
    _show_cost(settings, found, cost)
    if not at_a_terminal():
        click.echo("\nNothing was started; --yes starts it.")
        return False
    click.echo()
    if click.confirm("Build it?", default=False):
        return True
    click.echo("Nothing was started.")
    return False


def at_a_terminal() -> bool:
    """Whether somebody is there to be asked."""
    return sys.stdin.isatty()


def _show_cost(settings: Settings, found: Vectors, cost: dict[str, Any]) -> None:
    from voyage_jobs.cli.plan import estimate_told, show_finish, show_price, tokens_told
    from voyage_jobs.diagnosis.rebuild_words import plan_warning
    from voyage_jobs.vendors.tokenizer import ESTIMATE

    exact = cost["tokens_counted_by"] != ESTIMATE
    number, to_send = output.number, cost["embeddings"]["to_send"]
    reused = f"{number(cost['reused_chunks'])} need no vector of their own"
    rows = [
        ("table now", found.table.told if found.table else "-"),
        ("to build", found.asked.told),
        ("chunks", f"{number(cost['chunks'])}; {reused}"),
        ("to send", f"{counted(to_send, 'embedding')}, {tokens_told(cost['tokens']['to_send'], exact)}"),
    ]
    for name, told in rows:
        click.echo(f"{name:<16}{output.printable(told)}")
    show_price(cost["price_usd"])
    show_finish(cost["finish"], cost["as_of"], cost["batches"]["count"])
    keep = output.duration(settings.lancedb.keep_previous_s)
    text = (
        "The present table is shown, as it is now, until the new one is complete; edits made meanwhile are embedded for"
        f" the new one alone. After the switch the old one is kept for {keep}."
    )
    click.echo("\n" + click.wrap_text(text, 79))
    if not exact:
        click.echo("\n" + estimate_told(None, own_tokenizer=bool(settings.section.tokenizer)))
    known = found.table and plan_warning(found.asked, found.table)
    for warning in cost["warnings"]:
        if warning != known:
            click.echo("\n" + click.wrap_text(output.printable(warning), 79, "! ", "  "))


# --- how far it is ---


def _show_status(settings: Settings, as_json: bool) -> int:
    from voyage_jobs.diagnosis.rebuild import as_dict

    found = _look(settings)
    report = as_dict(found)
    if as_json:
        output.emit_json(report)
        return ExitCode.DONE
    for name, told in _status_rows(found, report):
        click.echo(f"{name:<16}{output.printable(told)}")
    for path in found.unread_paths:
        click.echo(f"  cannot be read: {output.printable(path)}")
    return ExitCode.DONE


def _status_rows(found: Vectors, report: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [("table now", found.table.told if found.table else "none yet")]
    if found.changed:
        rows.append(("asked for", f"{found.asked.told}; nothing is sent"))
    building = report["building"]
    if building is None:
        rows.append(("being built", "nothing"))
    else:
        rows += _building_rows(found, building)
    previous = report["previous"]
    if previous is not None and found.previous is not None:
        rows.append(("kept", found.previous.profile.told))
        rows.append(("", f"until {previous['until_at']} (--switch-back)"))
    return rows


def _building_rows(found: Vectors, building: dict[str, Any]) -> list[tuple[str, str]]:
    number, usd = output.number, output.usd
    chunks, documents = building["chunks"], building["documents"]
    assert found.build is not None  # noqa: S101 - for the type checker: there is a report of it
    rows = [
        ("being built", found.build.target.told),
        ("begun", f"{building['began_at']} by {building['by']}"),
        ("documents", f"{number(documents['read'])} read, {number(documents['ready'])} of them complete"),
    ]
    if building["sources_to_read"]:
        rows.append(("to be read", ", ".join(building["sources_to_read"])))
    done = chunks["total"] - chunks["open"] - chunks["failed"]
    failed = f", {number(chunks['failed'])} failed" if chunks["failed"] else ""
    rows.append(("chunks", f"{number(done)} of {number(chunks['total'])} have their vectors{failed}"))
    if building["frozen_sources"]:
        rows.append(("frozen", ", ".join(building["frozen_sources"])))
    if documents["unread"] and not building["sources_to_read"]:
        rows.append(("not readable", f"{counted(documents['unread'], 'document')} of the present table"))
    cost, tokens = building["cost_usd"], building["tokens"]
    paid = f"{usd(cost['settled'])} for {number(tokens['settled'])} tokens, {usd(cost['reserved'])} reserved"
    rows.append(("paid so far", paid))
    if building["likely_at"]:
        rows.append(("likely complete", building["likely_at"]))
    if building["held"]:
        rows.append(("switch", "waits for --switch (--hold)"))
    elif building["blocked"]:
        rows.append(("switch", "waits for you: `retry`, or `reprofile --accept-failures`"))
    else:
        rows.append(("switch", "automatic, once everything is there"))
    return rows


# --- what came of it ---


def _tell(answer: dict[str, Any], as_json: bool) -> int:
    if as_json:
        output.emit_json({"command": "reprofile", **answer})
    elif not answer["done"]:
        click.echo("The running process has taken note and will do it when its present step is over.")
    else:
        click.echo(click.wrap_text(output.printable(_told(answer)), 79))
    return ExitCode.DONE if answer["done"] else ExitCode.UNFINISHED


def _told(answer: dict[str, Any]) -> str:
    here = answer["by"] == "this call"
    match answer["state"]:
        case "begun":
            goes_on = _GOES_ON if here else "The running process builds it now."
            return f"Begun: a table for {answer['target']}. {goes_on}"
        case "building":
            return f"A table for {answer['target']} is being built already."
        case "held":
            return f"The table for {answer['target']} is built, and not switched to before --switch."
        case "to be switched":
            goes_on = _GOES_ON if here else ""
            return f"The table for {answer['target']} is switched to once everything is there. {goes_on}"
        case "nothing to do":
            return f"The table has what the configuration asks for: {answer['target']}."
        case "abandoned":
            cancelled = (
                f"Being cancelled: {counted(answer['cancelled'], 'job')}; " if answer["cancelled"] else ""
            )
            return (
                f"Abandoned. {cancelled}what was paid for is kept. The table keeps {answer['table']}: set"
                " the configuration back to that."
            )
        case "accepted":
            return (
                f"The switch is made without {counted(answer['failed_chunks'], 'failed chunk')} and"
                f" {counted(answer['unread_documents'], 'document')} that cannot be read."
            )
    return (
        f"The table has {answer['table']} again, as it was before the switch; what has changed since follows. Set"
        " the configuration back to that: nothing is sent until then."
    )
