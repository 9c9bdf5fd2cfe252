"""What a run is worth, question by question and as a mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from voyage_jobs.evaluation.collection import Collection, Question
from voyage_jobs.evaluation.metrics import Metric, values
from voyage_jobs.evaluation.places import grades, units
from voyage_jobs.evaluation.run import Run
from voyage_jobs.evaluation.significance import interval

_DIGITS = 6


@dataclass(frozen=True)
class Scored:
    """A run with its values: one for every question, in the order of the collection, by the name of a metric."""

    run: Run
    values: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, run: Run, collection: Collection, metrics: Sequence[Metric]) -> Scored:
        """A run over a collection."""
        return cls(run, _scores(run, collection, metrics))

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


def first_relevant(run: Run, question: Question, *, by_section: bool) -> int | None:
    """The place (from 1) of the first answer; None if none was found."""
    found = units(run.rankings.get(question.id, ()), question.judged, by_section=by_section)
    return next((rank for rank, (_, grade) in enumerate(found, 1) if grade > 0), None)


def _scores(run: Run, collection: Collection, metrics: Sequence[Metric]) -> dict[str, np.ndarray]:
    """The values of every question, in the order of the collection, by the name of the metric."""
    judged = {question.id: question.grades for question in collection.questions}
    found = {
        question.id: grades(
            run.rankings.get(question.id, ()), question.judged, by_section=collection.by_section
        )
        for question in collection.questions
    }
    return {metric.name: values(metric, found, judged) for metric in metrics}
