"""`voyage-jobs help`: the documentation that is shipped with the program, readable in a terminal and offline."""

from __future__ import annotations

import difflib
import os
import re
import sys
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import click

from voyage_jobs.cli.context import json_option

_TITLE = re.compile(r"^# (.+)$", re.MULTILINE)
_LINK = re.compile(r"\[([^\]]+)\]\(([^)\s]+)\)")
_WIDEST = 100


def _topics(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """What the word may become: pages and commands."""
    group = ctx.find_root().command
    commands = group.list_commands(ctx) if isinstance(group, click.Group) else []
    return [name for name in (*commands, *shipped_pages()) if name.startswith(incomplete)]


@click.command(name="help")
@click.argument("topic", required=False, shell_complete=_topics)
@click.option("--raw", is_flag=True, help="Show the page as it is written, in Markdown.")
@json_option
@click.pass_context
def show_help(ctx: click.Context, topic: str | None, raw: bool, as_json: bool) -> None:
    """Show the documentation on TOPIC, or the help of a command; without TOPIC, list what there is.

    The pages come with the program: they say what this version does.
    """
    pages = shipped_pages()
    if topic is None:
        _list(pages, as_json)
        return
    name = topic.lower().removesuffix(".md")
    if name in pages:
        _show(name, pages[name].read_text(encoding="utf-8"), raw=raw, as_json=as_json)
        return
    _command_help(ctx, topic, pages)


def shipped_pages() -> dict[str, Traversable]:
    """Topic -> page: from inside the wheel, or from the checkout."""
    packaged = resources.files("voyage_jobs") / "_docs"
    if packaged.is_dir():
        files: list[Traversable] = list(packaged.iterdir())
    else:
        root = Path(__file__).resolve().parents[2]
        files = [root / "README.md", *(root / "docs").iterdir()]
    found = {file.name.removesuffix(".md").lower(): file for file in files if file.name.endswith(".md")}
    return {name: found[name] for name in sorted(found, key=lambda name: (name != "readme", name))}


def _list(pages: dict[str, Traversable], as_json: bool) -> None:
    titles = {name: _title(page.read_text(encoding="utf-8")) for name, page in pages.items()}
    if as_json:
        from voyage_jobs.cli.output import emit_json

        emit_json({"topics": [{"topic": name, "title": title} for name, title in titles.items()]})
        return
    click.echo("Topics (voyage-jobs help TOPIC):\n")
    width = max(map(len, titles))
    for name, title in titles.items():
        click.echo(f"  {name:<{width}}  {title}")
    click.echo("\nCommands: voyage-jobs --help; one command: voyage-jobs help COMMAND.")


def _title(text: str) -> str:
    found = _TITLE.search(text)
    return found[1] if found else ""


def _show(name: str, text: str, *, raw: bool, as_json: bool) -> None:
    if as_json:
        from voyage_jobs.cli.output import emit_json

        emit_json({"topic": name, "title": _title(text), "markdown": text})
        return
    if raw:
        click.echo(text, nl=False)
        return
    from rich.markdown import Markdown

    from voyage_jobs.cli.output import console

    screen = console()
    page = Markdown(_LINK.sub(_told, text), hyperlinks=False)
    with screen.capture() as captured:
        screen.print(page, width=min(screen.width, _WIDEST))
    told = "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"
    if sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        click.echo_via_pager(told)
    else:
        click.echo(told, nl=False)


def _told(link: re.Match[str]) -> str:
    """A link as a terminal can follow it: another page by its topic, an address as it is."""
    words, target = link[1], link[2]
    page = re.fullmatch(r"(?:docs/)?([\w-]+)\.md(?:#.*)?", target)
    if page:
        return f"{words} (`voyage-jobs help {page[1].lower()}`)"
    if target.startswith(("http://", "https://")):
        return words if words == target else f"{words} ({target})"
    return words


def _command_help(ctx: click.Context, topic: str, pages: dict[str, Traversable]) -> None:
    group = ctx.find_root().command
    command = group.get_command(ctx, topic) if isinstance(group, click.Group) else None
    if command is not None:
        root = ctx.find_root()
        click.echo(command.get_help(click.Context(command, info_name=topic, parent=root)))
        return
    known = [*pages, *(group.list_commands(ctx) if isinstance(group, click.Group) else [])]
    near = difflib.get_close_matches(topic.lower(), known, n=1)
    meant = f" Did you mean '{near[0]}'?" if near else ""
    raise click.UsageError(f"No such topic '{topic}'.{meant} `voyage-jobs help` lists them.")
