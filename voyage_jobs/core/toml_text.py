"""A look at TOML before it is parsed: `tomllib` needs memory that grows with the square of a dotted key's parts.

A key `a.a.a. ... = 1` of 32,000 characters takes a gigabyte. How deep keys reach can be told from the text, by going
through it once.
"""

from __future__ import annotations

import re

# What may hold a dot that is no part of a dotted key. Each form also ends with the line or the text, so that one that
# is never closed is gone through once, too; `tomllib` stops there, and nothing behind it is looked at.
_QUOTED_OR_COMMENT = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*+(?:"{3,5}|\\?\Z)'
    r"|'''(?:[^']|'(?!''))*+(?:'{3,5}|\Z)"
    r'|"(?:[^"\\\n]|\\[^\n])*+"?'
    r"|'[^'\n]*+'?"
    r"|#[^\n]*+",
    re.DOTALL,
)
_BETWEEN_KEYS = re.compile(r"[=,\[\]{}\n]")


def has_longer_keys(text: str, parts: int) -> bool:
    """Whether a dotted key in the TOML text has more than `parts` parts. True only of such keys, or of no TOML."""
    bare = _QUOTED_OR_COMMENT.sub("q", text)
    return any(each.count(".") >= parts for each in _BETWEEN_KEYS.split(bare))
