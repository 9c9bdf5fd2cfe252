"""When a document says that it was changed last, by its front matter."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime

from voyage_jobs.readers.reader import Json

KEYS = (
    "last_modified_at",
    "last_modified",
    "lastmod",
    "last_update",
    "modified_at",
    "modified",
    "updated_at",
    "updated",
    "date",
)
"""The usual names, the more telling ones first: `date` is when a page was written, where it says nothing else."""
_MOST_CHARS = 40
_US = 1_000_000
_DAY = re.compile(r"\d{4}-\d\d-\d\d(?=[Tt ]|\Z)", re.ASCII)


def changed_us(metadata: Mapping[str, Json]) -> int | None:
    """Microseconds since 1970 UTC by the first of `KEYS` that holds a date; None if none does.

    A date is as in ISO 8601, with or without a time, in UTC where it names no zone. `last_update` may be a mapping with
    a `date`.
    """
    for _, value in _said(metadata):
        if (found := moment_us(value)) is not None:
            return found
    return None


def impossible(metadata: Mapping[str, Json]) -> str | None:
    """The first of `KEYS` that names a day that is in no calendar, as `key: value`: a typing error, most likely."""
    for key, value in _said(metadata):
        day = _DAY.match(value)
        if day is not None and not day.group().startswith("0000") and not _is_day(day.group()):
            return f"{key}: {value}"
    return None


def _said(metadata: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    values = {key.lower().replace("-", "_"): value for key, value in metadata.items()}
    for key in KEYS:
        value = values.get(key)
        if isinstance(value, dict):
            value = value.get("date")
        if isinstance(value, str):
            yield key, value.strip()


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def moment_us(text: str) -> int | None:
    """Microseconds since 1970 UTC of a date as in ISO 8601, with or without a time; None for anything else."""
    if not 10 <= len(text) <= _MOST_CHARS:  # a year, or a month, is no date
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        try:  # `2024-03-01 12:00:00 +0100`, as Jekyll and Hugo write it
            found = datetime.strptime(text, "%Y-%m-%d %H:%M:%S %z")
        except ValueError:
            return None
    try:
        told_us = round((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * _US)
    except (OverflowError, ValueError):
        return None
    return told_us if told_us >= 0 else None  # `0001-01-01` stands for no date
