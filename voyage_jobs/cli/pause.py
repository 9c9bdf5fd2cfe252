"""`voyage-jobs pause` and `resume`: let scanning and sending rest for a while."""

from __future__ import annotations

import re
from typing import Any

import click

from voyage_jobs.cli.acts import carry_out
from voyage_jobs.cli.context import json_option
from voyage_jobs.core.bounds import LONGEST_S
from voyage_jobs.core.plural import counted

_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_SPAN = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([smhd])")


class Span(click.ParamType[float]):
    """A length of time such as `90s`, `30m`, `2h` or `1d`, in seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds. Fails for anything else, and for no time at all."""
        match = _SPAN.fullmatch(str(value).strip().lower())
        if match is None or float(match[1]) == 0:
            self.fail(f"{value!r} is not a length of time: write it like 90s, 30m, 2h or 1d.", param, ctx)
        for_s = float(match[1]) * _UNITS_S[match[2]]
        if for_s > LONGEST_S:
            self.fail(
                f"{value!r} is longer than a hundred years: leave --for out for a pause without an end.",
                param,
                ctx,
            )
        return for_s


@click.command()
@click.argument("name", required=False)
@click.option("--sending", is_flag=True, help="Keep scanning, but send nothing.")
@click.option(
    "--source", metavar="NAME", help="As NAME: only this source, which is neither scanned nor sent."
)
@click.option(
    "--for", "for_s", type=Span(), metavar="TIME", help="Resume after this time, as in 30m, 2h or 1d."
)
@json_option
@click.pass_context
def pause(
    ctx: click.Context,
    *,
    name: str | None,
    sending: bool,
    source: str | None,
    for_s: float | None,
    as_json: bool,
) -> int:
    """Stop scanning and sending, of source NAME or of all, until `voyage-jobs resume`, across restarts.

    Batches at the provider are still polled, collected and published: they are paid. Nothing new is sent, and a batch
    that has no job yet stays here.
    """
    source = _one_of(sending, name, source)
    arguments = _arguments(sending, source)
    if for_s is not None:
        arguments["for_s"] = for_s
    return carry_out(ctx, "pause", arguments, _paused, as_json)


@click.command()
@click.argument("name", required=False)
@click.option("--sending", is_flag=True, help="End the pause of sending.")
@click.option("--source", metavar="NAME", help="As NAME: end the pause of this source.")
@json_option
@click.pass_context
def resume(ctx: click.Context, *, name: str | None, sending: bool, source: str | None, as_json: bool) -> int:
    """End the pause of source NAME, or, if none is named, all of them."""
    source = _one_of(sending, name, source)
    return carry_out(ctx, "resume", _arguments(sending, source), _resumed, as_json)


def _one_of(sending: bool, name: str | None, source: str | None) -> str | None:
    """The source that is meant, if one is."""
    if name is not None and source is not None:
        raise click.UsageError("Name the source once: NAME is --source.")
    source = name or source
    if sending and source is not None:
        raise click.UsageError(
            "Either --sending or a source, not both: a source that is paused sends nothing."
        )
    return source


def _arguments(sending: bool, source: str | None) -> dict[str, object]:
    return {"sending": True} if sending else {} if source is None else {"source": source}


def _paused(answer: dict[str, Any]) -> str:
    what, until = _named(answer["what"]), answer["until"]
    rest = f"until {until}" if until else "until `voyage-jobs resume`"
    unpacked = answer["unpacked"]
    back = (
        f" {counted(unpacked, 'batch')} without a job: taken apart, to be assembled again."
        if unpacked
        else ""
    )
    return f"{what} is paused {rest}. What is at the provider is still collected and published.{back}"


def _resumed(answer: dict[str, Any]) -> str:
    if not answer["ended"]:
        return "Nothing of that was paused." if answer["left"] else "Nothing was paused."
    left = f" Still paused: {', '.join(answer['left'])}." if answer["left"] else ""
    return f"{', '.join(map(_named, answer['ended']))} resumed.{left}"


def _named(what: str) -> str:
    return f"Source {what.partition(':')[2]}" if ":" in what else what.capitalize()
