"""From a document in a source to its text: where sources and readers meet."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from voyage_jobs.config.source_sections import SourceSettings
from voyage_jobs.engine import children
from voyage_jobs.engine.waiting import Steps, finished
from voyage_jobs.readers.isolation import Ask
from voyage_jobs.readers.reader import Json, Reader, Refusal, Refused, Text
from voyage_jobs.readers.reading import reading_text
from voyage_jobs.readers.registry import Registered, reader_of
from voyage_jobs.records.formats import patterns
from voyage_jobs.records.recipe import Record
from voyage_jobs.sources.files import FileStat, Skip
from voyage_jobs.sources.folder import CONTENT_HASH_BYTES, FolderSource
from voyage_jobs.sources.source import Opened, Source
from voyage_jobs.splitting.task import prepared
from voyage_jobs.state import sources
from voyage_jobs.state.sources import SourceRow
from voyage_jobs.state.texts import RECORDS

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from voyage_jobs.config.settings import Settings


@dataclass(frozen=True, slots=True)
class ReadDocument:
    """One document's text. Offsets into a document are offsets into `text`, in characters."""

    document: Text
    reader: Registered
    content_hash: bytes
    """BLAKE2b, 20 bytes, of the document's bytes as they are; of a record, of all that it says."""
    stat: FileStat
    """Of its file."""
    changed_us: int | None = None
    """When a record says that it was changed last, or the commit of a file was made."""
    author: str = ""
    """Of that commit."""

    @property
    def text(self) -> str:
        """What is cut."""
        return self.document.text

    @property
    def text_hash(self) -> bytes:
        """BLAKE2b, 20 bytes, of `text` in UTF-8: another one cannot be cut by the same offsets."""
        return hashlib.blake2b(self.text.encode(), digest_size=CONTENT_HASH_BYTES).digest()


class _Records(Reader):
    """Stands for what reads records: a version of one is named after it."""

    name = RECORDS
    version = 1
    suffixes = ()

    def read(self, file: BinaryIO, options: Mapping[str, Json]) -> Iterator[Text]:
        """A file of records is no text of one document."""
        raise Refused(Refusal.FAILED, f"read row by row: {file} {options}")


RECORD_READER = Registered(_Records())


class ReadRecord(NamedTuple):
    """One record of a file: what it says is in parts already."""

    record: Record
    stat: FileStat
    """Of its file."""

    @property
    def text(self) -> str:
        """What is cut."""
        return self.record.text

    def as_document(self) -> ReadDocument:
        """The same as a document that is to be split."""
        record = self.record
        text = Text(
            record.text, title=record.title, metadata=record.metadata, url=record.url, record=record.id
        )
        return ReadDocument(text, RECORD_READER, record.digest, self.stat, changed_us=record.updated_us)


LEFT_OPEN = ("gitignore", "default_exclude", "skip_data")
"""Settings of a source that are on where it is new, unless they are set."""


def with_defaults(settings: SourceSettings, row: SourceRow | None) -> SourceSettings:
    """The same with every default filled in that depends on when the source began; `row` is None before that."""
    new = row is None or row.defaults >= sources.DEFAULTS
    left_open = {name: new for name in LEFT_OPEN if getattr(settings, name) is None}
    return settings.model_copy(update=left_open) if left_open else settings


def sources_in_force(connection: Connection, settings: Settings) -> Settings:
    """The settings with every default of a source filled in as scans go by it."""
    rows = {row.name: row for row in sources.all_sources(connection)}
    filled = tuple(with_defaults(each, rows.get(each.name)) for each in settings.sources)
    return settings.model_copy(update={"sources": filled})


def source_of(settings: SourceSettings) -> FolderSource:
    """The source that these settings describe, with all defaults filled in."""
    return FolderSource(
        bytes(settings.path),
        settings.include or (patterns(settings.recipe) if settings.recipe else ()),
        settings.exclude,
        hidden=settings.hidden,
        gitignore=settings.gitignore is not False,
        default_exclude=settings.default_exclude is not False,
        follow_symlinks=settings.follow_symlinks,
        max_bytes=settings.max_file_bytes,
    )


def leaves_out(source: Source, path: str) -> bool:
    """Whether a file is there and its source does not want it."""
    return not source.keeps(path) and source.revision(path) is not None


def reader_for(settings: SourceSettings, path: str) -> Registered:
    """The reader of a document of this source, with what the source tells it."""
    return reader_of(path, settings.reader_options)


def reading_document(
    source: Source, path: str, expected: FileStat, reader: Registered, ask: Ask = children.ask
) -> Steps[ReadDocument | Skip]:
    """Read the document at `path`, which looked as `expected`; never raises for what it may be or do. Yields while
    another process is busy with it."""
    if reader.missing:
        return Skip(expected.name, Refusal.NO_READER, reader.lacking(reader.missing), expected)
    opened = source.open(path, expected)
    if isinstance(opened, Skip):
        return opened
    return (yield from reading_opened(opened, path, reader, ask))


def reading_opened(
    opened: Opened, path: str, reader: Registered, ask: Ask = children.ask
) -> Steps[ReadDocument | Skip]:
    """The same of one that is open."""
    try:
        document = prepared(reader, path, (yield from reading_text(reader, opened.file, ask)))
    except Refused as refused:
        return skip_of(opened.stat, refused)
    return ReadDocument(document, reader, opened.content_hash, opened.stat)


def skip_of(stat: FileStat, refused: Refused) -> Skip:
    """What a file is left out for that its reader refused."""
    # What is not installed may be so tomorrow; any other answer stays until the file or its reader changes.
    settled = None if refused.reason == Refusal.NO_READER else stat
    return Skip(stat.name, refused.reason, refused.detail, settled)


def read_document(source: Source, path: str, expected: FileStat, reader: Registered) -> ReadDocument | Skip:
    """The same at once."""
    return finished(reading_document(source, path, expected, reader))


def read_now(source: Source, path: str, reader: Registered) -> ReadDocument | None:
    """The document as it is now; None if there is none that could be taken."""
    now = source.revision(path)
    read = None if now is None else read_document(source, path, now, reader)
    return read if isinstance(read, ReadDocument) else None
