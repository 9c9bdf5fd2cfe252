"""One run: every question of a collection asked in one mode of one version of a table, and maybe reranked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from voyage_jobs.errors import ConfigError
from voyage_jobs.evaluation.collection import Question
from voyage_jobs.evaluation.kept import Progress
from voyage_jobs.evaluation.places import Place
from voyage_jobs.retrieval.result import MODES, Mode, Query
from voyage_jobs.retrieval.retriever import Retriever

Vector = Callable[[str], Sequence[float]]
"""Gives the vector of a query."""
CONFIGURED = "rerank"
"""Stands in a run for the model that `[search] rerank_model` names."""


@dataclass(frozen=True)
class Asked:
    """A run as it is asked for: `mode`, `where` its table is (empty: the table as it is now), and the model that
    reranks, or `CONFIGURED` (empty: none does)."""

    mode: Mode
    where: str = ""
    rerank: str = ""

    @classmethod
    def parse(cls, word: str) -> Asked:
        """`hybrid`, `hybrid:rerank`, `vector@3`, `words:rerank-2.5@other.toml` and the like. Raises ConfigError."""
        how, at, where = word.partition("@")
        mode, colon, rerank = how.partition(":")
        for known in MODES:
            if mode == known and bool(at) == bool(where) and bool(colon) == bool(rerank):
                return cls(known, where, rerank)
        raise ConfigError(
            f"{word!r} is no run. A run is {', '.join(MODES)}, then maybe :rerank or :MODEL, then maybe @VERSION,"
            " @new, @previous or @FILE, a configuration."
        )

    @property
    def name(self) -> str:
        """As it was asked for."""
        how = f"{self.mode}:{self.rerank}" if self.rerank else self.mode
        return f"{how}@{self.where}" if self.where else how


def with_reranked(asked: Sequence[Asked]) -> list[Asked]:
    """Each run, and after it the same one reranked by the configured model."""
    both = ((each, replace(each, rerank=each.rerank or CONFIGURED)) for each in asked)
    return list(dict.fromkeys(each for pair in both for each in pair))


@dataclass(frozen=True)
class Run:
    """What a run found: for each question, by its id, where the chunks stand that were found, best first.

    `facts` are those of the table; `warnings` say what kept searches from being what was asked for.
    """

    name: str
    rankings: Mapping[str, tuple[Place, ...]]
    facts: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answers:
    """What one mode of one table answers: by question's id the places, best first, and the first `texts` of them.

    `warnings` have the number of their questions; `took_s` is what asking took.
    """

    places: Mapping[str, tuple[Place, ...]]
    texts: Mapping[str, tuple[str, ...]]
    warnings: tuple[str, ...]
    took_s: float = 0.0


def ask(
    retriever: Retriever,
    questions: Sequence[Question],
    mode: Mode,
    depth: int,
    vector: Vector,
    progress: Progress,
    texts: int = 0,
) -> Answers:
    """Ask all questions for `depth` chunks each, and keep the text of so many of them."""
    places: dict[str, tuple[Place, ...]] = {}
    kept: dict[str, tuple[str, ...]] = {}
    warnings: Counter[str] = Counter()
    for done, question in enumerate(questions):
        progress(f"asking {mode}", done, len(questions))
        given = None if mode == "words" else vector(question.text)
        query = Query(question.text, k=depth, mode=mode, rerank=False)
        found = retriever.search(query, vector=given)
        places[question.id] = tuple(Place(hit.source, hit.path, hit.section) for hit in found.hits)
        kept[question.id] = tuple(hit.text for hit in found.hits[:texts])
        warnings.update(found.warnings)
    return Answers(
        places, kept, tuple(f"{text} ({count} of {len(questions)})" for text, count in warnings.items())
    )


def reordered(places: Sequence[Place], scores: Sequence[float]) -> tuple[Place, ...]:
    """The first places in the order of their scores, best first; equal ones, and all others, stay as they were."""
    order = sorted(range(len(scores)), key=lambda at: -scores[at])
    return (*(places[at] for at in order), *places[len(scores) :])
