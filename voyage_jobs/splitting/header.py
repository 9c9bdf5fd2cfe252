"""The header: what is put before a chunk's text where it is embedded, and stands in no column of its own.

A chunk from the middle of a manual rarely says what it is about. So the title and the headings above it go with it to
the provider: those that do not stand in the chunk itself. The header is part of what the embedding's key is made of.
"""

from __future__ import annotations

from collections.abc import Sequence

_ARROW = " > "
_LEFT_OUT = "…"


def header_of(line: str, lead: str) -> str:
    """The header of title and headings, and of the lead of a block that the piece begins in: up to the text."""
    return (f"{line}\n\n" if line else "") + (f"{lead}\n" if lead else "")


def embedded(text: str, start: int, end: int, headers: Sequence[str], section: int) -> str:
    """What is sent for the chunk at `text[start:end]`; no headers at all is an empty one for each."""
    return (headers[section] if headers else "") + text[start:end]


def trail(title: str, most: int, path: Sequence[str], above: Sequence[str]) -> str:
    """Title and headings as one line of at most `most` characters; empty if the chunk has them itself.

    `path` are all headings that a chunk stands under, `above` those of them that are not in its text.
    """
    parts = above if not title or title in path else (title, *above)
    if not parts:
        return ""
    line = _ARROW.join(parts)
    if len(line) <= most:
        return line
    inner = parts[1:]
    while len(line) > most and len(inner) > 1:
        inner = inner[1:]
        line = _ARROW.join((parts[0], _LEFT_OUT, *inner))
    return line if len(line) <= most else line[: most - 1].rstrip() + _LEFT_OUT
