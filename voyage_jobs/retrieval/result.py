"""What is asked of a search, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Mode = Literal["hybrid", "vector", "words"]
MODES: tuple[Mode, ...] = ("hybrid", "vector", "words")
LONGEST_QUERY = 100_000
"""Characters."""


@dataclass(frozen=True)
class Query:
    """One question.

    `sources`: names, any of which will do; `paths`: globs, any of which must match; `where`: SQL over the table's
    columns; `since`: modified then or later; `fields`: names and values of the front matter, each of which must be
    that value, or a list that holds it. `candidates` are taken of each ranking before they are fused. `per_document`:
    at most so many hits of one document. `expand`: so many neighbouring chunks on either side, or the whole section,
    become the `context` of a hit; hits whose contexts overlap become one. `rerank`: whether a model puts the first
    `candidates` into a better order, or which one; None: as configured, unless by words.
    """

    text: str
    k: int = 5
    mode: Mode = "hybrid"
    sources: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    where: str | None = None
    since: datetime | None = None
    expand: int | Literal["section"] = 0
    per_document: int | None = None
    candidates: int = 50
    rerank: bool | str | None = None
    fields: tuple[tuple[str, str | int | bool], ...] = ()


@dataclass(frozen=True)
class Hit:
    """One chunk found.

    `score` is what it was ranked by: the cosine in a search by vectors (1: same direction), BM25 in one by words, and
    in a hybrid one 1 for what is first in both. `scores` and `ranks` have those of each ranking it stands in. `text` is
    the whole chunk, `context` the text around it that was asked for (else the same), `table` where it was found,
    `front_matter` its document's.
    """

    score: float
    source: str
    path: str
    section: tuple[str, ...]
    title: str
    ordinal: int
    start: int
    end: int
    chunk_id: str
    text: str
    context: str
    place: str
    page: int
    url: str
    modified_at: datetime
    table: str
    scores: dict[str, float]
    ranks: dict[str, int]
    front_matter: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        modified = self.modified_at.isoformat(timespec="seconds")
        return {**vars(self), "section": list(self.section), "modified_at": modified}


@dataclass(frozen=True)
class Reranking:
    """That the first hits were put into the order of a model: how many it saw, what that was billed and its price."""

    model: str
    candidates: int
    tokens: int
    usd: float | None


@dataclass(frozen=True)
class Result:
    """The hits, best first; in which mode they were found, and what kept it from being the one that was asked for.

    `looked_at` rows were searched; `complete` is False if time ran out before all were. `tokens` are those that the
    provider billed for the query's vector (None: it did not say), `usd` their price, where it is known; `reranking`
    says what the reranker did, None if none did; `took_ms` by step. `facets` count all candidates,
    those that are no hits included, by source, by top folder and by fields of the front matter (values as JSON).
    """

    query: Query
    mode: Mode
    hits: tuple[Hit, ...]
    warnings: tuple[str, ...] = ()
    model: str | None = None
    tokens: int | None = 0
    usd: float | None = 0.0
    reranking: Reranking | None = None
    took_ms: dict[str, float] = field(default_factory=dict)
    looked_at: int = 0
    complete: bool = True
    more: bool = False
    facets: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "query": self.query.text,
            "asked": {"mode": self.query.mode, "k": self.query.k, "filter": self.query.where},
            "mode": self.mode,
            "hits": [hit.as_dict() for hit in self.hits],
            "warnings": list(self.warnings),
            "cost": {"model": self.model, "tokens": self.tokens, "usd": self.usd},
            "reranking": None if self.reranking is None else vars(self.reranking),
            "took_ms": self.took_ms,
            "looked_at": self.looked_at,
            "complete": self.complete,
            "more": self.more,
            "facets": self.facets,
        }
