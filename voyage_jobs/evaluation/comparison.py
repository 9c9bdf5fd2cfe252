"""Two runs, question by question: is one better, might that be chance, and which questions changed most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from voyage_jobs.core.plural import counted
from voyage_jobs.errors import ConfigError
from voyage_jobs.evaluation.collection import Collection
from voyage_jobs.evaluation.metrics import Metric
from voyage_jobs.evaluation.run import Run
from voyage_jobs.evaluation.scored import Scored, first_relevant, rounded
from voyage_jobs.evaluation.significance import LEAST_QUERIES, SURE, chance, interval

_CHANGED = 10
_EQUAL = 1e-9  # of two values: no more than rounding


def comparisons_of(
    scored: Sequence[Scored], saved: Sequence[Run] | None, collection: Collection, metrics: Sequence[Metric]
) -> list[dict[str, Any]]:
    """Every run against its like in a file; where there is no file, every later run against the first.

    Raises ConfigError where there is nothing to compare with.
    """
    if saved is None:
        return [compared(each, scored[0], collection) for each in scored[1:]]
    found = [(each, baseline_for(each.run, saved)) for each in scored]
    return [
        compared(
            each, Scored.of(replace(base, name=f"{base.name} as saved"), collection, metrics), collection
        )
        for each, base in found
    ]


def compared(run: Scored, baseline: Scored, collection: Collection) -> dict[str, Any]:
    """How a run differs from a baseline over the questions that both were asked, for `--json`.

    Raises ConfigError where they have no question in common.
    """
    both = np.array(
        [each.id in run.run.rankings and each.id in baseline.run.rankings for each in collection.questions]
    )
    if not both.any():
        raise ConfigError(
            f"The run {baseline.run.name} was asked none of the questions of {collection.name}.",
            hint="Is it a run over another collection?",
        )
    return {
        "run": run.run.name,
        "baseline": baseline.run.name,
        "questions": int(both.sum()),
        "not_in_both": int((~both).sum()),
        "metrics": {
            name: _difference(values[both] - baseline.values[name][both])
            for name, values in run.values.items()
        },
        "changed": _changed(run, baseline, collection, both),
    }


def _difference(differences: np.ndarray) -> dict[str, Any]:
    low, high = interval(differences)
    p = chance(differences)
    return {
        "difference": rounded(differences.mean()),
        "low": rounded(low),
        "high": rounded(high),
        "p": rounded(p),
        "significant": bool(p < SURE and len(differences) >= LEAST_QUERIES),
        "better": int((differences > _EQUAL).sum()),
        "same": int((np.abs(differences) <= _EQUAL).sum()),
        "worse": int((differences < -_EQUAL).sum()),
    }


def _changed(run: Scored, baseline: Scored, collection: Collection, both: np.ndarray) -> list[dict[str, Any]]:
    """The questions whose first metric changed most."""
    metric, values = next(iter(run.values.items()))
    before = baseline.values[metric]
    change = np.where(both, values - before, 0.0)
    order = np.argsort(-np.abs(change), kind="stable")[:_CHANGED]
    return [
        {
            "id": question.id,
            "query": question.text,
            "difference": rounded(change[at]),
            "first_relevant": [
                first_relevant(each.run, question, by_section=collection.by_section)
                for each in (baseline, run)
            ],
        }
        for at in order.tolist()
        if abs(change[at]) > _EQUAL
        for question in (collection.questions[at],)
    ]


def baseline_for(run: Run, saved: Sequence[Run]) -> Run:
    """Which of several saved runs a run is compared with: that of its name, else the only one. Raises ConfigError."""
    same = [each for each in saved if each.name == run.name]
    if same or len(saved) == 1:
        return (same or saved)[0]
    raise ConfigError(
        f"The file holds {counted(len(saved), 'run')}, and none of them is {run.name}:"
        f" {', '.join(each.name for each in saved)}."
    )


def dropped(comparison: dict[str, Any], metric: str, most: float) -> dict[str, Any] | None:
    """The failure if a run is worse than its baseline by more than `most`, and that is not chance; else None.

    With too few questions nothing tells chance apart, and the drop alone decides.
    """
    found = comparison["metrics"][metric]
    drop = -found["difference"]
    few = comparison["questions"] < LEAST_QUERIES
    if drop <= most or not (few or found["significant"]):
        return None
    why = (
        f"with {counted(comparison['questions'], 'question')}, too few to rule out chance"
        if few
        else (f"p = {found['p']:.4f}")
    )
    return {
        "run": comparison["run"],
        "metric": metric,
        "value": rounded(-drop),
        "bound": most,
        "message": f"{comparison['run']} lost {drop:.4f} of {metric} against {comparison['baseline']},"
        f" more than {most:g} ({why}).",
    }
