"""`search QUERY`: the nearest chunks of the table."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from voyage_jobs.cli import output
from voyage_jobs.cli.context import json_option, settings_of
from voyage_jobs.cli.numbers import Whole
from voyage_jobs.core.clock import SystemClock

if TYPE_CHECKING:
    from rich.text import Text

    from voyage_jobs.report.search import Hit

_MARK = "bold yellow"


@click.command()
@click.argument("query")
@json_option
@click.option(
    "-k", "k", type=Whole(1, 1000), metavar="N", default=5, show_default=True, help="Show the best N chunks."
)
@click.option("--source", metavar="NAME", help="Search in this source only.")
@click.pass_context
def search(ctx: click.Context, query: str, as_json: bool, k: int, source: str | None) -> None:
    """Search the table for QUERY, by meaning.

    The query is embedded by one synchronous call, which costs a few tokens; the table is only read.
    """
    from voyage_jobs.report import search as report

    hits = report.search(settings_of(ctx), SystemClock(), query, k, source)
    if as_json:
        output.emit_json({"query": query, "hits": [hit.as_dict() for hit in hits]})
        return
    if not hits:
        click.echo(
            "Nothing is published yet." if source is None else f"Nothing of {source} is published yet."
        )
    words = report.words_of(query)
    for rank, hit in enumerate(hits, 1):
        output.show(_shown(rank, hit, report.snippet(hit.text, words), words))


def _shown(rank: int, hit: Hit, snippet: str, words: list[str]) -> Text:
    from rich.text import Text

    from voyage_jobs.sources.names import display

    place = display(hit.path) + (f"  {' > '.join(hit.section)}" if hit.section else "")
    shown = Text(f"{rank}. {hit.score:.3f}  ", style="bold")
    shown.append(output.printable(f"{hit.source}:{place}"), style="cyan")
    body = Text(output.printable(snippet))
    if words:
        body.highlight_regex(r"(?i)\b(" + "|".join(map(re.escape, words)) + r")\b", _MARK)
    return shown.append("\n").append_text(body).append("\n")
