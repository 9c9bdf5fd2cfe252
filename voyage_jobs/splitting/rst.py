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
_MARK = re.compile(
    r"""\.\.(?:[ \t]*$|[ \t]+(?:_|(?:highlight|currentmodule|module|index|program|role|default-role|meta|tags
    |sectionauthor|moduleauthor|codeauthor|py:module|py:currentmodule|c:namespace)::|(?![\w.:+-]+::|\||\[)\S))""",
    re.VERBOSE,
)
_FIELD = re.compile(r":[^:\s][^:]*:(?:\s|$)")
_MARKS_CHARS = 4_000
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


def headings_with_marks(text: str, start: int = 0) -> list[Heading]:
    """The same, each beginning where what belongs to it does: labels, comments and what says how to read on, such as
    `highlight` and `currentmodule`; before the first one also fields (`:orphan:`)."""
    found: list[Heading] = []
    floor = start
    for heading in headings(text, start):
        begin = _start_of_marks(text, floor, heading.start)
        found.append(heading._replace(start=begin))
        floor = heading.end
    return found


def _start_of_marks(text: str, floor: int, title: int) -> int:
    """Where the marks right above a title begin; the title's own start if there are none."""
    lines = text[max(floor, title - _MARKS_CHARS) : title].splitlines(keepends=True)
    begin = at = title
    while lines:
        line = lines.pop()
        at -= len(line)
        if _MARK.match(line) or (floor == 0 and _FIELD.match(line)):
            begin = at
        elif line.strip() and not line[0].isspace():
            break
    if begin < title and floor == 0 and not text[:begin].strip():
        return 0
    return begin


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
