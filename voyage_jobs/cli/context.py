"""What every command shares: the options of the group, and the settings, loaded when first asked for."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from voyage_jobs.config import Settings


@contextlib.contextmanager
def short_lived() -> Iterator[None]:
    """For commands that look and end: no garbage is collected, which is a tenth of their time (imports make much)."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


_WARNING = ("plan", "sync", "run", "reprofile", "expedite", "doctor")


@dataclass
class Frame:
    """The group's options, whether the command reports in JSON, and the settings once they are loaded."""

    config: Path | None = None
    verbose: bool = False
    json: bool = False
    settings: Settings | None = None


def frame_of(ctx: click.Context) -> Frame:
    """The frame that all contexts of one command line share."""
    return ctx.find_root().ensure_object(Frame)


def settings_of(ctx: click.Context) -> Settings:
    """The active settings, loaded once. Raises ConfigError.

    Warnings about them go to standard error, of commands that go by what is warned of: not at every look.
    """
    frame = frame_of(ctx)
    if frame.settings is None:
        from voyage_jobs.config import load_settings

        frame.settings = load_settings(frame.config, os.environ)
        for warning in frame.settings.warnings if ctx.info_name in _WARNING else ():
            click.echo(f"warning: {warning}", err=True)
    return frame.settings


def load_again(ctx: click.Context) -> Settings:
    """Read the configuration once more, as it is now (SIGHUP). Raises ConfigError."""
    from voyage_jobs.config import load_settings

    fresh = load_settings(frame_of(ctx).config, os.environ)
    fresh.demand_notify_secret()
    return fresh


def start_logging(ctx: click.Context, level: str | None = None, *, daemon: bool = False) -> None:
    """Log as the settings say, or from `level` up; `-v` logs everything. Commands that do work call this.

    With `format = "auto"` a line is JSON for a `daemon` without a terminal, and where the report is JSON, too.
    """
    from voyage_jobs.telemetry.logs import configure

    logging, frame = settings_of(ctx).logging, frame_of(ctx)
    form = "console" if logging.format == "auto" and not daemon and not frame.json else logging.format
    if frame.verbose:
        configure("debug", form)
    else:
        configure(level or logging.level, form, repeat_s=logging.repeat_s)


def _note_json(ctx: click.Context, _param: click.Parameter, value: bool) -> bool:
    frame_of(ctx).json = value
    return value


def json_option(function: Any) -> Any:
    """`--json` for a command that reports, as parameter `as_json`; its errors are then JSON, too."""
    return click.option(
        "--json", "as_json", is_flag=True, is_eager=True, callback=_note_json, help="Report as JSON."
    )(function)
