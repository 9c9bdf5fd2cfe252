"""Pages of lists: `limit`, `after`, `has_more`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from voyage_jobs.simulator.messages import ApiError, SchemaError

T = TypeVar("T")


def whole_number(query: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    """A query parameter that is a number in [low, high]."""
    text = query.get(name)
    if text is None:
        return default
    if not text.isdecimal() or not low <= int(text) <= high:
        raise SchemaError(f"Argument '{name}' must be a whole number from {low} to {high}.", name)
    return int(text)


def page_of(
    items: Sequence[T], ids: Sequence[str], after: str | None, limit: int
) -> tuple[Sequence[T], bool]:
    """The items that follow the one with the id `after`, and whether more come behind them."""
    start = 0
    if after is not None:
        if after not in ids:
            raise ApiError(400, f"Argument 'after' names an unknown object: {after}.")
        start = ids.index(after) + 1
    return items[start : start + limit], start + limit < len(items)


def envelope(data: list[dict[str, Any]], has_more: bool, *, cursor: bool = True) -> dict[str, Any]:
    """The list object, with or without its cursor fields."""
    listed: dict[str, Any] = {"object": "list", "data": data}
    if cursor:
        listed["first_id"] = data[0]["id"] if data else None
        listed["last_id"] = data[-1]["id"] if data else None
        listed["has_more"] = has_more
    return listed
