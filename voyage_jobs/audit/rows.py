"""The table against the state and the packs: a fast look at every row, then a close one at what looks odd.

The fast look adds up a hash of each row per document and compares it with the same sum over what the state says; so
rows and chunks need not come in the same order, and four numbers a document are all that is kept. Every row is also
checked against itself (its id and its embedding key say which text it must have) and its vector against its pack.
Documents that do not agree are then judged row by row, by the state of that moment: what has been moving in the
meantime is looked at as it is now.
"""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson

from voyage_jobs.audit.findings import Findings
from voyage_jobs.audit.judge import Judge
from voyage_jobs.errors import CorruptionError
from voyage_jobs.profile import KeyMaker, Profile, chunk_id, document_key, embedding_key
from voyage_jobs.steps.context import Progress
from voyage_jobs.store import audit
from voyage_jobs.store.audit import Served
from voyage_jobs.store.store import ReadOnlyStore, Store
from voyage_jobs.table.columns import (
    AUDITED,
    MADE,
    VECTOR,
    Facts,
    audited_facts,
    audited_rows,
    miscopied,
    position,
)
from voyage_jobs.vectors import PackStore

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from voyage_jobs.table import PublishedTable

_MASK = (1 << 64) - 1
_MOST_CANDIDATES = 200_000
_CLOSE_DOCUMENTS = 5_000  # one close look reads two columns of the whole table

_ORDINAL, _KEY = position("ordinal"), position("embedding_key")

Document = tuple[str, str]
Said = tuple[Hashable, ...]
"""What a row says in the columns `AUDITED`."""


@dataclass
class Expected:
    """What the state says, one entry per settled document: sorted keys, counts, sums, and what must look closer."""

    keys: np.ndarray
    counts: np.ndarray
    sums: np.ndarray
    close: np.ndarray
    moving: np.ndarray

    @classmethod
    def read(cls, store: Store | ReadOnlyStore, profile: Profile, progress: Progress) -> Expected:
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


def expected_facts(served: Served, profile: Profile) -> Iterator[Said]:
    """What the rows of a version must say, but for text and vector."""
    version, chunks = served
    sections = orjson.loads(version.sections)
    for chunk in chunks:
        yield audited_facts(
            Facts(
                source=version.source,
                path=version.path,
                doc_key=version.doc_key,
                ordinal=chunk.ordinal,
                text="",
                title=version.title,
                section=sections[chunk.section],
                start=chunk.start,
                end=chunk.end,
                tokens=chunk.tokens,
                content_hash=version.content_hash,
                modified_at=version.modified_at,
                embedding_key=embedding_key(chunk.key, chunk.slot, profile.contextualized),
                model=profile.model,
                published_at=0,
                front_matter=version.metadata,
            )
        )


@dataclass(frozen=True)
class Row:
    """One row of the table but for its vector: its document, what it says, and whether it agrees with itself."""

    document: Document
    doc_key: bytes
    chunk_id: str
    said: Said
    sound: bool

    @property
    def ordinal(self) -> int:
        """Which chunk it is."""
        return ordinal_of(self.said)


def ordinal_of(said: Said) -> int:
    """Which chunk of its document it is."""
    return int(said[_ORDINAL])  # type: ignore[call-overload, no-any-return]


def rows_of(batch: pa.RecordBatch, profile: Profile, keys: KeyMaker) -> list[Row]:
    """The rows of a batch of the columns `READ`."""
    rows: list[Row] = []
    last: Document | None = None
    doc_key = b""
    wrong = miscopied(batch)
    named = zip(*(batch.column(name).to_pylist() for name in NAMED), strict=True)
    for (source, path, row_id, text), said in zip(named, audited_rows(batch), strict=True):
        if (source, path) != last:
            last = (source, path)
            doc_key = document_key(source, path)
        sound = row_id == chunk_id(doc_key, ordinal_of(said), text) and len(rows) not in wrong
        if sound and not profile.contextualized:
            sound = said[_KEY] == keys.key([text]).hex()
        rows.append(Row(last, doc_key, row_id, said, sound))
    return rows


NAMED = ("source", "path", "chunk_id", "text")
READ = (*NAMED, *(column.name for column in (*MADE, *AUDITED)), VECTOR)


class VectorCheck:
    """Compares vectors with their packs; what lies in a pack that cannot be relied on is not compared."""

    def __init__(self, store: Store | ReadOnlyStore, packs: PackStore, bad: set[str]) -> None:
        self._store = store
        self._packs = packs
        self._bad = bad

    def differ(self, rows: list[Row], vectors: pa.Array) -> np.ndarray:
        """For each row: is its vector another than the one in its pack?"""
        import numpy as np

        keys = [_key_and_slot(str(row.said[_KEY])) for row in rows]
        with self._store.read() as connection:
            places = audit.vector_places(connection, list({key for key, _ in keys}))
        by_pack: dict[str, tuple[list[int], list[int]]] = {}
        for at, (key, slot) in enumerate(keys):
            if key in places and places[key][0] not in self._bad:
                name, first = places[key]
                at_rows = by_pack.setdefault(name, ([], []))
                at_rows[0].append(at)
                at_rows[1].append(first + slot)
        wrong = np.zeros(len(rows), bool)
        width = vectors.type.list_size
        shown = vectors.flatten().to_numpy(zero_copy_only=False).reshape(len(rows), width)
        for name, (ats, places_there) in by_pack.items():
            try:
                kept = self._packs.open(name).take(np.asarray(places_there, np.int64))
            except CorruptionError:
                continue  # told by the audit of the packs
            pairs = np.ascontiguousarray(shown[ats]).view(np.uint8), np.ascontiguousarray(kept).view(np.uint8)
            wrong[ats] = (pairs[0] != pairs[1]).any(axis=1)
        return wrong


def _key_and_slot(key: str) -> tuple[bytes, int]:
    digits, _, slot = key.partition("/")
    try:
        return bytes.fromhex(digits), int(slot or 0)
    except ValueError:
        return b"", 0


@dataclass
class Screen:
    """The fast look. `odd` gathers the documents that need a close one."""

    expected: Expected
    vectors: VectorCheck
    profile: Profile
    odd: dict[Document, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        import numpy as np

        self._keys = KeyMaker(self.profile)
        self._counts = np.zeros(len(self.expected.keys), np.int64)
        self._sums = np.zeros(len(self.expected.keys), np.uint64)
        self._rows_differ = np.zeros(len(self.expected.keys), bool)

    def look(self, batch: pa.RecordBatch) -> None:
        """Take in one batch of rows."""
        import numpy as np

        rows = rows_of(batch, self.profile, self._keys)
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

    def finish(self, store: Store | ReadOnlyStore) -> list[Document]:
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
    store: Store | ReadOnlyStore,
    packs: PackStore,
    table: PublishedTable | None,
    profile: Profile,
    found: Findings,
    bad_packs: set[str],
    progress: Progress,
) -> None:
    """Compare every row of the table with the state. Raises CorruptionError if the table cannot be read."""
    vectors = VectorCheck(store, packs, bad_packs)
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
