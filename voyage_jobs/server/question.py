"""A search as the address bar asks for it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson

from voyage_jobs.core.clock import Clock, day_or_span
from voyage_jobs.errors import ConfigError
from voyage_jobs.retrieval.result import Query

_MOST_HITS = 100
_MOST_AROUND = 100
_SHOWN = 20


def asked_in(params: Any, clock: Clock) -> Query:
    """The question in `?q=&k=&mode=&source=&path=&since=&field=&expand=&per_document=&rerank=`. Raises `ConfigError`.

    Filters in SQL are for the command line: whoever may look at the page need not be let near a query engine.
    """
    if "where" in params:
        raise ConfigError("where is not taken here; `voyage-jobs search --where` takes it.")
    expand = params.get("expand", "0")
    return Query(
        params.get("q", ""),
        k=_whole(params, "k", _SHOWN, _MOST_HITS),
        mode=params.get("mode", "words"),
        sources=tuple(params.getlist("source")),
        paths=tuple(params.getlist("path")),
        fields=tuple(map(_field, params.getlist("field"))),
        since=_since(params.get("since"), clock),
        expand="section" if expand == "section" else _whole(params, "expand", 0, _MOST_AROUND, least=0),
        per_document=_whole(params, "per_document", 0, _MOST_HITS) or None,
        rerank=_flag(params, "rerank"),
    )


def _whole(params: Any, name: str, default: int, most: int, least: int = 1) -> int:
    text = params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most):
        raise ConfigError(f"{name} must be a whole number from {least} to {most}.")
    return int(text)


def _flag(params: Any, name: str) -> bool:
    text = params.get(name, "0")
    if text not in ("0", "1", "false", "true"):
        raise ConfigError(f"{name} must be 1 or 0.")
    return text in ("1", "true")


def _field(text: str) -> tuple[str, str | int | bool]:
    """`name:value`, the value as JSON: as the facets have it."""
    name, _, said = text.partition(":")
    try:
        value = orjson.loads(said)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, str | int):
        raise ConfigError(
            'field must be a name and a text, a whole number or a truth value as JSON, such as lang:"de".'
        )
    return name, value


def _since(text: str | None, clock: Clock) -> datetime | None:
    if text is None:
        return None
    try:
        return day_or_span(text, clock)
    except ValueError as exc:
        raise ConfigError("since must be a day such as 2026-03-01, or a span such as 30d.") from exc
