"""The way to the table: whether it is there, whether it is whole, and how it is opened; a test may stand in another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from voyage_jobs.table import health, owner, stats
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

    def of(self, state: str, epoch: int) -> TableDoor:
        """The way to the same table, for this start (`epoch`) of the state with this id: what is made, replaced or
        committed by this way carries them."""

    def owner(self) -> str | None:
        """The id of the state that the table belongs to, empty where it carries none.

        None if there is no table of ours that can be read.
        """

    def mark(self) -> None:
        """Let the table carry the id of this way's state, durable on return."""

    def revision(self) -> str | None:
        """Which version of which table is the newest; None if there is no table. Cheap."""

    def files(self) -> str | None:
        """Another word as soon as any file of the table is another; None if there is no table, or where that cannot be
        told."""

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

    def __init__(
        self, uri: str, name: str, profile: Profile, state: str | None = None, epoch: int | None = None
    ) -> None:
        self._uri = uri
        self._name = name
        self._profile = profile
        self._state, self._epoch = state, epoch
        self._table: PublishedTable | None = None

    @property
    def place(self) -> str:
        """Folder and name of the table."""
        return f"{self._uri}#{self._name}"

    def under(self, profile: Profile) -> LanceDoor:
        """This door, or another to the same table for vectors of another profile."""
        if profile == self._profile:
            return self
        return LanceDoor(self._uri, self._name, profile, self._state, self._epoch)

    def of(self, state: str, epoch: int) -> LanceDoor:
        """This door, or another to the same table for another state, or another start of it."""
        if (state, epoch) == (self._state, self._epoch):
            return self
        return LanceDoor(self._uri, self._name, self._profile, state, epoch)

    def owner(self) -> str | None:
        """What the newest version's metadata say; loads LanceDB's format library if there is a table."""
        return owner.owner_of(self._uri, self._name)

    def mark(self) -> None:
        """Write the id into the metadata of the table, as a version of its own."""
        if self._state is None:
            raise ValueError("nobody has said whose the table is to be")
        owner.mark(self._uri, self._name, self._state)

    def revision(self) -> str | None:
        """The newest manifest, by name and stat."""
        return stats.revision(self._uri, self._name)

    def files(self) -> str | None:
        """By name, size, times and inode; None in object storage."""
        return stats.files(self._uri, self._name)

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

            self._table = PublishedTable.open(
                self._uri, self._name, self._profile, create=True, owner=self._state, epoch=self._epoch
            )
        return self._table
