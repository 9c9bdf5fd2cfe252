"""What is stored of a reading besides its text: what the reader was told, address, record, and places in the text."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import orjson

from voyage_jobs.readers.reader import Json, Text

_PAGE = "page"
_MOST_PAGE = 2**31 - 1


@dataclass(frozen=True)
class Reading:
    """How a version was read. `places` are (first character, kind, label), in order."""

    options: Mapping[str, Json] = field(default_factory=dict)
    url: str = ""
    record: str = ""
    places: Sequence[tuple[int, str, str]] = ()

    def place_at(self, start: int) -> tuple[str, int]:
        """Where a character stands, in words, and on which page; ("", 0) where there is no such place."""
        at = bisect_right(self.places, start, key=lambda place: place[0])
        if not at:
            return "", 0
        _, kind, label = self.places[at - 1]
        if kind != _PAGE:
            return f"{kind} {label}", 0
        number = int(label) if label.isascii() and label.isdigit() else 0
        return f"p. {label}", number if number <= _MOST_PAGE else 0


_NOTHING = Reading()


def stored_reading(document: Text, options: Mapping[str, Json]) -> str | None:
    """What the state keeps of it; None where there is nothing to keep."""
    places = [(place.at, place.kind, place.label) for place in document.places]
    return told_reading(options, document.url, document.record or "", places)


def told_reading(
    options: Mapping[str, Json], url: str, record: str, places: Sequence[tuple[int, str, str]] = ()
) -> str | None:
    """The same of its parts."""
    told: dict[str, object] = {}
    if options:
        told["options"] = options
    if url:
        told["url"] = url
    if record:
        told["record"] = record
    if places:
        told["places"] = places
    return orjson.dumps(told).decode() if told else None


def reading_of(stored: str | None) -> Reading:
    """What the state kept."""
    return _NOTHING if stored is None else Reading(**orjson.loads(stored))
