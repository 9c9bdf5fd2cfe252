"""Templates: how a record's text, title and address are put together out of its fields.

`{name}` is a field, `{author.name}` a field within one, `{{` and `}}` are braces. A line of the template all of whose
fields are empty is left out. Values stand as they are, without white space at their ends.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
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
        self.fields = frozenset(part[0] for line in self._lines for part in line if isinstance(part, tuple))
        """The names of its fields."""
        parts = [part for line in self._lines for part in line]
        self._one = parts[0][0] if len(parts) == 1 and isinstance(parts[0], tuple) else ""

    def render(self, values: Mapping[str, Any]) -> str:
        """What it says of one row; empty where all its fields are."""
        if self._one:
            return told(value_of(values, self._one))
        shown = []
        for line in self._lines:
            empty, said = True, ""
            for part in line:
                if isinstance(part, str):
                    said += part
                    continue
                value = values.get(part[0])
                value = value.strip() if isinstance(value, str) else told(value_of(values, part[0]))
                if value:
                    empty = False
                    said += value
            if not empty or not any(isinstance(part, tuple) for part in line):
                shown.append(said)
        return "\n".join(shown).strip()


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


def told(value: Any) -> str:
    """A value in a text: lists separated by commas, what has parts as JSON."""
    if value is None or value == "":
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple) and not any(
        isinstance(each, list | tuple | Mapping) for each in value
    ):
        return ", ".join(filter(None, map(told, value)))
    if isinstance(value, list | tuple | Mapping):
        return orjson.dumps(value, default=str).decode()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
