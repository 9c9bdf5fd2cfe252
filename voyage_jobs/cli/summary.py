"""`voyage-jobs summary`: plan, run, cost and failures on one page of Markdown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from voyage_jobs.cli import output
from voyage_jobs.cli.context import settings_of
from voyage_jobs.errors import ConfigError

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(short_help="Write plan, run, cost and failures as one page of Markdown.")
@click.option("--plan", "plan_file", type=_FILE, metavar="FILE", help="What `plan --json` printed before.")
@click.option("--sync", "sync_file", type=_FILE, metavar="FILE", help="What `sync --json` printed.")
@click.pass_context
def summary(ctx: click.Context, plan_file: Path | None, sync_file: Path | None) -> None:
    """Write how things stand as one page of Markdown: for the summary of a CI job, a ticket, a mail.

    \b
    voyage-jobs plan --json > plan.json
    voyage-jobs sync --no-wait --json > sync.json
    voyage-jobs summary --plan plan.json --sync sync.json >> "$GITHUB_STEP_SUMMARY"
    """
    from voyage_jobs.clock import SystemClock
    from voyage_jobs.report.markdown import page
    from voyage_jobs.report.status import status

    settings = settings_of(ctx)
    plan, sync = _read(plan_file, "plan", "price_usd"), _read(sync_file, "sync", "exit_code")
    text = page(
        status(settings, SystemClock()),
        plan=plan,
        sync=sync,
        number=output.number,
        usd=output.usd,
        duration=output.duration,
    )
    click.echo(text.encode("utf-8", "backslashreplace"), nl=False)


def _read(path: Path | None, command: str, key: str) -> dict[str, Any] | None:
    """The report in a file; None for an empty one, as a command leaves it that failed."""
    if path is None:
        return None
    text = path.read_text(encoding="utf-8", errors="replace")
    if not text.strip():
        return None
    try:
        report = json.loads(text)
    except ValueError:
        report = None
    if not isinstance(report, dict) or key not in report:
        raise ConfigError(
            f"{path} does not hold what `{command} --json` prints.",
            hint=f"voyage-jobs {command} --json > {path}",
        )
    return report
