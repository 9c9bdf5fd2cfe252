"""AsciiDoc files: section titles become sections; attributes of the header are metadata and blanked: offsets stay.

The titles are those of Asciidoctor: `== One` and `## One`, or underlined, where a block may begin and outside of
delimited blocks; `[discrete]` ones are text. Nothing is included and no condition is decided.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from voyage_jobs.readers.data import blanked
from voyage_jobs.readers.reader import MOST_TITLE_CHARS, Heading, Json, Reader, Refusal, Refused, Text
from voyage_jobs.readers.text import decoded

_MARK = re.compile(
    r"""^(?:
      (?P<signs>={1,6}|\#{1,6})[ \t]+(?P<title>\S.*)
    | (?P<line>-{4,}|\.{4,}|={4,}|\*{4,}|_{4,}|\+{4,}|/{4,}|--|[|,:!]={3,}|```(?!`)[^`\n]*?)[ \t\r]*$
    | (?P<under>(?P<sign>[=\-~^+])(?P=sign)+)[ \t\r]*$
    )\n?""",
    re.VERBOSE | re.MULTILINE,
)
_MAX_HEAD_CHARS = 16_000  # above the first title
_UNDERLINES = "=-~^+"
_HOLD_BLOCKS = "=*_"  # and `--`: in these other blocks may stand, in all else only text
_ALONE = re.compile(  # lines that are no paragraph, so that a title may follow at once
    r"\[.*\]\s*\Z|//|:!?\w[\w-]*!?:(?:\s|\Z)|(?:ifn?def|ifeval|endif|include|image|video|audio|toc)::|(?:<<<|''')\s*\Z"
)
_DISCRETE = re.compile(r"\[(?:discrete|float)\b")
_ENTRY = re.compile(r"^:(?P<name>!?\w[\w-]*!?):(?P<value>[ \t](?:.*\\[ \t\r]*\n)*.*|\r?)$\n?", re.MULTILINE)
_CONTINUED = re.compile(r"(?<![ \t])[ \t]*\\[ \t\r]*\n[ \t]*")
_INLINE: list[tuple[re.Pattern[str], str]] = [
    (re.compile(r"\[\[[^\[\]]*\]\]|\[#[^\[\]]*\](?!#)"), ""),
    (re.compile(r"<<[^<>,]*,[ ]*([^<>]*)>>"), r"\1"),
    (re.compile(r"(?:link:|xref:|https?://|mailto:)[^\s\[\]]*\[([^\[\]]+)\]"), r"\1"),
    (re.compile(r"(?<!\w)([*_`#]{1,2})(?=\S)(.+?)(?<=\S)\1(?!\w)"), r"\2"),
]


class AsciiDocReader(Reader):
    """The first title is that of the document."""

    name = "asciidoc"
    version = 1
    suffixes = (".adoc", ".asciidoc")

    def read(self, file: BinaryIO, options: Mapping[str, Json]) -> Iterator[Text]:
        """The whole file; raises Refused if it is no text."""
        text = decoded(file.read(), str(options.get("encoding", "")))
        found = _Titles(text).run()
        entries = list(_ENTRY.finditer(text, 0, _header_end(text, found)))
        metadata: dict[str, Json] = {}
        for entry in entries:
            metadata[entry["name"]] = _CONTINUED.sub(" ", entry["value"]).strip()
        headings = [Heading(at, end, level, _plain(title, metadata)) for at, end, level, title in found]
        whole = blanked(text, [entry.span() for entry in entries])
        if whole.isspace():
            raise Refused(Refusal.EMPTY, "nothing but attributes")
        yield Text(whole, metadata=metadata, headings=headings)


class _Titles:
    """One pass over the lines that may be titles or edges of blocks."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._open: list[str] = []  # the blocks around, innermost last
        self._free = 0  # up to here nothing is a paragraph that goes on
        self._found: list[tuple[int, int, int, str]] = []

    def run(self) -> list[tuple[int, int, int, str]]:
        """(start, end, level, title as written) of each."""
        for mark in _MARK.finditer(self._text):
            if self._open:
                self._in_block(mark)
            elif mark["signs"]:
                if self._begins_block(mark.start()):
                    self._add(mark.start(), mark.end(), len(mark["signs"]), mark["title"])
            elif not self._underlined(mark) and mark["line"]:
                self._open.append(_kind(mark["line"]))
        return self._found

    def _in_block(self, mark: re.Match[str]) -> None:
        line, around = mark["line"], self._open[-1]
        if line and _kind(line) == around:
            self._open.pop()
            self._free = mark.end()
        elif line and (around == "--" or around[0] in _HOLD_BLOCKS):
            self._open.append(_kind(line))

    def _underlined(self, mark: re.Match[str]) -> bool:
        """Whether the line above is a title, and this its underline."""
        line = (mark["line"] or mark["under"] or "").rstrip()
        above = self._text.rfind("\n", 0, max(0, mark.start() - 1)) + 1
        title = self._text[above : mark.start()].strip("\r\n")
        is_line = line[:1] in _UNDERLINES and not line.strip(line[0])
        if not is_line or above < self._free or abs(len(title.rstrip()) - len(line)) > 1:
            return False
        if title[:1] in ("", ".", " ", "\t") or not re.search(r"\w", title) or _ALONE.match(title):
            return False
        if not self._begins_block(above):
            return False
        self._add(above, mark.end(), _UNDERLINES.index(line[0]) + 1, title)
        return True

    def _begins_block(self, at: int) -> bool:
        if at <= self._free:
            return True
        before = self._text.rfind("\n", 0, at - 1) + 1
        line = self._text[before:at]
        if not line.strip() or _ALONE.match(line):
            return True
        return not self._found and at < _MAX_HEAD_CHARS and _is_head(self._text[:at])

    def _add(self, start: int, end: int, level: int, title: str) -> None:
        self._free = end
        if not self._is_discrete(start):
            self._found.append((start, end, level, title.strip()))

    def _is_discrete(self, at: int) -> bool:
        """Whether one of the attribute lines right above says so."""
        while at:
            before = self._text.rfind("\n", 0, at - 1) + 1
            line = self._text[before:at]
            if not line.startswith("["):
                return False
            if _DISCRETE.match(line):
                return True
            at = before
        return False


def _kind(line: str) -> str:
    """What closes a block that this line opens."""
    return line[:3] if line.startswith("```") else line


def _header_end(text: str, found: list[tuple[int, int, int, str]]) -> int:
    """Where the header ends: at the first blank line below its title; without one, at the first line that is text."""
    titled = bool(found) and found[0][2] == 1 and _is_head(text[: found[0][0]])
    at = found[0][1] if titled else 0
    while at < len(text):
        end = text.find("\n", at) + 1 or len(text)
        entry = _ENTRY.match(text, at)
        is_more = entry is not None or (titled and text[at:end].strip()) or text.startswith("//", at)
        if not is_more:
            break
        at = entry.end() if entry else end
    return at


def _is_head(text: str) -> bool:
    """Whether there is nothing above a title but attributes and comments."""
    lines = _ENTRY.sub("", text).splitlines()
    return all(not line.strip() or line.startswith("//") for line in lines)


def _plain(title: str, attributes: Mapping[str, Json]) -> str:
    """A title without its closing signs, anchors, links and emphasis, and with the attributes of the header."""
    signs = re.search(r"[ \t](={1,6}|#{1,6})$", title)
    title = title[: signs.start()] if signs else title
    title = re.sub(r"\{([\w-]+)\}", lambda each: str(attributes.get(each[1], each[0])), title)
    title = title[:MOST_TITLE_CHARS]
    for pattern, by in _INLINE:
        title = pattern.sub(by, title)
    return title.strip()


ASCIIDOC = AsciiDocReader()
