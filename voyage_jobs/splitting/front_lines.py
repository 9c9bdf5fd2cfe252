"""Front matter that no parser takes: its entries one by one, as far as they can be distinguished.

A date that is none, a colon in a title or a template's braces make a block unreadable as a whole, while every other
line of it is plain. What does not even look like entries (a letterhead, minutes, a slide between two rules) is text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_YAML_KEY = re.compile(
    r"""(?P<key>(?!-)[\w.@$-]+(?:[ ][\w.-]+){0,2}|"[^"\r\n]+"|'[^'\r\n]+')[ \t]*:(?:[ \t]|$)"""
)
_TOML_KEY = re.compile(r"""[ \t]*(?P<key>[\w."'-][\w."' \t-]*)=""")
_TOML_TABLE = re.compile(r"\[{1,2}[ \t]*(?P<key>[^\[\]]+?)[ \t]*\]{1,2}[ \t]*(?:#.*)?$")
# What may go on from the line before, in YAML: indented, an item of a list, the end of a list, a template, a comment.
_GOES_ON = re.compile(r"[ \t]|-(?:[ \t]|$)|[\]})]|\{[{%]|<%|#|$|\?[ \t]|:[ \t]")
_LINE_END = re.compile(r"\r\n|\r|\n")
_IN_BRACES = re.compile(r"\s*\{(?![{%])")
_MAX_REPEATS = 1


def entries(block: str, *, toml: bool) -> list[tuple[str, str]] | None:
    """(key, all lines of the entry) in order; None if the block does not look like front matter but like text.

    What is one mapping in braces is front matter without an entry that could be told apart.
    """
    if not toml and _IN_BRACES.match(block):
        return []
    found: list[tuple[str, list[str]]] = []
    in_table = False
    for line in _LINE_END.split(block):
        opened = _TOML_TABLE.match(line) if toml else None
        in_table = in_table or opened is not None
        opened = opened or (None if in_table else (_TOML_KEY if toml else _YAML_KEY).match(line))
        if opened is not None:
            found.append((opened["key"].strip(" \t\"'"), [line]))
        elif found and (toml or _GOES_ON.match(line)):
            found[-1][1].append(line)
        elif line.strip() and not line.startswith("#"):
            return None
    if not found:
        return None
    repeats = len(found) - len({key for key, _ in found})
    if repeats > _MAX_REPEATS and not toml:
        return None  # questions and answers, say
    return [(key, "\n".join(lines)) for key, lines in found]


def repeated_keys(block: str) -> Iterator[str]:
    """Top-level keys of YAML that stand more than once: a parser keeps the last value and drops the others."""
    seen: set[str] = set()
    for line in _LINE_END.split(block):
        opened = _YAML_KEY.match(line)
        if opened is not None and opened["key"] in seen:
            yield opened["key"]
        elif opened is not None:
            seen.add(opened["key"])


def as_written(entry: str) -> str:
    """The value of an entry as it stands in the file, without its key and the quotes around it."""
    value = re.split(r"[:=]", _bare_key(entry), maxsplit=1)[-1].strip()
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value


def _bare_key(entry: str) -> str:
    table = _TOML_TABLE.match(entry.split("\n", 1)[0])
    if table is not None:
        return "=" + entry.partition("\n")[2]
    opened = _YAML_KEY.match(entry) or _TOML_KEY.match(entry)
    return entry[opened.end("key") :] if opened is not None else entry
