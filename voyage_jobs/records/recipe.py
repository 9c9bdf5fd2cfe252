"""From a row to a record, as `[sources.records]` says: id, text, title, address, columns, and when it changed."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from functools import cached_property
from typing import Any, NamedTuple

import orjson

from voyage_jobs.readers.encodings import AUTO
from voyage_jobs.readers.reader import Json, Refusal, Refused
from voyage_jobs.records.columns import TYPES
from voyage_jobs.records.rows import MAX_RECORD_BYTES, NESTED, NO_FIELD, Fault, Lack, Row
from voyage_jobs.records.template import Template, told, value_of
from voyage_jobs.splitting.dates import moment_us
from voyage_jobs.splitting.frontmatter import bounded

VERSION = 1
"""Raise it when the same rows come to make other records: every file is then read again."""
AUTO_VERSION = 2
"""Raise it when `auto` comes to tell other encodings: the files of sources that have it are then read again."""
LOGS_VERSION = 1
"""Raise it when the same log comes to be cut into other segments."""
HASH_BYTES = 20
_OWN_ID_BYTES = 8
_SURELY_BOUNDED = 8_000  # bytes: whatever is in them is within the bounds of metadata
_MOST_ID_CHARS = 500
_US = 1_000_000
_MILLISECONDS = 10**11  # an epoch beyond this (the year 5138) counts milliseconds
_LATEST_US = 2**62
_SHOWN = 12  # names of fields in a message


class Record(NamedTuple):
    """One record. `digest` is another whenever anything of it is; `wrong` are columns whose values are not of their
    type, and left out."""

    at: int
    id: str
    text: str
    title: str
    url: str
    metadata: dict[str, Json]
    updated_us: int | None
    digest: bytes
    wrong: tuple[str, ...]


@dataclass(frozen=True)
class Recipe:
    """The settings of records. `id` are the fields that name a record; none: the hash of its text does."""

    text: str
    id: tuple[str, ...] = ()
    title: str = ""
    url: str = ""
    updated_at: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    delimiter: str = ""
    query: str = ""
    optional: tuple[str, ...] = ()
    """Fields that a file need not have."""
    encoding: str = ""
    logs: tuple[str, ...] = ()
    """The names of files that are logs, as the shell matches them: their segments are the records, and nothing else."""

    @cached_property
    def fingerprint(self) -> str:
        """Tells apart what makes other records of the same rows."""
        said = asdict(self)
        if self.logs:
            said = {
                "logs": LOGS_VERSION,
                "encoding": self.encoding,
            }  # other names are no reason to read a log again
        else:
            del said["logs"]
            if not self.optional:
                del said["optional"]
            if self.encoding == AUTO:
                said["encoding"] = f"{AUTO} {AUTO_VERSION}"
        described = json.dumps([VERSION, said], sort_keys=True)
        return hashlib.blake2b(described.encode(), digest_size=16).hexdigest()

    @cached_property
    def _templates(self) -> tuple[Template, Template, Template]:
        return Template(self.text), Template(self.title), Template(self.url)

    @cached_property
    def _types(self) -> tuple[tuple[str, Callable[[Any], Json]], ...]:
        return tuple((name, TYPES[kind]) for name, kind in self.columns.items())

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """Every field that it asks for, each once."""
        asked = (each for template in self._templates for each in sorted(template.fields))
        return tuple(dict.fromkeys((*self.id, *asked, *filter(None, (self.updated_at,)), *self.columns)))

    @cached_property
    def needed(self) -> tuple[str, ...]:
        """Those that a file must have: one that is misspelt would be paid for without it, row after row."""
        return tuple(each for each in self.fields if each not in self.optional)

    def demand(self, names: Sequence[str], inner: Sequence[str] = ()) -> None:
        """Raise Refused where a field that a file must have is not among the names that it gives, or those within
        these."""
        missing = [each for each in self.needed if each not in names and each not in inner]
        if missing:
            known = [*names, *inner]
            near = [each for each in known if each.casefold() == missing[0].casefold()]
            near = near or difflib.get_close_matches(missing[0], known, n=1)
            meant = f" (did you mean {near[0]!r}?)" if near else ""
            has = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
            said = f"it has no field {missing[0]!r}{meant}, and `optional` does not name it; it has {has}"
            raise Refused(NO_FIELD, said)

    def demand_once(self, names: Sequence[str], said: str, hint: str = "") -> None:
        """Raise Refused where the name of a field that is asked for stands twice: which is meant is not guessed."""
        twice = next((name for name in self.fields if names.count(name) > 1), None)
        if twice is not None:
            raise Refused(Refusal.BROKEN, f"{said} the name {twice!r} more than once{hint}")

    def record(self, row: Row) -> Record | Fault:
        """The record of a row, or what it lacks."""
        at, values = row
        try:
            of_text, of_title, of_url = self._templates
            text, title, url = of_text.render(values), of_title.render(values), of_url.render(values)
            if not text:
                return Fault(at, Lack.NO_TEXT, self._named(values))
            name = self._id(values, text)
            if name is None:
                return Fault(at, Lack.MISSING_ID)
            metadata, wrong = self._columns(values)
            updated_us = self._updated_us(values) if self.updated_at else None
            described = orjson.dumps([text, title, url, updated_us, metadata])
        except (TypeError, ValueError):  # lone surrogates, say: bytes that are no text
            encoding = self.encoding if self.encoding not in ("", AUTO) else "UTF-8"
            return Fault(at, Lack.UNDECODABLE, f"not {encoding}")
        except RecursionError:
            return Fault(at, Lack.BROKEN, NESTED)
        if len(described) > MAX_RECORD_BYTES:
            return Fault(at, Lack.TOO_LARGE, f"{len(described):,} bytes")
        if b"\\u0000" in described and "\0" in text + name:
            return Fault(at, Lack.BROKEN, "a zero character")
        if len(described) > _SURELY_BOUNDED:
            metadata = bounded(metadata)
        digest = hashlib.blake2b(described, digest_size=HASH_BYTES).digest()
        return Record(at, name, text, " ".join(title.split()), url, metadata, updated_us, digest, wrong)

    def _named(self, values: Mapping[str, Any]) -> str:
        return ":".join(told(value_of(values, each)) for each in self.id)[:_MOST_ID_CHARS]

    def _id(self, values: Mapping[str, Any], text: str) -> str | None:
        if not self.id:
            return hashlib.blake2b(text.encode(), digest_size=_OWN_ID_BYTES).hexdigest()
        if len(self.id) == 1:  # it stands as it is
            name = told(value_of(values, self.id[0]))
        else:
            parts = [told(value_of(values, each)) for each in self.id]
            whole = all(parts)
            name = ":".join(part.replace("%", "%25").replace(":", "%3A") for part in parts) if whole else ""
        name.encode()
        return name if 0 < len(name) <= _MOST_ID_CHARS else None

    def _columns(self, values: Mapping[str, Any]) -> tuple[dict[str, Json], tuple[str, ...]]:
        """What is empty is not there; what is not of its type is told."""
        found: dict[str, Json] = {}
        wrong: tuple[str, ...] = ()
        for name, typed in self._types:
            value = value_of(values, name)
            try:
                if isinstance(value, str | bytes):
                    value = told(value)
                if value is None or value == "":
                    continue
                found[name] = typed(value)
            except (ValueError, TypeError, OverflowError):
                wrong = (*wrong, name)
        return found, wrong

    def _updated_us(self, values: Mapping[str, Any]) -> int | None:
        value = value_of(values, self.updated_at)
        try:
            if isinstance(value, str | bytes | date):
                value = told(value)
            if isinstance(value, str) and (found := moment_us(value)) is not None:
                return found
            number = float(value)
        except (TypeError, ValueError):
            return None
        us = number * (1_000 if abs(number) >= _MILLISECONDS else _US)
        return round(us) if 0 <= us < _LATEST_US else None


def recipe_of_logs(names: Sequence[str], encoding: str) -> Recipe:
    """That of the segments of logs."""
    return Recipe("{text}", ("id",), updated_at="updated", encoding=encoding, logs=tuple(names))


def records(recipe: Recipe, rows: Iterator[Row | Fault]) -> Iterator[Record | Fault]:
    """The records of rows; faults are handed on."""
    for row in rows:
        yield row if isinstance(row, Fault) else recipe.record(row)


# --- the id in a path ---

_UNFIT = re.compile("[%/\x00-\x1f\x7f\U0010ff00-\U0010ffff]")


def name_in(file: str, record_id: str) -> str:
    """What a record is called in its folder: `catalog.csv#SKU1`. What cannot stand in a path is written `%2F`."""
    if _UNFIT.search(record_id):
        record_id = _UNFIT.sub(_escaped, record_id)
    return f"{file}#{record_id}"


def _escaped(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode())
