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
    found = Ranked(firm=_below_comments(lines, size))
    starts, at, after_blank, above, opened, base = lines.starts, 0, True, "", False, None
    while at < len(lines):
        bare = lines.bare[at]
        if not bare:
            after_blank, at = True, at + 1
            continue
        base = lines.indent(at) if base is None else base
        last = _block_end(lines, at, size)
        if bare.startswith(_CLOSERS):
            if last is not None and last > at and not opened:
                found.places.append((starts[at], _LAST))
        elif not opened:
            is_told = above.startswith(_COMMENTS) and not after_blank
            found.places.append((starts[at], DEEP if is_told else _rank(lines, at, base, after_blank)))
        opened, above, after_blank = last is None, bare, False
        at = at + 1 if last is None else last + 1
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


def _rank(lines: Lines, at: int, base: int, after_blank: bool) -> int:
    unit = 8 if lines.raw[at][0] == "\t" else 4
    depth = min(max(lines.indent(at) - base, 0) // unit, _MOST_DEPTH)
    return min(2 * depth + (not after_blank), DEEP)


def _block_end(lines: Lines, at: int, size: int) -> int | None:
    """The last line of what a line opens, itself if that is nothing; None if all of it is longer than `size`."""
    last, indent = at, lines.indent(at)
    latest = (
        lines.starts[at] + lines.raw[at].index(lines.bare[at][0]) + size
    )  # blanks at its ends are in no piece
    for index in range(at, len(lines)):
        bare = lines.bare[index]
        if not bare:
            continue
        deeper = lines.indent(index) - indent
        if index > at and (deeper < 0 or (deeper == 0 and not bare.startswith(_CLOSERS))):
            break
        if lines.starts[index] + len(lines.raw[index].rstrip()) > latest:
            return None
        last = index
    return last
