"""`status --markdown`: plan, run, cost and failures on one page of Markdown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from voyage_jobs.cli import output
from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import Clock
from voyage_jobs.errors import ConfigError
from voyage_jobs.report.markdown import page
from voyage_jobs.report.status import status


def summary(settings: Settings, clock: Clock, plan_file: Path | None, sync_file: Path | None) -> None:
    """Print the page; the files hold what `plan --json` and `sync --json` printed. Raises ConfigError."""
    text = page(
        status(settings, clock),
        plan=_read(plan_file, "plan", "price_usd"),
        sync=_read(sync_file, "sync", "exit_code"),
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
