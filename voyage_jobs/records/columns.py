"""Typed columns of records: what a value is as JSON, or that it is none of its type."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from voyage_jobs.readers.reader import Json
from voyage_jobs.records.template import told

_TRUE, _FALSE = ("true", "yes", "y", "t", "1"), ("false", "no", "n", "f", "0")
_SEPARATORS = ("|", ";", ",")
_MOST_INT = 2**63


def _int(value: Any) -> int:
    number = int(value)
    if not isinstance(value, str) and number != value:
        raise ValueError("is no whole number")
    if not -_MOST_INT <= number < _MOST_INT:
        raise ValueError("has more than 64 bits")
    return number


def _float(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("is not finite")
    return number


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if word not in (*_TRUE, *_FALSE):
        raise ValueError("is neither true nor false")
    return word in _TRUE


def _strings(value: Any) -> list[Json]:
    if isinstance(value, str):
        separator = next((each for each in _SEPARATORS if each in value), None)
        value = value.split(separator) if separator else [value]
    if not isinstance(value, list | tuple):
        raise ValueError("is no list")  # noqa: TRY004 - one error for whatever is wrong with a value
    return [word for word in map(told, value) if word]


TYPES: dict[str, Callable[[Any], Json]] = {
    "string": told,
    "int": _int,
    "float": _float,
    "bool": _bool,
    "list<string>": _strings,
}
"""By name, as the configuration has them. Each raises ValueError, TypeError or OverflowError for what is none."""
