"""Which tables one search asks, and whether one vector will do for all of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from voyage_jobs.config.provider import shares_space
from voyage_jobs.config.settings import Settings
from voyage_jobs.core.object_uri import ObjectUri
from voyage_jobs.errors import ConfigError
from voyage_jobs.table.view import View, Views
from voyage_jobs.vendors.registry import by_type

if TYPE_CHECKING:
    from voyage_jobs.core.profile import Profile

_FOLDER = ".lance"
_MISNAMED = "A table is named by itself if it is beside the configured one, else with its folder or address before it."


@dataclass(frozen=True)
class Table:
    """A table to be asked. `name`: as it was called by whoever asks."""

    name: str
    views: Views


@dataclass(frozen=True)
class Seen:
    """One version of such a table."""

    name: str
    view: View


def tables_of(settings: Settings, names: Sequence[str]) -> list[Table]:
    """The tables of these names, each once, by the first name it has here; without any, that of the settings.

    A name is that of a table beside the configured one, or has the folder or address of another one before it:
    `tickets`, `/srv/embed/tables/tickets`, `s3://bucket/prefix/tickets`. Raises ConfigError for what is none.
    """
    if not names:
        here = settings.lancedb
        return [Table(here.table, Views(here.uri, here.table))]
    found: dict[str, Table] = {}
    for table in (_table(settings, name) for name in names):
        found.setdefault(table.views.path, table)
    return list(found.values())


def _table(settings: Settings, told: str) -> Table:
    folder, slash, name = told.rstrip("/").rpartition("/")
    name = name.removesuffix(_FOLDER)
    if not name:
        raise ConfigError(f"{told!r} is no name of a table.")
    if not slash:
        uri: str = settings.lancedb.uri
    elif "://" in folder:
        uri = ObjectUri(folder, settings.lancedb.storage_options)
    else:
        uri = os.path.abspath(os.path.expanduser(folder or "/"))
    return Table(told, Views(uri, name, next_=_MISNAMED))


def demand_one_space(seen: Sequence[Seen]) -> None:
    """Raise ConfigError unless the vectors of all these tables can be compared."""
    first = seen[0]
    for other in seen[1:]:
        if not _can_be_compared(first.view.profile, other.view.profile):
            raise ConfigError(
                f"The vectors of table {first.name!r} ({first.view.profile.told}) and table {other.name!r}"
                f" ({other.view.profile.told}) cannot be compared.",
                hint="Search them one by one, or by words: --mode words.",
            )


def _can_be_compared(one: Profile, other: Profile) -> bool:
    shared = shares_space(by_type(one.vendor), one.model, other.model)
    return one == replace(other, model=one.model, input_type=one.input_type) and shared
