"""What `eval` shows to people: the collection, a table of runs, and the questions that were answered worst."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from voyage_jobs.cli import output
from voyage_jobs.core.plural import counted

if TYPE_CHECKING:
    from voyage_jobs.evaluation.collection import Collection
    from voyage_jobs.evaluation.places import Target

_WORST = 10
_NAMED = 3
_SPARE = ("same", "better", "worse", "p", "95 % interval")


def show_collection(collection: Collection, absent: Sequence[Target]) -> None:
    """What is asked, and what no search can find."""
    by = "sections" if collection.by_section else "documents"
    click.echo(
        output.wrapped(
            f"{collection.name}: {counted(len(collection.questions), 'question')},"
            f" {len(collection.targets):,} relevant {by}."
        )
    )
    for reason in collection.left_out:
        click.echo(output.wrapped(f"Left out: {reason}."))
    if absent:
        named = ", ".join(each.told for each in absent[:_NAMED])
        more = f" and {len(absent) - _NAMED:,} more" if len(absent) > _NAMED else ""
        click.echo(output.wrapped(f"Not in the table: {named}{more}. No search can find them."))


def show(told: dict[str, Any]) -> None:
    """The report."""
    click.echo()
    metrics = list(told["runs"][0]["metrics"])
    rows = [[run["run"], *(_cell(run["metrics"][name]) for name in metrics)] for run in told["runs"]]
    output.show(output.table(["run", *metrics], rows, right=metrics, spare=metrics[:0:-1]))
    questions = counted(told["collection"]["questions"], "question")
    click.echo(output.wrapped(f"Mean of {questions}, with its 95 % interval."))
    for run in told["runs"]:
        for warning in run["warnings"]:
            click.echo(output.wrapped(f"Warning: {run['run']}: {warning}"), err=True)
    for comparison in told["comparisons"]:
        _show_comparison(comparison)
    _show_worst(told, told["runs"][0]["run"], metrics[0])
    for note in told["notes"]:
        click.echo()
        click.echo(output.wrapped(note))
    for failure in told["failed"]:
        click.echo(output.wrapped(f"Failed: {failure['message']}"), err=True)


def _cell(value: dict[str, float]) -> str:
    return f"{value['value']:.3f} {value['low']:.2f}-{value['high']:.2f}"


def _show_comparison(found: dict[str, Any]) -> None:
    unlike = f", {found['not_in_both']:,} left out that only one was asked" if found["not_in_both"] else ""
    click.echo()
    click.echo(
        output.wrapped(
            f"{found['run']} against {found['baseline']}, {counted(found['questions'], 'question')}{unlike}:"
        )
    )
    columns = ["metric", "difference", "95 % interval", "p", "better", "same", "worse", ""]
    rows = [[name, *_difference(each)] for name, each in found["metrics"].items()]
    output.show(output.table(columns, rows, right=columns[1:-1], spare=_SPARE))
    if found["changed"]:
        click.echo(output.wrapped("Changed most, with the place of the first answer before and after:"))
    for each in found["changed"]:
        before, after = ("none" if place is None else f"{place}." for place in each["first_relevant"])
        click.echo(_line(f"  {each['difference']:+.3f}  {before:>5} -> {after:<5}  ", each["query"]))


def _difference(each: dict[str, Any]) -> list[str]:
    word = "" if not each["significant"] else "better" if each["difference"] > 0 else "worse"
    return [
        f"{each['difference']:+.4f}",
        f"{each['low']:+.3f} to {each['high']:+.3f}",
        f"{each['p']:.4f}",
        *(f"{each[name]:,}" for name in ("better", "same", "worse")),
        word,
    ]


def _show_worst(told: dict[str, Any], run: str, metric: str) -> None:
    def value(question: dict[str, Any]) -> float:
        return float(question["runs"][run]["metrics"][metric])

    worst = [question for question in sorted(told["questions"], key=value) if value(question) < 1][:_WORST]
    if not worst:
        return
    click.echo(
        "\n" + output.wrapped(f"Answered worst by {run}, with {metric} and the place of the first answer:")
    )
    rows = ([f"{value(each):.3f}", _place(each["runs"][run]), each["query"]] for each in worst)
    _show_questions(rows)


def _place(found: dict[str, Any]) -> str:
    return "none" if found["first_relevant"] is None else f"{found['first_relevant']}."


def _show_questions(rows: Iterable[Sequence[str]]) -> None:
    for value, place, query in rows:
        click.echo(_line(f"  {value:>6}  {place:>5}  ", query))


def _line(head: str, query: str) -> str:
    """As much of a query as one line has room for; `--json` has all of it."""
    shown, room = output.printable(query), output.width() - len(head)
    return head + (shown if len(shown) <= room else shown[: room - 4] + " ...")
