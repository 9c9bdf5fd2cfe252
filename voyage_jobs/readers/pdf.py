"""PDF: the text page by page in reading order, the outline as headings. No OCR, and nothing is guessed from fonts."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, BinaryIO

from voyage_jobs.core.tokens import estimate_tokens
from voyage_jobs.readers.reader import Heading, Json, Place, Reader, Refusal, Refused, Text

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument

_PASSWORD = 4  # FPDF_ERR_PASSWORD
_FEWEST_CHARS, _BLANK_SHARE = 20, 0.8
"""A document is a scan if more than this share of its pages has fewer characters."""
_LEGIBLE_SHARE = 0.5
_EDGE_LINES, _REPEATED_SHARE, _FEWEST_PAGES = 2, 0.6, 4
"""What stands among the first or last lines of more than this share of pages is no text of theirs."""
_MOST_HEADINGS = 10_000
_BREAK = "\n\n\f"
# A line's end within a word: as the library marks it, and as it is where the library does not.
_HYPHEN = re.compile(r"(?:[\x02\ufffe]\n?|(?<=[^\W\d_])-\n)(?=[a-zß-öø-ÿ])")
_MARK = re.compile(r"[\x02\ufffe]")
_NO_TEXT = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f\ufffe\uffff]")
_RUN = re.compile(r"([^\w\s])\1{2,}|\s+")  # leaders of a table of contents, rules
_DIGITS = re.compile(r"\d+")
_FILE_NAME = re.compile(
    r"(?i)^(?:microsoft \w+ - .*|untitled.*|.*\.(?:docx?|pptx?|xlsx?|tex|dvi|indd|qxd|rtf|pdf))$"
)


class PdfReader(Reader):
    """The place of a text is its page, by number from 1."""

    name = "pdf"
    version = 2
    suffixes = (".pdf",)
    isolated = True
    needs = ("pypdfium2",)
    extra = "pdf"

    def read(self, file: BinaryIO, options: Mapping[str, Json]) -> Iterator[Text]:  # noqa: ARG002 - it has none
        """All its pages. Raises Refused for what needs a password, is broken, scanned or garbled."""
        from pypdfium2 import PdfDocument, PdfiumError

        data = file.read()
        if not data.lstrip(BOM_UTF8).strip():
            raise Refused(Refusal.EMPTY, "no bytes")
        try:
            document = PdfDocument(data)
        except PdfiumError as exc:
            if exc.err_code == _PASSWORD:
                raise Refused(Refusal.ENCRYPTED) from None
            raise Refused(Refusal.BROKEN, "no PDF that can be opened") from None
        pages, unreadable = _pages(document)
        _demand_text(pages)
        bodies, running = _without_running_lines(pages)
        starts, at = [], 0
        for body in bodies:
            starts.append(at)
            at += len(body) + len(_BREAK)
        metadata = _metadata(document)
        if unreadable:
            metadata["unreadable_pages"] = [*unreadable]
        title = str(metadata.pop("title", ""))
        text = _BREAK.join(bodies)
        places = [Place(start, "page", str(number)) for number, start in enumerate(starts, 1)]
        headings, left_out = (
            _headings(document, bodies, starts),
            {"running_lines": running} if running else {},
        )
        yield Text(text, "plain", title, metadata, headings, places, left_out=left_out)


def _pages(document: PdfDocument) -> tuple[list[str], list[int]]:
    """The text of each page, and the numbers of those that are broken."""
    from pypdfium2 import PdfiumError

    texts, unreadable = [], []
    for number in range(len(document)):
        try:
            page = document[number]
            words = page.get_textpage()
            texts.append(_clean(words.get_text_range()))
            words.close()
            page.close()
        except PdfiumError:
            texts.append("")
            unreadable.append(number + 1)
    return texts, unreadable


def _clean(text: str) -> str:
    """With plain line ends, words in one piece, and without what no line can hold."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n")
    return _NO_TEXT.sub("", _MARK.sub("-", _HYPHEN.sub("", text))).encode(errors="ignore").decode()


