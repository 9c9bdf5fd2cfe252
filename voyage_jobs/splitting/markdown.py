"""Where the headings of a Markdown text are.

Not a Markdown parser: one regular expression finds the few lines that can begin a heading or something in
which a heading is none (a code fence, a comment, raw HTML), and only those are looked at. The answers are those
of CommonMark for top-level blocks, with these exceptions on purpose: a setext underline needs two characters,
and above it at most three lines that a blank line, a heading, a rule or a fence sets off, since anything else
is prose with a rule below far more often; comments and raw HTML that are never closed do not hide the rest of
the document.
"""

from __future__ import annotations

import functools
import html
import re

from voyage_jobs.readers.reader import Heading
from voyage_jobs.splitting.headings import MAX_TITLE_CHARS, plain_line, raw_title, scannable

_CANDIDATE = re.compile(
    r"""\n[ ]{0,3}+(?=[-#=+*\d`~<])(?:
      (?P<atx>\#{1,6}+)(?P<title>(?:[ \t][^\n]*+)?)(?=\n|\Z)
    | (?P<setext>=|-)(?P=setext)+[ \t]*(?=\n|\Z)
    | (?P<bullets>(?:(?:[-+*]|\d{1,9}[.)])[ \t]++){0,8}+)(?P<fence>`{3,}+(?=[^`\n]*(?:\n|\Z))|~{3,}+)
    | <(?P<html>!--|\?|!\[(?i:CDATA)\[|(?i:script|pre|style|textarea)(?=[\s>]))
    )""",
    re.VERBOSE,
)
_HTML_END = {"!--": re.compile("-->"), "?": re.compile(r"\?>"), "![cdata[": re.compile(r"\]\]>")}
_RAW_END = re.compile("</(?:script|pre|style|textarea)>", re.IGNORECASE)
# First characters with which a line is not (a continuation of) a top-level paragraph.
_BLOCK_START = re.compile(
    r" {0,3}(?:[-+*](?:[ \t]|$)|[>|<]|\d{1,9}[.)][ \t]|([-*_])(?:[ \t]*\1){2,}[ \t]*$)| {4}|\t"
)
_MAX_SETEXT_LINES = 3

_CLOSING_HASHES = re.compile(r"(?:^|[ \t]+)#+[ \t]*$")
_LITERAL = re.compile(r"\\([!-/:-@\[-`{-~])|(?<!`)(`{1,3})(?!`)[ ]?(.+?)[ ]?(?<!`)\2(?!`)")
_CODE = re.compile(r"`[^`\\\0]+`")
# Whatever a heading's text may not be taken as it is for: markup, two blanks, what is not ASCII.
_SPECIAL = re.compile(r"[^ !\"$%'()+,\-./0-9:;=>?@A-Z\]^a-z|}]|  ")
_MARKUP = re.compile(r"[\\`*_~\[<&{]")
_KEPT = re.compile("\0(\\d+)\0")
_LINK = re.compile(r"!?\[([^\[\]]*)\](?:\([^()]*(?:\([^()]*\)[^()]*)?\)|\[[^\[\]]*\])")
# An anchor, classes and quoted values, a comment of JSX or a tag of a template; any other brace is text.
_ATTRIBUTES = r"""[ \t]*(?:[#.:]|[\w-]+=["'])[^{}]*|/\*[^{}]*\*/|%[^{}]*%"""
_HTML_TITLE = re.compile(
    r"(?:\s|<!--(?>.*?-->)|<(?!!--|h1\b)[^<>]*>)*+<h1\b[^<>]*>(.*?)</h1>", re.IGNORECASE | re.DOTALL
)
_MAX_HTML_CHARS = 4_000
_NO_BLANK = re.compile(r"\S")
# Replacements in a heading. Each is tried only if one of its two signs occurs.
_INLINE: list[tuple[str, str, re.Pattern[str], str]] = [
    ("}", "}", re.compile(rf"(?:[ \t]*\{{(?:{_ATTRIBUTES})\}})+[ \t]*$"), ""),
    ("](", "][", _LINK, r"\1"),
    ("](", "][", _LINK, r"\1"),  # an image in a link
    ("<", "<", re.compile(r"<((?:https?|mailto):[^<>\s]+)>"), r"\1"),
    ("<", "<", re.compile(r"</?[A-Za-z][^<>]*>"), ""),
    ("*", "~", re.compile(r"(\*{1,3}|~~)(?=\S)(.+?)(?<=\S)\1"), r"\2"),
    ("_", "_", re.compile(r"(?<!\w)(_{1,3})(?=\S)(.+?)(?<=\S)\1(?!\w)"), r"\2"),
]


def headings(text: str, start: int = 0) -> list[Heading]:
    """The top-level headings from `start` on, which must be the start of a line, in order."""
    return _Scan(scannable(text), start).run()


def html_title(text: str, start: int = 0) -> str:
    """The text of an `<h1>` from `start` on with nothing but tags before it; empty if there is none."""
    end = start + _MAX_HTML_CHARS
    first = _NO_BLANK.search(text, start, end)
    found = _HTML_TITLE.match(text, first.start(), end) if first and first[0] == "<" else None
    return inline_text(found[1]) if found else ""


