"""The header: what is put before a chunk's text where it is embedded, and stands in no column of its own.

A chunk from the middle of a manual rarely says what it is about. So the title and the headings above it go with it to
the provider: those that do not stand in the chunk itself. The header is part of what the embedding's key is made of.
"""

from __future__ import annotations

from collections.abc import Sequence

BETWEEN = "\n\n"
"""Between header and text."""
_ARROW = " > "
_LEFT_OUT = "…"


def embedded(header: str, text: str) -> str:
    """What is sent for a chunk, and what its key is made of."""
    return f"{header}{BETWEEN}{text}" if header else text


def embedded_part(text: str, start: int, end: int, headers: Sequence[str], section: int) -> str:
    """What is sent for the chunk at `text[start:end]`; no headers at all is an empty one for each."""
    return embedded(headers[section] if headers else "", text[start:end])


def room_of(header: str) -> int:
    """By how many characters a header makes longer what is sent."""
    return len(header) + len(BETWEEN) if header else 0


def trail(title: str, path: Sequence[str], above: Sequence[str], most: int) -> str:
    """Title and headings as one line of at most `most` characters; empty if the chunk has them itself.

    `path` are all headings that a chunk stands under, `above` those of them that are not in its text.
    """
    parts = [*above] if not title or title in path else [title, *above]
    shown, inner = parts, parts[1:]
    while len(_ARROW.join(shown)) > most and len(inner) > 1:
        inner = inner[1:]
        shown = [parts[0], _LEFT_OUT, *inner]
    line = _ARROW.join(shown)
    return line if len(line) <= most else line[: most - 1].rstrip() + _LEFT_OUT
