"""A document's text into chunks: by sections first, then within each.

Pure and deterministic: the same text, path and options give the same chunks. What depends on this module's
way of cutting is told apart by the version of the form's splitter (`forms.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeAlias

from voyage_jobs.core.tokens import Count, estimate_each
from voyage_jobs.readers.reader import Heading, Json, Text
from voyage_jobs.sources import names
from voyage_jobs.splitting.forms import FORMS, Form, form_of
from voyage_jobs.splitting.frontmatter import ITEM_KEY, FrontMatter, bounded, front_matter
from voyage_jobs.splitting.header import header_of, trail
from voyage_jobs.splitting.headings import plain_line
from voyage_jobs.splitting.markdown import html_title
from voyage_jobs.splitting.merging import merged
from voyage_jobs.splitting.pieces import pieces, trimmed, with_overlap
from voyage_jobs.splitting.sections import Region, regions
from voyage_jobs.splitting.stable import Part, parts

MIN_MAX_CHARS = 100
TITLE_AND_SECTION = "title > section"
"""The `context` in which title and headings go with a chunk to the provider."""
_SAY_NOTHING = ("readme", "index", "_index")
_MOST_OF_A_CHUNK = 4  # a header takes at most this part of max_chars

Line: TypeAlias = Callable[[Sequence[str], Sequence[str]], str]
"""Of the headings that a piece stands under, and of those of them that do not stand in it."""


@dataclass(frozen=True, slots=True)
class SplitOptions:
    """How to split. Raises ValueError for sizes that cannot be kept.

    A further option stands with the form that uses it (`Form.options`), and has a default that changes nothing.
    """

    max_chars: int = 2000
    """No chunk is longer, overlap and header included."""
    overlap_chars: int = 0
    """By how much a chunk may reach back into the one before it in its section; at most half of
    `max_chars`."""
    rules: int = 1
    """Whose forms are used: see `forms.RULES`."""
    context: str = ""
    """What goes with a chunk where it is embedded: TITLE_AND_SECTION, or nothing."""
    min_chars: int = 0
    """Neighbouring sections that are shorter than this are put together (from rules 2 on)."""
    window_tokens: int = 0
    """How much of a document a contextualized model sees at once (from rules 2 on); 0: as rules 1 have it."""

    def __post_init__(self) -> None:
        if self.max_chars < MIN_MAX_CHARS:
            raise ValueError(f"max_chars is {self.max_chars}, less than {MIN_MAX_CHARS}")
        if not 0 <= self.overlap_chars <= self.max_chars // 2:
            raise ValueError(f"overlap_chars is {self.overlap_chars}, not within 0 and half of max_chars")
        if self.rules not in FORMS:
            raise ValueError(f"there are no rules {self.rules}")


class Chunk(NamedTuple):
    """A piece of a document: its text is exactly `text[start:end]`, and has no white space at its ends."""

    ordinal: int
    start: int
    end: int
    section: int
    """Index into the document's `sections` and `headers`."""
    tokens: int
    """With its header, as counted by who split it; estimated if nobody said how to count."""


@dataclass(frozen=True, slots=True)
class SplitDocument:
    """A document taken apart."""

    title: str
    """The reader's, else that of the metadata, else an `<h1>` that the text begins with, else the first heading,
    else the file's name without its suffix."""
    metadata: dict[str, Json]
    """The front matter, or what the reader gave in its place."""
    sections: list[tuple[str, ...]]
    """The section paths: the headings that a chunk stands under, its own last."""
    headers: list[str]
    """What goes before the chunks of each where they are embedded; a path may be there once for each header."""
    chunks: list[Chunk]


def split(document: Text, path: str, options: SplitOptions, count: Count = estimate_each) -> SplitDocument:
    """Split a document as its form says; what has no title of its own is called after its `path`.

    `count` counts tokens and has no say in how a document is cut.
    """
    text, form = document.text, form_of(document.form, path, options.rules)
    front = _front(document, form)
    found = form.headings(text, front.end) if document.headings is None else _plain(document.headings)
    title = _title(document, front, found, form)
    places: dict[tuple[tuple[str, ...], str], int] = {}
    starts, ends, at, sent = [], [], [], []
    cut = _regions(text, front.end, found, options)
    line = _line_of(title or _said_by_name(document, front, path, form), options)
    for start, end, place in _pieces(text, cut, line, options, form):
        starts.append(start)
        ends.append(end)
        at.append(places.setdefault(place, len(places)))
        sent.append(place[1] + text[start:end])
    chunks = list(map(Chunk._make, zip(range(len(starts)), starts, ends, at, count(sent), strict=True)))
    sections, headers = [section for section, _ in places], [header for _, header in places]
    return SplitDocument(title or _name(path), front.metadata, sections, headers, chunks)


