"""Keeps secrets out of everything that is written down: logs, errors, reports.

Two nets. Every key that was ever read is remembered for the life of the process and masked wherever it turns
up; and whatever has the look of a Voyage or Atlas key, or stands behind `Bearer`, is masked even if nobody
read it here.
"""

from __future__ import annotations

import re

MASK = "***"
_SHORTEST_REMEMBERED = 6  # masking shorter strings would shred ordinary words

_REDACTED = re.compile(
    r"(?<![A-Za-z0-9])(pa-|al-)(?=[\w-]*[0-9A-Z])[\w-]{16,}|\b(Bearer\s+)[^\s\"',;]+", re.ASCII
)
_WHOLE_KEY = re.compile(r"(?:pa|al)-(?=[\w-]*[0-9])(?=[\w-]*[A-Z])[\w-]{24,}", re.ASCII)

_remembered: set[str] = set()


def remember(secret: str) -> None:
    """Mask this exact text from now on, whatever it looks like."""
    if len(secret) >= _SHORTEST_REMEMBERED:
        _remembered.add(secret)


def redact(text: str) -> str:
    """The text with every remembered or key-like secret replaced by `***`."""
    for secret in _remembered:
        text = text.replace(secret, MASK)
    return _REDACTED.sub(lambda match: (match[1] or match[2]) + MASK, text)


def is_key(text: str) -> bool:
    """Whether the whole text is almost certainly an API key (stricter than what `redact` masks)."""
    return _WHOLE_KEY.fullmatch(text.strip()) is not None
