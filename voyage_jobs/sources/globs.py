"""Gitignore patterns as regular expressions that never try the same thing twice.

`pathspec` writes each `*` as `[^/]*` and each `**` as `.+`: with many of them in one pattern, matching takes time that
grows exponentially with their number. What stands between two stars of one name has a fixed length, and what stands
between two `**` a fixed number of folders; so the first place that fits is as good as any later one, and need not be
left again. That is what atomic groups say. The last part keeps its freedom, because it must reach the end. Matching
then takes time in proportion to the path's length times the pattern's.

One answer differs from pathspec's, and is git's: `[!a]` and ranges such as `[+-9]` never match a `/`.
"""

from __future__ import annotations

import re

from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

MAX_PATTERN_CHARS = 1_024  # Linux allows paths of 4,096 bytes; time grows with both

# A file name may hold a line end, which the regular expressions behind the patterns cannot match. It is shown to them
# as the one code point of our name mapping that no name can contain.
LINE_END = "\U0010ff0a"

# As pathspec writes them. None of these can come from a file's name or from a set: both are without `/`.
_STAR = "[^/]*"
_ANY_CHAR = "[^/]"
_FOLDERS_FIRST = "^(?:.+/)?"
_FOLDERS_BETWEEN = "(?:/.+)?"
_SIGNS, _ESCAPED = re.compile(r"[\[&~|]"), r"\\\g<0>"
_SET = re.compile(r"\\.|\[\^?\]?[^\]]*\]", re.DOTALL)


class SteadyPattern(GitIgnoreSpecPattern):
    """A gitignore pattern that is matched in bounded time."""

    __slots__ = ()

    @classmethod
    def pattern_to_regex(cls, pattern: str) -> tuple[str | None, bool | None]:  # type: ignore[override]
        """The regular expression, and whether it includes (True), excludes (False) or is no pattern (None)."""
        if len(pattern) > MAX_PATTERN_CHARS:
            raise ValueError(
                f"{len(pattern)} characters, at most {MAX_PATTERN_CHARS} are allowed: write several shorter patterns"
            )
        regex, include = super().pattern_to_regex(pattern)
        return (None if regex is None else _steady(regex)), include


def _steady(regex: str) -> str:
    """The same expression, with what needs no second try in atomic groups."""
    return _SET.sub(_without_slash, _steady_folders(_steady_stars(regex)))


def _steady_stars(regex: str) -> str:
    """`*x*` in a name takes the first `x`; behind the last star everything is left as it is."""
    head, *rest = regex.split(_STAR)
    if not rest:
        return regex
    between, last = rest[:-1], rest[-1]
    made = [
        f"(?>{_STAR}?{each})" if "/" not in each.replace(_ANY_CHAR, "") else _STAR + each for each in between
    ]
    return "".join([head, *made, _STAR, last])


def _steady_folders(regex: str) -> str:
    """`**/x/**` takes the first `x`; behind the last `**` everything is left as it is."""
    head, *rest = regex.split(_FOLDERS_BETWEEN)
    if not rest:
        return regex
    if head.startswith(_FOLDERS_FIRST):
        head = f"^(?>(?:.+?/)??{head.removeprefix(_FOLDERS_FIRST)}(?=/))"
    between, last = rest[:-1], rest[-1]
    return "".join([head, *(f"(?>(?:/.+?)??{each}(?=/))" for each in between), _FOLDERS_BETWEEN, last])


def _without_slash(found: re.Match[str]) -> str:
    text = found.group()
    if text.startswith("\\") or text == _ANY_CHAR:
        return text
    # `re` warns of signs that may get a meaning within sets one day
    return f"(?!/)[{_SIGNS.sub(_ESCAPED, text[1:])}"
