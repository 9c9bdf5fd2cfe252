"""The ranking that a search answers with: several made one by their ranks, at most so many hits of each document."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from voyage_jobs.retrieval.result import Hit

_K = 60  # of the paper (Cormack and others, 2009): the first places do not decide everything


def fuse(rankings: Mapping[str, Sequence[str]]) -> list[tuple[str, float]]:
    """Every name in any of the rankings, best first, with its score: 1 for the first of all of them.

    Equal scores keep the order of the first ranking that has them.
    """
    scores: dict[str, float] = {}
    for ranking in rankings.values():
        for rank, name in enumerate(dict.fromkeys(ranking), 1):
            scores[name] = scores.get(name, 0.0) + (_K + 1) / (_K + rank) / len(rankings)
    return sorted(scores.items(), key=lambda item: -item[1])


def ranked(rankings: Mapping[str, list[dict[str, Any]]], per_document: int | None) -> list[Hit]:
    """All hits, best first, at most `per_document` of each document."""
    rows: dict[str, dict[str, Any]] = {}
    scores: dict[str, dict[str, float]] = {}
    ranks: dict[str, dict[str, int]] = {}
    for name, ranking in rankings.items():
        for rank, row in enumerate(ranking, 1):
            chunk = row["chunk_id"]
            rows[chunk] = row
            scores.setdefault(chunk, {})[name] = float(row["score"])
            ranks.setdefault(chunk, {})[name] = rank
    order = fuse({name: [row["chunk_id"] for row in ranking] for name, ranking in rankings.items()})
    only = next(iter(rankings)) if len(rankings) == 1 else None
    seen: Counter[tuple[str, str]] = Counter()
    found = []
    for chunk, fused in order:
        row = rows[chunk]
        seen[row["source"], row["path"]] += 1
        if per_document is None or seen[row["source"], row["path"]] <= per_document:
            all_scores = scores[chunk] if only else {**scores[chunk], "fused": fused}
            found.append(_hit(row, all_scores[only or "fused"], all_scores, ranks[chunk]))
    return found


_PLAIN = ("source", "path", "title", "ordinal", "start", "end", "chunk_id", "text", "place", "page", "url")


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
