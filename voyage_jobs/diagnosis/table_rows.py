"""The table against the account of the state, without opening it where nobody has changed it since we looked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from voyage_jobs import table
from voyage_jobs.errors import ConfigError, StateError, TableAwayError
from voyage_jobs.state import meta, publications, setback
from voyage_jobs.state.door import open_state

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from voyage_jobs.config.settings import Settings


@dataclass(frozen=True)
class TableRows:
    """What the table shows. `expected` is None before the first publication, and while one is made or in doubt.

    `of_another`: it carries the id of another state.
    """

    found: int
    expected: int | None
    of_another: bool = False

    @property
    def differ(self) -> bool:
        """Whether somebody else has changed the rows."""
        return self.expected not in (None, self.found)


@dataclass(frozen=True)
class Account:
    """What the state says of the table at one moment: what it last showed, what it must show, and who it is."""

    noted: tuple[str, str | None, int | None] | None
    expected: int | None
    publication: int | None
    ours: frozenset[str | None]

    @classmethod
    def read(cls, connection: Connection) -> Account:
        """The account."""
        noted = meta.get(connection, meta.TABLE_ROWS)
        return cls(
            noted=None if noted is None else tuple(orjson.loads(noted)),
            expected=publications.settled_rows(connection),
            publication=publications.newest(connection),
            ours=setback.own_ids(connection),
        )

    def compare(self, settings: Settings) -> TableRows | None:
        """Compare it with the table; None if that cannot be done. Loads Lance only if the table has changed since."""
        uri, name = settings.lancedb.uri, settings.lancedb.table
        if self.noted is None or self.noted[0] != f"{uri}#{name}":
            return None  # not looked at yet by a process that works here
        try:
            revision = table.revision(uri, name)
            if revision is None:
                return None
            if revision == self.noted[1] and self.noted[2] is not None:
                return TableRows(self.noted[2], self.expected)
            seen = table.see(uri, name)
            if seen is None or not self._still_holds(settings):
                return None
        except (OSError, ConfigError, StateError, TableAwayError):
            return None
        return TableRows(seen.rows, self.expected, bool(seen.owner) and seen.owner not in self.ours)

    def _still_holds(self, settings: Settings) -> bool:
        """Whether nothing was published while the table was looked at."""
        with open_state(settings).read() as connection:
            return publications.newest(connection) == self.publication
