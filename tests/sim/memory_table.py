"""A published table in memory, with the doors of the real one: what makes thousands of lives affordable.

It knows what a power loss does to a table whose last commits were not synced. That its flips do what the real table's
flips do is shown by `test_memory_table.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from voyage_jobs.errors import CorruptionError
from voyage_jobs.table import KEY_COLUMNS, Health
from voyage_jobs.table.upkeep import Tended

Document = tuple[str, str]
Row = dict[str, Any]


class MemoryTable:
    """One table: rows by document, the version of the last commit, and what of it would survive a power loss."""

    def __init__(self) -> None:
        self.documents: dict[Document, list[Row]] = {}
        self.flipped_at: dict[Document, int] = {}
        """The version at which each document was last written."""
        self._version = 1
        self._synced: tuple[int, dict[Document, list[Row]]] | None = None

    def flip(self, documents: Iterable[Document], batches: Iterable[pa.RecordBatch]) -> int:
        """Let each of these documents have exactly these rows; all are in memory before anything changes."""
        named = set(documents)
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
        kept = {key: rows for key, rows in self.documents.items() if key not in named}
        self.documents = {**kept, **added}
        self.flipped_at.update(dict.fromkeys(named, self._version))

    def delete(self, documents: Iterable[Document]) -> int:
        """Remove these documents' rows."""
        return self.flip(documents, ())

    def sync(self) -> int:
        """Make everything so far survive a power loss."""
        self._synced = (self._version, self.documents)
        return 1

    def lose_power(self) -> bool:
        """Go back to what was synced. False if nothing ever was: then there is no table any more."""
        if self._synced is None:
            return False
        self._version, self.documents = self._synced
        return True

    @property
    def is_synced(self) -> bool:
        """Whether a power loss would change nothing."""
        return self._synced is not None and self._synced[0] == self._version

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

    def tend(self) -> Tended:
        """Nothing: memory needs no upkeep."""
        return Tended()


class MemoryDoor:
    """The way to a table in memory, as `voyage_jobs.table.TableDoor` has it. It outlives the worker, as a disk does."""

    place = "memory#chunks"

    def __init__(self, passing: Callable[[str], None] = lambda point: None) -> None:
        """`passing` hears of the table's own crash point and may raise."""
        self._passing = passing
        self.table: MemoryTable | None = None
        self.rebuilt = 0
        """How often a table was set aside or lost."""
        self._torn = False

    def exists(self) -> bool:
        """Whether there is a table, whole or not."""
        return self.table is not None

    def check(self) -> Health:
        """Whether it is what was written."""
        if self.table is None:
            return Health(False, "missing", "There is no table.")
        if self._torn:
            return Health(False, "torn", "Its newest manifest is empty.")
        return Health(True, version=self.table.version(), rows=self.table.rows())

    def set_aside(self, stamp: str) -> str:
        """Take a damaged table out of use."""
        self.table, self._torn = None, False
        self.rebuilt += 1
        self._passing("table.set_aside")
        return f"{self.place}.damaged-{stamp}"

    def open(self) -> MemoryTable:
        """The table, made at first use."""
        if self._torn:
            raise CorruptionError("Its newest manifest is empty.")
        if self.table is None:
            self.table = MemoryTable()
        return self.table

    def lose_power(self, *, torn: bool) -> bool:
        """What was not synced is gone, or has torn the table. Whether anything was lost."""
        if self.table is None or self.table.is_synced:
            return False
        if torn:
            self._torn = True
        elif not self.table.lose_power():
            self.table = None
            self.rebuilt += 1
        return True
