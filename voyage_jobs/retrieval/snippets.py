"""A few lines out of a chunk, around the words that were asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SNIPPET_CHARS = 230  # about three lines of a terminal
_WORD = re.compile(r"\w+")
_SHORTEST_WORD = 3


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
