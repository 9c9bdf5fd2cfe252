"""Looking words up in the table: a match of texts, which costs nothing. `search` looks by meaning, and costs a call."""

from __future__ import annotations

import re
from typing import Any

from voyage_jobs.config.settings import Settings
from voyage_jobs.core.clock import Clock
from voyage_jobs.errors import ConfigError
from voyage_jobs.report.search import snippet
from voyage_jobs.table import exists
from voyage_jobs.table.text_search import find_text

LONGEST_S = 5.0
_SHOWN = 20
_MOST_WORDS = 12
_WORD = re.compile(r"\S+")


def find(settings: Settings, clock: Clock, query: str) -> dict[str, Any]:
    """The best of the rows in which every word of `query` occurs. Ends after `LONGEST_S` with what it has by then.

    Raises `ConfigError` where there is nothing to look for or no table, `CorruptionError`.
    """
    words = [word.lower() for word in _WORD.findall(query)][:_MOST_WORDS]
    if not words:
        raise ConfigError("There is nothing to look for.")
    lance = settings.lancedb
    if not exists(lance.uri, lance.table):
        raise ConfigError(
            f"There is no table {lance.table!r} in {lance.uri} yet.",
            hint="`voyage-jobs sync` fills it; `voyage-jobs status` shows how far it is.",
        )
    over_at = clock.mono() + LONGEST_S
    found = find_text(lance.uri, lance.table, words, lambda: clock.mono() < over_at)
    best = sorted(found.rows, key=lambda row: -_worth(row, words))[:_SHOWN]
    return {
        "query": query,
        "words": words,
        "hits": [_hit(row, words) for row in best],
        "more": len(found.rows) > _SHOWN,
        "looked_at": found.looked_at,
        "complete": found.complete,
    }


def _worth(row: dict[str, Any], words: list[str]) -> int:
    """The whole phrase counts most, then words in the title or path, then how often they occur."""
    text, title, path = (str(row[name]).lower() for name in ("text", "title", "path"))
    worth = 100 if len(words) > 1 and " ".join(words) in text else 0
    for word in words:
        worth += 20 * (word in title) + 10 * (word in path) + min(5, text.count(word))
    return worth


def _hit(row: dict[str, Any], words: list[str]) -> dict[str, Any]:
    return {
        "source": row["source"],
        "path": row["path"],
        "title": row["title"],
        "section": list(row["section"]),
        "ordinal": row["ordinal"],
        "chunk_id": row["chunk_id"],
        "snippet": snippet(row["text"], words, 300),
    }
