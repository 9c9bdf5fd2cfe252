"""A document's text into chunks: by sections first, then within each.

Pure and deterministic: the same text, path and options give the same chunks. What depends on this module's
way of cutting is told apart by the fingerprint of the document's form (`forms.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from voyage_jobs.sources import markdown, names, rst
from voyage_jobs.sources.forms import MARKDOWN, RST, form_of
from voyage_jobs.sources.frontmatter import FrontMatter, Json, front_matter
from voyage_jobs.sources.headings import Heading, plain_line
from voyage_jobs.sources.pieces import pieces, with_overlap
from voyage_jobs.sources.sections import regions
from voyage_jobs.tokens import Count, estimate_each

MIN_MAX_CHARS = 100


@dataclass(frozen=True, slots=True)
class SplitOptions:
    """How to split. Raises ValueError for sizes that cannot be kept.

    A further option stands with the form that uses it (`Form.options`), and has a default that changes nothing.
    """

    max_chars: int = 2000
    """No chunk is longer, overlap included."""
    overlap_chars: int = 0
    """By how much a chunk may reach back into the one before it in its section; at most half of
    `max_chars`."""

    def __post_init__(self) -> None:
        if self.max_chars < MIN_MAX_CHARS:
            raise ValueError(f"max_chars is {self.max_chars}, less than {MIN_MAX_CHARS}")
        if not 0 <= self.overlap_chars <= self.max_chars // 2:
            raise ValueError(f"overlap_chars is {self.overlap_chars}, not within 0 and half of max_chars")


class Chunk(NamedTuple):
    """A piece of a document: its text is exactly `text[start:end]`, and has no white space at its ends."""

    ordinal: int
    start: int
    end: int
    section: int
    """Index into the document's `sections`."""
    tokens: int
    """As counted by who split it; estimated if nobody said how to count."""


@dataclass(frozen=True, slots=True)
class SplitDocument:
    """A document taken apart."""

    title: str
    """From the front matter, else the first heading, else the file's name without its suffix."""
    metadata: dict[str, Json]
    """The front matter."""
    sections: list[tuple[str, ...]]
    """The distinct section paths: the headings that a chunk stands under, its own last."""
    chunks: list[Chunk]


def split(text: str, path: str, options: SplitOptions, count: Count = estimate_each) -> SplitDocument:
    """Split a document; `path` says by its suffix how to read it, and by its name what to call it.

    `count` counts tokens and has no say in how a document is cut.
    """
    form = form_of(path).name
    is_markdown = form == MARKDOWN.name
    front, found = FrontMatter(), list[Heading]()
    if is_markdown:
        front = front_matter(text)
        found = markdown.headings(text, front.end)
    elif form == RST.name:
        found = rst.headings(text)
    sections: dict[tuple[str, ...], int] = {}
    spans: list[tuple[int, int, int]] = []
    size = options.max_chars - options.overlap_chars
    for region in regions(text, front.end, found, size // 2):
        section = sections.setdefault(region.path, len(sections))
        for start, end in with_overlap(text, pieces(text, region, size, is_markdown), options.overlap_chars):
            spans.append((start, end, section))
    tokens = count([text[start:end] for start, end, _ in spans])
    chunks = [Chunk(at, *span, tokens[at]) for at, span in enumerate(spans)]
    return SplitDocument(_title(front, found, path), front.metadata, list(sections), chunks)


def _title(front: FrontMatter, found: list[Heading], path: str) -> str:
    given = front.metadata.get("title")
    if isinstance(given, (str, int, float)) and not isinstance(given, bool):
        title = plain_line(str(given))
        if title:
            return title
    name = path.rsplit("/", 1)[-1]
    stem = name.rpartition(".")[0] or name
    return next((heading.text for heading in found if heading.text), plain_line(names.display(stem)))
