"""`eval make`: sections of the table to write questions for."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from voyage_jobs.evaluation.places import Place, Target, target
from voyage_jobs.retrieval.passage import snippet
from voyage_jobs.table.view import View

_EXCERPT_CHARS = 400


@dataclass(frozen=True)
class Sample:
    """A section, and how its text begins."""

    target: Target
    excerpt: str

    def as_dict(self) -> dict[str, Any]:
        """A line of a file of questions, with the question left to be written."""
        return {"query": "", "relevant": self._relevant, "about": self.excerpt}

    @property
    def _relevant(self) -> str | dict[str, Any]:
        """The place in words; in full where a `#` or `>` of its own would be read as the beginning of a heading."""
        place = self.target
        if target(place.told, {place.source}) == place:
            return place.told
        return {"source": place.source, "path": place.path, "heading": list(place.headings)}


def sample(view: View, count: int, sources: Collection[str]) -> list[Sample]:
    """`count` sections, drawn so that each has the same chance, in the order of their places.

    The draw is by a hash of the place: the same sections come again, and a table that grew gives mostly the same ones.
    `sources` are those to draw from; empty: all.
    """
    chosen = sorted(heapq.nsmallest(count, _places(view, sources), key=_lot))
    texts = view.beginnings([(place.source, place.path, place.section) for place in chosen])
    return [
        Sample(Target(*place), snippet(text, (), _EXCERPT_CHARS))
        for place, text in zip(chosen, texts, strict=True)
    ]


def _places(view: View, sources: Collection[str]) -> Iterator[Place]:
    """Every section once: the rows of a document stand together."""
    document, seen = ("", ""), set[Place]()
    for found in view.places():
        place = Place(*found)
        if place[:2] != document:
            document, seen = place[:2], set()
        if place not in seen and (not sources or place.source in sources):
            seen.add(place)
            yield place


def _lot(place: Place) -> bytes:
    return hashlib.blake2b(place.word.encode("utf-8", "surrogateescape"), digest_size=8).digest()
