"""What an evaluation says, in the shape that docs/evaluation.md promises for `--json`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voyage_jobs.evaluation.collection import Collection, Question
from voyage_jobs.evaluation.evaluate import scores
from voyage_jobs.evaluation.metrics import Metric
from voyage_jobs.evaluation.places import Target, units
from voyage_jobs.evaluation.query_vectors import Bill
from voyage_jobs.evaluation.run import Run
from voyage_jobs.evaluation.significance import LEAST_QUERIES, interval

if TYPE_CHECKING:
    import numpy as np

_DIGITS = 6


@dataclass(frozen=True)
class Scored:
    """A run with its values: one for every question, in the order of the collection, by the name of a metric."""

    run: Run
    values: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, run: Run, collection: Collection, metrics: Sequence[Metric]) -> Scored:
        """A run over a collection."""
        return cls(run, scores(run, collection, metrics))

    def mean(self, metric: str) -> float:
        """The mean over all questions."""
        return float(self.values[metric].mean())

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "run": self.run.name,
            **self.run.facts,
            "metrics": {name: summary(values) for name, values in self.values.items()},
            "warnings": list(self.run.warnings),
        }


def summary(values: np.ndarray) -> dict[str, float]:
    """The mean of values, and its 95 % interval."""
    low, high = interval(values)
    return {"value": rounded(values.mean()), "low": rounded(low), "high": rounded(high)}


def rounded(number: float) -> float:
    """As it is printed."""
    return round(float(number), _DIGITS)


def per_question(collection: Collection, scored: Sequence[Scored]) -> list[dict[str, Any]]:
    """Every question with its values by run and metric, and where its first answer was found."""
    return [
        {
            "id": question.id,
            "query": question.text,
            "runs": {
                each.run.name: {
                    "metrics": {name: rounded(values[at]) for name, values in each.values.items()},
                    "first_relevant": first_relevant(each.run, question, by_section=collection.by_section),
                }
                for each in scored
            },
        }
        for at, question in enumerate(collection.questions)
    ]


def first_relevant(run: Run, question: Question, *, by_section: bool) -> int | None:
    """The place (from 1) of the first answer; None if none was found."""
    found = units(run.rankings.get(question.id, ()), question.judged, by_section=by_section)
    return next((rank for rank, (_, grade) in enumerate(found, 1) if grade > 0), None)


def too_few(collection: Collection) -> str | None:
    """A word where nothing can be concluded."""
    count = len(collection.questions)
    if count >= LEAST_QUERIES:
        return None
    return (
        f"{count} questions are too few to conclude anything from: have at least {LEAST_QUERIES},"
        " better a hundred. The figures are shown all the same."
    )


def report(
    collection: Collection,
    absent: Sequence[Target],
    bills: Sequence[Bill],
    scored: Sequence[Scored],
    least: Sequence[tuple[str, float]] = (),
) -> dict[str, Any]:
    """All of it. `absent` are relevant places that the table lacks; `least` the values that every run must have."""
    notes = [note for note in (too_few(collection),) if note]
    return {
        "collection": collection_as_dict(collection, absent),
        "cost": [bill.as_dict() for bill in bills],
        "runs": [each.as_dict() for each in scored],
        "questions": per_question(collection, scored),
        "notes": notes,
        "failed": [failure for each in scored for failure in _below(each, least)],
    }


def _below(scored: Scored, least: Sequence[tuple[str, float]]) -> Iterator[dict[str, Any]]:
    for metric, value in least:
        mean = scored.mean(metric)
        if mean < value:
            yield {
                "run": scored.run.name,
                "metric": metric,
                "value": rounded(mean),
                "bound": value,
                "message": f"{scored.run.name} has {metric} {mean:.4f}, less than {value:g}.",
            }


def collection_as_dict(collection: Collection, absent: Sequence[Target]) -> dict[str, Any]:
    """A collection, for `--json`. `absent` are the relevant places that the table does not have."""
    return {
        "name": collection.name,
        "questions": len(collection.questions),
        "relevant_places": len(collection.targets),
        "by": "section" if collection.by_section else "document",
        "left_out": list(collection.left_out),
        "not_in_table": [each.told for each in absent],
    }
