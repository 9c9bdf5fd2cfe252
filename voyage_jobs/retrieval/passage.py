"""What is shown of a hit: a few lines around the words that were asked for, or its neighbours in the document."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Protocol

from voyage_jobs.core.profile import KEY_DIGITS
from voyage_jobs.retrieval.result import Hit
from voyage_jobs.table.words import cut

_SNIPPET_CHARS = 230  # about three lines of a terminal
_SHORTEST_WORD = 3
_WHOLE_CHARS, _ENDING_CHARS = 4, 3
_SECTION_CHUNKS = 20  # of a section, on either side


class Rows(Protocol):
    """Where neighbours come from."""

    def around(self, wanted: Sequence[tuple[str, int, int]]) -> list[dict[str, Any]]:
        """Rows of documents, from one ordinal to another."""


def widened(hits: Sequence[Hit], by: int | Literal["section"], view: Rows) -> list[Hit]:
    """The hits with their `context`; one that lies in the context of a better one is left out."""
    if not by:
        return list(hits)
    reach = _SECTION_CHUNKS if by == "section" else by
    spans = [(hit.chunk_id[:KEY_DIGITS], hit.ordinal - reach, hit.ordinal + reach) for hit in hits]
    chunks: dict[tuple[str, int], dict[str, Any]] = {
        (row["chunk_id"][:KEY_DIGITS], row["ordinal"]): row for row in view.around(spans)
    }
    shown: set[tuple[str, int]] = set()
    kept = []
    for hit in hits:
        document = hit.chunk_id[:KEY_DIGITS]
        if (document, hit.ordinal) in shown:
            continue
        section = list(hit.section) if by == "section" else None
        first, last = hit.ordinal, hit.ordinal
        while hit.ordinal - first < reach and _belongs(chunks, (document, first - 1), section, shown):
            first -= 1
        while last - hit.ordinal < reach and _belongs(chunks, (document, last + 1), section, shown):
            last += 1
        around = [(document, ordinal) for ordinal in range(first, last + 1)]
        shown.update(around)
        kept.append(
            replace(hit, context=joined([chunks[key] for key in around if key in chunks]) or hit.text)
        )
    return kept


def widened_in(hits: Sequence[Hit], by: int | Literal["section"], views: Mapping[str, Rows]) -> list[Hit]:
    """The same for hits of several tables, in their order."""
    if not by:
        return list(hits)
    order = {(hit.table, hit.chunk_id): place for place, hit in enumerate(hits)}
    found = [
        hit
        for name, view in views.items()
        for hit in widened([each for each in hits if each.table == name], by, view)
    ]
    return sorted(found, key=lambda hit: order[hit.table, hit.chunk_id])


def _belongs(
    chunks: dict[tuple[str, int], dict[str, Any]],
    key: tuple[str, int],
    section: list[str] | None,
    shown: set[tuple[str, int]],
) -> bool:
    row = chunks.get(key)
    return row is not None and key not in shown and (section is None or list(row["section"]) == section)


def joined(rows: Sequence[dict[str, Any]]) -> str:
    """The texts of rows that are in order; what two chunks share, as their offsets say, stands once."""
    text, end = "", 0
    for row in rows:
        if text and row["start"] < end:
            text += row["text"][end - row["start"] :]
        else:
            text += ("\n\n" if text else "") + row["text"]
        end = max(end, row["end"])
    return text


def words_of(query: str) -> list[str]:
    """The words of a question that are worth marking, in lower case."""
    return [word.lower() for word in cut(query) if len(word) >= _SHORTEST_WORD]


def stem_of(word: str) -> str:
    """What a word has in common with its other endings: all of a short one, a longer one without its last letters."""
    return word[: max(_WHOLE_CHARS, len(word) - _ENDING_CHARS)]


def pattern_of(words: Iterable[str]) -> str | None:
    """A regular expression for those words in a text, longer ones with other endings, too; None for none."""
    parts = [
        re.escape(stem_of(word)) + r"\w*" if len(word) > _WHOLE_CHARS else re.escape(word) + r"(?!\w)"
        for word in words
    ]
    return r"(?i)\b(?:" + "|".join(parts) + ")" if parts else None


def snippet(text: str, words: Iterable[str], limit: int = _SNIPPET_CHARS) -> str:
    """About `limit` characters of a chunk on one line, from a little before the first of the words."""
    plain = " ".join(text.split())
    if len(plain) <= limit:
        return plain
    low = plain.lower()
    found = [at for word in words if (at := low.find(stem_of(word))) >= 0]
    start = max(0, min(found, default=0) - limit // 4)
    start = plain.rfind(" ", 0, start) + 1 if start else 0
    end = plain.rfind(" ", start, start + limit) if start + limit < len(plain) else len(plain)
    end = end if end > start else start + limit
    return ("... " if start else "") + plain[start:end] + (" ..." if end < len(plain) else "")
