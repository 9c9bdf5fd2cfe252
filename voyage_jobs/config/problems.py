"""What is wrong with a configuration, said so that you can mend it: file, key, value, what, how."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from voyage_jobs.core.redact import MASK, is_key, redact

Loc = tuple[int | str, ...]
UNSET: Any = object()
_LONGEST_SHOWN = 80
_SECRET_NAMES = ("api_key", "apikey", "voyage_api_key", "key", "token", "secret", "password")
_WRONG_VALUE: dict[str, str] = {
    "missing": "is required",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "finite_number": "must be a finite number",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be a text in quotes",
    "string_too_short": "must not be empty",
    "string_too_long": "must have no more characters than {max_length}",
    "path_type": "must be a path in quotes",
    "literal_error": "must be {expected}",
    "tuple_type": "must be a list, such as {example}",
    "value_error": "{error}",
}
_LISTS = {
    "command": '["notify-me", "--urgent"]',
    "events": '["failed"]',
    "hosts": '["docs.example.com"]',
    "select": '["main"]',
    "drop": '["nav"]',
    "id": '["sku"]',
    "logs": '["*.log"]',
    "optional": '["price"]',
}
_PATTERNS = '["*.md"]'  # of the other keys that take a list


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong at `loc`; `involves` names the other keys the judgement rests on."""

    loc: Loc
    text: str
    value: Any = UNSET
    involves: tuple[Loc, ...] = ()

    def line(self, where: str) -> str:
        """`where: key = value: what is wrong and what to do`, on one line, without secrets."""
        key = dotted(self.loc)
        shown = "" if self.value is UNSET else f" = {_shown(self.loc, self.value)}"
        return redact(f"{where}: {key}{shown}: {self.text}")


def dotted(loc: Loc) -> str:
    """`("sources", 1, "path")` as `sources[1].path`."""
    text = ""
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if part.isprintable() else part.encode("unicode_escape").decode()
            text += f".{name}" if text else name
    return text


def is_secret_name(name: str) -> bool:
    """Whether a key of this name would hold a secret."""
    return name.lower().replace("-", "_") in _SECRET_NAMES


def _shown(loc: Loc, value: Any) -> str:
    if any(isinstance(part, str) and is_secret_name(part) for part in loc):
        return MASK
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, str):
        text = f'"{MASK}"' if is_key(value) else '"' + value.encode("unicode_escape").decode() + '"'
    elif isinstance(value, Mapping):
        text = "{...}"
    else:
        text = written(value)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "..."


def written(value: Any) -> str:
    """As Python writes it, for a message."""
    try:
        return repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, lists in lists in lists
        return "(too long to be shown)"


def from_pydantic(error: ErrorDetails, root: type[BaseModel]) -> Problem:
    """Pydantic's finding in our words."""
    loc, kind, value = error["loc"], error["type"], error["input"]
    if kind == "extra_forbidden":
        return unknown_key(loc, value, root)
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return Problem(loc, f"must be a table: write [{dotted(loc)}] with its keys below it.", value)
    if loc == ("sources",) and kind != "missing":
        return Problem(loc, "must be a list of tables: write [[sources]] with two brackets.", value)
    sentence = _WRONG_VALUE.get(kind, error["msg"].replace("{", "{{").replace("}", "}}"))
    example = _LISTS.get(str(loc[-1]), _PATTERNS)
    text = sentence.format(
        example=example, **{name: _plain(part) for name, part in error.get("ctx", {}).items()}
    )
    return Problem(loc, text + ".", UNSET if kind == "missing" else value)


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) and value < 1e6 else str(value)


def unknown_key(loc: Loc, value: Any, root: type[BaseModel]) -> Problem:
    """An unknown key, with the nearest known one beside it or anywhere."""
    name = str(loc[-1])
    if is_secret_name(name):
        return Problem(
            loc, "secrets do not belong in this file; set VOYAGE_API_KEY or VOYAGE_API_KEY_FILE.", value
        )
    siblings = dict(known_keys(root, loc[:-1]))
    everywhere = {key: None for _, key in _walk(root)}
    near = difflib.get_close_matches(name, siblings, n=1)
    wanted = dotted((*loc[:-1], near[0])) if near else _elsewhere(name, everywhere)
    text = (
        f"unknown key; did you mean {wanted}?"
        if wanted
        else f"unknown key; known here: {', '.join(siblings)}."
    )
    return Problem(loc, text, UNSET if isinstance(value, Mapping) else value)


def _elsewhere(name: str, keys: Iterable[str]) -> str | None:
    by_last: dict[str, str] = {}
    for key in keys:  # of several sections the first: that is the default provider's
        by_last.setdefault(key.rpartition(".")[2], key)
    near = difflib.get_close_matches(name, by_last, n=1)
    return by_last[near[0]] if near else None


def known_keys(root: type[BaseModel], loc: Loc) -> Iterable[tuple[str, Any]]:
    """The keys allowed at `loc`, with their types."""
    model = root
    for part in loc:
        if isinstance(part, str) and part in model.model_fields:
            annotation = model.model_fields[part].annotation
            model = section_of(annotation) or section_by_name(annotation) or model
    return ((name, field.annotation) for name, field in model.model_fields.items())


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The model behind a field's type, if it is a table or a list of tables."""
    inner = get_args(annotation)
    if inner and not isinstance(annotation, types.UnionType):
        annotation = inner[0]
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def section_by_name(annotation: Any) -> type[BaseModel] | None:
    """The model behind a field's type, if it is a table of tables under names that an operator chooses."""
    return section_of(get_args(annotation)[1]) if get_origin(annotation) is dict else None


def _walk(root: type[BaseModel]) -> Iterable[tuple[tuple[str, ...], str]]:
    for name, field in root.model_fields.items():
        section = section_of(field.annotation)
        if section is None:
            yield (name,), name
            continue
        for key in section.model_fields:
            yield (name, key), f"{name}.{key}"
