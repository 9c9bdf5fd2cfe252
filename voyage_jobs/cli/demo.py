"""`voyage-jobs demo`: the whole thing on this machine, without a key."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from voyage_jobs.cli import paths


@click.command()
@click.option(
    "--docs",
    type=paths.FOLDER_THERE,
    metavar="DIR",
    help="Use copies of these documents.  [default: the project's own]",
)
@click.option(
    "--keep",
    type=paths.FOLDER,
    metavar="DIR",
    help="Do it in this new folder, and leave it there.  [default: a temporary folder]",
)
@click.option("--fast", is_flag=True, help="Make the simulated provider answer faster.")
def demo(docs: Path | None, keep: Path | None, fast: bool) -> None:
    """Watch the whole thing on your machine, without a key, in about half a minute.

    Scan, submit, a `kill -9` at the worst moment, a restart, publish, search, an edit that sends only what changed, a
    move that sends nothing, and the bill: on a simulated Voyage API with a ledger, with the real commands. With the
    extra [local] a real model answers a question by its meaning, too. Everything that is claimed is checked; if
    something is not true, it says so and ends with exit code 1.
    """
    from voyage_jobs.core.clock import SystemClock
    from voyage_jobs.demo.acts import perform

    perform(docs, keep, sys.stdout, SystemClock(), fast=fast)
