"""The lines at which source code may be cut, by its indentation: a block that fits a chunk has no place inside.

So whatever the language, a function within a function that is too long stays whole where it can.
"""

from __future__ import annotations

from voyage_jobs.splitting.blocks import DEEP, Lines, Ranked

_CLOSERS = (
    ")",
    "]",
    "}",
    "{",
    ">",
    "end",
    "else",
    "elif",
    "except",
    "finally",
    "catch",
    "case",
    "default",
    "where",
)
_REMARKS = ("#", "//", "/*", "*")
_COMMENTS = (*_REMARKS, "@")
_MOST_DEPTH = 2
_LAST = DEEP + 1  # before an `else` whose block is kept whole: rather there than within a line


def ranks(text: str, start: int, end: int, size: int) -> Ranked:
    """The places of a section of code: the less a line is indented, the better; best of all after a blank line."""
    lines = Lines.of(text, start, end)
    indents = _indents(lines)
    lasts = _block_ends(lines, indents)
    found = Ranked(firm=_below_comments(lines, size))
    starts, at, after_blank, above, opened, base = lines.starts, 0, True, "", False, -1
    while at < len(lines):
        bare = lines.bare[at]
        if not bare:
            after_blank, at = True, at + 1
            continue
        base = indents[at] if base < 0 else base
        last = lasts[at]
        begins = starts[at] + len(lines.raw[at]) - len(lines.raw[at].lstrip())
        fits = (
            starts[last] + len(lines.raw[last].rstrip()) - begins <= size
        )  # blanks at its ends are in no piece
        if bare.startswith(_CLOSERS):
            if fits and last > at and not opened:
                found.places.append((starts[at], _LAST))
        elif not opened:
            is_told = above.startswith(_COMMENTS) and not after_blank
            unit = 8 if lines.raw[at][0] == "\t" else 4
            depth = min(max(indents[at] - base, 0) // unit, _MOST_DEPTH)
            rank = DEEP if is_told else min(2 * depth + (not after_blank), DEEP)
            found.places.append((starts[at], rank))
        opened, above, after_blank = not fits, bare, False
        at = last + 1 if fits else at + 1
    return found


def _below_comments(lines: Lines, size: int) -> int | None:
    """Where what follows the comments at the start fits a chunk, though not with them; None if that is nowhere.

    So a function stays whole, also where the indentation does not tell that it is one, as in a text of several lines.
    """
    end = lines.starts[-2] + len(lines.raw[-1].rstrip())
    for at, bare in enumerate(lines.bare):
        if bare and not bare.startswith(_REMARKS):
            if not at or end - lines.starts[at] <= size:
                return lines.starts[at] if at else None
            if not bare.startswith("@"):
                return None
    return None


def _indents(lines: Lines) -> list[int]:
    """How far each line is indented, tabs as eight; a blank one not at all."""
    found = []
    for raw, bare in zip(lines.raw, lines.bare, strict=True):
        width = len(raw) - len(raw.lstrip()) if bare else 0
        found.append(len(raw[:width].expandtabs(8)) if width and "\t" in raw[:width] else width)
    return found


def _block_ends(lines: Lines, indents: list[int]) -> list[int]:
    """For each line the last one of what it opens, itself if that is nothing: up to the next that is indented as much,
    unless that only closes it, or less."""
    found, opened, before = list(range(len(lines))), list[int](), 0
    for at, bare in enumerate(lines.bare):
        if not bare:
            continue
        indent = indents[at]
        while opened and (
            indents[opened[-1]] > indent or (indents[opened[-1]] == indent and not bare.startswith(_CLOSERS))
        ):
            found[opened.pop()] = before
        opened.append(at)
        before = at
    for at in opened:
        found[at] = before
    return found
