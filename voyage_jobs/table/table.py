"""The published table as the steps and commands see it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from voyage_jobs.core.durable import no_room_is_one_error
from voyage_jobs.errors import ConfigError
from voyage_jobs.table.columns import VECTOR
from voyage_jobs.table.documents import STREAM_ROWS, DocumentSet, Incoming, rows_at
from voyage_jobs.table.engine import (
    newest_manifest,
    newest_of,
    open_dataset,
    open_reading,
    open_writing,
    options_of,
    quiet_logs,
    table_path,
)
from voyage_jobs.table.fence import Fence
from voyage_jobs.table.flip import Way, remake, replace
from voyage_jobs.table.formats import FORMAT_VERSION, Reading, carried_name
from voyage_jobs.table.indexes import Covered, coverage, drop, faults
from voyage_jobs.table.kept import bring_back, is_kept, keep, let_go
from voyage_jobs.table.objects import Remote
from voyage_jobs.table.schema import KEY_COLUMNS, demand_ours, demand_owner, format_of, schema, users_own
from voyage_jobs.table.search import nearest
from voyage_jobs.table.sync import Syncer
from voyage_jobs.table.upkeep import Stats, Tended, Upkeep, measure, tend
from voyage_jobs.table.whereabouts import SCAN_ROWS, Whereabouts

if TYPE_CHECKING:
    import pyarrow as pa

    from voyage_jobs.core.profile import Profile


_READ_AHEAD_BYTES = 64 << 20  # Lance would read 2 GiB ahead of a slower writer


class PublishedTable:
    """One LanceDB table of ours. Open it with `PublishedTable.open`.

    Every method sees the newest version. Not for use by several threads at once; one writer at a time in all.
    """

    def __init__(
        self, path: str, profile: Profile, owner: str | None = None, epoch: int | None = None
    ) -> None:
        self.path = path
        self._profile = profile
        self._owner = owner
        self._way = Way(path, Fence(owner, epoch), Whereabouts(remembers=isinstance(path, Remote)))
        self._known: Any = None
        self._syncer = Syncer(path)

    @classmethod
    def open(
        cls,
        uri: str,
        name: str,
        profile: Profile,
        *,
        create: bool = False,
        owner: str | None = None,
        epoch: int | None = None,
    ) -> PublishedTable:
        """Open the table `name` under the folder `uri`; `create` makes an empty one where there is none.

        `owner` is the id of the state that is going to write: it is refused once the table carries another one.
        `epoch` numbers the starts of that state: an earlier one is refused once a later one has committed.

        Raises `ConfigError` if there is none, or if it holds vectors of another profile; `CorruptionError` if
        its newest version cannot be read.
        """
        path = table_path(uri, name)
        if newest_manifest(path) is None:
            if not create:
                raise ConfigError(
                    f"There is no table {name!r} in {uri}.",
                    hint="The first publication makes it: voyage-jobs sync.",
                )
            _create(path, profile, owner)
        demand_ours(open_dataset(path).schema, profile, path)
        return cls(path, profile, owner, epoch)

    def flip(self, documents: Iterable[tuple[str, str]], batches: Iterable[pa.RecordBatch]) -> int:
        """Let each (source, path) in `documents` have exactly the rows in `batches`; the new table version.

        One commit: a reader sees every document either as it was or as it is now. Documents without rows are
        deleted, documents that are not named are untouched. Done twice, it leaves the same content. Rows are
        streamed in the order given; keep a document's chunks together and in order for readers' sake. If
        nothing changes, nothing is committed.

        Raises `ValueError` for rows that are not what they should be (see `Incoming`) and for a table of an older
        format, `ConfigError` if its columns have been changed, `DiskFullError`, and whatever `batches` raises; the
        table is then as it was. On return the commit is visible, but durable only after `sync`.
        """
        named = DocumentSet(documents)
        incoming = Incoming(schema(self._profile), named, batches)
        dataset = self._own()
        found = dataset.schema
        demand_ours(found, self._profile, self.path)
        if format_of(found) != FORMAT_VERSION:
            raise ValueError(f"the table has format {format_of(found)}: raise it before rows are added")
        return self._committed(replace(dataset, self._way, named, incoming))

    def delete(self, documents: Iterable[tuple[str, str]]) -> int:
        """Remove these documents' rows in one commit; the new table version."""
        return self._committed(replace(self._own(), self._way, DocumentSet(documents), None))

    def _newest(self) -> Any:
        """The newest version. In object storage a handle is kept, and asked whether it is the newest still."""
        if not isinstance(self.path, Remote):
            return open_dataset(self.path)
        known, self._known = self._known, None  # a handle that failed is not asked again
        self._known = open_dataset(self.path) if known is None else newest_of(known, self.path)
        return self._known

    def _committed(self, dataset: Any) -> int:
        self._known = dataset
        return int(dataset.version)

    def _own(self) -> Any:
        """The newest version, to be written to. Raises `ConfigError` if another state has taken the table over."""
        dataset = self._newest()
        demand_owner(dataset.schema, self._owner, self.path)
        return dataset

    def remake(self, profile: Profile, batches: Iterable[pa.RecordBatch]) -> int:
        """Let the table have exactly the rows in `batches`, with vectors of `profile`; the new table version.

        One commit: a reader sees the table as it was, or as it is now, with all rows and the vector column of one of
        the two profiles. Rows are streamed. What was there stays in the version before: `keep` it to `bring_back`.
        This object is of no more use afterwards: open the table again. Raises as `flip` does.
        """
        dataset = self._own()
        extra = users_own(dataset.schema, self._profile)
        named = [field.with_name(carried_name(field.name)) for field in extra]
        incoming = Incoming(schema(profile, self._owner), None, batches, named)
        return self._committed(remake(dataset, self._way, incoming))

    def format_version(self) -> int:
        """The format of the newest version. An older one can be read, and rows be deleted; it takes no new rows."""
        return format_of(self._newest().schema)

    def raise_format(self, progress: Callable[[int], None] = lambda _rows: None) -> int:
        """Bring all rows into the present format, in one commit, out of the rows themselves; the new table version.

        The user's own columns keep their values. `progress` is told how many rows have been read. Raises as `flip`
        does, ValueError and CorruptionError for a table that is not what was published.
        """
        return self.remake(self._profile, self._present_rows(progress))

    def _present_rows(self, progress: Callable[[int], None]) -> Iterator[pa.RecordBatch]:
        """All rows in the present format, with the user's own columns behind ours."""
        import pyarrow as pa

        dataset = self._newest()
        reading = self._reading(dataset, schema(self._profile).names)
        extra = [field.name for field in users_own(dataset.schema, self._profile)]
        names = [*reading.names, *map(carried_name, extra)]
        done = 0
        for batch in self._scanned(dataset, list(dict.fromkeys((*reading.stored, *extra)))):
            columns = [*reading.lift(batch).columns, *(batch.column(name) for name in extra)]
            yield pa.RecordBatch.from_arrays(columns, names=names)
            done += batch.num_rows
            progress(done)

    def _reading(self, dataset: Any, names: Sequence[str]) -> Reading:
        return Reading.plan(names, format_of(dataset.schema), self._profile)

    def keep(self, version: int) -> None:
        """Have a version outlive all upkeep, until `let_go`. Doing it twice does no harm."""
        keep(self._newest(), version)

    def let_go(self, version: int) -> None:
        """A version that was kept is an old one like any other: it is removed if it is older than an hour."""
        self.sync()
        let_go(self._newest(), version)

    def is_kept(self, version: int) -> bool:
        """Whether a version was kept, and can be brought back."""
        return is_kept(self._newest(), version)

    def bring_back(self, version: int) -> int:
        """Make the table what it was in a version that was kept, in one commit; the new table version.

        This object is of no more use afterwards if the vectors were of another profile.
        """
        return bring_back(self.path, version)

    def sync(self) -> int:
        """Make everything committed so far survive a power loss; the number of files that were new."""
        return self._syncer.sync()

    def rows(self) -> int:
        """How many rows a reader sees. Counted from the manifest: no evidence that they can be read."""
        return int(self._newest().count_rows())

    def version(self) -> int:
        """The newest version's number; grows with every commit."""
        return int(self._newest().version)

    def stats(self) -> Stats:
        """The table in numbers, from its manifests."""
        return measure(self._newest())

    def tend(self, policy: Upkeep | None = None) -> Tended:
        """Compact, index and clean up as far as the statistics ask for it; durable on return. May take
        seconds."""
        dataset = self._own()
        self._way.fence.demand(dataset)
        floats = self._profile.storage_dtype == "float32"
        return tend(dataset, policy or Upkeep(), self.sync, floats=floats)

    def indexes(self) -> list[Covered]:
        """The indexes that there are, and what they cover."""
        return list(coverage(self._newest()).values())

    def index_faults(self) -> dict[str, str]:
        """Each index that cannot be read, and why not. Reads all of them."""
        return faults(self._newest())

    def drop_indexes(self, names: Iterable[str]) -> None:
        """Take indexes out; the next `tend` makes those that it wants. Searches do without them meanwhile."""
        drop(self._newest(), names)

    def keys(
        self,
        documents: Iterable[tuple[str, str]] | None = None,
        names: Sequence[str] = KEY_COLUMNS,
    ) -> Iterator[pa.RecordBatch]:
        """The columns `names` of these documents' rows (None: of all rows), in batches, for audits and
        read-back.

        All batches are of one version, the newest at the first `next`. Raises `CorruptionError` on unreadable
        files.
        """
        dataset = self._newest()
        reading = self._reading(dataset, names)
        if documents is None:
            with open_reading(self.path):
                scanner = dataset.scanner(columns=list(reading.stored), batch_size=SCAN_ROWS)
                yield from map(reading.lift, scanner.to_batches())
            return
        addresses = DocumentSet(documents).addresses(dataset, self._way.whereabouts)
        yield from map(reading.lift, rows_at(dataset, addresses, reading.stored))

    def all_rows(self, names: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The columns `names` (None: all) of all rows, vectors included, in small batches; flat in memory.

        All batches are of one version. Raises `CorruptionError` on unreadable files.
        """
        dataset = self._newest()
        reading = self._reading(dataset, schema(self._profile).names if names is None else names)
        yield from map(reading.lift, self._scanned(dataset, reading.stored))

    def _scanned(self, dataset: Any, stored: Sequence[str]) -> Iterator[pa.RecordBatch]:
        scanner = dataset.scanner(
            columns=list(stored),
            batch_size=STREAM_ROWS,
            batch_readahead=2,
            fragment_readahead=1,
            io_buffer_size=_READ_AHEAD_BYTES,
            scan_in_order=True,
        )
        with open_reading(self.path):
            yield from scanner.to_batches()

    def search(self, vector: Sequence[float], k: int = 10, where: str | None = None) -> list[dict[str, Any]]:
        """The `k` rows nearest to `vector`, best first: all columns but the vector, and `score` (cosine, 1 is
        best).

        `where` is a LanceDB SQL filter on the columns, applied before the search.
        """
        dataset = self._newest()
        reading = self._reading(dataset, [name for name in schema(self._profile).names if name != VECTOR])
        found = nearest(dataset, self._profile, vector, k=k, where=where, columns=list(reading.stored))
        return reading.lift_rows(found, dataset.schema)


def _create(path: str, profile: Profile, owner: str | None) -> None:
    quiet_logs()
    import lance

    ours = schema(profile, owner)
    if not isinstance(path, Remote):
        with no_room_is_one_error(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
    with open_writing(path):  # what `lancedb.connect(folder).create_table` makes; LanceDB takes 2 s to load
        lance.write_dataset(ours.empty_table(), str(path), schema=ours, storage_options=options_of(path))