def _demand_text(pages: Sequence[str]) -> None:
    """Raises Refused for scans, and for fonts that do not say which characters they draw."""
    blank = sum(len(page.strip()) < _FEWEST_CHARS for page in pages)
    whole = "".join(pages)
    if not whole.strip() or (len(pages) > 1 and blank > _BLANK_SHARE * len(pages)):
        raise Refused(Refusal.NO_TEXT, f"{blank} of {len(pages)} pages have no text: scanned?")
    shown = _RUN.sub("", whole)
    if sum(map(str.isalnum, shown)) < _LEGIBLE_SHARE * len(shown):
        raise Refused(Refusal.GARBLED, "most of its signs are no letters or digits")


def _without_running_lines(pages: Sequence[str]) -> tuple[list[str], int]:
    """The pages without headers and footers, whose numbers may differ, and about how many tokens those are."""
    lines = [page.splitlines() for page in pages]
    whole = ["\n".join(each).strip("\n") for each in lines]
    if len(pages) < _FEWEST_PAGES:
        return whole, 0
    seen = Counter(like for page in lines for like in {_like(page[at]) for at in _edges(page)})
    running = {like for like, count in seen.items() if count > _REPEATED_SHARE * len(pages)}
    kept, tokens = [], 0
    for page in lines:
        gone = {at for at in _edges(page) if _like(page[at]) in running}
        tokens += sum(estimate_tokens(page[at]) for at in gone)
        kept.append("\n".join(line for at, line in enumerate(page) if at not in gone).strip("\n"))
    # Labels, say, may differ in their numbers alone: then these lines are what they say.
    return (kept, tokens) if any(map(str.strip, kept)) else (whole, 0)


def _edges(lines: Sequence[str]) -> set[int]:
    """Which lines are the first and the last that are not blank."""
    filled = [at for at, line in enumerate(lines) if line.strip()]
    return {*filled[:_EDGE_LINES], *filled[-_EDGE_LINES:]}


def _like(line: str) -> str:
    return _DIGITS.sub("#", " ".join(line.split()))


def _metadata(document: PdfDocument) -> dict[str, Json]:
    given = document.get_metadata_dict(skip_empty=True)
    found: dict[str, Json] = {}
    for name in ("Title", "Author", "Subject", "Keywords"):
        value = " ".join(_NO_TEXT.sub(" ", given.get(name, "")).encode(errors="ignore").decode().split())
        if value and not (name == "Title" and _FILE_NAME.match(value)):
            found[name.lower()] = value
    return found


def _headings(document: PdfDocument, bodies: Sequence[str], starts: Sequence[int]) -> list[Heading]:
    """The outline: each entry where its words stand on its page, else at the top of that."""
    found: list[Heading] = []
    at = 0
    for level, title, page in sorted(_outline(document), key=lambda entry: entry[2]):
        if not 0 <= page < len(bodies):
            continue
        begin = max(at - starts[page], 0)
        stands = _line_of(title, bodies[page], begin)
        start, end = (starts[page] + each for each in stands or (begin, begin))
        found.append(Heading(start, end, level, title))
        at = end
    return found


def _outline(document: PdfDocument) -> Iterator[tuple[int, str, int]]:
    """(level, title, page) of its entries, in order."""
    for number, entry in enumerate(document.get_toc()):
        if number == _MOST_HEADINGS:
            return
        target = entry.get_dest()
        page = None if target is None else target.get_index()
        title = " ".join(_NO_TEXT.sub(" ", entry.get_title()).encode(errors="ignore").decode().split())
        if page is not None and title:
            yield entry.level + 1, title, page


def _line_of(title: str, body: str, begin: int) -> tuple[int, int] | None:
    """Where a line that ends with the title stands, whatever number is before it."""
    words = r"\s+".join(map(re.escape, title.split()))
    line = re.compile(rf"^[\w.\- ]{{0,16}}?{words}[ \t]*$", re.MULTILINE | re.IGNORECASE).search(body, begin)
    return None if line is None else (line.start(), min(line.end() + 1, len(body)))


PDF = PdfReader()
