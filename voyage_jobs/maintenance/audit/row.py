"""One row of the table: what it says, what the state requires, and whether its vector is that of its segment."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from voyage_jobs.core.profile import KeyMaker, Profile, chunk_id, document_key
from voyage_jobs.errors import CorruptionError
from voyage_jobs.segments import SegmentStore
from voyage_jobs.state import audit
from voyage_jobs.state.audit import Served
from voyage_jobs.state.door import Reader
from voyage_jobs.steps.places import reading_of
from voyage_jobs.steps.rows import facts_of
from voyage_jobs.table.columns import (
    AUDITED,
    MADE,
    STRINGS,
    VECTOR,
    audited_facts,
    audited_rows,
    miscopied,
    position,
)

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

_ORDINAL, _KEY, _SECTION = (position(name) for name in ("ordinal", "embedding_key", "section"))

Document = tuple[str, str]
Said = tuple[Hashable, ...]
"""What a row says in the columns `AUDITED`."""


def expected_facts(served: Served, profile: Profile) -> Iterator[Said]:
    """What the rows of a version must say, but for text and vector."""
    version, chunks = served
    sections, reading = orjson.loads(version.sections), reading_of(version.reading)
    for chunk in chunks:
        yield audited_facts(facts_of(version, chunk, sections, reading, "", profile, 0))


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


class Keys:
    """Says whether a row's text is the one that its embedding key was made of, with the header that the state knows."""

    def __init__(self, store: Reader, profile: Profile) -> None:
        self._store = store
        self._keys = KeyMaker(profile)
        self._contextualized = profile.contextualized  # there a key is made of several texts
        self._headers: dict[tuple[bytes, Hashable], set[str]] = {}

    def look_up(self, doc_keys: Collection[bytes]) -> None:
        """Have the headers of these documents at hand, and of no others."""
        self._headers = {}
        if self._contextualized:
            return
        with self._store.read() as connection:
            for doc_key, path, header in audit.headers(connection, doc_keys):
                self._headers.setdefault((doc_key, STRINGS.comparable(path)), set()).add(header)

    def fit(self, doc_key: bytes, said: Said, text: str) -> bool:
        """Whether the key of a row is that of its text."""
        headers = self._headers.get((doc_key, said[_SECTION]), ("",))
        return self._contextualized or any(
            said[_KEY] == self._keys.key([header + text]).hex() for header in headers
        )


def rows_of(batch: pa.RecordBatch, keys: Keys) -> list[Row]:
    """The rows of a batch of the columns `READ`."""
    sources, paths, row_ids, texts = (batch.column(name).to_pylist() for name in NAMED)
    named: list[Document] = list(zip(sources, paths, strict=True))
    doc_keys = {document: document_key(*document) for document in dict.fromkeys(named)}
    keys.look_up(doc_keys.values())
    wrong = miscopied(batch)
    rows: list[Row] = []
    for document, row_id, text, said in zip(named, row_ids, texts, audited_rows(batch), strict=True):
        doc_key = doc_keys[document]
        sound = row_id == chunk_id(doc_key, ordinal_of(said), text) and len(rows) not in wrong
        rows.append(Row(document, doc_key, row_id, said, sound and keys.fit(doc_key, said, text)))
    return rows


NAMED = ("source", "path", "chunk_id", "text")
READ = (*NAMED, *(column.name for column in (*MADE, *AUDITED)), VECTOR)


class VectorCheck:
    """Compares vectors with their segments; what lies in a segment that cannot be relied on is not compared."""

    def __init__(self, store: Reader, segments: SegmentStore, bad: set[str]) -> None:
        self.store = store
        self._segments = segments
        self._bad = bad

    def differ(self, rows: list[Row], vectors: pa.Array) -> np.ndarray:
        """For each row: is its vector another than the one in its segment?"""
        import numpy as np

        keys = [_key_and_slot(str(row.said[_KEY])) for row in rows]
        with self.store.read() as connection:
            places = audit.vector_places(connection, list({key for key, _ in keys}))
        by_segment: dict[str, tuple[list[int], list[int]]] = {}
        for at, (key, slot) in enumerate(keys):
            if key in places and places[key][0] not in self._bad:
                name, first = places[key]
                at_rows = by_segment.setdefault(name, ([], []))
                at_rows[0].append(at)
                at_rows[1].append(first + slot)
        wrong = np.zeros(len(rows), bool)
        width = vectors.type.list_size
        shown = vectors.flatten().to_numpy(zero_copy_only=False).reshape(len(rows), width)
        for name, (ats, places_there) in by_segment.items():
            try:
                kept = self._segments.open(name).take(np.asarray(places_there, np.int64))
            except CorruptionError:
                continue  # told by the audit of the segments
            pairs = np.ascontiguousarray(shown[ats]).view(np.uint8), np.ascontiguousarray(kept).view(np.uint8)
            wrong[ats] = (pairs[0] != pairs[1]).any(axis=1)
        return wrong


def _key_and_slot(key: str) -> tuple[bytes, int]:
    digits, _, slot = key.partition("/")
    try:
        return bytes.fromhex(digits), int(slot or 0)
    except ValueError:
        return b"", 0
