"""Pages of HTML: the main content as Markdown, without what surrounds it on every page of a site."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import TYPE_CHECKING, BinaryIO

from voyage_jobs.core.tokens import estimate_tokens
from voyage_jobs.readers.encodings import labelled
from voyage_jobs.readers.reader import Json, Reader, Refusal, Refused, Text
from voyage_jobs.readers.text import decoded

if TYPE_CHECKING:
    from selectolax.lexbor import LexborHTMLParser, LexborNode

MOST_BYTES = 20_000_000
"""A parsed page takes up to 70 times the room of its file."""
MOST_DEPTH = 2_000
"""Of nested elements: parsers recurse, and no page is so deep."""
_HEAD_CHARS = 2_048
_CHARSET = re.compile(
    rb"(?:charset|\A\s{0,9}<\?xml\s[^>]{0,200}?encoding)\s*=\s*[\"']?([A-Za-z0-9._:-]{1,32})", re.IGNORECASE
)
# What has to be closed; a page may leave open any number of paragraphs, items and cells.
_NESTING = re.compile(
    r"<(/?)(?:div|span|section|article|ul|ol|dl|table|blockquote|pre|code|font|center|main|details|[abisu]|em|strong"
    r"|small|big|sub|sup|tt|kbd)(?=[\s>/])",
    re.IGNORECASE | re.ASCII,
)
_XHTML = re.compile(
    r"\A\s*<\?xml\s|<!doctype[^>]{1,200}xhtml|<html\s[^>]{0,500}?xmlns\s*=\s*[\"']http://www\.w3\.org/1999/xhtml",
    re.IGNORECASE,
)
# One alternative for each way to go on and nothing to go back to: linear, whatever a page has in it.
_OF_XML = re.compile(
    r"<!--(?:.*?-->|.*)|<(?P<raw>script|style)(?:\s(?:[^<>\"'/]|\"[^\"]*+\"|'[^']*+'|/(?!>))*+)?>(?:.*?</(?P=raw)|.*)"
    r"|<!\[CDATA\[(?P<said>.*?)(?:\]\]>|\Z)"
    r"|<(?P<name>[a-z][\w:.-]{0,63})(?P<more>(?:\s(?:[^<>\"'=/]|=\s*+(?:\"[^\"]*+\"|'[^']*+')|/(?!>))*+)?)/>",
    re.IGNORECASE | re.DOTALL,
)
SELECT = ("main", "article", "[role=main]", ".body", "#content", "body")
"""The first of these that a page has is what it says; of several that fit, the longest."""
DROP = (
    *("nav", "header", "footer", "aside", "script", "style", "template", "noscript", "form", "dialog", "svg"),
    *(".headerlink", ".sphinxsidebar", "[role=navigation]", "[role=search]", "[hidden]"),
)


_NO_TEXT = ("script", "style", "template")
_VOID = (
    *("area", "base", "br", "col", "embed", "hr", "img", "input"),
    *("link", "meta", "param", "source", "track", "wbr"),
)
"""Elements that HTML closes by itself, as XML closes any that ends with `/>`."""


class HtmlReader(Reader):
    """Options: `select` and `drop`, lists of CSS selectors, in place of `SELECT`, and besides `DROP`; `encoding`, that
    of pages which do not say theirs."""

    name = "html"
    version = 2
    suffixes = (".html", ".htm", ".xhtml")
    forms = ("markdown",)
    isolated = True
    needs = ("selectolax", "html_to_markdown")
    extra = "html"

    def read(self, file: BinaryIO, options: Mapping[str, Json]) -> Iterator[Text]:
        """The main content. Raises Refused for what is no text, and for pages that are too large or too deep."""
        data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise Refused(Refusal.LIMIT, f"more than {MOST_BYTES:,} bytes of HTML")
        page = _parsed(decoded_page(data, str(options.get("encoding", ""))))
        title, url = _title(page), _url(page)
        main = _main(page, _selectors(options, "select") or SELECT)
        if main is None:
            raise Refused(Refusal.EMPTY, "nothing of it is selected")
        for node in page.css(", ".join(_NO_TEXT)):
            node.decompose()
        around = _tokens(page.body or main)
        for node in main.css(", ".join((*DROP, *_selectors(options, "drop")))):
            node.decompose()
        found = {"surroundings": max(0, around - _tokens(main)), "pictures": _tokens_of_pictures(main)}
        left_out = {what: tokens for what, tokens in found.items() if tokens}
        text = _markdown(main.html or "")
        yield Text(text, "markdown", title=title, metadata={}, url=url, left_out=left_out)


def is_selector(text: str) -> bool:
    """Whether this is a CSS selector. Without the library nobody can tell, and no page is read either."""
    try:
        from selectolax.lexbor import LexborHTMLParser, SelectolaxError
    except ImportError:
        return True
    try:
        LexborHTMLParser("").css(text)
    except SelectolaxError:
        return False
    return True


def whole_page(html: str, *, is_xml: bool = False) -> str:
    """All that a page says, as Markdown: for pages that have nothing around what they say. `is_xml`: it is XHTML,
    even if it does not say so. Raises Refused for one that is too large or too deep."""
    data = html.encode(errors="replace")
    if len(data) > MOST_BYTES:
        raise Refused(Refusal.LIMIT, f"more than {MOST_BYTES:,} bytes of HTML")
    page = _parsed(data.decode(), is_xml=is_xml)
    for node in page.css("head, script, style, template"):
        node.decompose()
    return _markdown(page.html or "")


def decoded_page(data: bytes, encoding: str = "") -> str:
    """As any text, else as the page itself says, else in this encoding, which may be `auto`. Raises Refused."""
    try:
        return decoded(data)
    except Refused as refused:
        if refused.reason != Refusal.UNDECODABLE:
            raise
        said = _CHARSET.search(data, 0, _HEAD_CHARS)
        if said is not None:
            with contextlib.suppress(LookupError, UnicodeDecodeError):
                return labelled(data, said[1].decode())
        if not encoding:
            raise
        return decoded(data, encoding)


def _parsed(html: str, *, is_xml: bool = False) -> LexborHTMLParser:
    """Raises Refused for a page that is too deep."""
    from selectolax.lexbor import LexborHTMLParser

    if is_xml or _XHTML.search(html, 0, _HEAD_CHARS):
        html = _OF_XML.sub(_as_html, html)
    if _is_deep(html):
        raise Refused(Refusal.LIMIT, f"elements nested more than {MOST_DEPTH} deep")
    return LexborHTMLParser(html)


def _as_html(found: re.Match[str]) -> str:
    """What XML says in a way of its own: to a parser of HTML `<title/>` is a title that has no end, and swallows all
    that follows, and a section of CDATA is a comment."""
    if found["said"] is not None:
        return escape(found["said"])
    name = found["name"]
    if name is None or name.lower() in _VOID:
        return found[0]
    return f"<{name}{found['more']}></{name}>"


def _selectors(options: Mapping[str, Json], name: str) -> tuple[str, ...]:
    given = options.get(name)
    return tuple(map(str, given)) if isinstance(given, list) else ()


def _is_deep(html: str) -> bool:
    """Whether elements are nested too deep, told before parsing: a parser needs the square of the depth for that."""
    depth = 0
    for tag in _NESTING.finditer(html):
        depth = max(depth - 1, 0) if tag[1] else depth + 1
        if depth > MOST_DEPTH:
            return True
    return False


def _main(page: LexborHTMLParser, select: tuple[str, ...]) -> LexborNode | None:
    for selector in select:
        found = page.css(selector)
        if found:
            return max(found, key=lambda node: len(node.html or ""))
    return None


def _title(page: LexborHTMLParser) -> str:
    social = page.css_first('meta[property="og:title"]')
    given = social.attributes.get("content") if social is not None else None
    title = page.css_first("head title")
    return " ".join((given or (title.text() if title is not None else "")).split())


def _url(page: LexborHTMLParser) -> str:
    link = page.css_first('link[rel="canonical"]')
    url = (link.attributes.get("href") if link is not None else None) or ""
    return url if url.startswith(("https://", "http://")) else ""


def _tokens(node: LexborNode) -> int:
    """About how many tokens the words in an element have."""
    words = " ".join(node.text(separator=" ").split())
    return estimate_tokens(words) if words else 0


def _tokens_of_pictures(node: LexborNode) -> int:
    """The same of the texts in place of pictures."""
    told = " ".join(" ".join(each.attributes.get("alt") or "" for each in node.css("img[alt]")).split())
    return estimate_tokens(told) if told else 0


def _markdown(html: str) -> str:
    from html_to_markdown import ConversionOptions, convert

    found = convert(html, ConversionOptions(extract_metadata=False, skip_images=True, heading_style="atx"))
    return found.content or ""


HTML = HtmlReader()
