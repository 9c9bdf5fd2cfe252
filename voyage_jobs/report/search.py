"""`search`: embed a question as a query, find the nearest chunks in the table, cut a snippet out of each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from voyage_jobs.config.profile import profile_of
from voyage_jobs.config.provider import connect
from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import Clock
from voyage_jobs.errors import ConfigError
from voyage_jobs.report.served import settings_of_table
from voyage_jobs.table import PublishedTable, exists

if TYPE_CHECKING:
    import httpx

_SNIPPET_CHARS = 230  # about three lines of a terminal
_WORD = re.compile(r"\w+")
_SHORTEST_WORD = 3


@dataclass(frozen=True)
class Hit:
    """One chunk found: `score` is the cosine, 1 for the same direction; `text` is the whole chunk,
    `front_matter` that of its document."""

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
    front_matter: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {**vars(self), "section": list(self.section)}


def search(
    settings: Settings,
    clock: Clock,
    query: str,
    k: int,
    source: str | None = None,
    transport: httpx.BaseTransport | None = None,
) -> list[Hit]:
    """The `k` nearest chunks, best first. Costs one synchronous call for a few tokens.

    Documents that were embedded without an input type are asked without one. Raises `ConfigError` where there is no
    table, or no text to look for, and `VendorError`.
    """
    if not query.strip():
        raise ConfigError("There is nothing to look for.")
    lance, profile = settings.lancedb, profile_of(settings_of_table(settings))
    if source is not None and source not in {each.name for each in settings.sources}:
        names = ", ".join(each.name for each in settings.sources)
        raise ConfigError(f"There is no source {source!r} in the configuration; there is {names}.")
    if not exists(lance.uri, lance.table):
        raise ConfigError(
            f"There is no table {lance.table!r} in {lance.uri} yet.",
            hint="`voyage-jobs sync` fills it; `voyage-jobs status` shows how far it is.",
        )
    table = PublishedTable.open(lance.uri, lance.table, profile)
    asked = profile if profile.input_type is None else replace(profile, input_type="query")
    with connect(settings, clock, transport) as client:
        vector = client.embed([query], asked).vectors[0]
    where = None if source is None else f"source = '{source}'"  # a source's name has no quotes: see config
    return [_hit(row) for row in table.search(vector, k, where)]


def _hit(row: dict[str, Any]) -> Hit:
    return Hit(
        score=float(row["score"]),
        source=row["source"],
        path=row["path"],
        section=tuple(row["section"]),
        title=row["title"],
        ordinal=row["ordinal"],
        start=row["start"],
        end=row["end"],
        chunk_id=row["chunk_id"],
        text=row["text"],
        front_matter=json.loads(row["front_matter"]),
    )


def words_of(query: str) -> list[str]:
    """The words of a question that are worth marking, in lower case."""
    return [word.lower() for word in _WORD.findall(query) if len(word) >= _SHORTEST_WORD]


def snippet(text: str, words: Iterable[str], limit: int = _SNIPPET_CHARS) -> str:
    """About `limit` characters of a chunk on one line, from a little before the first of the words."""
    plain = " ".join(text.split())
    if len(plain) <= limit:
        return plain
    low = plain.lower()
    found = [at for word in words if (at := low.find(word)) >= 0]
    start = max(0, min(found, default=0) - limit // 4)
    start = plain.rfind(" ", 0, start) + 1 if start else 0
    end = plain.rfind(" ", start, start + limit)
    end = end if end > start else start + limit
    return ("... " if start else "") + plain[start:end] + (" ..." if end < len(plain) else "")
