"""The command `voyage-jobs`: a table of commands, each loaded only when it is called.

`--help` needs nothing but click: short help texts stand in the table, so that no command's module is imported
for it.
"""

from __future__ import annotations

import difflib
import importlib
import io
import sys
from pathlib import Path
from typing import Any, NamedTuple

import click
from click.shell_completion import CompletionItem

from voyage_jobs.cli import paths
from voyage_jobs.cli.context import Frame
from voyage_jobs.cli.exits import MEANINGS, run_command
from voyage_jobs.core import crash
from voyage_jobs.core.memory import collect_seldom, look_no_more
from voyage_jobs.version import __version__


class Entry(NamedTuple):
    """Where a command is, as `module:attribute` below `voyage_jobs.cli`, and what it does in a few words."""

    target: str
    help: str


GROUPS: dict[str, dict[str, Entry]] = {
    "Start": {
        "demo": Entry("demo:demo", "See the whole thing work on your machine, without a key."),
        "init": Entry("init:init", "Write a configuration file to start from."),
        "plan": Entry("plan:plan", "Show what would be sent and what it would cost; send nothing."),
        "sync": Entry("run:sync", "Bring the table up to date once, then end."),
        "run": Entry("run:run", "Keep the table up to date until stopped (the daemon)."),
        "help": Entry("help:show_help", "Read the documentation here, or the help of a command."),
    },
    "See": {
        "status": Entry("status:status", "Show the state of everything, and what is wrong."),
        "why": Entry("why:why", "Say why something is, or is not, in the table, and what to do."),
        "history": Entry("history:history", "Show what happened to a document, chunk or batch, and when."),
        "batches": Entry("status:batches", "List the batches, with their jobs and deadlines."),
        "documents": Entry(
            "documents:documents", "List documents: the state of each, and why some are skipped."
        ),
        "cost": Entry("cost:cost", "Show what was paid, by day, source, model or batch."),
        "search": Entry("search:search", "Search the table."),
        "eval": Entry("eval:evaluate", "Measure how well searches answer questions."),
        "serve": Entry("serve:serve", "Serve a web page that shows all this, and metrics; read-only."),
    },
    "Act": {
        "retry": Entry("acts:retry", "Try failed texts, or a parked batch, again."),
        "cancel": Entry("acts:cancel", "Cancel a batch, or all batches of a source."),
        "pause": Entry("pause:pause", "Pause scanning and sending."),
        "resume": Entry("pause:resume", "End a pause."),
        "expedite": Entry("expedite:expedite", "Embed one document at once, at the full price."),
        "reprofile": Entry("reprofile:reprofile", "Embed everything again, for another model or dimension."),
        "confirm-deletes": Entry("acts:confirm_deletes", "Remove what is gone from a source from the table."),
        "undelete": Entry("acts:undelete", "Keep documents in the table whose files are gone."),
    },
    "Care": {
        "doctor": Entry("doctor:doctor", "Check configuration, key, disk, state and table."),
        "verify": Entry("verify:verify", "Compare folders, state, vectors and table; repair them."),
        "recover": Entry("acts:recover", "Find paid vectors and jobs again after a loss of state.db."),
        "backup": Entry("backup:backup", "Back up state and vectors; a daemon may keep running."),
        "restore": Entry("backup:restore", "Put a backup into an empty data_dir."),
        "take-over": Entry("backup:take_over", "Take over a table that another data folder made."),
        "export": Entry("backup:export", "Write the rows of the table to a Parquet file."),
        "fetch-tokenizer": Entry(
            "tokenizer:fetch_tokenizer", "Fetch the model's tokenizer, to count tokens exactly."
        ),
    },
    "Connect": {
        "install-service": Entry("service:install_service", "Print or write a systemd unit for `run`."),
        "mcp": Entry("mcp:mcp", "Let language models search the table (MCP); read-only."),
        "notify": Entry("notify:notify", "Show which notifications were sent, and send a test."),
        "completion": Entry("completion:completion", "Print the script that completes commands in a shell."),
        "simulate": Entry("simulate:simulate", "Serve a simulated Voyage or OpenAI API, to try things out."),
    },
}
COMMANDS: dict[str, Entry] = {name: entry for group in GROUPS.values() for name, entry in group.items()}
ALIASES: dict[str, tuple[str, ...]] = {
    "confirm": ("confirm-deletes",),
    "metrics": ("status", "--metrics"),
    "summary": ("status", "--markdown"),
    "trace": ("history", "--timeline"),
}
"""What commands were called before, and how they are called now. They are hidden, and work for one release."""


class LazyGroup(click.Group):
    """A group whose commands come from `GROUPS` and whose errors all end in `run_command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the table's order."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module, which may be heavy."""
        del ctx
        cmd_name = ALIASES.get(cmd_name, (cmd_name,))[0]
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].target.partition(":")
        command = getattr(importlib.import_module(f"voyage_jobs.cli.{module}"), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{COMMANDS[cmd_name].target} is no command")
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """As click does, but from the table: importing every command for a Tab would take a second."""
        found = [
            CompletionItem(name, help=f"{group}: {entry.help}")
            for group, entries in GROUPS.items()
            for name, entry in entries.items()
            if name.startswith(incomplete)
        ]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but with older names, and naming the nearest command when there is none of that name."""
        if args and args[0] in ALIASES:
            args = [*ALIASES[args[0]], *args[1:]]
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            meant = f" Did you mean '{near[0]}'?" if near else ""
            ctx.fail(f"No such command '{args[0]}'.{meant}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands by group, without importing any."""
        del ctx
        for heading, entries in GROUPS.items():
            with formatter.section(heading):
                formatter.write_dl([(name, entry.help) for name, entry in entries.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The exit codes."""
        del ctx
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(int(code)), meaning) for code, meaning in MEANINGS.items()])

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """As click does, but what is wrong with the options before the command is told as any other error is."""
        made: list[click.Context] = []
        make = super().make_context
        code = run_command(
            lambda: made.append(make(info_name, args, parent, **extra)), Frame(json="--json" in args)
        )
        if not made:
            raise click.exceptions.Exit(code)
        return made[0]

    def invoke(self, ctx: click.Context) -> None:
        """Run the command and leave with its exit code."""
        frame = ctx.obj = Frame(config=ctx.params["config"], verbose=ctx.params["verbose"])
        frame.json = (
            "--json" in ctx.args
        )  # known before the rest is, so that a wrong option is told as JSON, too
        run = super().invoke
        ctx.exit(run_command(lambda: run(ctx), frame))


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--config",
    type=paths.FILE,
    metavar="FILE",
    help="The configuration; else $VOYAGE_JOBS_CONFIG, ./voyage-jobs.toml, "
    "~/.config/voyage-jobs/config.toml.",
)
@click.option("-v", "--verbose", is_flag=True, help="Log everything, and show where errors come from.")
@click.version_option(__version__, prog_name="voyage-jobs", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, config: Path | None, verbose: bool) -> None:
    """Keep a LanceDB table in step with folders through Voyage AI's Batch API.

    Every text is embedded once and paid once, and any command may be stopped at any moment and run again.

    \b
    Getting started:
      voyage-jobs init && voyage-jobs plan     what would be sent, and its price
      voyage-jobs sync                         do it (needs VOYAGE_API_KEY)
      voyage-jobs COMMAND --help               the options of a command
    """
    del config, verbose
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main() -> None:
    """The entry point of the console script."""
    collect_seldom()
    crash.arm_from_environment()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # file names may hold bytes that are no text
            stream.reconfigure(errors="backslashreplace")
    try:
        cli(prog_name="voyage-jobs")
    finally:
        look_no_more()
