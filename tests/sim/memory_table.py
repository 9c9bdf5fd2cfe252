"""A published table in memory, with the doors of the real one: what makes thousands of lives affordable.

It knows what a power loss does to a table whose last commits were not synced. That its flips do what the real table's
flips do is shown by `test_memory_table.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pyarrow as pa

from voyage_jobs.core.profile import Profile
from voyage_jobs.errors import ConfigError, CorruptionError
from voyage_jobs.table import FORMAT_VERSION, KEY_COLUMNS, Covered, Health
from voyage_jobs.table.upkeep import Tended, Upkeep

Document = tuple[str, str]
Row = dict[str, Any]


@dataclass(frozen=True)
class Content:
    """What one version shows, and the profile of its vectors."""

    profile: Profile | None
    documents: dict[Document, list[Row]]
    format: int = FORMAT_VERSION
    owner: str = ""


class MemoryTable:
    """One table: rows by document, the version of the last commit, and what of it would survive a power loss."""

    def __init__(self, profile: Profile | None = None, owner: str = "") -> None:
        self.profile = profile
        self.owner = owner
        """The id of the state that it belongs to; empty: an older release made it."""
        self.documents: dict[Document, list[Row]] = {}
        self.format = FORMAT_VERSION
        self.flipped_at: dict[Document, int] = {}
        """The version at which each document was last written."""
        self.replaced = 0
        """How often the whole table was replaced."""
        self.touched = 0
        """How often a file of it would have become another."""
        self._version = 1
        self._kept: dict[int, Content] = {}
        self._synced: tuple[int, Content, dict[int, Content]] | None = None

    def flip(self, documents: Iterable[Document], batches: Iterable[pa.RecordBatch]) -> int:
        """Let each of these documents have exactly these rows; all are in memory before anything changes."""
        named = set(documents)
        if self.format != FORMAT_VERSION:
            raise ValueError(f"the table has format {self.format}")
        added: dict[Document, list[Row]] = {}
        ids: set[str] = set()
        for batch in batches:
            for row in batch.to_pylist():
                key = (row["source"], row["path"])
                if key not in named or row["chunk_id"] in ids:
                    raise ValueError(f"a row of {key} does not belong into this flip, or is there twice")
                ids.add(row["chunk_id"])
                added.setdefault(key, []).append(row)
        self.commit(named, added)
        return self._version

    def commit(self, named: set[Document], added: dict[Document, list[Row]]) -> None:
        """Make one version of the table, if it differs from the last."""
        if not added and not named & self.documents.keys():
            return
        self._version += 1
        self.touched += 1
        kept = {key: rows for key, rows in self.documents.items() if key not in named}
        self.documents = {**kept, **added}
        self.flipped_at.update(dict.fromkeys(named, self._version))

    def delete(self, documents: Iterable[Document]) -> int:
        """Remove these documents' rows."""
        self.commit(set(documents), {})
        return self._version

    def remake(self, profile: Profile, batches: Iterable[pa.RecordBatch]) -> int:
        """Let the table have exactly these rows, with vectors of `profile`."""
        documents: dict[Document, list[Row]] = {}
        for batch in batches:
            for row in batch.to_pylist():
                documents.setdefault((row["source"], row["path"]), []).append(row)
        self._replace(Content(profile, documents, owner=self.owner))
        return self._version

    def format_version(self) -> int:
        """The format of the newest version."""
        return self.format

    def raise_format(self, progress: Callable[[int], None] = lambda rows: None) -> int:
        """Bring all rows to the present format."""
        replaced, flipped_at = self.replaced, dict(self.flipped_at)
        self._replace(Content(self.profile, self.documents, owner=self.owner))
        self.replaced, self.flipped_at = replaced, flipped_at  # a reader sees no other row than before
        progress(self.rows())
        return self._version

    def be_older(self) -> None:
        """Be what a release with an older format would have left here."""
        self.format, self.owner = FORMAT_VERSION - 1, ""
        self.touched += 1
        if self._synced is not None:
            version, content, kept = self._synced
            self._synced = (version, replace(content, format=self.format, owner=""), kept)

    def stats(self) -> Any:
        """As far as anybody asks."""
        return SimpleNamespace(bytes=0, versions=0)

    def _replace(self, content: Content) -> None:
        self._version += 1
        self.touched += 1
        self.replaced += 1
        self.profile, self.documents, self.format = content.profile, content.documents, content.format
        self.owner = content.owner
        self.flipped_at = dict.fromkeys(content.documents, self._version)

    def keep(self, version: int) -> None:
        """Keep the newest version, or one that is kept."""
        if version not in self._kept:
            assert version == self._version, "only what is there can be kept"
            self._kept[version] = self._content
            self.touched += 1

    def let_go(self, version: int) -> None:
        """Keep it no more."""
        self.touched += self._kept.pop(version, None) is not None

    def is_kept(self, version: int) -> bool:
        """Whether it can be brought back."""
        return version in self._kept

    def bring_back(self, version: int) -> int:
        """Make the table what it was."""
        self._replace(self._kept[version])
        return self._version

    def sync(self) -> int:
        """Make everything so far survive a power loss."""
        self._synced = (self._version, self._content, dict(self._kept))
        return 1

    def lose_power(self) -> bool:
        """Go back to what was synced. False if nothing ever was: then there is no table any more."""
        if self._synced is None:
            return False
        self._version, content, kept = self._synced
        self.touched += 1
        self.profile, self.documents, self._kept = content.profile, content.documents, dict(kept)
        self.format, self.owner = content.format, content.owner
        return True

    @property
    def _content(self) -> Content:
        return Content(self.profile, self.documents, self.format, self.owner)

    def mark(self, owner: str) -> None:
        """Let it carry this id from now on."""
        if owner != self.owner:
            self._version += 1
            self.touched += 1
            self.owner = owner
        self.sync()

    @property
    def is_synced(self) -> bool:
        """Whether a power loss would change nothing."""
        return (
            self._synced is not None
            and self._synced[0] == self._version
            and self._synced[2].keys() == self._kept.keys()
        )

    def rows(self) -> int:
        """How many rows a reader sees."""
        return sum(map(len, self.documents.values()))

    def version(self) -> int:
        """The number of the last commit."""
        return self._version

    def keys(
        self, documents: Iterable[Document] | None = None, names: Sequence[str] = KEY_COLUMNS
    ) -> Iterator[pa.RecordBatch]:
        """Columns of these documents' rows, or of all."""
        wanted = self.documents if documents is None else [key for key in documents if key in self.documents]
        rows = [{name: row[name] for name in names} for key in wanted for row in self.documents[key]]
        if rows:
            yield pa.RecordBatch.from_pylist(rows)

    def tend(self, _policy: Upkeep | None = None) -> Tended:
        """Nothing: memory needs no upkeep."""
        return Tended()

    def indexes(self) -> list[Covered]:
        """None: memory is read as it is."""
        return []

    def index_faults(self) -> dict[str, str]:
        """None."""
        return {}


