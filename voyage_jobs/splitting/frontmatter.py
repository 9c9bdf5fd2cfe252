"""Front matter: the YAML (`---`) or TOML (`+++`) block at the head of a Markdown file, as plain JSON values.

It comes from files that anybody may have written, and it goes with every chunk. So it is bounded: what a parser could
be made to build (the aliases of YAML, the dotted keys of TOML, nesting in both) is looked at before a value is built,
for a few hundred bytes can stand for gigabytes; how many values there are and how long they are as JSON, afterwards.
What is over a bound, or cannot be parsed, is taken entry by entry (`front_lines.py`), with the reason under
`ERROR_KEY`: each value that can be read, any other as it is written. What does not look like entries, and a block
longer than `_MAX_CHARS`, is no front matter but text: nothing is left out in silence.

Values stand as they are written: `1.20`, `0123`, `12:30`, `NO` and dates are text. A number is one only where nothing
of how it is written is lost by that: an integer of up to 19 digits, which holds whatever has 64 bits.
"""

from __future__ import annotations

import base64
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, time
from typing import Any, ClassVar, TypeAlias

import yaml

from voyage_jobs.core.toml_text import has_longer_keys
from voyage_jobs.readers.reader import Json
from voyage_jobs.splitting.dates import impossible
from voyage_jobs.splitting.front_lines import as_written, entries, repeated_keys

Scalar: TypeAlias = bool | int | float | str | None

ERROR_KEY = "_front_matter_error"
ITEM_KEY = "item_id"
"""The key that has the id of an item of the API; its metadata has no such key."""
_MAX_CHARS = 32_768  # of the block as written; metadata goes with every chunk
_MAX_EXPANDED_CHARS = 65_536  # with every alias written out
_MAX_DEPTH = 32
_MAX_VALUES = 5_000  # in lists and mappings, those within others included
_MAX_JSON_CHARS = 65_536
_MAX_ERROR_CHARS = 200
_LARGEST_INT = 1 << 63

_OPEN = re.compile(r"(---|\+\+\+)[ \t]*(?:\r?\n|\r)")
_CLOSE = {
    "---": re.compile(r"(?:(?<=[\r\n])|\A)(?:---|\.\.\.)[ \t]*(?:\r?\n|\r|\Z)"),
    "+++": re.compile(r"(?:(?<=[\r\n])|\A)\+\+\+[ \t]*(?:\r?\n|\r|\Z)"),
}
# What the YAML constructors let through when a value is not what its tag or its form promises.
_BAD_VALUE = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, ArithmeticError)
# The parser in C is many times as fast; not every build of PyYAML has it.
_Fast: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Fast):  # type: ignore[valid-type,misc]
    """Safe, and takes for more than text only what loses nothing by it."""

    yaml_implicit_resolvers: ClassVar[dict[Any, Any]] = {}


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"-?[1-9][0-9]{0,18}|0", "-0123456789"),
    ("float", r"-?(?:0|[1-9][0-9]*)\.(?:0|[0-9]*[1-9])(?:e[-+][0-9]+)?", "-0123456789"),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), list(_first))


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """What stands at the head of a document; `end` is where its body starts, in characters."""

    end: int = 0
    metadata: dict[str, Json] = field(default_factory=dict)


# A block as most are: lines of a plain key and a plain value. The words are those that YAML takes for more than text.
_PLAIN = re.compile(
    r"(?:[A-Za-z][\w-]{0,99}:[ ]+(?:[A-Za-z.][\w ,./()'\"&+!?;=@-]*|[1-9][0-9]{0,17})[ ]*(?:\n|\Z)){1,100}+\Z",
    re.ASCII,
)
_WORDS = frozenset(("true", "True", "TRUE", "false", "False", "FALSE", "null", "Null", "NULL"))


class _Refused(Exception):  # noqa: N818 - an answer, not a fault
    """The block cannot be used, for the reason given."""


def front_matter(text: str) -> FrontMatter:
    """The front matter of a Markdown text, if it has any.

    A block that cannot be read whole but looks like front matter counts as such, with the reason under `ERROR_KEY`
    beside what can be read; so does one whose date is none. A block that is no mapping is not front
    matter but text between two rules.
    """
    opening = _OPEN.match(text)
    if opening is None:
        return FrontMatter()
    closing = _CLOSE[opening.group(1)].search(text, opening.end(), opening.end() + _MAX_CHARS)
    if closing is None or not (closing.group().endswith(("\n", "\r")) or closing.end() == len(text)):
        return FrontMatter()
    block, toml = text[opening.end() : closing.start()], opening.group(1) == "+++"
    try:
        metadata = (None if toml else _plain(block)) or _whole(block, toml=toml)
        if metadata and (wrong := impossible(metadata)) is not None:
            metadata = _told(_Refused(f"{wrong} is no date")) | metadata
    except _Refused as refused:
        metadata = _by_entries(block, refused, toml=toml)
    return FrontMatter() if metadata is None else FrontMatter(closing.end(), metadata)


def _plain(block: str) -> dict[str, Json] | None:
    """What the parser of YAML makes of a block without anything of YAML in it; None of any other."""
    if _PLAIN.match(block) is None:
        return None
    pairs = [
        (key, value.strip(" ")) for key, _, value in (line.partition(":") for line in block.splitlines())
    ]
    found: dict[str, Json] = {key: int(value) if value[0].isdigit() else value for key, value in pairs}
    if len(found) < len(pairs) or not _WORDS.isdisjoint([word for pair in pairs for word in pair]):
        return None
    return found


