"""The rows of a publication: chunks joined with their texts and vectors, streamed as Arrow record batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import orjson

from voyage_jobs.errors import CorruptionError
from voyage_jobs.profile import chunk_id, embedding_key
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.texts import Texts
from voyage_jobs.store import versions
from voyage_jobs.store.versions import PublishChunk, ReadyVersion

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

BATCH_ROWS = 1_024


class RowMaker:
    """Makes the rows of some versions. `rows` counts them.

    Where it broke off, `damaged_pack` names the pack that could not be read, or `without_text` is the version whose
    file has changed since it was chosen.
    """

    def __init__(
        self, context: Context, texts: Texts, chosen: Iterable[ReadyVersion], published_at: int
    ) -> None:
        from voyage_jobs.table import schema

        self.rows = 0
        self.damaged_pack: str | None = None
        self.without_text: ReadyVersion | None = None
        self._context = context
        self._texts = texts
        self._chosen = chosen
        self._published_at = published_at
        self._schema = schema(context.profile)
        self._columns: dict[str, list[Any]] = {}
        self._places: list[tuple[str, int]] = []
        self._clear()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All rows, a document's chunks together and in order, about `BATCH_ROWS` at a time."""
        for version in self._chosen:
            self._add(version)
            if len(self._places) >= BATCH_ROWS:
                yield self._flush()
        if self._places:
            yield self._flush()

    def _clear(self) -> None:
        self._columns = {name: [] for name in self._schema.names if name != "vector"}
        self._places = []

    def _add(self, version: ReadyVersion) -> None:
        text = self._texts.of_version(version.id)
        if text is None:
            self.without_text = version
            raise CorruptionError(f"The text of {version.source}:{version.path} is gone.")
        sections = orjson.loads(version.sections)
        with self._context.store.read() as connection:
            for chunk in versions.chunks_of(connection, version.id):
                if chunk.pack is not None and chunk.pack_row is not None:
                    self._add_chunk(version, sections, text[chunk.start : chunk.end], chunk)
                    self._places.append((chunk.pack, chunk.pack_row))

    def _add_chunk(
        self, version: ReadyVersion, sections: list[list[str]], text: str, chunk: PublishChunk
    ) -> None:
        profile = self._context.profile
        values = {
            "chunk_id": chunk_id(version.doc_key, chunk.ordinal, text),
            "source": version.source,
            "path": version.path,
            "ordinal": chunk.ordinal,
            "text": text,
            "title": version.title,
            "section": sections[chunk.section],
            "start": chunk.start,
            "end": chunk.end,
            "tokens": chunk.tokens,
            "content_hash": version.content_hash.hex(),
            "modified_at": version.modified_at,
            "embedding_key": embedding_key(chunk.key, chunk.slot, profile.contextualized),
            "model": profile.model,
            "published_at": self._published_at,
            "metadata": version.metadata,
        }
        for name, column in self._columns.items():
            column.append(values[name])

    def _flush(self) -> pa.RecordBatch:
        import pyarrow as pa

        arrays = []
        for field in self._schema:
            if field.name == "vector":
                flat = pa.array(self._vectors().reshape(-1))
                arrays.append(pa.FixedSizeListArray.from_arrays(flat, type=field.type))
            else:
                arrays.append(pa.array(self._columns[field.name], field.type))
        batch = pa.RecordBatch.from_arrays(arrays, schema=self._schema)
        self.rows += batch.num_rows
        self._context.progress("publishing", self.rows, None)
        self._clear()
        return batch

    def _vectors(self) -> np.ndarray:
        """The vectors of the gathered rows, in order, whichever packs they lie in."""
        import numpy as np

        profile = self._context.profile
        out = np.empty((len(self._places), profile.width), profile.storage_dtype)
        by_pack: dict[str, tuple[list[int], list[int]]] = {}
        for at, (pack, row) in enumerate(self._places):
            places = by_pack.setdefault(pack, ([], []))
            places[0].append(at)
            places[1].append(row)
        for pack, (ats, rows) in by_pack.items():
            try:
                out[ats] = self._context.packs.open(pack).take(np.asarray(rows, np.int64))
            except CorruptionError:
                self.damaged_pack = pack
                raise
        return out
