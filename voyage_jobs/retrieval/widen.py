"""The text around a hit: neighbouring chunks of the same version of the table, each text once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, Protocol

from voyage_jobs.core.profile import KEY_DIGITS
from voyage_jobs.retrieval.result import Hit

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
            replace(hit, context=_joined([chunks[key] for key in around if key in chunks]) or hit.text)
        )
    return kept


def _belongs(
    chunks: dict[tuple[str, int], dict[str, Any]],
    key: tuple[str, int],
    section: list[str] | None,
    shown: set[tuple[str, int]],
) -> bool:
    row = chunks.get(key)
    return row is not None and key not in shown and (section is None or list(row["section"]) == section)


def _joined(rows: Sequence[dict[str, Any]]) -> str:
    """The texts in order; what two chunks share, as their offsets say, stands once."""
    text, end = "", 0
    for row in rows:
        if text and row["start"] < end:
            text += row["text"][end - row["start"] :]
        else:
            text += ("\n\n" if text else "") + row["text"]
        end = max(end, row["end"])
    return text
