"""The published table as the steps and commands see it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from voyage_jobs.durable import no_room_is_one_error
from voyage_jobs.errors import ConfigError
from voyage_jobs.table.documents import SCAN_ROWS, STREAM_ROWS, DocumentSet, Incoming, rows_at
from voyage_jobs.table.engine import (
    newest_manifest,
    open_dataset,
    open_reading,
    open_writing,
    quiet_logs,
    table_path,
)
from voyage_jobs.table.flip import remake, replace
from voyage_jobs.table.kept import bring_back, is_kept, keep, let_go
from voyage_jobs.table.schema import KEY_COLUMNS, demand_ours, schema
from voyage_jobs.table.search import nearest
from voyage_jobs.table.sync import Syncer
from voyage_jobs.table.upkeep import Stats, Tended, Upkeep, measure, tend

if TYPE_CHECKING:
    import pyarrow as pa

    from voyage_jobs.profile import Profile


class PublishedTable:
    """One LanceDB table of ours. Open it with `PublishedTable.open`.

    Every method sees the newest version. Not for use by several threads at once; one writer at a time in all.
    """

    def __init__(self, path: str, profile: Profile) -> None:
        self.path = path
        self._profile = profile
        self._syncer = Syncer(path)

    @classmethod
    def open(cls, uri: str, name: str, profile: Profile, *, create: bool = False) -> PublishedTable:
        """Open the table `name` under the folder `uri`; `create` makes an empty one where there is none.

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
            _create(path, profile)
        demand_ours(open_dataset(path).schema, profile, path)
        return cls(path, profile)

    def flip(self, documents: Iterable[tuple[str, str]], batches: Iterable[pa.RecordBatch]) -> int:
        """Let each (source, path) in `documents` have exactly the rows in `batches`; the new table version.

        One commit: a reader sees every document either as it was or as it is now. Documents without rows are
        deleted, documents that are not named are untouched. Done twice, it leaves the same content. Rows are
        streamed in the order given; keep a document's chunks together and in order for readers' sake. If
        nothing changes, nothing is committed.

        Raises `ValueError` for rows that are not what they should be (see `Incoming`), `DiskFullError`, and
        whatever `batches` raises; the table is then as it was. On return the commit is visible, but durable
        only after `sync`.
        """
        named = DocumentSet(documents)
        incoming = Incoming(schema(self._profile), named, batches)
        return int(replace(self.path, named, incoming).version)

    def delete(self, documents: Iterable[tuple[str, str]]) -> int:
        """Remove these documents' rows in one commit; the new table version."""
        return self.flip(documents, ())

    def remake(self, profile: Profile, batches: Iterable[pa.RecordBatch]) -> int:
        """Let the table have exactly the rows in `batches`, with vectors of `profile`; the new table version.

        One commit: a reader sees the table as it was, or as it is now, with all rows and the vector column of one of
        the two profiles. Rows are streamed. What was there stays in the version before: `keep` it to `bring_back`.
        This object is of no more use afterwards: open the table anew. Raises as `flip` does.
        """
        incoming = Incoming(schema(profile), None, batches)
        return int(remake(self.path, incoming).version)

    def keep(self, version: int) -> None:
        """Have a version outlive all upkeep, until `let_go`. Doing it twice does no harm."""
        keep(open_dataset(self.path), version)

    def let_go(self, version: int) -> None:
        """A version that was kept is an old one like any other: it is removed if it is older than an hour."""
        self.sync()
        let_go(open_dataset(self.path), version)

    def is_kept(self, version: int) -> bool:
        """Whether a version was kept, and can be brought back."""
        return is_kept(open_dataset(self.path), version)

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
        return int(open_dataset(self.path).count_rows())

    def version(self) -> int:
        """The newest version's number; grows with every commit."""
        return int(open_dataset(self.path).version)

    def stats(self) -> Stats:
        """The table in numbers, from its manifests."""
        return measure(open_dataset(self.path))

    def tend(self, policy: Upkeep | None = None) -> Tended:
        """Compact, index and clean up as far as the statistics ask for it; durable on return. May take
        seconds."""
        floats = self._profile.storage_dtype == "float32"
        return tend(open_dataset(self.path), policy or Upkeep(), self.sync, floats=floats)

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
        dataset = open_dataset(self.path)
        if documents is None:
            with open_reading(self.path):
                yield from dataset.scanner(columns=list(names), batch_size=SCAN_ROWS).to_batches()
            return
        for batch in rows_at(dataset, DocumentSet(documents).addresses(dataset), names):
            yield batch.drop_columns(["_rowaddr"])

    def all_rows(self, names: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The columns `names` (None: all) of all rows, vectors included, in small batches; flat in memory.

        All batches are of one version. Raises `CorruptionError` on unreadable files.
        """
        columns = schema(self._profile).names if names is None else list(names)
        scanner = open_dataset(self.path).scanner(
            columns=columns,
            batch_size=STREAM_ROWS,
            batch_readahead=2,
            fragment_readahead=1,
            scan_in_order=True,
        )
        with open_reading(self.path):
            yield from scanner.to_batches()

    def search(self, vector: Sequence[float], k: int = 10, where: str | None = None) -> list[dict[str, Any]]:
        """The `k` rows nearest to `vector`, best first: all columns but the vector, and `score` (cosine, 1 is
        best).

        `where` is a LanceDB SQL filter on the columns, applied before the search.
        """
        names = [name for name in schema(self._profile).names if name != "vector"]
        return nearest(open_dataset(self.path), self._profile, vector, k=k, where=where, columns=names)


def _create(path: str, profile: Profile) -> None:
    quiet_logs()
    import lancedb

    folder, file = os.path.split(path)
    with no_room_is_one_error(path):
        os.makedirs(folder, exist_ok=True)
    with open_writing(path):
        lancedb.connect(folder).create_table(file.removesuffix(".lance"), schema=schema(profile))
