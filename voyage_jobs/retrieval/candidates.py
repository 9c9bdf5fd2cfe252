"""The rows that one kind of search finds in all tables, best first: as many as a search wants to choose from.

With a limit for each document, one long document may fill them all. Then it is asked again without the documents that
have their share, until enough is left within the limit, or there is no more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from voyage_jobs.retrieval.ranking import Document, document_of_row, merged
from voyage_jobs.retrieval.tables import Seen
from voyage_jobs.table.filters import without
from voyage_jobs.table.view import View
from voyage_jobs.table.words import Found

_ROUNDS = 8
_MOST_LEFT_OUT = 500  # documents that one filter names; those with the most rows


@dataclass(frozen=True)
class Wanted:
    """How many rows are chosen from, and how many are wanted within the limit for each document (None: no limit)."""

    deep: int
    k: int
    per_document: int | None


@dataclass(frozen=True)
class Candidates:
    """The rows, and what was found of each table at first. `complete`: whether every row was looked at."""

    rows: list[dict[str, Any]]
    parts: Sequence[Found]
    complete: bool


def candidates(
    seen: Sequence[Seen], wanted: Wanted, where: str | None, ask: Callable[[View, int, str | None], Found]
) -> Candidates:
    """What `ask` finds in each table: it gets its version, how many rows, and the filter."""
    rows: list[dict[str, Any]] = []
    every: list[Found] = []
    full: list[Document] = []
    for _ in range(_ROUNDS):
        parts = [ask(each.view, wanted.deep, _beside(where, each.name, full)) for each in seen]
        found = merged([(each.name, part.rows) for each, part in zip(seen, parts, strict=True)])[
            : wanted.deep
        ]
        rows, every = rows + found, every + parts
        if wanted.per_document is None or len(found) < wanted.deep:
            break
        shares = Counter(map(document_of_row, rows))
        if sum(min(count, wanted.per_document) for count in shares.values()) >= wanted.k:
            break
        full = [name for name, count in shares.most_common(_MOST_LEFT_OUT) if count >= wanted.per_document]
    return Candidates(rows, every[: len(seen)], all(part.complete for part in every))


def _beside(where: str | None, table: str, full: Iterable[Document]) -> str | None:
    named = [(source, path) for owner, source, path in full if owner == table]
    return without(where, named) if named else where
