"""`voyage-jobs notify`: who was told of what, and a test message for every sink."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from voyage_jobs.cli import output
from voyage_jobs.cli.context import json_option, settings_of
from voyage_jobs.cli.exits import ExitCode
from voyage_jobs.notify.events import MEANINGS

if TYPE_CHECKING:
    from voyage_jobs.config import Settings
    from voyage_jobs.notify.sinks import Sink

_SHOWN = 20


@click.command()
@click.option("--test", is_flag=True, help="Send a test message to every sink now, and show the results.")
@click.option(
    "--event",
    type=click.Choice(list(MEANINGS)),
    default=None,
    metavar="EVENT",
    help=f"With --test: the event to send: {', '.join(MEANINGS)}.  [default: finished]",
)
@json_option
@click.pass_context
def notify(ctx: click.Context, test: bool, event: str | None, as_json: bool) -> ExitCode:
    """Show where [notify] sends notifications, and the latest ones.

    --test works beside a running process or without one, and records nothing.

    \b
    Exit codes: 0  done; with --test: every sink accepted its message
                2  --test: [notify] names no sink, or the webhook has no secret
                3  --test: a sink did not accept its message
    """
    settings = settings_of(ctx)
    if event is not None and not test:
        raise click.UsageError("--event belongs to --test.")
    if test:
        return _test(settings, event or "finished", as_json)
    report = _report(settings)
    if as_json:
        output.emit_json(report)
    else:
        _show(report)
    return ExitCode.DONE


# --- a test ---


def _test(settings: Settings, event: str, as_json: bool) -> ExitCode:
    from voyage_jobs.core.clock import SystemClock, now_us
    from voyage_jobs.core.redact import redact
    from voyage_jobs.errors import ConfigError
    from voyage_jobs.notify.delivery import attempt
    from voyage_jobs.notify.message import message, sample
    from voyage_jobs.notify.notifier import sinks_of
    from voyage_jobs.notify.sinks import PingSink

    clock, wanted = SystemClock(), settings.notify
    settings.demand_notify_secret()
    body = message(sample(event), clock.token(), now_us(clock), settings, test=True)
    tries: list[tuple[Sink, bytes]] = [(sink, body) for sink in sinks_of(settings, clock).values()]
    if wanted.ping:
        kind = b"success" if event == "finished" else b"fail"
        tries.append((PingSink(wanted.ping, wanted.timeout_s), kind + b"\nThis is a test of voyage-jobs"))
    if not tries:
        raise ConfigError(
            "[notify] names no sink.",
            hint="Set command, webhook or ping there; see config.example.toml.",
        )
    results: list[dict[str, Any]] = []
    for sink, each in tries:
        began = clock.mono()
        error = attempt(sink, each)
        took_s = round(clock.mono() - began, 3)
        results.append(
            {"sink": sink.name, "ok": error is None, "error": error and redact(error), "took_s": took_s}
        )
        if not as_json:
            _show_try(results[-1])
    if as_json:
        output.emit_json({"event": event, "results": results})
    return ExitCode.DONE if all(result["ok"] for result in results) else ExitCode.UNFINISHED


def _show_try(result: dict[str, Any]) -> None:
    mark = "ok  " if result["ok"] else "BAD "
    said = f"took it in {result['took_s']:.1f} s" if result["ok"] else output.printable(result["error"])
    click.echo(f"{mark}{result['sink']}: {said}")


# --- what was told ---


def _report(settings: Settings) -> dict[str, Any]:
    from voyage_jobs.core.clock import iso
    from voyage_jobs.errors import StateError
    from voyage_jobs.state import notices
    from voyage_jobs.state.door import open_state

    wanted = settings.notify
    sinks = [name for name in ("command", "webhook", "ping") if getattr(wanted, name)]
    told: list[notices.Told] | None = None
    if open_state(settings).exists():
        try:
            with open_state(settings).read() as connection:
                told = notices.newest(connection, _SHOWN)
        except StateError:
            told = None
    else:
        told = []
    return {
        "sinks": sinks,
        "events": list(wanted.events),
        "notices": None
        if told is None
        else [
            {
                "id": each.token,
                "event": each.event,
                "key": each.key,
                "at": iso(each.at),
                "over_at": iso(each.over_at),
                "message": _message_of(each.body),
                "deliveries": [
                    {
                        "sink": sink,
                        "state": _state(done_at, error),
                        "failures": failures,
                        "error": error,
                    }
                    for sink, done_at, failures, error in each.sinks
                ],
            }
            for each in told
        ],
    }


def _message_of(body: bytes) -> str:
    import json

    return str(json.loads(body).get("message", ""))


def _state(done_at: int | None, error: str | None) -> str:
    if done_at is None:
        return "waiting"
    return "delivered" if error is None else "given_up"


def _show(report: dict[str, Any]) -> None:
    click.echo(f"Sinks: {', '.join(report['sinks']) or 'none ([notify] names no command, webhook or ping)'}")
    click.echo(f"Of:      {', '.join(report['events']) or 'nothing'}")
    if report["notices"] is None:
        click.echo("Notifications cannot be read: see `voyage-jobs status`.")
    elif not report["notices"]:
        click.echo("No notification yet.")
    else:
        click.echo()
        rows = [
            (
                each["at"],
                each["event"],
                each["message"],
                ", ".join(f"{sent['sink']} {sent['state']}" for sent in each["deliveries"]),
            )
            for each in report["notices"]
        ]
        output.show(output.table(("when", "event", "message", "delivered"), rows))
