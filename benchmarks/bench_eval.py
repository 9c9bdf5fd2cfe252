"""How long an evaluation takes over a table of random vectors and made-up texts, the provider's call left out.

    python -m benchmarks.bench_eval --rows 100000

It measures time, not quality: the vector of a query is random, and so is its answer.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bench_search import PROFILE, WORDS, batches, documents
from voyage_jobs.config.load import settings_of_values
from voyage_jobs.core.clock import SystemClock
from voyage_jobs.evaluation.collection import Collection, Question
from voyage_jobs.evaluation.comparison import comparisons_of
from voyage_jobs.evaluation.metrics import Metric
from voyage_jobs.evaluation.places import Place, Target, missing
from voyage_jobs.evaluation.run import Asked, Run, ask
from voyage_jobs.evaluation.scored import Scored
from voyage_jobs.retrieval.retriever import Retriever
from voyage_jobs.table import PublishedTable
from voyage_jobs.table.view import View, view_of

METRICS = [Metric.parse(name) for name in ("ndcg@10", "recall@10", "recall@100", "mrr@10")]


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="eval", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--questions", type=int, default=225)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        report(Path(folder), 5_000 if args.quick else args.rows, args.questions)


def report(folder: Path, rows: int, questions: int) -> None:
    dice, uri = random.Random(1), str(folder / "lancedb")
    table = PublishedTable.open(uri, "chunks", PROFILE, create=True)
    table.flip(documents(rows), batches(rows, WORDS))
    table.tend()
    there = [path for _, path in documents(rows)]
    collection = Collection(
        "made up",
        tuple(
            Question(str(n), " ".join(dice.sample(WORDS, 8)), {Target("docs", dice.choice(there)): 1})
            for n in range(questions)
        ),
    )
    (folder / "docs").mkdir()
    values: dict[str, Any] = {
        "data_dir": str(folder / "data"),
        "sources": [{"name": "docs", "path": str(folder / "docs")}],
        "lancedb": {"uri": uri, "table": "chunks"},
    }
    view = view_of(uri, "chunks")
    retriever = Retriever(settings_of_values(values, {}, None), SystemClock(), view=view)
    print(f"{questions} questions, {rows:,} rows, 100 chunks each")
    runs = [_asked(retriever, collection, mode) for mode in ("words", "vector", "hybrid")]
    _timed("which answers the table lacks", lambda: _lacking(view, collection))
    scored = _timed("metrics", lambda: [Scored.of(run, collection, METRICS) for run in runs])
    _timed("comparing each with the first", lambda: comparisons_of(scored, None, collection, METRICS))


def _asked(retriever: Retriever, collection: Collection, mode: str) -> Run:
    numbers = np.random.default_rng(3)

    def vector(_: str) -> Any:
        return numbers.standard_normal(PROFILE.width, dtype=np.float32)

    asked = Asked.parse(mode)
    answers = _timed(
        f"asking {mode}",
        lambda: ask(retriever, collection.questions, asked.mode, 100, vector, lambda *_: None),
    )
    assert not answers.warnings, answers.warnings
    return Run(asked.name, answers.places)


def _lacking(view: View, collection: Collection) -> list[Target]:
    return missing(collection.targets, [Place(*place) for place in set(view.places())])


def _timed(what: str, act: Callable[[], Any]) -> Any:
    cpu, wall = time.process_time(), time.perf_counter()
    answer = act()
    print(f"{what}: {time.process_time() - cpu:.1f} CPU s, {time.perf_counter() - wall:.1f} s", flush=True)
    return answer


if __name__ == "__main__":
    main(sys.argv[1:])
