"""Getting the text of a chunk back: from the state while its version is on its way, else from its unchanged file."""

from __future__ import annotations

import os
from collections import OrderedDict

from voyage_jobs.sources import names
from voyage_jobs.sources.files import FileStat
from voyage_jobs.sources.read import ReadDocument, read_document
from voyage_jobs.store import embeddings, versions
from voyage_jobs.store.embeddings import WantedEmbedding
from voyage_jobs.store.store import ReadOnlyStore, Store
from voyage_jobs.store.versions import FilePlace

_KEPT = 8  # versions are asked for in order: a few are enough


class Texts:
    """Looks texts up by version; keeps the last few decoded."""

    def __init__(self, store: Store | ReadOnlyStore) -> None:
        self._store = store
        self._kept: OrderedDict[int, str | None] = OrderedDict()

    def of_version(self, version_id: int) -> str | None:
        """The decoded text of a version; None if the state let go of it and its file is not what it was."""
        if version_id in self._kept:
            self._kept.move_to_end(version_id)
            return self._kept[version_id]
        with self._store.read() as connection:
            text = versions.text_of(connection, version_id)
            place = None if text is not None else versions.file_of(connection, version_id)
        if place is not None:
            text = read_again(place)
        self._kept[version_id] = text
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return text

    def of_embedding(self, wanted: WantedEmbedding) -> list[str] | None:
        """The texts of one embedding in slot order; None if they cannot be had (any more)."""
        text = self.of_version(wanted.version_id) if wanted.vectors == 1 else None
        return (
            self._wherever(wanted.id, wanted.vectors) if text is None else [text[wanted.start : wanted.end]]
        )

    def _wherever(self, embedding_id: int, vectors: int) -> list[str] | None:
        with self._store.read() as connection:
            places = embeddings.places(connection, embedding_id, vectors)
        if len(places) != vectors:
            return None
        text = self.of_version(places[0].version_id)
        if text is None:
            return None
        return [text[place.start : place.end] for place in places]


def read_again(place: FilePlace) -> str | None:
    """The text of a version from its file; None if that is not what it was."""
    read = read_file_again(place)
    return None if read is None else read.text


def read_file_again(place: FilePlace) -> ReadDocument | None:
    """A file as it was read before; None if it is not what it was."""
    path = os.path.join(names.decode(place.root), names.decode(place.path))
    try:
        found = os.stat(path)
    except OSError:
        return None
    stat = FileStat.of(os.path.basename(place.path), found)
    read = read_document(path, stat, max_bytes=found.st_size, follow_symlinks=True)
    return read if isinstance(read, ReadDocument) and read.content_hash == place.content_hash else None