def header_of_record(title: str, options: SplitOptions) -> str:
    """What goes before a record that is one chunk where it is embedded."""
    if not title or options.context != TITLE_AND_SECTION:
        return ""
    line, most = plain_line(title), options.max_chars // _MOST_OF_A_CHUNK
    return header_of(line if len(line) <= most else trail(line, most, (), ()), "")


def _regions(text: str, start: int, headings: Sequence[Heading], options: SplitOptions) -> Iterable[Region]:
    """What is cut on its own: sections, or several small ones."""
    size = options.max_chars - options.overlap_chars
    found = regions(text, start, headings, size // 2, ends_joined=options.rules > 1)
    if options.rules == 1:
        return found
    return merged(text, found, min(options.min_chars, size // 2), size - size // _MOST_OF_A_CHUNK)


def _pieces(
    text: str, found: Iterable[Region], line: Line, options: SplitOptions, form: Form
) -> Iterator[tuple[int, int, tuple[tuple[str, ...], str]]]:
    """(start, end, (path, header)) of each piece of the regions; what fits a chunk whatever its header is one."""
    longest = header_of(" " * (options.max_chars // _MOST_OF_A_CHUNK), "")
    short = options.max_chars - options.overlap_chars - len(longest)
    for region in found:
        path = region.path
        first = line(path, region.above)
        start, end = trimmed(text, region.start, region.end)
        if end - start <= short:
            if start < end:
                yield start, end, (path, first and header_of(first, ""))
            continue
        later = line(path, path)
        room = len(header_of(max(first, later, key=len), ""))
        for start, end, lead in _cut(text, region, options, form, room):
            yield start, end, (path, header_of(first, lead))
            first = later


def _cut(text: str, region: Region, options: SplitOptions, form: Form, header: int) -> list[Part]:
    """The parts of a region, of which each has room for so many characters of a header."""
    size = options.max_chars - options.overlap_chars - header
    if form.ranks is None:
        found = [Part(*piece) for piece in pieces(text, region, size, form.markdown)]
    else:
        found = parts(text, region, size, form.ranks, leads=bool(options.context))
    if not options.overlap_chars:
        return found
    reaching = with_overlap(text, [(part.start, part.end) for part in found], options.overlap_chars)
    return [part._replace(start=start) for part, (start, _) in zip(found, reaching, strict=True)]


def _line_of(title: str, options: SplitOptions) -> Line:
    """What gives the line of title and headings that goes with a piece."""
    if options.context != TITLE_AND_SECTION:
        return lambda _path, _above: ""
    return partial(trail, title, options.max_chars // _MOST_OF_A_CHUNK)


def _front(document: Text, form: Form) -> FrontMatter:
    """What the reader gave as metadata, bounded as front matter is; else the front matter, if the form has any."""
    if document.metadata is not None:
        return FrontMatter(0, bounded(document.metadata))
    return front_matter(document.text) if form.markdown else FrontMatter()


def _plain(given: Sequence[Heading]) -> list[Heading]:
    return [heading._replace(text=plain_line(heading.text)) for heading in given]


def _title(document: Text, front: FrontMatter, found: Sequence[Heading], form: Form) -> str:
    """The title that the document itself says; empty if it has none."""
    for given in (document.title, front.metadata.get("title")):
        if isinstance(given, (str, int, float)) and not isinstance(given, bool):
            title = plain_line(str(given))
            if title:
                return title
    drawn = html_title(document.text, front.end) if form.markdown and document.headings is None else ""
    if drawn:
        return drawn
    return next((heading.text for heading in found if heading.text), "") if form.titled else ""


def _said_by_name(document: Text, front: FrontMatter, path: str, form: Form) -> str:
    """What the name of a note without a title says of it; empty where names are made by programs, or say nothing."""
    if not form.named or document.record is not None or ITEM_KEY in front.metadata:
        return ""
    name = _name(path)
    return "" if name.lower() in _SAY_NOTHING else name


def _name(path: str) -> str:
    name = path.rsplit("/", 1)[-1]
    return plain_line(names.display(name.rpartition(".")[0] or name))
