"""`voyage-jobs backup`, `restore` and `export`: copies of what is here; `take-over`: whose the table is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from voyage_jobs.cli import paths
from voyage_jobs.cli.context import json_option, settings_of, start_logging
from voyage_jobs.cli.exits import ExitCode
from voyage_jobs.core.plural import counted


@click.command()
@click.argument("folder", type=paths.ANY, metavar="DIR")
@click.option("--with-table", is_flag=True, help="The table, too; it can be made again from the rest.")
@json_option
@click.pass_context
def backup(ctx: click.Context, folder: Path, with_table: bool, as_json: bool) -> ExitCode:
    """Back up the state and every paid vector into the new folder DIR; a daemon may keep running.

    On the same file system the vectors become hard links and take no space. Ends with 3 if a file of vectors is
    missing or damaged: the rest is backed up.
    """
    from voyage_jobs.cli.output import progress
    from voyage_jobs.core.clock import SystemClock
    from voyage_jobs.maintenance.backup import backup as make

    with progress() as bar:
        report = make(settings_of(ctx), SystemClock(), folder, with_table=with_table, progress=bar)
    _tell(report, "backed up to", as_json)
    return ExitCode.UNFINISHED if report.missing else ExitCode.DONE


@click.command()
@click.argument("folder", type=paths.ANY, metavar="DIR")
@json_option
@click.pass_context
def restore(ctx: click.Context, folder: Path, as_json: bool) -> ExitCode:
    """Put the backup in DIR into the data_dir of the configuration, which must be empty. Every file is checked first.

    The next `sync` or `run` claims the jobs that were sent after the backup, publishes everything again at no cost and
    continues. Never let two copies of one data folder work at the same time.
    """
    from voyage_jobs.cli.output import progress
    from voyage_jobs.core.clock import SystemClock
    from voyage_jobs.maintenance.restore import restore as put_back

    settings = settings_of(ctx)
    start_logging(ctx, "error")
    with progress() as bar:
        report = put_back(settings, SystemClock(), folder, progress=bar)
    _tell(report, "restored to", as_json)
    if not as_json:
        click.echo("`voyage-jobs sync` continues from here; `voyage-jobs verify` compares everything.")
    return ExitCode.UNFINISHED if report.missing else ExitCode.DONE


def _tell(report: Any, what: str, as_json: bool) -> None:
    from voyage_jobs.cli.output import emit_json, number, printable, size

    if as_json:
        emit_json({**vars(report), "folder": str(report.folder)})
        return
    place = printable(str(report.folder))
    links = f", {number(report.linked)} of them as hard links" if report.linked else ""
    click.echo(f"{counted(report.files, 'file')}, {size(report.bytes)}, {what} {place}{links}.")
    for name in report.missing:
        click.echo(f"Not in it: {name} (missing or damaged; `voyage-jobs verify` says more).", err=True)
    if report.table_missing:
        click.echo("Not in it: the table, which is not there; `voyage-jobs sync` makes it.", err=True)


@click.command()
@click.argument("path", type=paths.FILE, metavar="FILE.parquet")
@click.option("--source", metavar="NAME", help="The rows of this source only.")
@click.option("--no-vectors", is_flag=True, help="Leave the vectors out.")
@click.option("--force", is_flag=True, help="Overwrite the file if it is there.")
@json_option
@click.pass_context
def export(
    ctx: click.Context, path: Path, source: str | None, no_vectors: bool, force: bool, as_json: bool
) -> None:
    """Write every row of the table, as of one moment, to a Parquet file (zstd)."""
    from voyage_jobs.cli.output import emit_json, printable, progress, size
    from voyage_jobs.maintenance.export import export as write

    if (is_output := _is_standard_output(path)) and as_json:
        raise click.UsageError("--json goes where the file would go, too: name a file, or leave --json out.")
    with progress() as bar:
        done = write(settings_of(ctx), path, source=source, vectors=not no_vectors, force=force, progress=bar)
    if as_json:
        emit_json({"path": str(done.path), "rows": done.rows, "bytes": done.bytes})
    else:
        told = f"{counted(done.rows, 'row')}, {size(done.bytes)}, in {printable(str(done.path))}."
        click.echo(told, err=is_output or not path.is_file())  # a pipe may be where this would go, too


def _is_standard_output(path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(1), path.stat())
    except OSError:
        return False


@click.command("take-over")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_context
def take_over(ctx: click.Context, yes: bool, as_json: bool) -> None:
    """Make the table of the configuration this data folder's own, where another data folder made it.

    A table belongs to one data folder, since two would overwrite each other's rows; `sync` and `run` of the other one
    are refused from then on. The next `sync` publishes everything of this one into it, at no cost. Rows of documents
    that are not known here stay until `voyage-jobs verify --repair` takes them out.
    """
    from voyage_jobs.cli.acts import on_terminal
    from voyage_jobs.cli.output import emit_json, printable, progress
    from voyage_jobs.core.clock import SystemClock
    from voyage_jobs.maintenance.take_over import take_over as take
    from voyage_jobs.telemetry.logs import get_logger

    settings = settings_of(ctx)
    start_logging(ctx, "error")
    table = printable(f"{settings.lancedb.table} in {settings.lancedb.uri}")
    if not yes and not as_json and on_terminal():
        click.confirm(f"Have {table} from now on, in place of the data folder that made it?", abort=True)
    with progress() as bar:
        done = take(settings, SystemClock(), get_logger(), progress=bar)
    if as_json:
        emit_json({"table": done.table, "rows": done.rows})
        return
    click.echo(f"The table {table} belongs to this data folder. It has {counted(done.rows, 'row')}.")
    click.echo(
        "`voyage-jobs sync` publishes into it, at no cost; then `voyage-jobs verify` names rows of documents that are"
        " not known here."
    )
