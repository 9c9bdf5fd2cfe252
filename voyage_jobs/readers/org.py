"""Org files: headlines become sections; drawers and keywords at the head are no text, and blanked: offsets stay.

A headline is one wherever it stands, as in Org itself: a star in the first column of a block has to be quoted there.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from voyage_jobs.core.tokens import estimate_tokens
from voyage_jobs.readers.data import blanked
from voyage_jobs.readers.reader import MOST_TITLE_CHARS, Heading, Json, Reader, Refusal, Refused, Text
from voyage_jobs.readers.text import decoded

_MARK = re.compile(
    r"""^(?:(?P<stars>\*+)[ ]+(?P<title>.*)
    | [ \t]*\#\+(?:(?P<edge>begin|end)_(?P<block>\S+).* | (?P<key>[\w-]+):(?P<value>.*))
    | [ \t]*:(?P<drawer>[\w-]+):[ \t\r]*$
    )\n?""",
    re.VERBOSE | re.MULTILINE | re.IGNORECASE,
)
_OF_WHAT_FOLLOWS = re.compile(r"(?:caption|name|header|headers|results|plot|call|include|toc|attr_.*)\Z")
_STATES = ("todo", "seq_todo", "typ_todo")
_TAGS = re.compile(r"(?:^|[ \t]+):[\w@#%:]+:$")
_PRIORITY = re.compile(r"^\[#\w+\][ \t]*")
_LINK = re.compile(r"\[\[(?:[^\[\]]*\]\[)?([^\[\]]*)\]\]")
_EMPHASIS = re.compile(r"(?<!\w)([*/_=~+])(?=\S)(.+?)(?<=\S)\1(?!\w)")


class OrgReader(Reader):
    """Its keywords are metadata, `#+TITLE` the title."""

    name = "org"
    version = 1
    suffixes = (".org",)

    def read(self, file: BinaryIO, options: Mapping[str, Json]) -> Iterator[Text]:
        """The whole file; raises Refused if it is no text."""
        text = decoded(file.read(), str(options.get("encoding", "")))
        found = _Outline()
        for mark in _MARK.finditer(text):
            found.take(mark)
        whole = blanked(text, sorted(found.drawers + found.keywords))
        if whole.isspace():
            raise Refused(Refusal.EMPTY, "nothing but keywords and drawers")
        tokens = sum(estimate_tokens(text[start:end]) for start, end in found.drawers)
        left_out = {"drawers": tokens} if tokens else {}
        metadata: dict[str, Json] = {key: "\n".join(values) for key, values in found.values.items()}
        yield Text(whole, metadata=metadata, headings=found.headings, left_out=left_out)


class _Outline:
    """What stands where, mark by mark."""

    def __init__(self) -> None:
        self.headings: list[Heading] = []
        self.values: defaultdict[str, list[str]] = defaultdict(list)
        self.keywords: list[tuple[int, int]] = []
        self.drawers: list[tuple[int, int]] = []
        self._states = {"TODO", "DONE"}
        self._block = ""
        self._drawer: int | None = None

    def take(self, mark: re.Match[str]) -> None:
        if mark["stars"]:
            self._block, self._drawer = "", None  # neither goes over a headline
            title = _title(mark["title"], self._states)
            self.headings.append(Heading(mark.start(), mark.end(), len(mark["stars"]), title))
        elif mark["edge"]:
            self._edge(mark["edge"].lower() == "begin", mark["block"].lower())
        elif self._block:
            return
        elif mark["drawer"]:
            self._in_drawer(mark)
        elif not self.headings:
            self._keyword(mark)

    def _edge(self, begins: bool, block: str) -> None:
        if begins and not self._block:
            self._block = block
        elif not begins and block == self._block:
            self._block = ""

    def _in_drawer(self, mark: re.Match[str]) -> None:
        is_end = mark["drawer"].lower() == "end"
        if is_end and self._drawer is not None:
            self.drawers.append((self._drawer, mark.end()))
            self._drawer = None
        elif not is_end and self._drawer is None:
            self._drawer = mark.start()

    def _keyword(self, mark: re.Match[str]) -> None:
        key, value = mark["key"].lower(), mark["value"].strip()
        if _OF_WHAT_FOLLOWS.match(key):
            return
        if key in _STATES:
            self._states.update(word.partition("(")[0] for word in value.split())
        self.values[key].append(value)
        self.keywords.append(mark.span())


def _title(source: str, states: set[str]) -> str:
    """A headline without its state, priority, tags, links and emphasis."""
    title = source.strip()[:MOST_TITLE_CHARS]
    for words in (states, {"COMMENT"}):
        first, _, rest = title.partition(" ")
        title = _PRIORITY.sub("", rest.lstrip() if first in words else title)
    title = _LINK.sub(r"\1", _TAGS.sub("", title))
    return _EMPHASIS.sub(r"\2", title)


ORG = OrgReader()
