"""The way to the table: whether it is there, whether it is whole, and how it is opened; a test may stand in another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from voyage_jobs.table import health
from voyage_jobs.table.health import Health

if TYPE_CHECKING:
    from voyage_jobs.core.profile import Profile
    from voyage_jobs.table.table import PublishedTable


class TableDoor(Protocol):
    """What steps and recovery need to know of a table before they have it in hand."""

    @property
    def place(self) -> str:
        """Where the table is: another place is another table."""

    def under(self, profile: Profile) -> TableDoor:
        """The way to the same table, as one that holds vectors of `profile`."""

    def profile(self) -> Profile | None:
        """The profile of the vectors in the table; None if there is no table of ours that can be read."""

    def exists(self) -> bool:
        """Whether there is a table, whole or not. Cheap."""

    def check(self) -> Health:
        """Whether the table is what was written."""

    def set_aside(self, stamp: str) -> str:
        """Take a damaged table out of use without deleting anything; where it is kept."""

    def open(self) -> PublishedTable:
        """Open the table, making it at first use.

        Raises CorruptionError or ConfigError if it is damaged or foreign.
        """


class LanceDoor:
    """The way to the LanceDB table `name` under `uri`. The table is opened once, since loading takes seconds."""

    def __init__(self, uri: str, name: str, profile: Profile) -> None:
        self._uri = uri
        self._name = name
        self._profile = profile
        self._table: PublishedTable | None = None

    @property
    def place(self) -> str:
        """Folder and name of the table."""
        return f"{self._uri}#{self._name}"

    def under(self, profile: Profile) -> LanceDoor:
        """This door, or another to the same table for vectors of another profile."""
        return self if profile == self._profile else LanceDoor(self._uri, self._name, profile)

    def profile(self) -> Profile | None:
        """What the newest version's metadata say; loads LanceDB's format library if there is a table."""
        return health.profile_of_table(self._uri, self._name)

    def exists(self) -> bool:
        """Whether there is a table, whole or not."""
        return health.exists(self._uri, self._name)

    def check(self) -> Health:
        """Whether the table is what was written; loads LanceDB's format library if there is one."""
        return health.check(self._uri, self._name, self._profile)

    def set_aside(self, stamp: str) -> str:
        """Rename the table's folder; its new path."""
        self._table = None
        return health.set_aside(self._uri, self._name, stamp)

    def open(self) -> PublishedTable:
        """The table, made if there is none."""
        if self._table is None:
            from voyage_jobs.table.table import PublishedTable

            self._table = PublishedTable.open(self._uri, self._name, self._profile, create=True)
        return self._table
