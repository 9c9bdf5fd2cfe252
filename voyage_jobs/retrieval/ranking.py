"""The ranking that a search answers with: several made one by their ranks, at most so many hits of each document."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from voyage_jobs.retrieval.result import Hit
from voyage_jobs.table.filters import is_field

_Name = TypeVar("_Name")
Document = tuple[str, str, str]
"""The table, the source and the path of a document."""
_K = 60  # of the paper (Cormack and others, 2009): the first places do not decide everything


def merged(rankings: Sequence[tuple[str, list[dict[str, Any]]]]) -> list[dict[str, Any]]:
    """The rankings of several tables, by their names, as one: by score, and told which is whose.

    Cosines can be compared; of words it is what search engines do with the parts of an index, each of which knows how
    frequent a word is in itself alone.
    """
    rows = [{**row, "table": table} for table, ranking in rankings for row in ranking]
    return rows if len(rankings) == 1 else sorted(rows, key=lambda row: -row["score"])


def document_of_row(row: Mapping[str, Any]) -> Document:
    """Whose row it is."""
    return row["table"], row["source"], row["path"]


def _named(row: Mapping[str, Any]) -> tuple[str, str]:
    """A row, among those of several tables: two may have one file."""
    return row["table"], row["chunk_id"]


def fuse(rankings: Mapping[str, Sequence[_Name]]) -> list[tuple[_Name, float]]:
    """Every name in any of the rankings, best first, with its score: 1 for the first of all of them.

    Equal scores keep the order of the first ranking that has them.
    """
    scores: dict[_Name, float] = {}
    for ranking in rankings.values():
        for rank, name in enumerate(dict.fromkeys(ranking), 1):
            scores[name] = scores.get(name, 0.0) + (_K + 1) / (_K + rank) / len(rankings)
    return sorted(scores.items(), key=lambda item: -item[1])


def ranked(rankings: Mapping[str, list[dict[str, Any]]]) -> list[Hit]:
    """All hits, best first."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    scores: dict[tuple[str, str], dict[str, float]] = {}
    ranks: dict[tuple[str, str], dict[str, int]] = {}
    for name, ranking in rankings.items():
        for rank, row in enumerate(ranking, 1):
            chunk = _named(row)
            rows[chunk] = row
            scores.setdefault(chunk, {})[name] = float(row["score"])
            ranks.setdefault(chunk, {})[name] = rank
    order = fuse({name: list(map(_named, ranking)) for name, ranking in rankings.items()})
    only = next(iter(rankings)) if len(rankings) == 1 else None
    found = []
    for chunk, fused in order:
        all_scores = scores[chunk] if only else {**scores[chunk], "fused": fused}
        found.append(_hit(rows[chunk], all_scores[only or "fused"], all_scores, ranks[chunk]))
    return found


def reranked(hits: Sequence[Hit], scores: Sequence[float]) -> list[Hit]:
    """The hits in the order of other scores, best first; equal ones stay as they were."""
    order = sorted(zip(hits, scores, strict=True), key=lambda pair: -pair[1])
    return [
        replace(hit, score=score, scores={**hit.scores, "rerank": score}, ranks={**hit.ranks, "rerank": rank})
        for rank, (hit, score) in enumerate(order, 1)
    ]


def limited(hits: Sequence[Hit], per_document: int | None) -> list[Hit]:
    """At most so many hits of each document, the best; None: all."""
    if per_document is None:
        return list(hits)
    seen: Counter[Document] = Counter()
    kept = []
    for hit in hits:
        document = hit.table, hit.source, hit.path
        seen[document] += 1
        if seen[document] <= per_document:
            kept.append(hit)
    return kept


_MOST_FACETS, _MOST_FIELDS = 12, 4
_LONGEST_VALUE = 40
_TOGETHER = 1.5  # hits that a value of a field has on average, or it tells hits apart and groups none


def facets(hits: Sequence[Hit]) -> dict[str, Any]:
    """How many of the hits are of each source, below each top folder, and have each value of a field of the front
    matter, as JSON; the most frequent of them."""
    sources = Counter(hit.source for hit in hits)
    folders = Counter(hit.path.partition("/")[0] for hit in hits if "/" in hit.path)
    return {
        "source": dict(sources.most_common(_MOST_FACETS)),
        "folder": dict(folders.most_common(_MOST_FACETS)),
        "fields": _fields(hits),
    }


def _fields(hits: Sequence[Hit]) -> dict[str, dict[str, int]]:
    found: dict[str, Counter[str]] = {}
    for hit in hits:
        for name, value in hit.front_matter.items():
            if is_field(name):
                values = set(map(_shown, value if isinstance(value, list) else [value])) - {None}
                found.setdefault(name, Counter()).update(each for each in values if each is not None)
    grouping = [(name, all_) for name, all_ in found.items() if all_.total() >= _TOGETHER * len(all_) > 0]
    grouping.sort(key=lambda each: -each[1].total())
    return {name: dict(all_.most_common(_MOST_FACETS)) for name, all_ in grouping[:_MOST_FIELDS]}


def _shown(value: Any) -> str | None:
    """A short text, a whole number or a truth value as JSON; None for what is none of these."""
    if isinstance(value, str) and not 0 < len(value) <= _LONGEST_VALUE:
        return None
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str | int) else None


_PLAIN = (
    "source",
    "path",
    "title",
    "ordinal",
    "start",
    "end",
    "chunk_id",
    "text",
    "place",
    "page",
    "url",
    "table",
)


def _hit(row: dict[str, Any], score: float, scores: dict[str, float], ranks: dict[str, int]) -> Hit:
    return Hit(
        score=score,
        section=tuple(row["section"]),
        context=row["text"],
        modified_at=row["modified_at"],
        scores=scores,
        ranks=ranks,
        front_matter=json.loads(row["front_matter"]),
        **{name: row[name] for name in _PLAIN},
    )
