"""Where the section titles of a reStructuredText document are.

A title is a line with a line of one repeated punctuation mark under it, or under and over it. Which mark
means which level is decided by the order in which they first appear, as in docutils.
"""

from __future__ import annotations

import re

from voyage_jobs.readers.reader import Heading
from voyage_jobs.splitting.headings import plain_line, raw_title, replace_all, scannable

_ADORNMENT = re.compile(r"\n(?P<mark>[!-/:-@\[-`{-~])(?P=mark)+[ \t]*(?=\n|\Z)")
_NO_TITLE = re.compile(r"\s|\.\. |[-*+] |>>> ")
_SURE_CHARS = 4  # docutils accepts an underline shorter than its title from this length on
_INLINE: list[tuple[re.Pattern[str], str]] = [
    (re.compile(r":[\w:.+-]+:`([^`]*)`"), r"`\1`"),  # a role
    (re.compile(r"`([^`<]*?)[ ]*<[^`<>]*>`__?"), r"\1"),  # a link with its target
    (re.compile(r"`([^`<]+?)[ ]*<[^`<>]*>`"), r"\1"),
    (re.compile(r"``([^`]+)``"), r"\1"),
    (re.compile(r"`([^`]*)`_{0,2}"), r"\1"),
    (re.compile(r"(\*{1,2})(?=\S)(.+?)(?<=\S)\1"), r"\2"),
    (re.compile(r"(?<!\w)\|([^|\s][^|]*)\|"), r"\1"),
    (re.compile(r"\\(.)"), r"\1"),
]


def headings(text: str, start: int = 0) -> list[Heading]:
    """The section titles from `start` on, which must be the start of a line, in order."""
    scan = scannable(text)
    found: list[Heading] = []
    levels: dict[tuple[str, bool], int] = {}
    at = floor = start
    while adornment := _ADORNMENT.search(scan, at):
        title = _underlined(scan, adornment, floor) or _overlined(scan, adornment)
        at = adornment.end()
        if title is None:
            continue
        title_start, title_end, source, over = title
        level = levels.setdefault((adornment["mark"], over), len(levels) + 1)
        found.append(Heading(title_start, min(title_end, len(text)), level, _plain(source)))
        at = floor = title_end
    return found


def _overlined(scan: str, over: re.Match[str]) -> tuple[int, int, str, bool] | None:
    """(start, end, title, True) if `over` is the upper of two like lines with a title between them."""
    title_end = scan.find("\n", over.end() + 1)
    if title_end < 0:
        return None
    title = scan[over.end() + 1 : title_end]
    under = _ADORNMENT.match(scan, title_end)
    if under is None or not title.strip() or under.group().rstrip() != over.group().rstrip():
        return None
    if _ADORNMENT.match(scan, over.end()):
        return None
    return over.start(), under.end(), title, True


def _underlined(scan: str, under: re.Match[str], floor: int) -> tuple[int, int, str, bool] | None:
    """(start, end, title, False) if the line above `under` is a title with nothing right above it."""
    above = scan.rfind("\n", floor, under.start())
    if above < 0:
        return None
    title = scan[above + 1 : under.start()].rstrip()
    length = len(under.group().rstrip()) - 1
    if not title or _NO_TITLE.match(title) or _ADORNMENT.match(scan, above):
        return None
    if length < len(title) and length < _SURE_CHARS:
        return None
    before = scan.rfind("\n", floor, above)
    alone = above == floor or (before >= 0 and not scan[before + 1 : above].strip())
    return (above, under.end(), title, False) if alone else None


def _plain(source: str) -> str:
    return plain_line(replace_all(_INLINE, " ".join(raw_title(source).split())))
