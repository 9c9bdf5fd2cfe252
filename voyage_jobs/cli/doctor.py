"""`voyage-jobs doctor`: is everything around the work as it must be?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from voyage_jobs.cli.context import json_option, settings_of
from voyage_jobs.errors import ConfigError

if TYPE_CHECKING:
    from voyage_jobs.maintenance.doctor.check import Check

_MARKS = {"good": ("ok", "green"), "bad": ("BAD", "red"), "note": ("-", None)}


@click.command()
@click.option("--probe", is_flag=True, help="Ask the provider once (costs nothing): key, network, clock.")
@json_option
@click.pass_context
def doctor(ctx: click.Context, probe: bool, as_json: bool) -> int:
    """Check what everything depends on: one line each, ok or BAD, why, and what to do.

    It changes nothing, and works beside a running process. `verify` compares the data itself.

    \b
    Exit codes: 0  nothing is bad
                2  the configuration or the key is missing or wrong
                3  something else is bad
                5  the provider refuses the key
                6  only you can decide: a frozen source, another model
    """
    from voyage_jobs.core.clock import SystemClock, iso, now_us
    from voyage_jobs.maintenance.doctor.check import Verdict, exit_code, told

    clock = SystemClock()
    checks: list[Check] = []
    try:
        settings = settings_of(ctx)
    except ConfigError as exc:
        found: Iterable[Check] = [told("configuration", exc)]
    else:
        from voyage_jobs.maintenance.doctor.examine import examine

        found = examine(settings, clock, probe=probe)
    for check in found:
        checks.append(check)
        if not as_json:
            _show(check)
    code = exit_code(checks)
    if as_json:
        from voyage_jobs.cli.output import emit_json

        wrong = sum(check.verdict is Verdict.BAD for check in checks)
        emit_json(
            {
                "as_of": iso(now_us(clock)),
                "ok": not wrong,
                "exit_code": code,
                "checks": [check.as_dict() for check in checks],
            }
        )
    return code


_CALLED = {"vendor": "provider", "packs": "segments"}
"""What `--json` calls otherwise, since programs go by it."""


def _show(check: Check) -> None:
    from voyage_jobs.cli.output import hanging
    from voyage_jobs.core.redact import redact

    mark, colour = _MARKS[str(check.verdict)]
    first, *more = redact(check.why).splitlines()
    told = hanging(f"{mark:<4}", f"{_CALLED.get(check.name, check.name)}: {first}")
    click.echo(click.style(mark, fg=colour) + told[len(mark) :])
    for line in more:
        click.echo(hanging(" " * 6, line))
    if check.fix:
        click.echo(hanging(" " * 6 + "-> ", redact(check.fix)))
