"""One item and the file that it is: YAML front matter with its id and metadata, then its text, to the byte.

The reader of sources must give back exactly what went in. So the front matter is written in the part of JSON that YAML
reads alike (one line, quoted texts, floats with a point), and read back before anything is stored: what does not come
back as it was is refused.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from voyage_jobs.config.problems import written
from voyage_jobs.errors import ConfigError
from voyage_jobs.splitting.frontmatter import ITEM_KEY, front_matter

SUFFIX = ".md"
_NOT_READABLE = re.compile(r"[^A-Za-z0-9._-]+")
_READABLE_CHARS = 40
_DIGEST_BYTES = 16
# What JSON leaves as it is and YAML does not take, or takes for a line end.
_NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


@dataclass(frozen=True)
class Item:
    """A text with an id of yours. Ids are unique within one set of items.

    `text` is read as Markdown: headings become sections. `metadata` is what JSON can hold, with texts as keys; a
    "title" in it is the document's title. It comes back with every hit and can be filtered in the table
    (`front_matter`); it is not embedded, so another metadata costs nothing.
    """

    id: str
    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)


def file_of(item_id: str) -> str:
    """The path of an item's file below the folder of its items; no two ids have the same."""
    digest = hashlib.blake2b(_utf8("id", item_id), digest_size=_DIGEST_BYTES).hexdigest()
    readable = _NOT_READABLE.sub("-", item_id)[:_READABLE_CHARS].strip(".-")
    return f"{digest[:2]}/{readable or 'item'}-{digest}{SUFFIX}"


def encode(item: Item) -> bytes:
    """The bytes of an item's file. Raises ConfigError for what cannot be stored and given back as it is."""
    if not isinstance(item.id, str) or not item.id:
        raise ConfigError(
            f"The id of an item is {written(item.id)}; it must be a text, and not an empty one."
        )
    _utf8("id of an item", item.id)
    if not isinstance(item.text, str):
        raise ConfigError(f"The text of item {item.id!r} is a {type(item.text).__name__}; it must be a text.")
    if not isinstance(item.metadata, Mapping):
        raise ConfigError(
            f"The metadata of item {item.id!r} is a {type(item.metadata).__name__}; it must be a dict."
        )
    if not item.text.strip():
        raise ConfigError(f"Item {item.id!r} has no text.", hint="Remove the item, if that is meant.")
    if "\0" in item.text:
        raise ConfigError(f"The text of item {item.id!r} holds a zero character: it is no text.")
    if ITEM_KEY in item.metadata:
        raise ConfigError(f"The metadata of item {item.id!r} has the key {ITEM_KEY!r}, which is for the id.")
    head = {ITEM_KEY: item.id, **item.metadata}
    try:
        block = f"---\n{_yaml(head, item.id)}\n---\n"
        comes_back = _comes_back(block, head)
    except (RecursionError, ValueError):  # lists in lists in lists; a number of thousands of digits
        comes_back = False
    if not comes_back:
        raise ConfigError(
            f"The metadata of item {item.id!r} cannot be stored as it is.",
            hint="It may have 32,768 characters, 5,000 values, 32 levels, keys of 1,000 characters, 64-bit numbers.",
        )
    body = _utf8(f"text of item {item.id!r}", item.text)
    return _utf8(f"metadata of item {item.id!r}", block) + body


def decode(text: str) -> tuple[str, dict[str, Any]] | None:
    """The id and the metadata of an item's file; None if it is another file."""
    metadata: dict[str, Any] = dict(front_matter(text).metadata)
    item_id = metadata.pop(ITEM_KEY, None)
    return (item_id, metadata) if isinstance(item_id, str) else None


def _comes_back(block: str, head: Mapping[str, Any]) -> bool:
    found = front_matter(block)
    return found.end == len(block) and _canonical(found.metadata) == _canonical(head)


def _canonical(value: Mapping[str, Any]) -> str:
    """Equal for what is equal to a reader of JSON, and no more: 1 and 1.0 and True differ."""
    return json.dumps(value, sort_keys=True)


def _yaml(value: Any, item_id: str) -> str:
    """One line that a reader of YAML takes for exactly this value."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return _NOT_IN_YAML.sub(
            lambda match: f"\\u{ord(match[0]):04x}", json.dumps(value, ensure_ascii=False)
        )
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float) and math.isfinite(value):
        mantissa, exponent, power = repr(float(value)).partition("e")
        return mantissa + ("" if "." in mantissa else ".0") + exponent + power
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        pairs = (f"{_yaml(key, item_id)}: {_yaml(each, item_id)}" for key, each in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_yaml(each, item_id) for each in value) + "]"
    raise ConfigError(
        f"The metadata of item {item_id!r} holds a {type(value).__name__} that JSON has not.",
        hint="Use texts, finite numbers, booleans, None, lists, and dicts with texts as keys.",
    )


def _utf8(what: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as exc:
        raise ConfigError(f"The {what} is no Unicode text: it has a lone surrogate.") from exc
