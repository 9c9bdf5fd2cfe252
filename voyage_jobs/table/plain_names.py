"""Plain names in a filter: `price < 20` for a field of the front matter, or a column of records, in Lance's SQL.

A name that is no column of the table is a field of `front_matter`. What it is compared with says how its values are
read: as numbers, as yes or no, or as texts. A row whose value is of another kind does not match, and ends no query.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import orjson

from voyage_jobs.errors import ConfigError
from voyage_jobs.table.engine import open_reading
from voyage_jobs.table.filters import demand_whole

_TOKEN = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*|\.?\d[\w.]*|[<>!=]+|\s+|.""",
    re.DOTALL,
)
_KEYWORD = re.compile(
    "and|as|between|case|else|end|escape|false|ilike|in|is|like|not|null|or|then|true|when", re.IGNORECASE
)
_PASSED = frozenset(("not", "in", "between", "like", "ilike", "(", "-", "+"))
_DIGITS = (".", *"0123456789")
_SAMPLE_ROWS = 2_000
_SHOWN = 12


def spelled_out(where: str, datasets: Sequence[Any]) -> str:
    """The same filter in Lance's SQL, for tables that are searched as one.

    Raises `ConfigError` for one that does not hold together, and for a name that is none in any of them.
    """
    demand_whole(where)
    columns = {name.lower() for each in datasets for name in each.schema.names}
    if "front_matter" not in columns:
        return where
    sql, fields = translated(where, columns)
    for name in fields:
        if not any(_has(each, name) for each in datasets):
            raise _unknown(name, where, columns, datasets)
    return sql


def translated(where: str, columns: Collection[str]) -> tuple[str, list[str]]:
    """The filter with every field spelled out, and the names of the fields. `columns` are in lower case."""
    parts = _TOKEN.findall(where)
    places = [at for at, part in enumerate(parts) if not part.isspace()]
    words = [parts[at] for at in places]
    fields = []
    for at, word in enumerate(words):
        if not _is_field(words, at, columns):
            continue
        fields.append(word)
        if words[at + 1 : at + 2] == ["="] and "".join(words[at + 2 : at + 3]).startswith("'"):
            parts[places[at]] = _is_or_holds(word, words[at + 2])
            parts[places[at + 1]] = parts[places[at + 2]] = ""
        else:
            parts[places[at]] = _value(word, words, at)
    return "".join(parts), list(dict.fromkeys(fields))


def _is_field(words: Sequence[str], at: int, columns: Collection[str]) -> bool:
    word, after = words[at], words[at + 1 : at + 2]
    if not (word[0].isalpha() or word[0] == "_") or _KEYWORD.fullmatch(word) or after == ["("]:
        return False
    if word.lower().partition(".")[0] in columns or (after and after[0].startswith("'")):
        return False
    return not (at and words[at - 1].lower() == "as")


def _path(name: str) -> str:
    return "'$" + "".join(f'."{part}"' for part in name.split(".")) + "'"


def _raw(name: str) -> str:
    return f"json_extract(front_matter, {_path(name)})"


def _text(name: str) -> str:
    bare = f"""regexp_replace({_raw(name)}, '^"(.*)"$', '$1')"""
    return f"""replace(replace({bare}, '\\"', '"'), '\\\\', '\\')"""


def _is_or_holds(name: str, text: str) -> str:
    """That a field is a text, or a list that holds it."""
    held = f"coalesce(json_array_contains(front_matter, {_path(name)}, {text}), false)"
    return f"({_text(name)} = {text} OR {held})"


def _value(name: str, words: Sequence[str], at: int) -> str:
    """A field as the kind of value that it is compared with."""
    beside = _compared_with(words, at)
    if beside == "is":
        return _raw(name)
    if beside.startswith("'"):
        return _text(name)
    if beside == "name" or beside[:1] in _DIGITS:
        return f"try_cast({_raw(name)} AS double)"
    return f"try_cast({_raw(name)} AS boolean)"


def _compared_with(words: Sequence[str], at: int) -> str:
    """The value beside a name, `is` before NULL, `name` for another name; empty for none: it stands by itself."""
    after = [word.lower() for word in words[at + 1 :]]
    if after[:1] == ["is"]:
        return "is" if "null" in after[1:3] else "true"
    for word in after:
        if word in _PASSED or word[0] in "<>!=":
            continue
        if word[0] in _DIGITS or word[0] == "'" or word in ("true", "false"):
            return word
        if _KEYWORD.fullmatch(word) or not word[0].isalpha():
            break
        return "name"
    before = [word.lower() for word in words[max(0, at - 2) : at]]
    if not before[1:] or before[1][0] not in "<>!=":
        return ""
    return "name" if before[0][0].isalpha() and before[0] not in ("true", "false") else before[0]


def _has(dataset: Any, name: str) -> bool:
    exists = f"json_exists(front_matter, {_path(name)})"
    with open_reading(dataset.uri):
        return bool(dataset.scanner(columns=["chunk_id"], filter=exists, limit=1).to_table().num_rows)


def _unknown(name: str, where: str, columns: Collection[str], datasets: Sequence[Any]) -> ConfigError:
    fields = list(dict.fromkeys(field for each in datasets for field in _fields(each)))
    near = difflib.get_close_matches(name.lower(), [*fields, *sorted(columns)], 1)
    shown = ", ".join(fields[:_SHOWN]) + (", ..." if len(fields) > _SHOWN else "")
    meant = f"Did you mean {near[0]}? " if near else ""
    return ConfigError(
        f"The filter {where!r} cannot be used: no column is called {name!r}, and no document has such a field.",
        hint=f"{meant}Fields here: {shown or 'none'}. Columns: docs/table.md.",
    )


def _fields(dataset: Any) -> Iterator[str]:
    """The names of fields among the first rows of a table."""
    scanner = dataset.scanner(columns=["front_matter"], limit=_SAMPLE_ROWS)
    with open_reading(dataset.uri):
        rows = scanner.to_table().column("front_matter").to_pylist()
    for row in dict.fromkeys(rows):
        yield from orjson.loads(row)
