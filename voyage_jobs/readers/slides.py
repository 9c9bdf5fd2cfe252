"""Slides of OpenDocument as Markdown, as those of Office come: each a section with its comments and, last, notes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from odfdo import Element

_PARAGRAPHS = ("text:p", "text:h")
_TITLE, _NOTES, _COMMENT = "title", "presentation:notes", "office:annotation"
_NO_WORDS = (
    "draw:image",
    "draw:object",
    "draw:object-ole",
    "draw:plugin",
    "draw:page-thumbnail",
    "office:forms",
)
_ALT = ("svg:title", "svg:desc")  # of pictures and shapes; counted as what is left out
_CELLS = ("table:table-cell", "table:covered-table-cell")
_ROWS_IN = ("table:table-header-rows", "table:table-rows", "table:table-row-group")
_MOST_REPEATED = 64  # cells; what is beyond that is the blank rest of a row
_SIGN = re.compile(r"^(?=#|>|\||`{3}|~{3}|-{3}|={3})", re.MULTILINE)


def slides(body: Element) -> str:
    """All of them, in their order; empty where none has a word."""
    pages = [each for each in body.children if each.tag == "draw:page"]
    found = [_slide(page, number) for number, page in enumerate(pages, 1)]
    wordless = found == [f"## {_unnamed(number)}" for number in range(1, len(pages) + 1)]
    return "" if wordless else "\n\n".join(found)


def _unnamed(number: int) -> str:
    return f"Slide {number}"


def _slide(page: Element, number: int) -> str:
    titles: list[str] = []
    blocks: list[str] = []
    notes: list[str] = []
    for child in page.children:
        if child.get_attribute("presentation:class") == _TITLE:
            titles += _blocks(child)
        elif child.tag == _NOTES:
            notes += _blocks(child)
        else:
            blocks += _blocks(child)
    title = " ".join(" ".join(titles).split()).removeprefix("\\")
    said = [f"## {title or _unnamed(number)}", *blocks]
    return "\n\n".join([*said, _quoted("Notes", "\n\n".join(notes))] if notes else said)


def _quoted(what: str, text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in (f"**{what}:**", *text.split("\n")))


def _blocks(node: Element) -> Iterator[str]:
    """The paragraphs, lists and tables in a shape, one after the other."""
    if node.tag in _PARAGRAPHS:
        if text := _line(node):
            yield text
    elif node.tag == "text:list":
        if text := "\n".join(_items(node, "")):
            yield text
    elif node.tag == "table:table":
        if text := _table(node):
            yield text
    elif node.tag == _COMMENT:
        who = " ".join(each.inner_text for each in node.children if each.tag == "dc:creator")
        text = "\n\n".join(
            text for each in node.children if each.tag != "dc:creator" for text in _blocks(each)
        )
        yield _quoted(f"Comment ({who})" if who else "Comment", text)
    elif node.tag not in _NO_WORDS and node.tag not in _ALT:
        for child in node.children:
            yield from _blocks(child)


def _line(node: Element) -> str:
    lines = (" ".join(line.split()) for line in node.inner_text.split("\n"))
    return _SIGN.sub(r"\\", "\n".join(filter(None, lines)))


def _items(node: Element, indent: str) -> Iterator[str]:
    for item in node.children:
        mark = "- "
        for child in item.children:
            if child.tag == "text:list":
                yield from _items(child, f"{indent}  ")
            elif text := _line(child):
                yield f"{indent}{mark}{text}".replace("\n", f"\n{indent}  ")
                mark = "  "


def _table(node: Element) -> str:
    rows = [row for row in map(_cells, _rows(node)) if any(row)]
    width = max(map(len, rows), default=0)
    lines = [f"| {' | '.join(row + [''] * (width - len(row)))} |" for row in rows]
    return "\n".join([*lines[:1], f"|{' --- |' * width}", *lines[1:]]) if rows else ""


def _rows(node: Element) -> Iterator[Element]:
    for child in node.children:
        if child.tag == "table:table-row":
            yield child
        elif child.tag in _ROWS_IN:
            yield from _rows(child)


def _cells(row: Element) -> list[str]:
    found: list[str] = []
    for cell in row.children:
        if cell.tag in _CELLS:
            words = " ".join(_words(cell)).split()
            count = int(cell.get_attribute_string("table:number-columns-repeated") or 1)
            found += [" ".join(words).replace("|", "\\|")] * min(count, _MOST_REPEATED)
    while found and not found[-1]:
        found.pop()
    return found


def _words(node: Element) -> Iterator[str]:
    """What its paragraphs say, those of lists included."""
    for child in node.children:
        if child.tag in _PARAGRAPHS:
            yield child.inner_text
        elif child.tag not in _NO_WORDS:
            yield from _words(child)