def _whole(block: str, *, toml: bool) -> dict[str, Json] | None:
    """The block read as it should be; None if it is text."""
    value = _read_toml(block) if toml else _read_yaml(block)
    if value is None:
        return {} if not block.strip() else None
    if not isinstance(value, Mapping):
        return None
    doubled = next(repeated_keys(block), None) if not toml else None
    if doubled is not None:
        raise _Refused(f"YAML: {doubled!r} stands there twice")
    return _as_json(value) if value or not block.strip() else None


def _by_entries(block: str, refused: _Refused, *, toml: bool) -> dict[str, Json] | None:
    """Each value that can be read, those of a key that stands twice as a list; None if the block is text."""
    found = entries(block, toml=toml)
    if found is None:
        return None
    values: dict[str, Any] = _told(refused)
    for key, entry in found:
        value = _value(key, entry, toml=toml)
        values[key] = [values[key], value] if key in values else value
    return bounded(values)


def _value(key: str, entry: str, *, toml: bool) -> object:
    try:
        read = _read_toml(entry) if toml else _read_yaml(entry)
        if isinstance(read, Mapping) and len(read) == 1 and key in read:
            return _as_json(read)[key]
    except _Refused:
        pass
    return as_written(entry)


def bounded(values: Mapping[Any, object]) -> dict[str, Json]:
    """The values as JSON; only the reason, under `ERROR_KEY`, if they are over a bound or JSON cannot hold them."""
    try:
        return _as_json(values)
    except _Refused as refused:
        return _told(refused)


def _as_json(values: Mapping[Any, object]) -> dict[str, Json]:
    metadata = _Converter().json(values)
    assert isinstance(metadata, dict)  # noqa: S101 - a mapping stays one; said for the type checker
    return metadata


def _told(refused: _Refused) -> dict[str, Json]:
    return {ERROR_KEY: str(refused)[:_MAX_ERROR_CHARS]}


def _read_toml(block: str) -> object:
    if has_longer_keys(block.replace("\r", "\n"), _MAX_DEPTH):
        raise _Refused(f"TOML: nested more than {_MAX_DEPTH} deep")
    try:
        return tomllib.loads(block.replace("\r\n", "\n").replace("\r", "\n"))
    except (tomllib.TOMLDecodeError, ValueError, ArithmeticError) as exc:
        raise _Refused(f"TOML: {exc}") from None
    except RecursionError:
        raise _Refused("TOML: nested too deeply") from None


def _read_yaml(block: str) -> object:
    try:
        _bound(block)
        return yaml.load(block, _Loader)  # noqa: S506 - _Loader is a safe loader
    except yaml.MarkedYAMLError as exc:
        where = f"line {exc.problem_mark.line + 2}: " if exc.problem_mark else ""
        raise _Refused(f"YAML: {where}{exc.problem}") from None
    except _BAD_VALUE as exc:
        raise _Refused(f"YAML: {type(exc).__name__}: {' '.join(str(exc).split())}") from None


def _bound(block: str) -> None:
    """Refuse what would grow too large or too deep, by going through the events, which build nothing."""
    if _is_small(block):
        return
    sizes: dict[str, int] = {}  # by anchor, as written out
    open_nodes: list[tuple[str | None, int]] = []  # anchor, size before it
    size = 0
    for event in yaml.parse(block, _Loader):
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise _Refused(f"YAML: alias {event.anchor!r} stands for nothing, or for itself")
            size += sizes[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            size += len(event.value) + 1
            if event.anchor:
                sizes[event.anchor] = len(event.value) + 1
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, size))
            size += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor:
                sizes[anchor] = size - before
        if len(open_nodes) > _MAX_DEPTH:
            raise _Refused(f"YAML: nested more than {_MAX_DEPTH} deep")
        if size > _MAX_EXPANDED_CHARS:
            raise _Refused(f"YAML: more than {_MAX_EXPANDED_CHARS} characters with all aliases written out")


def _is_small(block: str) -> bool:
    """Whether a block is sure to be within the bounds: it has no alias, and too few signs for so many levels."""
    if "*" in block or "\n---" in block or "\n..." in block or "%" in block:
        return False
    return len(block) < _MAX_EXPANDED_CHARS // 4 and sum(map(block.count, "[{-?:")) <= _MAX_DEPTH


class _Converter:
    """Turns one parsed block into JSON, and refuses one of too many values or too many characters on the way."""

    def __init__(self) -> None:
        self._values = 0
        self._chars = 0

    def json(self, value: object, depth: int = 0) -> Json:
        """The value as JSON has it: dates as ISO text, numbers that JSON lacks as text, keys as text."""
        self._values += 1
        if depth > _MAX_DEPTH:
            raise _Refused(f"nested more than {_MAX_DEPTH} deep")
        if self._values > _MAX_VALUES:
            raise _Refused(f"more than {_MAX_VALUES} values")
        if isinstance(value, Mapping):
            return {self._key(key): self.json(each, depth + 1) for key, each in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.json(each, depth + 1) for each in value]
        if isinstance(value, (set, frozenset)):
            return [self.json(each, depth + 1) for each in sorted(value, key=str)]
        return self._counted(_scalar(value))

    def _key(self, key: object) -> str:
        plain = _scalar(key)  # no parser here makes a key of anything else
        if plain is None or isinstance(plain, bool):
            plain = {None: "null", True: "true", False: "false"}[plain]
        return str(self._counted(str(plain)))

    def _counted(self, plain: Scalar) -> Scalar:
        self._chars += len(plain) if isinstance(plain, str) else 1
        if self._chars > _MAX_JSON_CHARS:
            raise _Refused(f"more than {_MAX_JSON_CHARS} characters as JSON")
        return plain


def _scalar(value: object) -> Scalar:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()  # a lone surrogate is no text
    if isinstance(value, int):
        return value if -_LARGEST_INT <= value < _LARGEST_INT else f"{value:#x}"
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, (date, time)):  # a datetime is a date
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise _Refused(f"a value of type {type(value).__name__}")
