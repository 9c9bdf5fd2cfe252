"""`eval QUERIES`: how well searches answer questions whose answers are known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from voyage_jobs.cli import output
from voyage_jobs.cli.context import json_option, settings_of
from voyage_jobs.cli.numbers import Whole
from voyage_jobs.core.clock import SystemClock

if TYPE_CHECKING:
    from voyage_jobs.evaluation.query_vectors import Bill

_METRICS = "ndcg@10,recall@10,recall@100,mrr@10"
_FAILED = 1  # as test runners end: what CI looks for


class Bound(NamedTuple):
    """A metric and the value that it is held to."""

    metric: str
    value: float


class _Bound(click.ParamType[Bound]):
    """`METRIC=VALUE`, from 0 to 1."""

    name = "bound"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Bound:
        """The metric's name and the value."""
        if isinstance(value, Bound):
            return value
        name, _, number = str(value).partition("=")
        try:
            bound = Bound(name.strip().lower(), float(number))
        except ValueError:
            self.fail(f"{value!r} is not METRIC=VALUE, such as ndcg@10=0.45.", param, ctx)
        if not 0 <= bound.value <= 1:
            self.fail(f"{number} is not between 0 and 1.", param, ctx)
        return bound


@click.command("eval")
@click.argument("queries", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--qrels", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
    help="The judgements, in the format of BEIR or TREC, where they are not beside the queries.",
)  # fmt: skip
@click.option(
    "--run", "runs", multiple=True, metavar="RUN", default=("hybrid",), show_default=True,
    help="hybrid, vector or words, of the table as it is now or @VERSION; repeatable.",
)  # fmt: skip
@click.option(
    "--metrics", metavar="LIST", default=_METRICS, show_default=True,
    help="Of ndcg@K, recall@K, mrr@K, map@K, ndcg, mrr, map.",
)  # fmt: skip
@click.option("--by", type=click.Choice(["section", "document"]), help="Count whole documents as answers.")
@click.option(
    "--depth", type=Whole(1, 1000), metavar="N", default=100, show_default=True,
    help="Take the best N chunks of each search, as -k does.",
)  # fmt: skip
@click.option(
    "--fail-under", "fail_under", type=_Bound(), multiple=True, metavar="METRIC=VALUE",
    help="End with 1 if a run is worse; repeatable.",
)  # fmt: skip
@click.option(
    "--save",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Keep what was found, in the format of TREC, unless a bound fails.",
)
@click.option(
    "--against",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Compare with runs that were saved; else with the first --run.",
)
@click.option(
    "--max-drop",
    "max_drop",
    type=_Bound(),
    multiple=True,
    metavar="METRIC=VALUE",
    help="End with 1 if a run loses more, and that is not chance; repeatable.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be embedded, and its price; send nothing.")
@json_option
@click.pass_context
def evaluate(
    ctx: click.Context,
    *,
    queries: Path,
    qrels: Path | None,
    runs: tuple[str, ...],
    metrics: str,
    by: str | None,
    depth: int,
    fail_under: tuple[Bound, ...],
    save: Path | None,
    against: Path | None,
    max_drop: tuple[Bound, ...],
    dry_run: bool,
    as_json: bool,
) -> int:
    """Measure how well searches answer the questions in QUERIES, whose answers are known.

    QUERIES is a file of questions (JSONL or YAML) or a folder in the format of BEIR; `voyage-jobs help evaluation`
    shows both. Queries without a vector are embedded by synchronous calls at a price that is said first; their vectors
    are kept. The table is only read.

    \b
    Exit codes: 0  done
                1  a run is worse than --fail-under or --max-drop allows
                2  wrong use, unusable files, or over budget; nothing was sent
                5  the vendor refuses the key or the account
    """
    from voyage_jobs.cli import eval_view
    from voyage_jobs.evaluation import run_file
    from voyage_jobs.evaluation.collection import load
    from voyage_jobs.evaluation.comparison import comparisons_of
    from voyage_jobs.evaluation.evaluate import Evaluation
    from voyage_jobs.evaluation.report import report
    from voyage_jobs.evaluation.run import Asked
    from voyage_jobs.evaluation.scored import Scored

    wanted = _metrics([*metrics.split(","), *(bound.metric for bound in (*fail_under, *max_drop))])
    settings = settings_of(ctx)
    collection = load(queries, qrels, [source.name for source in settings.sources])
    if by == "document":
        collection = collection.of_documents()
    asked = list(dict.fromkeys(map(Asked.parse, runs)))
    saved = None if against is None else run_file.read(against)
    if max_drop and saved is None and len(asked) == 1:
        raise click.UsageError(
            "--max-drop needs something to compare with: --against FILE, or a second --run."
        )
    evaluation = Evaluation(settings, SystemClock(), collection, asked, depth)
    bills, absent = evaluation.bills(), evaluation.missing()
    if not as_json:
        eval_view.show_collection(collection, absent)
    _tell_price(bills)
    if dry_run:
        if as_json:
            output.emit_json({"dry_run": True, "cost": [bill.as_dict() for bill in bills]})
        return 0
    with output.progress() as progress:
        found = evaluation.run(progress)
    scored = [Scored.of(run, collection, wanted) for run in found]
    comparisons = comparisons_of(scored, saved, collection, wanted)
    told = report(collection, absent, bills, scored, comparisons, fail_under, max_drop)
    if as_json:
        output.emit_json(told)
    else:
        eval_view.show(told)
    if told["failed"]:
        return _FAILED
    if save is not None:
        run_file.save(save, found)
    return 0


def _metrics(names: list[str]) -> list[Any]:
    from voyage_jobs.evaluation.metrics import Metric

    try:
        return list(dict.fromkeys(map(Metric.parse, names)))
    except ValueError as exc:
        raise click.UsageError(f"{exc}.") from exc


def _tell_price(bills: list[Bill]) -> None:
    """On standard error, before anything is sent."""
    for bill in bills:
        if bill.texts:
            about = "" if bill.exact else "about "
            click.echo(
                f"To embed: {bill.texts:,} queries, {about}{output.number(bill.tokens)} tokens,"
                f" {output.usd(bill.usd)} ({bill.model}).",
                err=True,
            )
