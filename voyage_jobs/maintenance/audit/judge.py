"""The close look at some documents: row by row, what is missing, extra, duplicate or wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from voyage_jobs.core.profile import Profile, document_key
from voyage_jobs.maintenance.audit.findings import Findings
from voyage_jobs.maintenance.audit.row import (
    Document,
    Keys,
    Row,
    VectorCheck,
    expected_facts,
    ordinal_of,
    rows_of,
)
from voyage_jobs.sources import names
from voyage_jobs.state import audit, documents
from voyage_jobs.state.audit import Served

if TYPE_CHECKING:
    import pyarrow as pa

    from voyage_jobs.state.door import Reader


class Judge:
    """Judges documents by the state as it is at that moment."""

    def __init__(self, store: Reader, vectors: VectorCheck, profile: Profile, found: Findings) -> None:
        self._store = store
        self._vectors = vectors
        self._profile = profile
        self._found = found
        self._keys = Keys(store, profile)

    def documents(self, wanted: Sequence[Document], batches: Iterable[pa.RecordBatch]) -> None:
        """Judge these documents by all of their rows."""
        keys = [document_key(*document) for document in wanted]
        with self._store.read() as connection:
            served = audit.served_by_key(connection, keys)
            moving = {key for key in keys if key not in served and audit.is_moving(connection, key)}
            known = {key for key in keys if key in served or documents.by_key(connection, key) is not None}
        cases = {key: Case(served[key], self._profile) for key in served}
        for batch in batches:
            rows = rows_of(batch, self._keys)
            differ = self._vectors.differ(rows, batch.column("vector"))
            for row, wrong_vector in zip(rows, differ.tolist(), strict=True):
                if row.doc_key in cases:
                    self._judge(cases[row.doc_key], row, wrong_vector=wrong_vector)
                elif row.doc_key not in moving:
                    code = "rows_extra" if row.doc_key in known else "rows_unknown"
                    self._found.add(code, _words(row), row.document)
        for case in cases.values():
            for words in case.missing():
                self._found.add("rows_missing", words, case.version_id)

    def _judge(self, case: Case, row: Row, *, wrong_vector: bool) -> None:
        code = case.take(row)
        if code is None and wrong_vector:
            code = "rows_vector"
        if code is not None:
            self._found.add(code, _words(row), case.version_id)


class Case:
    """One published version: what its rows must say, and which of them were seen."""

    def __init__(self, served: Served, profile: Profile) -> None:
        version, chunks = served
        self.version_id = version.id
        self._name = f"{version.source}:{names.display(version.path)}"
        self._facts: dict[int, Any] = {ordinal_of(said): said for said in expected_facts(served, profile)}
        self._held = {chunk.ordinal for chunk in chunks if chunk.held}
        self._seen: set[int] = set()

    def take(self, row: Row) -> str | None:
        """The class of damage of a row, or None."""
        expected = self._facts.get(row.ordinal)
        if expected is None:
            return "rows_extra"
        if row.ordinal in self._seen:
            return "rows_duplicate"
        self._seen.add(row.ordinal)
        return None if row.sound and row.said == expected else "rows_wrong"

    def missing(self) -> Iterable[str]:
        """The chunks that no row showed, though their vectors are here."""
        return [f"{self._name} chunk {ordinal}" for ordinal in sorted(self._held - self._seen)]


def _words(row: Row) -> str:
    source, path = row.document
    return f"{source}:{names.display(path)} chunk {row.ordinal}"
