"""`search QUERY`: the best chunks of the table, by meaning and by words."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from voyage_jobs.cli import output
from voyage_jobs.cli.context import json_option, settings_of
from voyage_jobs.cli.cost import Since
from voyage_jobs.cli.numbers import Whole
from voyage_jobs.core.clock import SystemClock
from voyage_jobs.core.plural import counted
from voyage_jobs.retrieval.result import MODES

if TYPE_CHECKING:
    from rich.text import Text

    from voyage_jobs.retrieval.result import Hit, Result

_MARK = "bold yellow"
_MOST_AROUND = 100


class _Around(click.ParamType[Any]):
    """A number of chunks, or the word `section`."""

    name = "around"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number or the word."""
        return value if value == "section" else Whole(0, _MOST_AROUND).convert(value, param, ctx)


@click.command()
@click.argument("query")
@json_option
@click.option(
    "-k", "k", type=Whole(1, 1000), metavar="N", default=5, show_default=True, help="Show the best N chunks."
)
@click.option(
    "--mode",
    type=click.Choice(MODES),
    default="hybrid",
    show_default=True,
    help="By vectors (meaning), by words, or both. Words cost nothing.",
)
@click.option(
    "--table",
    "tables",
    multiple=True,
    metavar="NAME",
    help="Search in this table, beside the configured one or with its folder before it; repeatable.",
)
@click.option(
    "--source", "sources", multiple=True, metavar="NAME", help="Search in this source only; repeatable."
)
@click.option(
    "--path", "paths", multiple=True, metavar="GLOB", help="Only paths such as 'guides/**'; repeatable."
)
@click.option(
    "--where",
    "conditions",
    multiple=True,
    metavar="SQL",
    help='Only rows for which this holds, as in "price < 20"; repeatable, all must hold.',
)
@click.option("--since", type=Since(), metavar="DAY", help="Only files modified since a day, or 30d back.")
@click.option(
    "--expand", type=_Around(), metavar="N|section", default=0, help="Show N chunks around, or the section."
)
@click.option("--per-document", type=Whole(1, 1000), metavar="N", help="At most N chunks of one document.")
@click.option(
    "--rerank/--no-rerank",
    default=None,
    help="Have a model reorder the best 50, at their texts' price. Default: as configured.",
)
@click.option("--rerank-model", metavar="MODEL", help="Rerank by this model, as in rerank-2.5-lite.")
@click.option("--explain", is_flag=True, help="Show ranks and scores, what it cost and how long it took.")
@click.pass_context
def search(
    ctx: click.Context,
    /,
    query: str,
    *,
    as_json: bool,
    explain: bool,
    tables: tuple[str, ...],
    sources: tuple[str, ...],
    paths: tuple[str, ...],
    conditions: tuple[str, ...],
    since: datetime | None,
    rerank: bool | None,
    rerank_model: str | None,
    **options: Any,
) -> None:
    """Search the table for QUERY, by meaning and by words.

    The query is embedded by one synchronous call, which costs a few tokens; the table is only read. Without a key, a
    network or a word index a warning says so, and the rest answers. Reranking is booked, and kept to the budgets.
    """
    from voyage_jobs.retrieval.result import Query
    from voyage_jobs.retrieval.retriever import Retriever
    from voyage_jobs.table.filters import all_of

    if rerank is False and rerank_model:
        raise click.UsageError("--no-rerank and --rerank-model contradict each other.")
    asked = rerank_model or rerank
    where = all_of(conditions)
    question = Query(query, sources=sources, paths=paths, where=where, since=since, rerank=asked, **options)
    found = Retriever(settings_of(ctx), SystemClock(), tables=tables).search(question)
    if as_json:
        output.emit_json(found.as_dict())
        return
    for warning in found.warnings:
        click.echo(f"Warning: {output.printable(warning)}", err=True)
    if not found.hits:
        click.echo(_nothing(found))
    _show(found, explain, len(set(tables)) > 1)


def _nothing(found: Result) -> str:
    asked = found.query
    narrowed = asked.sources or asked.paths or asked.since or asked.where
    if not narrowed:
        return "Nothing was found." if found.looked_at else "Nothing is published yet."
    if len(asked.sources) == 1 and not (asked.paths or asked.since or asked.where):
        return f"Nothing of {asked.sources[0]} was found."
    return "Nothing that the filters leave was found."


def _show(found: Result, explain: bool, several: bool) -> None:
    from voyage_jobs.retrieval.passage import snippet, words_of

    words = words_of(found.query.text)
    for rank, hit in enumerate(found.hits, 1):
        body = hit.context if found.query.expand else snippet(hit.text, words)
        output.show(_shown(rank, hit, body, words, explain, several))
    if explain:
        free = not found.tokens and found.usd == 0
        told = "tokens not reported" if found.tokens is None else counted(found.tokens, "token")
        cost = "no cost" if free else told
        took = ", ".join(f"{step} {ms:,.0f} ms" for step, ms in found.took_ms.items())
        click.echo(output.wrapped(f"Mode {found.mode}; {cost}; {took}."))
        if found.reranking is not None:
            done = found.reranking
            tokens, price = counted(done.tokens, "token"), output.usd(done.usd)
            click.echo(output.wrapped(f"Reranked {done.candidates} by {done.model}: {tokens}, {price}."))


def _shown(rank: int, hit: Hit, body: str, words: list[str], explain: bool, several: bool) -> Text:
    from rich.text import Text

    from voyage_jobs.retrieval.passage import pattern_of
    from voyage_jobs.sources.names import display

    place = ", ".join(filter(None, (display(hit.path), hit.place)))
    place += f"  {' > '.join(hit.section)}" if hit.section else ""
    shown = Text(f"{rank}. {hit.score:.3f}  ", style="bold")
    source = f"{hit.table} {hit.source}" if several else hit.source
    shown.append(output.printable(f"{source}:{place}"), style="cyan")
    if hit.url:
        shown.append("\n" + output.printable(hit.url), style="dim")
    if explain:
        parts = [f"{name} {hit.scores[name]:.3f} (place {place})" for name, place in hit.ranks.items()]
        shown.append("\n" + ", ".join(parts), style="dim")
    text = Text("\n".join(map(output.printable, body.splitlines())))
    if pattern := pattern_of(words):
        text.highlight_regex(pattern, _MARK)
    return shown.append("\n").append_text(text).append("\n")
