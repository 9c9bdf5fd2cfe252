"""The sections of a source: which files it has, how they are read, how rows become documents."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from voyage_jobs.config.values import (
    Count,
    Duration,
    Folder,
    Interval,
    Limit,
    Section,
    TokenLimit,
    as_number,
    none_word,
)
from voyage_jobs.readers.code import CODE
from voyage_jobs.readers.data import BLANKED
from voyage_jobs.readers.encodings import AUTO, encoding_called
from voyage_jobs.readers.reader import Json, ReaderOptions
from voyage_jobs.records.recipe import Recipe, recipe_of_logs
from voyage_jobs.records.template import Template

_SOURCE_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


def _switch(value: Any) -> Any:
    """True, False or "poll"; the environment has only words."""
    known = {"true": True, "false": False, "poll": "poll"}.get(str(value).lower())
    if known is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        raise ValueError('must be true, false or "poll"')
    return known


def _source_name(name: str) -> str:
    if not _SOURCE_NAME.fullmatch(name):
        raise ValueError("must be 1 to 64 letters, digits, dots, dashes or underscores")
    return name


def _address(given: str) -> str:
    if not given:
        return given
    parts = urlsplit(given)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError('must be an address such as "https://docs.example.com/", without ? and #')
    return given if given.endswith("/") else f"{given}/"


def _selector(text: str) -> str:
    from voyage_jobs.readers.html import is_selector  # its parser is loaded for those who write one

    if not is_selector(text):
        raise ValueError('is no CSS selector; write "main", ".page" or "#manual", for example')
    return text


Selectors = tuple[Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_selector)], ...]


class HtmlSettings(Section):
    """`html` of a source: CSS selectors of what a page says, in place of the usual ones, and of what is left out."""

    select: Selectors = ()
    drop: Selectors = ()


def _one_or_more(value: Any) -> Any:
    return (value,) if isinstance(value, str) and value else value


def _template(text: str) -> str:
    Template(text)
    return text


def _text(text: str) -> str:
    if text and not Template(text).fields:
        raise ValueError('names no field, so all rows would say the same; write "{name}", for example')
    return text


def _encoding(name: str) -> str:
    found = name if name in ("", AUTO) else encoding_called(name)
    if found is None:
        raise ValueError('is no encoding that is known here: for example "cp1252", "shift_jis", or "auto"')
    return found


def _name_pattern(given: str) -> str:
    if "/" in given or not given.strip():
        raise ValueError('is for names, without folders: "*.log*", say')
    return given


class RecordsSettings(Section):
    """`[sources.records]`: a row of a file is a document; without `text` every file is one itself."""

    text: Annotated[str, AfterValidator(_text)] = ""
    id: Annotated[tuple[str, ...], BeforeValidator(_one_or_more)] = ()
    title: Annotated[str, AfterValidator(_template)] = ""
    url: Annotated[str, AfterValidator(_template)] = ""
    updated_at: str = ""
    columns: dict[str, Literal["string", "int", "float", "bool", "list<string>"]] = Field(
        default_factory=dict
    )
    optional: Annotated[tuple[str, ...], BeforeValidator(_one_or_more)] = ()
    delimiter: Annotated[str, Field(max_length=1)] = ""
    query: str = ""

    @model_validator(mode="after")
    def _without_text_there_is_nothing(self) -> Self:
        if not self.text and any(value for _, value in self):
            raise ValueError('needs text, a template such as "{name}\\n{description}"')
        return self

    @model_validator(mode="after")
    def _what_is_optional_is_asked_for(self) -> Self:
        asked = Recipe(**dict(self)).fields if self.optional else ()
        if unknown := [each for each in self.optional if each not in asked]:
            raise ValueError(
                f"optional names {unknown[0]!r}, which is no field that it asks for: {', '.join(asked)}"
            )
        return self


_DECODED = ("markdown", "rst", "asciidoc", "org", "text", *(each.name for each in CODE))
_READERS_OF_TEXT = (
    *("notebook", "pdf", "office", "sheets"),
    *("opendocument", "slides", "rtf", "epub", "mail", "outlook"),
)


class SourceSettings(Section):
    """`[[sources]]`: one folder that should be searchable. Empty `include` means the usual text formats."""

    name: Annotated[str, AfterValidator(_source_name)]
    path: Folder
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    hidden: bool = False
    follow_symlinks: bool = False
    gitignore: bool | None = None
    """None: on, but for a source that a release without it began with."""
    default_exclude: bool | None = None
    skip_data: bool | None = None
    encoding: Annotated[str, AfterValidator(_encoding)] = ""
    base_url: Annotated[str, AfterValidator(_address)] = ""
    dates: Literal["file", "git"] = "file"
    scan_interval_s: Interval = 300
    delete_grace_s: Duration = 3600
    max_delete_share: Annotated[float, BeforeValidator(as_number), Field(gt=0, le=1)] = 0.3
    max_delete_count: Count = 10_000
    same_device: bool = True
    keep: bool = False
    max_file_bytes: Count = 20_000_000
    html: HtmlSettings = HtmlSettings()
    records: RecordsSettings = RecordsSettings()
    logs: tuple[Annotated[str, AfterValidator(_name_pattern)], ...] = ()
    watch: Annotated[Literal[True, False, "poll"], BeforeValidator(_switch)] = True
    fresh_within_s: Annotated[Interval | None, BeforeValidator(none_word)] = None
    daily_usd: Limit = None
    daily_tokens: TokenLimit = None
    monthly_usd: Limit = None
    monthly_tokens: TokenLimit = None

    @property
    def reader_options(self) -> ReaderOptions:
        """What readers are told for this source, by the reader's name."""
        every: dict[str, Json] = {} if self.skip_data is False else {"data": BLANKED}
        if self.base_url:
            every["base_url"] = self.base_url
        if self.dates != "file":
            every["dates"] = self.dates
        text: dict[str, Json] = {"encoding": self.encoding} if self.encoding else {}
        html: dict[str, Json] = {name: list(given) for name, given in self.html if given}
        own = {"html": {**html, **text}, **dict.fromkeys(_DECODED, text)}
        told = {name: {**every, **own.get(name, {})} for name in (*own, *_READERS_OF_TEXT)}
        return {name: options for name, options in told.items() if options}

    @property
    def recipe(self) -> Recipe | None:
        """How rows become records; None: a file is one document."""
        if self.logs:
            return recipe_of_logs(self.logs, self.encoding)
        return Recipe(**dict(self.records), encoding=self.encoding) if self.records.text else None

    @model_validator(mode="after")
    def _logs_are_no_records(self) -> Self:
        if self.logs and self.records.text:
            raise ValueError("has logs and records: make it two sources of the same path")
        return self

    @property
    def limited(self) -> bool:
        """Whether it has a budget of its own."""
        limits = (self.daily_usd, self.daily_tokens, self.monthly_usd, self.monthly_tokens)
        return any(limit is not None for limit in limits)
