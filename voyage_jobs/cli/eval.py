"""`eval QUERIES`: how well searches answer questions whose answers are known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import click

from voyage_jobs.cli import output, paths
from voyage_jobs.cli.context import json_option, settings_of, start_logging
from voyage_jobs.cli.eval_make import make
from voyage_jobs.cli.numbers import Whole
from voyage_jobs.core.clock import SystemClock
from voyage_jobs.core.plural import counted

if TYPE_CHECKING:
    from voyage_jobs.config import Settings
    from voyage_jobs.evaluation.collection import Collection
    from voyage_jobs.evaluation.jobs import Working
    from voyage_jobs.evaluation.kept import Bill, Progress
    from voyage_jobs.evaluation.run import Run

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


class OrMake(click.Command):
    """A command whose first word may be `make`: then it is another command."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """The context of the command that is meant."""
        if args[:1] == ["make"]:
            return make.make_context(f"{info_name} make", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


@click.command("eval", cls=OrMake)
@click.argument("queries", type=paths.ANY_THERE)
@click.option(
    "--qrels",
    type=paths.FILE_THERE,
    metavar="FILE",
    help="Judgements in the format of BEIR or TREC, where they are not beside the queries.",
)
@click.option(
    "--run",
    "runs",
    multiple=True,
    metavar="RUN",
    default=("hybrid",),
    show_default=True,
    help="hybrid, vector or words, maybe with :rerank or :MODEL, of the table as it is now, or of that @VERSION,"
    " @new, @previous, or of a configuration @FILE; repeatable.",
)
@click.option(
    "--rerank",
    is_flag=True,
    help="Run each --run once more with its best 50 reranked, at their texts' price.",
)
@click.option(
    "--metrics",
    metavar="LIST",
    default=_METRICS,
    show_default=True,
    help="Of ndcg@K, recall@K, mrr@K, map@K, ndcg, mrr, map.",
)
@click.option("--by", type=click.Choice(["section", "document"]), help="Count whole documents as answers.")
@click.option(
    "--depth",
    type=Whole(1, 1000),
    metavar="N",
    default=100,
    show_default=True,
    help="Take the best N chunks of each search, as -k does.",
)
@click.option(
    "--save",
    type=paths.FILE,
    metavar="FILE",
    help="Keep what was found, in the format of TREC, unless a bound fails.",
)
@click.option(
    "--against",
    type=paths.FILE_THERE,
    metavar="FILE",
    help="Compare with runs that were saved; else with the first --run.",
)
@click.option(
    "--fail-under",
    type=_Bound(),
    multiple=True,
    metavar="METRIC=VALUE",
    help="End with 1 if a run is worse; repeatable.",
)
@click.option(
    "--max-drop",
    type=_Bound(),
    multiple=True,
    metavar="METRIC=VALUE",
    help="End with 1 if a run loses more, and that is not chance; repeatable.",
)
@click.option(
    "--batch",
    is_flag=True,
    help="Embed and rerank by batch jobs, at the price of batches; wait for them, or call again later.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be embedded, and its price; send nothing.")
@json_option
@click.pass_context
def evaluate(ctx: click.Context, /, **options: Any) -> int:
    """Measure how well searches answer the questions in QUERIES, whose answers are known.

    QUERIES is a file of questions (JSONL or YAML) or a folder in the format of BEIR; `voyage-jobs help evaluation`
    shows both, and `voyage-jobs eval make FILE` begins one. Queries without a vector are embedded by synchronous calls,
    and reranked where that is asked for, at a price that is said first; what was paid is kept. The table is only read.

    \b
    Exit codes: 0  done
                1  a run is worse than --fail-under or --max-drop allows
                2  wrong use, unusable files, or over budget; nothing was sent
                5  the provider refuses the key or the account
                6  --batch: a batch of queries is parked; you must act
    """
    from voyage_jobs.evaluation.tables import Tables

    settings, clock = settings_of(ctx), SystemClock()
    options["working"] = _by_jobs(ctx, clock) if options["batch"] else None
    with output.progress() as progress, Tables(settings, clock, progress) as tables:
        return _measured(settings, clock, tables, progress, options)


def _by_jobs(ctx: click.Context, clock: Any) -> Working:
    from voyage_jobs.service.worker import working
    from voyage_jobs.telemetry.logs import get_logger

    start_logging(ctx, "warning")
    return lambda settings, progress: working(settings, clock, get_logger(), mode="sync", progress=progress)


def _measured(
    settings: Settings, clock: Any, tables: Any, progress: Progress, options: dict[str, Any]
) -> int:
    from voyage_jobs.cli import eval_view
    from voyage_jobs.evaluation import run_file
    from voyage_jobs.evaluation.evaluate import Evaluation
    from voyage_jobs.evaluation.run import Asked, with_reranked

    as_json, against = options["as_json"], options["against"]
    collection = _collection(settings, options)
    metrics = _metrics(options)
    asked = list(dict.fromkeys(map(Asked.parse, options["runs"])))
    if options["rerank"]:
        asked = with_reranked(asked)
    saved = None if against is None else run_file.read(against)
    if options["max_drop"] and saved is None and len(asked) == 1:
        raise click.UsageError(
            "--max-drop needs something to compare with: --against FILE, or a second --run."
        )
    evaluation = Evaluation(
        settings, clock, collection, asked, tables, options["depth"], working=options["working"]
    )
    for without in sorted(evaluation.without_jobs):
        click.echo(f"{without}: it is asked at once.", err=True)
    bills, absent = evaluation.bills(progress), evaluation.missing()
    if not as_json:
        eval_view.show_collection(collection, absent)
    _tell_price(bills)
    if options["dry_run"]:
        if as_json:
            output.emit_json({"dry_run": True, "cost": [bill.as_dict() for bill in bills]})
        return 0
    found = evaluation.run(progress)
    told = _report(collection, absent, bills, found, saved, metrics, options)
    if as_json:
        output.emit_json(told)
    else:
        eval_view.show(told)
    if told["failed"]:
        return _FAILED
    if options["save"] is not None:
        run_file.save(options["save"], found)
    return 0


def _report(
    collection: Collection,
    absent: Any,
    bills: list[Bill],
    found: list[Run],
    saved: list[Run] | None,
    metrics: list[Any],
    options: dict[str, Any],
) -> dict[str, Any]:
    from voyage_jobs.evaluation.comparison import comparisons_of
    from voyage_jobs.evaluation.report import report
    from voyage_jobs.evaluation.scored import Scored

    scored = [Scored.of(run, collection, metrics) for run in found]
    comparisons = comparisons_of(scored, saved, collection, metrics)
    return report(collection, absent, bills, scored, comparisons, options["fail_under"], options["max_drop"])


def _collection(settings: Settings, options: dict[str, Any]) -> Collection:
    from voyage_jobs.evaluation.collection import load

    collection = load(options["queries"], options["qrels"], [source.name for source in settings.sources])
    return collection.of_documents() if options["by"] == "document" else collection


def _metrics(options: dict[str, Any]) -> list[Any]:
    from voyage_jobs.evaluation.metrics import Metric

    bounds = (*options["fail_under"], *options["max_drop"])
    try:
        names = [*options["metrics"].split(","), *(bound.metric for bound in bounds)]
        return list(dict.fromkeys(map(Metric.parse, names)))
    except ValueError as exc:
        raise click.UsageError(f"{exc}.") from exc


def _tell_price(bills: list[Bill]) -> None:
    """On standard error, before anything is sent."""
    for bill in bills:
        if bill.texts:
            queries, about = counted(bill.texts, "query"), "" if bill.exact else "about "
            price = f"{about}{output.number(bill.tokens)} tokens, {output.usd(bill.usd)} ({bill.model})"
            click.echo(f"To {bill.what}: {queries}, {price}.", err=True)