class MemoryDoor:
    """A table in memory, as a disk has it: it outlives the worker. `under` gives the way to it."""

    place = "memory#chunks"

    def __init__(self, passing: Callable[[str], None] = lambda point: None) -> None:
        """`passing` hears of the table's own crash point and may raise."""
        self.passing = passing
        self.table: MemoryTable | None = None
        self.rebuilt = 0
        """How often a table was set aside or lost."""
        self.torn = False
        self.looks = 0
        """How often somebody looked whether the table is whole."""

    def under(self, profile: Profile) -> WayIn:
        """The way to the table, as one that holds vectors of this profile."""
        return WayIn(self, profile)

    def profile(self) -> Profile | None:
        """The profile of the vectors in the table, if it can be read."""
        return None if self.table is None or self.torn else self.table.profile

    def drop(self) -> None:
        """The table is gone."""
        if self.table is not None:
            self.table, self.torn = None, False
            self.rebuilt += 1

    def lose_power(self, *, torn: bool) -> bool:
        """What was not synced is gone, or has torn the table. Whether anything was lost."""
        if self.table is None or self.table.is_synced:
            return False
        if torn:
            self.torn = True
        elif not self.table.lose_power():
            self.table = None
            self.rebuilt += 1
        return True


class WayIn:
    """The way to a table in memory, as `voyage_jobs.table.TableDoor` has it."""

    place = MemoryDoor.place

    def __init__(self, disk: MemoryDoor, profile: Profile, state: str = "") -> None:
        self._disk = disk
        self._profile = profile
        self._state = state

    def under(self, profile: Profile) -> WayIn:
        """The way to the same table for vectors of another profile."""
        return WayIn(self._disk, profile, self._state)

    def of(self, state: str, epoch: int) -> WayIn:
        """The way to the same table for another state."""
        del epoch
        return WayIn(self._disk, self._profile, state)

    def owner(self) -> str | None:
        """Whose it is, if it can be read."""
        return None if self._disk.table is None or self._disk.torn else self._disk.table.owner

    def mark(self) -> None:
        """Let the table carry the id of the state."""
        if self._disk.table is not None:
            self._disk.table.mark(self._state)

    def revision(self) -> str | None:
        """Which version is the newest."""
        return None if self._disk.table is None else str(self._disk.table.version())

    def files(self) -> str | None:
        """What no two states of the table have alike, as the times of files."""
        table = self._disk.table
        return None if table is None else f"{self._disk.rebuilt}, {table.touched}, {self._disk.torn}"

    def profile(self) -> Profile | None:
        """The profile of the vectors in the table, if it can be read."""
        return self._disk.profile()

    def exists(self) -> bool:
        """Whether there is a table, whole or not."""
        return self._disk.table is not None

    def check(self) -> Health:
        """Whether it is what was written."""
        self._disk.looks += 1
        table = self._disk.table
        if table is None:
            return Health(False, "missing", "There is no table.")
        if self._disk.torn:
            return Health(False, "torn", "Its newest manifest is empty.")
        if table.profile != self._profile:
            return Health(False, "foreign", f"It has vectors of {table.profile}.")
        return Health(True, version=table.version(), rows=table.rows())

    def set_aside(self, stamp: str) -> str:
        """Take a damaged table out of use."""
        self._disk.table, self._disk.torn = None, False
        self._disk.rebuilt += 1
        self._disk.passing("table.set_aside")
        return f"{self.place}.damaged-{stamp}"

    def open(self) -> MemoryTable:
        """The table, made at first use."""
        if self._disk.torn:
            raise CorruptionError("Its newest manifest is empty.")
        if self._disk.table is None:
            self._disk.table = MemoryTable(self._profile, self._state)
        if self._disk.table.profile != self._profile:
            raise ConfigError(f"It has vectors of {self._disk.table.profile}.")
        return self._disk.table