class _Scan:
    """One pass over a text made `scannable`; positions are those of the line end before a line."""

    def __init__(self, scan: str, start: int) -> None:
        self._scan = scan
        self._end = len(scan) - 1  # of the text
        self._at = start
        self._floor = start  # nothing before this belongs to a paragraph that goes on
        self._unclosed: set[re.Pattern[str]] = set()
        self._found: list[Heading] = []

    def run(self) -> list[Heading]:
        scan, search, found, make = self._scan, _CANDIDATE.search, self._found, Heading._make
        while candidate := search(scan, self._at):
            kind = candidate.lastgroup
            if kind == "title":
                signs, title = candidate.group("atx", "title")
                start, end = candidate.span()
                self._at = self._floor = end
                # The heading ends after its line end; in the text that is one character back from here.
                end = end if end < self._end else self._end
                found.append(make((start, end, len(signs), _atx_text(title))))
            elif kind == "fence":
                self._fence(candidate)
            elif kind == "setext":
                self._setext(candidate)
            else:
                self._html(candidate)
        return found

    def _line_end(self, position: int) -> int:
        end = self._scan.find("\n", position)
        return len(self._scan) if end < 0 else end

    def _go_on_from(self, position: int) -> None:
        self._at = self._floor = position

    def _setext(self, candidate: re.Match[str]) -> None:
        start = self._paragraph_start(candidate.start())
        if start is not None:
            title = inline_text(self._scan[start : candidate.start()])
            level = 1 if candidate["setext"] == "=" else 2
            self._found.append(Heading(start, min(candidate.end(), self._end), level, title))
        elif "---" not in candidate.group():
            self._at = candidate.end()  # no rule either, but text
            return
        self._go_on_from(candidate.end())

    def _paragraph_start(self, underline: int) -> int | None:
        """Where the short paragraph right above the underline starts, if there is one."""
        start = underline
        for _ in range(_MAX_SETEXT_LINES + 1):
            above = self._scan.rfind("\n", self._floor, start)
            line = self._scan[above + 1 : start] if above >= 0 else ""
            if not line or line.isspace():
                return start if start < underline else None
            if _BLOCK_START.match(line):
                return None
            start = above
        return None

    def _fence(self, candidate: re.Match[str]) -> None:
        bullets, mark = candidate.group("bullets", "fence")
        if not bullets:  # as nearly all are closed: the next such mark is a line by itself
            at = self._scan.find(mark, candidate.end())
            after = at + len(mark)
            if at > 0 and self._scan[at - 1] == "\n" and self._scan[after : after + 1] in ("\n", ""):
                self._at = self._floor = after
                return
        content_column = candidate.start("fence") - candidate.start() - 1
        close = _fence_end(mark[0], len(mark), content_column, bool(bullets)).search(
            self._scan, candidate.end()
        )
        if close is None:
            self._go_on_from(len(self._scan))  # an open fence runs to the end of the document
        else:
            self._go_on_from(close.end() if close["close"] else close.start())

    def _html(self, candidate: re.Match[str]) -> None:
        end_mark = _HTML_END.get(candidate["html"].lower(), _RAW_END)
        end = None
        if end_mark not in self._unclosed:
            end = end_mark.search(self._scan, candidate.end())
            if end is None:
                self._unclosed.add(end_mark)  # nor will there be one for the next, so do not look again
        self._go_on_from(self._line_end(end.end() if end else candidate.end()))


@functools.lru_cache(maxsize=256)
def _fence_end(char: str, length: int, column: int, in_list: bool) -> re.Pattern[str]:
    """The closing fence; for one opened behind a bullet also the first line that is out of the list item."""
    close = rf"\n {{0,{column + 3 if in_list else 3}}}(?P<close>{char}{{{length},}}+)[ \t]*(?=\n|\Z)"
    return re.compile(rf"{close}|\n {{0,{column - 1}}}(?=[^ \t\n])" if in_list else close)


def _atx_text(source: str) -> str:
    """What stands behind the signs of a heading."""
    if len(source) <= MAX_TITLE_CHARS:
        title = source.strip()
        if not _SPECIAL.search(title):
            return title
    source = raw_title(source).strip()
    return inline_text(_CLOSING_HASHES.sub("", source) if source.endswith("#") else source)


def inline_text(source: str) -> str:
    """A heading's text without emphasis, links, code marks, tags, escapes and attributes; in one line."""
    source = raw_title(source)
    if not _MARKUP.search(source):
        return plain_line(source)
    if _CODE.fullmatch(source):
        return plain_line(source[1:-1])
    kept: list[str] = []  # escaped characters and code: what stands there is no markup

    def keep(match: re.Match[str]) -> str:
        kept.append(match[1] or match[3])
        return f"\0{len(kept) - 1}\0"

    line = " ".join(source.replace("\0", "").split())
    if "`" in line or "\\" in line:
        line = _LITERAL.sub(keep, line)
    for sign, other, pattern, by in _INLINE:
        if sign in line or other in line:
            line = pattern.sub(by, line)
    if "&" in line:
        line = html.unescape(line)
    return plain_line(_KEPT.sub(lambda match: kept[int(match[1])], line) if kept else line)
