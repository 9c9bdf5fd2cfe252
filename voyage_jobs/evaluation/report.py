"""What an evaluation says, in the shape that docs/evaluation.md promises for `--json`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from voyage_jobs.evaluation.collection import Collection
from voyage_jobs.evaluation.comparison import dropped
from voyage_jobs.evaluation.kept import Bill
from voyage_jobs.evaluation.places import Target
from voyage_jobs.evaluation.scored import Scored, first_relevant, rounded
from voyage_jobs.evaluation.significance import LEAST_QUERIES

Bounds = Sequence[tuple[str, float]]
"""Metrics, each with the value that it is held to."""


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
    comparisons: Sequence[dict[str, Any]],
    least: Bounds,
    most_drop: Bounds,
) -> dict[str, Any]:
    """All of it. `absent` are relevant places that the table lacks; `least` the values that every run must have, and
    `most_drop` what it may lose against its baseline.
    """
    notes = [note for note in (too_few(collection),) if note]
    return {
        "collection": collection_as_dict(collection, absent),
        "cost": [bill.as_dict() for bill in bills],
        "runs": [each.as_dict() for each in scored],
        "comparisons": list(comparisons),
        "questions": per_question(collection, scored),
        "notes": notes,
        "failed": [
            *(failure for each in scored for failure in _below(each, least)),
            *(failure for each in comparisons for failure in _lost(each, most_drop)),
        ],
    }


def _below(scored: Scored, least: Bounds) -> Iterator[dict[str, Any]]:
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


def _lost(comparison: dict[str, Any], most_drop: Bounds) -> Iterator[dict[str, Any]]:
    for metric, most in most_drop:
        failure = dropped(comparison, metric, most)
        if failure is not None:
            yield failure
