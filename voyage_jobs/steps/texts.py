"""Getting the text of a chunk back: from the state while its version is on its way, else from its unchanged file."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from voyage_jobs.sources import names
from voyage_jobs.sources.folder import FolderSource
from voyage_jobs.splitting.fingerprints import maker_of
from voyage_jobs.splitting.header import embedded
from voyage_jobs.state import embeddings, versions
from voyage_jobs.state import texts as version_texts
from voyage_jobs.state.backlog import WantedEmbedding
from voyage_jobs.state.embeddings import TextPlace
from voyage_jobs.state.texts import FilePlace
from voyage_jobs.steps.places import reading_of
from voyage_jobs.steps.reading import ReadDocument, read_now

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from voyage_jobs.readers.registry import Registered
    from voyage_jobs.steps.context import Context

_KEPT = 8  # versions are asked for in order: a few are enough


@dataclass
class NotHad:
    """Versions whose text could not be had."""

    now: set[int] = field(default_factory=set)
    """Ready versions without it until a scan has read their files again."""
    scanned_for: set[int] = field(default_factory=set)
    """Those for which a scan was asked for out of turn: once, lest a missing file keeps it scanning forever."""


class Texts:
    """Looks texts up by version, in a view of the state that is held as long as this is; keeps the last few decoded."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._unpacker = version_texts.Unpacker()
        self._kept: OrderedDict[int, tuple[str, list[str]] | None] = OrderedDict()
        self.reads_otherwise: set[int] = set()
        """Versions whose files have the bytes that they had, and are read as another text now."""

    def of_version(self, version_id: int) -> str | None:
        """The decoded text of a version; None if the state let go of it and its file is not what it was, or is read as
        another text now: the offsets of the version would cut other chunks out of it."""
        found = self._of(version_id)
        return None if found is None else found[0]

    def _of(self, version_id: int) -> tuple[str, list[str]] | None:
        """The text of a version, and its headers by section."""
        if version_id in self._kept:
            self._kept.move_to_end(version_id)
            return self._kept[version_id]
        found = self._unpacker.text_of(self._connection, version_id) or self._in_its_file(version_id)
        self._kept[version_id] = found
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return found

    def _in_its_file(self, version_id: int) -> tuple[str, list[str]] | None:
        place = version_texts.file_of(self._connection, version_id)
        read = None if place is None else read_file_again(place)
        if place is None or read is None:
            return None
        if not is_text_of(place, read):
            self.reads_otherwise.add(version_id)
            return None
        return read.text, version_texts.headers_of(self._connection, version_id)

    def of_embedding(self, wanted: WantedEmbedding) -> list[str] | None:
        """What is sent for one embedding, in slot order: texts with their headers; None if they cannot be had (any
        more)."""
        found = self._of(wanted.version_id) if wanted.vectors == 1 else None
        return self._wherever(wanted.id, wanted.vectors) if found is None else [_embedded(found, wanted)]

    def _wherever(self, embedding_id: int, vectors: int) -> list[str] | None:
        places = embeddings.places(self._connection, embedding_id, vectors)
        if len(places) != vectors:
            return None
        found = self._of(places[0].version_id)
        return None if found is None else [_embedded(found, place) for place in places]


def _embedded(found: tuple[str, list[str]], place: TextPlace | WantedEmbedding) -> str:
    return embedded(found[0], place.start, place.end, found[1], place.section)


def read_again(place: FilePlace) -> str | None:
    """The text of a version from its file; None if that is not what it was, or is read as another text now."""
    read = read_file_again(place)
    return read.text if read is not None and is_text_of(place, read) else None


def is_text_of(place: FilePlace, read: ReadDocument) -> bool:
    """Whether what was read is the text that was split. Where an older release split it, the bytes say so alone."""
    return place.text_hash in (None, read.text_hash)


def read_otherwise(context: Context, texts: Texts) -> None:
    """Have files read and split again whose bytes are as they were and whose text is not: no stat would tell a scan."""
    asked = context.memory(NotHad).scanned_for
    found = texts.reads_otherwise - asked
    if found:
        asked |= found
        with context.store.write() as tx:
            versions.read_soon(tx, sorted(found))
        context.log.warning("texts.read_otherwise", versions=len(found))


def read_file_again(place: FilePlace, reader: Registered | None = None) -> ReadDocument | None:
    """A file with the bytes that it had, by the reader that made its text or another; None if it is not what it was."""
    reader = reader or maker_of(place.splitter, place.path, reading_of(place.reading).options)
    read = read_now(FolderSource(names.decode(place.root), follow_symlinks=True), place.path, reader)
    return read if read is not None and read.content_hash == place.content_hash else None
