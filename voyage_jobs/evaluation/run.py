"""One run: every question of a collection asked in one mode of one version of a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from voyage_jobs.errors import ConfigError
from voyage_jobs.evaluation.collection import Question
from voyage_jobs.evaluation.places import Place
from voyage_jobs.evaluation.query_vectors import Progress
from voyage_jobs.retrieval.result import MODES, Mode, Query
from voyage_jobs.retrieval.retriever import Retriever

Vector = Callable[[str], Sequence[float]]
"""Gives the vector of a query."""


@dataclass(frozen=True)
class Asked:
    """A run as it is asked for: `mode`, and `where` its table is (empty: the table as it is now)."""

    mode: Mode
    where: str = ""

    @classmethod
    def parse(cls, word: str) -> Asked:
        """`hybrid`, `vector@3`, `words@other.toml` and the like. Raises ConfigError."""
        mode, at, where = word.partition("@")
        for known in MODES:
            if mode == known and bool(at) == bool(where):
                return cls(known, where)
        raise ConfigError(
            f"{word!r} is no run. A run is {', '.join(MODES)}, or one of them with @VERSION, @new, @previous or"
            " @FILE, a configuration."
        )

    @property
    def name(self) -> str:
        """As it was asked for."""
        return f"{self.mode}@{self.where}" if self.where else self.mode


@dataclass(frozen=True)
class Run:
    """What a run found: for each question, by its id, where the chunks stand that were found, best first.

    `facts` are those of the table; `warnings` say what kept searches from being what was asked for.
    """

    name: str
    rankings: Mapping[str, tuple[Place, ...]]
    facts: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def ask(
    retriever: Retriever,
    questions: Sequence[Question],
    asked: Asked,
    depth: int,
    vector: Vector,
    progress: Progress,
) -> tuple[dict[str, tuple[Place, ...]], tuple[str, ...]]:
    """The rankings of all questions, `depth` chunks each, and warnings, each with the number of its questions."""
    rankings: dict[str, tuple[Place, ...]] = {}
    warnings: Counter[str] = Counter()
    for done, question in enumerate(questions):
        progress(f"asking {asked.name}", done, len(questions))
        given = None if asked.mode == "words" else vector(question.text)
        query = Query(question.text, k=depth, mode=asked.mode, rerank=False)
        found = retriever.search(query, vector=given)
        rankings[question.id] = tuple(Place(hit.source, hit.path, hit.section) for hit in found.hits)
        warnings.update(found.warnings)
    return rankings, tuple(f"{text} ({count} of {len(questions)})" for text, count in warnings.items())
