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
_COMMENTS = ("#", "//", "/*", "*", "@")
_MOST_DEPTH = 2


def ranks(text: str, start: int, end: int, size: int) -> Ranked:
    """The places of a section of code: the less a line is indented, the better; best of all after a blank line."""
    found, lines = Ranked(), Lines.of(text, start, end)
    starts, at, after_blank, above, opened, base = lines.starts, 0, True, "", False, None
    while at < len(lines):
        bare = lines.bare[at]
        if not bare:
            after_blank, at = True, at + 1
            continue
        base = lines.indent(at) if base is None else base
        if not opened and not bare.startswith(_CLOSERS):
            is_told = above.startswith(_COMMENTS) and not after_blank
            found.places.append((starts[at], DEEP if is_told else _rank(lines, at, base, after_blank)))
        last = _block_end(lines, at, size)
        opened, above, after_blank = last is None, bare, False
        at = at + 1 if last is None else last + 1
    return found


def _rank(lines: Lines, at: int, base: int, after_blank: bool) -> int:
    unit = 8 if lines.raw[at][0] == "\t" else 4
    depth = min(max(lines.indent(at) - base, 0) // unit, _MOST_DEPTH)
    return min(2 * depth + (not after_blank), DEEP)


def _block_end(lines: Lines, at: int, size: int) -> int | None:
    """The last line of what a line opens, itself if that is nothing; None if all of it is longer than `size`."""
    last, indent = at, lines.indent(at)
    for index in range(at, len(lines)):
        if lines.starts[index + 1] - lines.starts[at] > size and lines.bare[index]:
            return None
        if index == at or not lines.bare[index]:
            continue
        deeper = lines.indent(index) - indent
        if deeper < 0 or (deeper == 0 and not lines.bare[index].startswith(_CLOSERS)):
            break
        last = index
    return last
