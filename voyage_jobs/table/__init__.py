"""The published table: a LanceDB table that shows each document whole, at its old version or at its new one.

The table is a view. Every row can be made again from the sources, `state.db` and the segments, at no cost, so
nothing here is precious except what a reader sees while it changes. Three rules follow.

1. **One commit per flip.** `PublishedTable.flip` replaces the rows of any number of documents in a single
   table version. New rows are written first, unseen; then the rows of the named documents are marked deleted
   and both halves are committed together. Repeating a flip gives the same content, so after a crash it is
   simply done again, and a first publication is a flip that finds nothing to replace.
2. **Names never go through SQL.** Which rows belong to a document is decided by comparing Arrow values, so a
   file name may hold quotes, backslashes, newlines or anything else.
3. **Durable when `sync` has returned.** LanceDB does not call fsync. `sync` does, for every file that is new,
   data before manifests; a caller acknowledges a flip only after it. What a power loss tears before that,
   `check` finds.

One writer at a time is the caller's duty (the daemon's lock). Programs of the user's that tidy the same table
only cost the flip another try.

LanceDB makes the table and answers searches on floats. Flips and upkeep use Lance, the format library under
LanceDB: its transactions delete and add in one commit with flat memory, where LanceDB's `merge_insert` with a
delete-by-source clause pads every other row of the table with an empty vector (2.6 GB for a table of 500K x
1024 floats).

Importing this package loads none of them.
"""

from voyage_jobs.table.door import LanceDoor, TableDoor
from voyage_jobs.table.formats import FORMAT_VERSION
from voyage_jobs.table.health import Health, check, exists, set_aside
from voyage_jobs.table.indexes import Covered
from voyage_jobs.table.schema import KEY_COLUMNS, of_another, schema
from voyage_jobs.table.stats import Seen, TableStats, TableStatsReader, revision, see
from voyage_jobs.table.table import PublishedTable
from voyage_jobs.table.upkeep import Stats, Tended, Upkeep

__all__ = [
    "FORMAT_VERSION",
    "KEY_COLUMNS",
    "Covered",
    "Health",
    "LanceDoor",
    "PublishedTable",
    "Seen",
    "Stats",
    "TableDoor",
    "TableStats",
    "TableStatsReader",
    "Tended",
    "Upkeep",
    "check",
    "exists",
    "of_another",
    "revision",
    "schema",
    "see",
    "set_aside",
]
