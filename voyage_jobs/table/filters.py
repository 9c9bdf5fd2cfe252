"""Filters in Lance's SQL: values quoted, globs as regular expressions, and a check of what a user wrote.

Lance reads a filter up to the first bracket too many and forgets the rest, so what a user wrote is looked through
before it stands beside conditions of ours.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from voyage_jobs.errors import ConfigError, CorruptionError
from voyage_jobs.table.engine import brief, open_reading

_SQL = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|--|/\*|[()';\"`]")
_GLOB = re.compile(r"\*\*/|\*\*|\*|\?|\[[!^]?(?:\][^\]/]*|[^\]/]+)\]|.", re.DOTALL)
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_NOT_PARSED = re.compile(r"\(sql parser error: (.+?)(?: at Line: \d+, Column: \d+)?\)(?:, \S+\.rs:|$)")
_HINT = "It is SQL over the table's columns, for example: source = 'docs' AND ordinal = 0."


def quoted(text: str) -> str:
    """A text as a value of SQL."""
    return "'" + text.replace("'", "''") + "'"


def glob_regex(pattern: str) -> str:
    """A path's pattern as a regular expression for whole paths: `**` stands for any folders, `*` and `?` for what is
    within one name, `[ab]` for a set. Raises `ConfigError` for a set that is none."""
    parts = []
    for found in _GLOB.finditer(pattern):
        piece = found.group()
        if piece in ("**/", "**", "*", "?"):
            parts.append({"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}[piece])
        elif len(piece) > 1:
            parts.append(_set_of(piece[1:-1]))
        else:
            parts.append(re.escape(piece))
    return r"(?s)\A" + "".join(parts) + r"\z"


def _set_of(inside: str) -> str:
    negated = len(inside) > 1 and inside[0] in "!^"
    members = re.sub(r"[\\\[\]^&~|]", r"\\\g<0>", inside[negated:])
    try:
        re.compile(f"[{members}]")
    except re.error as exc:
        raise ConfigError(
            f"The pattern [{inside}] of a path cannot be used: {exc.msg}.",
            hint="A range is written as [a-z].",
        ) from exc
    return f"[^/{members}]" if negated else f"[{members}]"


def combined(
    sources: Iterable[str] = (),
    paths: Iterable[str] = (),
    since: datetime | None = None,
    where: str | None = None,
    fields: Iterable[tuple[str, str | int | bool]] = (),
) -> str | None:
    """One filter: of these sources, at one of these paths' globs, modified since, with these fields in the
    front matter, and whatever `where` says.

    Raises `ConfigError` for a `where` that does not hold together, and for a glob that makes no sense.
    """
    parts = []
    if named := [quoted(source) for source in sources]:
        parts.append(f"source IN ({', '.join(named)})")
    if globs := [f"regexp_like(path, {quoted(glob_regex(each))})" for each in paths]:
        parts.append(f"({' OR '.join(globs)})")
    if since is not None:
        moment = since.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
        parts.append(f"modified_at >= timestamp '{moment}Z'")
    parts += [_has(name, value) for name, value in fields]
    if where is not None:
        demand_whole(where)
        parts.append(f"({where})")
    return " AND ".join(parts) or None


def all_of(conditions: Sequence[str]) -> str | None:
    """One filter of several that must all hold; None without any. Raises `ConfigError` for one that does not hold
    together."""
    for each in conditions:
        demand_whole(each)
    if len(conditions) == 1:
        return conditions[0]
    return " AND ".join(f"({each})" for each in conditions) or None


def of_document(source: str, path: str) -> str:
    """A filter for the rows of one document."""
    return f"(source = {quoted(source)} AND path = {quoted(path)})"


def without(where: str | None, documents: Iterable[tuple[str, str]]) -> str:
    """A filter of ours, of what is in none of these documents besides, each by its source and path."""
    left_out = (f"NOT {of_document(source, path)}" for source, path in documents)
    return " AND ".join([*([f"({where})"] if where else []), *left_out])


def is_field(name: str) -> bool:
    """Whether a name of the front matter can be filtered by."""
    return _FIELD.fullmatch(name) is not None


def _has(name: str, value: str | int | bool) -> str:
    """That a field is a value, or a list that holds it. (`json_get_string` would fail on a row with a list.)"""
    path = f"'$.\"{name}\"'"
    same = f"json_extract(front_matter, {path}) = {quoted(orjson.dumps(value).decode())}"
    if isinstance(value, bool):
        return same
    held = quoted(value) if isinstance(value, str) else value
    return f"({same} OR json_array_contains(front_matter, {path}, {held}))"


def demand_whole(where: str) -> None:
    """Raise `ConfigError` for a filter whose brackets or quotes do not fit, or that has what ends or hides the rest."""
    depth = 0
    for found in _SQL.finditer(where):
        sign = found.group()
        depth += (sign == "(") - (sign == ")")
        if depth < 0 or sign in ("--", "/*", ";", "'", '"', "`"):
            raise _unusable(where, f"{sign!r} at character {found.start() + 1} does not belong there")
    if depth:
        raise _unusable(where, "a bracket is not closed")


def demand_sense(dataset: Any, where: str, written: str | None = None) -> None:
    """Raise `ConfigError` for a filter that Lance cannot make sense of for this table. `written`: as it was given."""
    try:
        _understood(dataset, f"({where})")  # as it is used: Lance passes over what follows a whole expression
    except (OSError, ValueError) as exc:
        raise _unusable(written or where, _why_not(dataset, where)) from exc


def _why_not(dataset: Any, where: str) -> str:
    """Of a filter that cannot be understood in brackets, which nobody wrote: what is wrong with it without them."""
    try:
        _understood(dataset, where)
    except (OSError, ValueError) as exc:
        return _reason(exc)
    return "something behind its end does not belong there"


def _understood(dataset: Any, where: str) -> None:
    dataset.scanner(columns=["chunk_id"], filter=where).explain_plan()


@contextlib.contextmanager
def reading_with(path: str, where: str | None) -> Iterator[None]:
    """As `open_reading`; `ConfigError` where a filter fails on a row, as a cast may."""
    try:
        with open_reading(path):
            yield
    except CorruptionError as exc:
        if where is not None and "Error applying filter" in str(exc):
            raise _unusable(where, _reason(exc.__cause__ or exc)) from exc
        raise


def _reason(exc: BaseException) -> str:
    """What Lance says, without the statement that it made of the filter, and of which it counts the columns."""
    found = _NOT_PARSED.search(" ".join(str(exc).split()))
    return found[1] if found else brief(exc).replace("Invalid user input: ", "")


def _unusable(where: str, why: str) -> ConfigError:
    return ConfigError(f"The filter {where!r} cannot be used: {why}", hint=_HINT)
