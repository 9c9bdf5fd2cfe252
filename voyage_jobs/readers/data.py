"""Data in the middle of a text: what has no words, is paid for like words, and wins searches that it knows nothing of.

It is blanked, character for character, so that every offset stays: the rest is cut and embedded as if there were white
space. What is taken for data is told by its form alone, in time that grows with the text: `data:` addresses, packed
drawings, long runs of signs in which hardly a word stands, and long lines as programs write them for programs. A text
in a script without blanks between its words is none of these.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace

from voyage_jobs.core.tokens import estimate_tokens
from voyage_jobs.readers.reader import Refusal, Refused, Text

_ADDRESS = re.compile(r"""data:[\w.+-]+/[\w.+-]+(?:;[\w.+=-]+)*,[^\s"'<>()\[\]]{64,}""", re.ASCII)
_DRAWING = re.compile(r"^(?:```|~~~)compressed-json[^\n]*\n(.*?)^(?:```|~~~)", re.MULTILINE | re.DOTALL)
_RUN_CHARS = 400
_SIGNS, _NO_SIGNS = re.compile(r"[!-~]+"), re.compile(r"[^!-~]+")
_WORD = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]?[a-z]{2,15}(?![A-Za-z0-9])")
_LINE_CHARS = 2_000
_NOT_LINE_END = re.compile(r"[^\r\n]")
BLANKED = "blanked"
"""The option `data` of a reader whose texts are to be without it."""
_CODE = re.compile(
    r"^[ \t>]*(?P<fence>`{3,}|~{3,})[^\n]*\n.*?(?:^[ \t>]*(?P=fence)[`~]*[ \t]*$|\Z)"
    r"|(?<!`)(?P<ticks>`{1,2})(?!`)[^\n]*?(?<!`)(?P=ticks)(?!`)",
    re.MULTILINE | re.DOTALL,
)
_MODULE = re.compile(
    r"""^import\s(?:[^'"\n]|\n(?!\n)){0,2000}?['"][^'"\n]+['"];?[ \t]*$"""
    r"|^export[ \t]+(?:default|const|let|var|function|class|async|\{|\*)[^\n]*(?:\n(?![ \t]*(?:\n|\Z))[^\n]*)*",
    re.MULTILINE,
)
_TAG = re.compile(
    r"""</?(?:[A-Z][\w.]*(?:\s(?:[^<>{}"']|"[^"]*"|'[^']*'|\{(?:[^{}]|\{[^{}]*\}){0,500}\}){0,2000})?)?/?>"""
)
_COMMENT = re.compile(r"\{/\*.{0,5000}?\*/\}", re.DOTALL)
_WORDS_SHARE = 0.25
_BLANKS_SHARE, _BRACKETS_SHARE, _FOREIGN_SHARE = 0.03, 0.02, 0.2


def without_data(document: Text, *, mdx: bool = False) -> Text:
    """The same document with blanks in the place of data. Raises Refused if nothing else is in it.

    `mdx`: also in that of its `import` and `export` lines, JSX tags and comments, which are no text either.
    """
    text = document.text
    spans = list(data_in(text, mdx=mdx))
    if not spans:
        return document
    found = blanked(text, spans)
    if found.isspace():
        raise Refused(Refusal.ONLY_DATA, f"{sum(end - start for start, end in spans):,} characters")
    tokens = sum(estimate_tokens(text[start:end]) for start, end in spans)
    return replace(document, text=found, data_tokens=document.data_tokens + tokens)


def blanked(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """The text with blanks in place of spans, which are in order and apart."""
    parts: list[str] = []
    at = 0
    for start, end in spans:
        parts += (text[at:start], _NOT_LINE_END.sub(" ", text[start:end]))
        at = end
    return "".join((*parts, text[at:]))


def data_in(text: str, *, mdx: bool = False) -> Iterator[tuple[int, int]]:
    """Where data stands, in order and apart from each other."""
    at = 0
    for start, end in sorted((*_found(text), *(_of_mdx(text) if mdx else ()))):
        if end > at:
            yield max(start, at), end
            at = end


def _found(text: str) -> Iterator[tuple[int, int]]:
    if "data:" in text:
        yield from (found.span() for found in _ADDRESS.finditer(text))
    if "compressed-json" in text:
        yield from (found.span(1) for found in _DRAWING.finditer(text))
    yield from (span for span in _long_runs(text) if not _has_words(text[slice(*span)]))
    yield from (span for span in _long_lines(text) if _is_for_programs(text[slice(*span)]))


def _long_runs(text: str) -> Iterator[tuple[int, int]]:
    """Where so many signs stand without a blank. Looked for from the far end of where one could be, so that prose is
    passed over in strides: a regular expression would begin once more at every character."""
    at = 0
    while at + _RUN_CHARS <= len(text):
        if (blank := text.rfind(" ", at, at + _RUN_CHARS)) >= 0:
            at = blank + 1
        elif (other := _NO_SIGNS.search(text, at, at + _RUN_CHARS)) is not None:
            at = other.end()
        elif (run := _SIGNS.match(text, at)) is not None:
            yield run.span()
            at = run.end()


def _long_lines(text: str) -> Iterator[tuple[int, int]]:
    """Where long lines stand, in the same strides."""
    at = 0
    while at + _LINE_CHARS <= len(text):
        if (before := text.rfind("\n", at, at + _LINE_CHARS)) >= 0:
            at = before + 1
            continue
        end = text.find("\n", at + _LINE_CHARS)
        end = len(text) if end < 0 else end
        yield at, end
        at = end + 1


def _of_mdx(text: str) -> Iterator[tuple[int, int]]:
    """What stands in an MDX file for its compiler, outside of code."""
    code = [found.span() for found in _CODE.finditer(text)]
    begins = [start for start, _ in code]
    for kind in (_MODULE, _TAG, _COMMENT):
        for found in kind.finditer(text):
            before = bisect_right(begins, found.start()) - 1
            if before < 0 or code[before][1] <= found.start():
                yield found.span()


def _has_words(run: str) -> bool:
    """Whether a good part of a run of signs is words, as in a list that is parted by commas alone."""
    return sum(len(found.group()) for found in _WORD.finditer(run)) >= _WORDS_SHARE * len(run)


def _is_for_programs(line: str) -> bool:
    """Whether a long line is minified JSON or code: hardly a blank, and many brackets."""
    size = len(line)
    if line.count(" ") + line.count("\t") >= _BLANKS_SHARE * size:
        return False
    if sum(map(line.count, "{}[]()")) < _BRACKETS_SHARE * size:
        return False
    return line.isascii() or len(line.encode("ascii", "ignore")) >= (1 - _FOREIGN_SHARE) * size
