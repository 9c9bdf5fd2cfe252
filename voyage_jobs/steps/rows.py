"""The rows of a publication: chunks joined with their texts and vectors, streamed as Arrow record batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Protocol

import orjson

from voyage_jobs.core.profile import Profile, embedding_key
from voyage_jobs.errors import CorruptionError
from voyage_jobs.state import publications
from voyage_jobs.state.audit import ServedChunk, ServedVersion
from voyage_jobs.state.door import Reader
from voyage_jobs.state.publications import PublishChunk, ReadyVersion
from voyage_jobs.steps.context import Progress
from voyage_jobs.steps.places import Reading, reading_of
from voyage_jobs.steps.texts import Texts
from voyage_jobs.table.batch import make_batch
from voyage_jobs.table.columns import Facts

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from voyage_jobs.segments import SegmentStore

BATCH_ROWS = 1_024
_PAGE = 500


class Making(Protocol):
    """What rows are made with: a `Context` is one."""

    @property
    def store(self) -> Reader:
        """The state."""

    @property
    def segments(self) -> SegmentStore:
        """The paid vectors."""

    @property
    def profile(self) -> Profile:
        """What the rows' vectors are of."""

    @property
    def progress(self) -> Progress:
        """Told how many rows there are."""


def ready_versions(store: Reader, profile_id: int) -> Iterator[ReadyVersion]:
    """Everything that is ready under a profile, in the order of publication."""
    after = 0
    while True:
        with store.read() as connection:
            page = publications.ready(connection, after, _PAGE, profile_id)
        yield from page
        if len(page) < _PAGE:
            return
        after = page[-1].id


def facts_of(
    version: ReadyVersion | ServedVersion,
    chunk: PublishChunk | ServedChunk,
    sections: list[list[str]],
    reading: Reading,
    text: str,
    profile: Profile,
    published_at: int,
) -> Facts:
    """What one chunk's row is made of. `sections` and `reading` are those of the version; `published_at` in
    microseconds UTC."""
    place, page = reading.place_at(chunk.start)
    return Facts(
        source=version.source,
        path=version.path,
        doc_key=version.doc_key,
        ordinal=chunk.ordinal,
        text=text,
        title=version.title,
        section=sections[chunk.section],
        start=chunk.start,
        end=chunk.end,
        tokens=chunk.tokens,
        content_hash=version.content_hash,
        modified_at=version.modified_at,
        embedding_key=embedding_key(chunk.key, chunk.slot, profile.contextualized),
        model=profile.model,
        published_at=published_at,
        front_matter=version.metadata,
        place=place,
        page=page,
        url=reading.url,
        record=reading.record,
    )


def pages(versions: Iterable[ReadyVersion], rows: int) -> Iterator[list[ReadyVersion]]:
    """Runs of versions, each with at least so many chunks, or so many versions, but for the last."""
    page: list[ReadyVersion] = []
    chunks = 0
    for version in versions:
        page.append(version)
        chunks += version.chunks
        if max(chunks, len(page)) >= rows:
            yield page
            page, chunks = [], 0
    if page:
        yield page


class RowMaker:
    """Makes the rows of some versions. `rows` counts them.

    Where it broke off, `damaged_segment` names the segment that could not be read, or `without_text` is the version
    whose file has changed since it was chosen.
    """

    def __init__(self, making: Making, chosen: Iterable[ReadyVersion], published_at: int) -> None:
        self.rows = 0
        self.damaged_segment: str | None = None
        self.without_text: ReadyVersion | None = None
        self._making = making
        self._chosen = chosen
        self._published_at = published_at
        self._facts: list[Facts] = []
        self._places: list[tuple[str, int]] = []

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All rows, a document's chunks together and in order, about `BATCH_ROWS` at a time.

        A page is read in one transaction, which is over before Lance is handed the rows.
        """
        for page in pages(self._chosen, BATCH_ROWS):
            with self._making.store.read() as connection:
                chunks = publications.chunks_of(connection, [version.id for version in page])
                texts = Texts(connection)
                for version in page:
                    self._add(version, texts.of_version(version.id), chunks[version.id])
            if self._places:
                yield self._flush()

    def _add(self, version: ReadyVersion, text: str | None, chunks: Iterable[PublishChunk]) -> None:
        if text is None:
            self.without_text = version
            raise CorruptionError(f"The text of {version.source}:{version.path} is gone.")
        sections, reading = orjson.loads(version.sections), reading_of(version.reading)
        profile, at = self._making.profile, self._published_at
        for chunk in chunks:
            if chunk.segment is not None and chunk.pack_row is not None:
                cut = text[chunk.start : chunk.end]
                self._facts.append(facts_of(version, chunk, sections, reading, cut, profile, at))
                self._places.append((chunk.segment, chunk.pack_row))

    def _flush(self) -> pa.RecordBatch:
        batch = make_batch(self._making.profile, self._facts, self._vectors())
        self.rows += batch.num_rows
        self._making.progress("publishing", self.rows, None)
        self._facts, self._places = [], []
        return batch

    def _vectors(self) -> np.ndarray:
        """The vectors of the gathered rows, in order, whichever segments they lie in."""
        import numpy as np

        profile = self._making.profile
        out = np.empty((len(self._places), profile.width), profile.storage_dtype)
        by_segment: dict[str, tuple[list[int], list[int]]] = {}
        for at, (segment, row) in enumerate(self._places):
            places = by_segment.setdefault(segment, ([], []))
            places[0].append(at)
            places[1].append(row)
        for segment, (ats, rows) in by_segment.items():
            try:
                out[ats] = self._making.segments.open(segment).take(np.asarray(rows, np.int64))
            except CorruptionError:
                self.damaged_segment = segment
                raise
        return out
