"""Keeps secrets out of everything that is written down: logs, errors, reports.

Two nets. Every key that was ever read is remembered for the life of the process and masked wherever it turns
up; and whatever has the look of a key of Voyage, Atlas or OpenAI, or stands behind `Bearer`, is masked even if nobody
read it here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MASK = "***"
_SHORTEST_REMEMBERED = 6  # masking shorter strings would shred ordinary words

_REDACTED = re.compile(
    r"(?<![A-Za-z0-9])(pa-|al-|sk-)(?=[\w-]*[0-9A-Z])[\w-]{16,}|\b(Bearer\s+)[^\s\"',;]+", re.ASCII
)
_WHOLE_KEY = re.compile(r"(?:pa|al|sk)-(?=[\w-]*[0-9])(?=[\w-]*[A-Z])[\w-]{24,}", re.ASCII)

# Fields of a log event that hold somebody's words, and what in them may be a piece of a document.
_WORDS = ("error", "reason", "why", "also", "message", "cause")
_QUOTATION = re.compile(r"([\"'`])[^\n]{40,}\1")

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


def clean_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a log event in plain types, redacted, without long quotations in words of others."""
    return {key: _clean(_unquoted(value) if key in _WORDS else value) for key, value in fields.items()}


def _unquoted(value: Any) -> Any:
    """An error may quote the text that was wrong with it; what is quoted at length is left out."""
    return _QUOTATION.sub(r"\1...\1", value) if isinstance(value, str) else value


def _clean(value: Any) -> Any:
    """The value in plain types, redacted: what a renderer would turn into text becomes text here."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, dict):
        return {redact(str(key)): _clean(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(inner) for inner in value]
    return redact(value if isinstance(value, str) else str(value))
