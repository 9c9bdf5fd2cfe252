"""The table against the state and the segments: a fast look at every row, then a close one at what looks odd.

The fast look adds up a hash of each row per document and compares it with the same sum over what the state says; so
rows and chunks need not come in the same order, and four numbers a document are all that is kept. Every row is also
checked against itself (its id and its embedding key say which text it must have) and its vector against its segment.
Documents that do not agree are then judged row by row, by the state of that moment: what has been moving in the
meantime is looked at as it is now.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from voyage_jobs.core.profile import Profile
from voyage_jobs.maintenance.audit.findings import Findings
from voyage_jobs.maintenance.audit.judge import Judge
from voyage_jobs.maintenance.audit.row import READ, Document, Keys, VectorCheck, expected_facts, rows_of
from voyage_jobs.segments import SegmentStore
from voyage_jobs.state import audit
from voyage_jobs.state.door import Reader
from voyage_jobs.steps.context import Progress

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from voyage_jobs.table import PublishedTable

_MASK = (1 << 64) - 1
_MOST_CANDIDATES = 200_000
_CLOSE_DOCUMENTS = 5_000  # one close look reads two columns of the whole table


@dataclass
class Expected:
    """What the state says, one entry per settled document: sorted keys, counts, sums, and what must look closer."""

    keys: np.ndarray
    counts: np.ndarray
    sums: np.ndarray
    close: np.ndarray
    moving: np.ndarray

    @classmethod
    def read(cls, store: Reader, profile: Profile, progress: Progress) -> Expected:
        """Read every settled version and its chunks."""
        import numpy as np

        keys, counts, sums, close = array("Q"), array("q"), array("Q"), array("b")
        with store.read() as connection:
            for done, (version, chunks) in enumerate(audit.served(connection)):
                keys.append(int.from_bytes(version.doc_key, "big"))
                counts.append(len(chunks))
                sums.append(sum(hash(said) for said in expected_facts((version, chunks), profile)) & _MASK)
                close.append(not all(chunk.held for chunk in chunks))
                if not done % 1_000:
                    progress("reading the state", done, None)
            moving = array("Q", (int.from_bytes(key, "big") for key in audit.moving(connection)))
        order = np.argsort(np.asarray(keys, np.uint64))
        return cls(
            np.asarray(keys, np.uint64)[order],
            np.asarray(counts, np.int64)[order],
            np.asarray(sums, np.uint64)[order],
            np.asarray(close, bool)[order],
            np.unique(np.asarray(moving, np.uint64)),
        )


@dataclass
class Screen:
    """The fast look. `odd` gathers the documents that need a close one."""

    expected: Expected
    vectors: VectorCheck
    profile: Profile
    odd: dict[Document, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        import numpy as np

        self._keys = Keys(self.vectors.store, self.profile)
        self._counts = np.zeros(len(self.expected.keys), np.int64)
        self._sums = np.zeros(len(self.expected.keys), np.uint64)
        self._rows_differ = np.zeros(len(self.expected.keys), bool)

    def look(self, batch: pa.RecordBatch) -> None:
        """Take in one batch of rows."""
        import numpy as np

        rows = rows_of(batch, self._keys)
        keys = np.array([int.from_bytes(row.doc_key, "big") for row in rows], np.uint64)
        hashes = np.array([hash(row.said) & _MASK for row in rows], np.uint64)
        at, here = _find(self.expected.keys, keys)
        np.add.at(self._counts, at[here], 1)
        np.add.at(self._sums, at[here], hashes[here])
        unsound = np.array([not row.sound for row in rows], bool) | self.vectors.differ(
            rows, batch.column("vector")
        )
        self._rows_differ[at[here & unsound]] = True
        _, moving = _find(self.expected.moving, keys)
        for index in np.flatnonzero(~here & ~moving).tolist():
            self._note(rows[index].document)

    def _note(self, document: Document) -> None:
        if len(self.odd) < _MOST_CANDIDATES:
            self.odd[document] = None

    def finish(self, store: Reader) -> list[Document]:
        """Every document that is to be looked at closely."""
        expected = self.expected
        odd = expected.close | self._rows_differ
        odd |= (self._counts != expected.counts) | (self._sums != expected.sums)
        keys = [int(key).to_bytes(8, "big") for key in expected.keys[odd][:_MOST_CANDIDATES]]
        with store.read() as connection:
            for version, _ in audit.served_by_key(connection, keys).values():
                self._note((version.source, version.path))
        return list(self.odd)


def _find(sorted_keys: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each key stands among the sorted ones, and whether it does."""
    import numpy as np

    at = np.searchsorted(sorted_keys, keys)
    at[at == len(sorted_keys)] = 0
    return at, (sorted_keys[at] == keys) if len(sorted_keys) else np.zeros(len(keys), bool)


def audit_rows(
    store: Reader,
    segments: SegmentStore,
    table: PublishedTable | None,
    profile: Profile,
    found: Findings,
    bad_segments: set[str],
    progress: Progress,
) -> None:
    """Compare every row of the table with the state. Raises CorruptionError if the table cannot be read."""
    vectors = VectorCheck(store, segments, bad_segments)
    screen = Screen(Expected.read(store, profile, progress), vectors, profile)
    done = 0
    for batch in table.all_rows(READ) if table is not None else ():
        screen.look(batch)
        done += batch.num_rows
        progress("checking rows", done, None)
    found.looked_at("rows", done)
    odd = screen.finish(store)
    judge = Judge(store, vectors, profile, found)
    for at in range(0, len(odd), _CLOSE_DOCUMENTS):
        progress("looking closely", at, len(odd))
        part = odd[at : at + _CLOSE_DOCUMENTS]
        judge.documents(part, table.keys(part, READ) if table is not None else ())
