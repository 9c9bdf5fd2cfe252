"""One region cut into pieces of at most so many characters, at the best boundaries that
semantic-text-splitter finds.

A piece is a pair of offsets into the whole text. Pieces are trimmed, none is blank, and between them there
is nothing but white space.
"""

from __future__ import annotations

import functools
import re
from typing import TypeAlias

from semantic_text_splitter import MarkdownSplitter, TextSplitter

from voyage_jobs.splitting.sections import Region

Piece: TypeAlias = tuple[int, int]

# The library takes time that grows with the square of a passage without a good boundary: two minutes for
# some megabytes in one line. Long regions go to it in windows of this many characters or this many chunks,
# whichever is more.
_WINDOW_CHARS = 32_768
_WINDOW_CHUNKS = 4
_FENCE_OR_TABLE = re.compile(r"[ ]{0,3}(?:```|~~~|\|)")
_BLOCK_END = re.compile(r"[ \t\r]*(?:\n[ \t\r]*(?:\n|\Z)|\Z)")


def pieces(text: str, region: Region, size: int, markdown: bool) -> list[Piece]:
    """The pieces of a region, each of at most `size` characters."""
    start, end = trimmed(text, region.start, region.end)
    if end - start <= size:
        return [(start, end)] if start < end else []
    found = _cut(text, start, end, size, markdown)
    return _heading_with_text(text, found, region, size, markdown)


def starts(text: str, start: int, end: int, size: int) -> list[int]:
    """Where the pieces begin that the library would make of a text without markup."""
    return [at for at, _ in _cut(text, start, end, size, markdown=False)]


def trimmed(text: str, start: int, end: int) -> Piece:
    """The offsets without the white space at both ends."""
    stop = end
    while start < stop and text[stop - 1] == "\n":
        stop -= 1  # as nearly all end: without a copy
    if start < stop and not text[start].isspace() and not text[stop - 1].isspace():
        return start, stop
    part = text[start:stop].rstrip()
    if not part:
        return end, end
    stop = start + len(part)
    return stop - len(part.lstrip()), stop


def with_overlap(text: str, found: list[Piece], overlap: int) -> list[Piece]:
    """Each piece but the first reaches back over up to `overlap` characters, to the start of a line or
    word."""
    if overlap == 0 or len(found) < 2:
        return found
    floor = found[0][0]
    return found[:1] + [
        (_reach_back(text, start, max(floor, start - overlap)), end) for start, end in found[1:]
    ]


def _reach_back(text: str, start: int, earliest: int) -> int:
    before = text[earliest:start]
    if earliest and not text[earliest - 1].isspace():
        line = before.find("\n")
        word = next((at for at, char in enumerate(before) if char.isspace()), 0)
        # A line's start is the better place unless it costs most of the overlap; scripts without spaces have
        # no better place than the first.
        before = before[line if 0 <= line <= len(before) // 2 else word :]
    return start - len(before.lstrip())


def _cut(text: str, start: int, end: int, size: int, markdown: bool) -> list[Piece]:
    splitter = _splitter(size, markdown)
    window = max(_WINDOW_CHARS, _WINDOW_CHUNKS * size)
    found: list[Piece] = []
    while start < end:
        stop = min(end, start + window)
        parts = splitter.chunk_indices(text[start:stop])
        spans = [trimmed(text, start + at, start + at + len(part)) for at, part in parts]
        spans = [span for span in spans if span[0] < span[1]]
        start = stop
        if stop < end and len(spans) > 1:
            start, _ = spans.pop()  # the window's end cut this one: it begins the next window
        found += spans
    return found


def _heading_with_text(
    text: str, found: list[Piece], region: Region, size: int, markdown: bool
) -> list[Piece]:
    """If headings were left alone since the block below them is too long, cut that block earlier."""
    start, end = found[0]
    _, head_end = trimmed(text, start, region.head_end)
    if end > head_end:
        return found
    body = _cut(text, head_end, region.end, size, markdown)
    room = size - (body[0][0] - start) if body else 0
    if room < size // 4:
        return found  # a heading as long as a chunk, or one with half a page of blank lines below
    first, first_end = body[0]
    if first_end - first > room:
        if markdown and _is_whole_block(text, first, first_end):
            return [(start, head_end), *body]
        first_end = _cut(text, first, first_end, room, markdown)[0][1]
        body = [body[0], *_cut(text, first_end, region.end, size, markdown)]
    return [(start, first_end), *body[1:]]


def _is_whole_block(text: str, start: int, end: int) -> bool:
    """Whether the piece is a code fence or a table from its first line to its last."""
    return _FENCE_OR_TABLE.match(text, start) is not None and _BLOCK_END.match(text, end) is not None


@functools.lru_cache(maxsize=64)
def _splitter(size: int, markdown: bool) -> MarkdownSplitter | TextSplitter:
    return MarkdownSplitter(size) if markdown else TextSplitter(size)
