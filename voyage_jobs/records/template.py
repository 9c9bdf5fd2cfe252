"""Templates: how a record's text, title and address are put together out of its fields.

`{name}` is a field, `{author.name}` a field within one, `{{` and `}}` are braces. A line of the template all of whose
fields are empty is left out. Values stand as they are, without white space at their ends.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

_PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_BRACES = {"{{": "{", "}}": "}"}

Part = str | tuple[str]
"""A literal, or the name of a field in a tuple."""


class Template:
    """One template. Raises ValueError for one that cannot be read."""

    def __init__(self, text: str) -> None:
        self._lines = [_parsed(line) for line in text.split("\n")]
        parts = [[part for part in line if isinstance(part, tuple)] for line in self._lines]
        self._names = tuple(part[0] for line in parts for part in line)
        self.fields = frozenset(self._names)
        """The names of its fields."""
        self._whole = "\n".join("".join(map(_shape, line)) for line in self._lines)
        """What it says of a row that has all of them."""
        if not self._names:
            self._whole = (self._whole % ()).strip()

    def render(self, values: Mapping[str, Any]) -> str:
        """What it says of one row; empty where all its fields are."""
        if not self._names:
            return self._whole
        said = []
        for name in self._names:
            value = values.get(name)
            said.append(value.strip() if isinstance(value, str) else told(value_of(values, name)))
        if all(said):
            return (self._whole % tuple(said)).strip()
        return "\n".join(self._filled(iter(said))).strip()

    def _filled(self, said: Iterator[str]) -> Iterator[str]:
        """Its lines, without those all of whose fields are empty."""
        for line in self._lines:
            found = [next(said) for part in line if isinstance(part, tuple)]
            if any(found) or not found:
                yield "".join(map(_shape, line)) % tuple(found)


def _shape(part: Part) -> str:
    return "%s" if isinstance(part, tuple) else part.replace("%", "%%")


def _parsed(line: str) -> tuple[Part, ...]:
    parts: list[Part] = []
    at = 0
    for found in _PART.finditer(line):
        parts.append(line[at : found.start()])
        at = found.end()
        if found[1] is not None and found[1].strip():
            parts.append((found[1].strip(),))
        elif found[0] in _BRACES:
            parts.append(_BRACES[found[0]])
        else:
            raise ValueError(f"has a brace without its field at character {found.start() + 1}: {line[:60]}")
    parts.append(line[at:])
    return tuple(part for part in parts if part)


def value_of(values: Mapping[str, Any], name: str) -> Any:
    """The field of this name, or, with dots, one within another; None if there is none."""
    if name in values:
        return values[name]
    head, dot, rest = name.partition(".")
    inner = values.get(head) if dot else None
    return value_of(inner, rest) if isinstance(inner, Mapping) else None


def has_field(values: Mapping[str, Any], name: str) -> bool:
    """Whether there is a field of this name, be it empty."""
    if name in values:
        return True
    head, dot, rest = name.partition(".")
    inner = values.get(head) if dot else None
    return isinstance(inner, Mapping) and has_field(inner, rest)


def inner_names(values: Mapping[str, Any]) -> Iterator[str]:
    """The names of the fields within fields, with dots, one level deep."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from (f"{name}.{each}" for each in value)


def told(value: Any) -> str:
    """A value in a text: lists separated by commas, what has parts as JSON, bytes as UTF-8, since many programs write
    texts to Parquet or into a database so. Raises ValueError for bytes that are no text, RecursionError for what is
    nested too deep."""
    if value is None or value == "":
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bytes):
        return value.decode().strip()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple) and not any(
        isinstance(each, list | tuple | Mapping) for each in value
    ):
        return ", ".join(filter(None, map(told, value)))
    if isinstance(value, list | tuple | Mapping):
        try:
            return orjson.dumps(value, default=told).decode()
        except TypeError as exc:  # a number of more than 64 bits, say
            if "ecursion" in str(exc):
                raise RecursionError from None
            return json.dumps(value, default=told, ensure_ascii=False, separators=(",", ":"))
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
