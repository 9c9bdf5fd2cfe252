"""The texts of versions: kept until what they say is in the table, or where no file has them any more."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import orjson
import zstandard
from sqlalchemy import Connection, bindparam, delete, exists, insert, select, text

from voyage_jobs.core import states
from voyage_jobs.state.schema import PATH, is_in, texts, versions
from voyage_jobs.state.statements import RAW, many, plain, slices
from voyage_jobs.state.store import Tx

RECORDS = "records"
"""What the fingerprints of versions begin with that were made of records: the name of their reader."""


@dataclass(frozen=True)
class FilePlace:
    """Where a content was read: the encoded root and relative path, and the hashes of its bytes and of its text.

    `text_hash` is None where the text is to be split again, or an older release read it; `splitter` is the fingerprint
    of what read and split it, None where the text is to be split again, and `reading` what `versions.reading` has.
    """

    root: str
    path: str
    content_hash: bytes
    text_hash: bytes | None = None
    splitter: str | None = None
    reading: str | None = None


def _compressor() -> zstandard.ZstdCompressor:
    return zstandard.ZstdCompressor(level=-1)  # texts live for hours: speed over size


def add(tx: Tx, found: Iterable[tuple[int, str]]) -> None:
    """Keep the texts of new versions: (version, text)."""
    compress = _compressor().compress
    rows = ((version_id, compress(text_.encode())) for version_id, text_ in found)
    many(tx.connection, insert(texts), ("version_id", "body"), rows, appends=True)


def add_lacking(tx: Tx, waiting: Mapping[int, str]) -> None:
    """Keep the texts of versions that wait, where the state let go of them."""
    stored = stored_of(tx.connection, list(waiting)) if waiting else set()
    add(tx, ((version_id, text_) for version_id, text_ in waiting.items() if version_id not in stored))


class Unpacker:
    """Reads texts back. Making one costs as much as reading ten small texts. For one thread at a time."""

    def __init__(self) -> None:
        self._decompress = zstandard.ZstdDecompressor().decompress

    def text_of(self, connection: Connection, version_id: int) -> tuple[str, list[str]] | None:
        """The decoded text of a version and its headers (see `headers_of`), if the state still has it."""
        for body, headers in RAW["text of a version"].rows(connection, version_id):
            return self._decompress(body).decode(), _headers(headers)
        return None


def text_of(connection: Connection, version_id: int) -> str | None:
    """The decoded text of one version, if the state still has it."""
    found = Unpacker().text_of(connection, version_id)
    return None if found is None else found[0]


_HEADERS = select(versions.c.headers).where(versions.c.id == bindparam("id"))


def headers_of(connection: Connection, version_id: int) -> list[str]:
    """What goes before the chunks of a version where they are embedded, by their section; empty: nothing does."""
    return _headers(connection.execute(_HEADERS, {"id": version_id}).scalar())


def _headers(stored: str | None) -> list[str]:
    return [] if stored is None else list(orjson.loads(stored))


@dataclass(frozen=True)
class Orphan:
    """A version that the table serves, whose text the state let go and no file of its own has."""

    id: int
    source: str
    path: str
    content_hash: bytes
    profile_id: int
    chunks: int


# Purpose: what is served without a text to publish it again from. One that lacks a chunk in the table (it failed) is
# left out: its text is not there to be had. (From the few documents of that kind to their versions, not from all.)
_ORPHANS = (
    "SELECT v.id FROM {where} CROSS JOIN versions v ON v.document_id = d.id"
    " WHERE v.state = 'published' AND v.retire = 0 AND v.doubtful = 0 AND v.failed_chunks = 0 AND v.chunks > 0"
    " AND NOT EXISTS (SELECT 1 FROM texts t WHERE t.version_id = v.id) ORDER BY v.id"
)
_WITHOUT_FILE = text(
    _ORPHANS.format(
        where="sources s CROSS JOIN documents d ON d.source_id = s.id AND d.state IN ('missing', 'skipped')"
        " AND d.state != 'present'"
    )
)
"""Of files that are missing, or no text any more."""
_RECORDS = text(
    _ORPHANS.format(where="folders f CROSS JOIN documents d ON f.file != '' AND d.folder_id = f.id")
)
"""Of records that a rollback shows again: what was retired had let go of its text."""
# Purpose: what is to be known of them.
_FACTS = text(
    f"SELECT v.id, s.name, {PATH}, v.content_hash, v.profile_id, v.chunks FROM versions v"
    " JOIN documents d ON d.id = v.document_id JOIN folders f ON f.id = d.folder_id"
    " JOIN sources s ON s.id = d.source_id WHERE v.id IN :versions ORDER BY v.id"
).bindparams(bindparam("versions", expanding=True))
# Purpose: put a text back, if it is still the last word on its document and no file has it.
_KEEP_TEXT = text(
    "INSERT INTO texts (version_id, body) SELECT v.id, :body FROM versions v JOIN documents d ON d.id = v.document_id"
    " WHERE v.id = :id AND v.state = 'published' AND v.retire = 0"
    " AND (d.state IN ('missing', 'skipped') OR d.folder_id IN (SELECT id FROM folders WHERE file != ''))"
    " ON CONFLICT (version_id) DO NOTHING"
)


def orphans(connection: Connection, *, of_records: bool) -> array[int]:
    """The versions whose text can only be had from the table, 8 bytes for each. `of_records`: also every record that is
    served, which is a look at each."""
    found = array("q", (row for (row,) in plain(connection, _WITHOUT_FILE)))
    if of_records:
        known = set(found)
        found.extend(row for (row,) in plain(connection, _RECORDS) if row not in known)
    return found


def facts_of(connection: Connection, version_ids: Sequence[int]) -> list[Orphan]:
    """What is known of a page of them."""
    return [Orphan(*row) for row in plain(connection, _FACTS, {"versions": list(version_ids)})]


def keep_text(tx: Tx, version_id: int, text_: str) -> bool:
    """Keep the text of a version whose file is gone. Whether it was needed."""
    body = _compressor().compress(text_.encode())
    return bool(tx.connection.execute(_KEEP_TEXT, {"id": version_id, "body": body}).rowcount)


HAS_A_FILE = ~versions.c.splitter.startswith(f"{RECORDS}:", autoescape=True)
"""Whether the text of a version can be read again from a file that is its own. That of a record is kept for as long as
somebody wants it: to look it up, the whole of its file would have to be read."""


def let_texts_go(tx: Tx, document_ids: Sequence[int]) -> None:
    """The texts of what the table serves of these documents are in their files again."""
    published = is_in(versions, states.Version.PUBLISHED)
    served = select(versions.c.id).where(versions.c.document_id.in_(document_ids), published, HAS_A_FILE)
    tx.connection.execute(delete(texts).where(texts.c.version_id.in_(served)))


# Purpose: which of a page of versions have a text.
_STORED = select(texts.c.version_id).where(texts.c.version_id.in_(bindparam("versions", expanding=True)))


def stored_of(connection: Connection, version_ids: Sequence[int]) -> set[int]:
    """Those of a page of versions whose text the state still has."""
    return {
        version_id
        for part in slices(version_ids)
        for (version_id,) in plain(connection, _STORED, {"versions": part})
    }


def has_text(connection: Connection, version_id: int) -> bool:
    """Whether the state still has the text of a version."""
    return bool(connection.execute(select(exists().where(texts.c.version_id == version_id))).scalar_one())


# Purpose: where to read a version again whose text the state let go.
_FILE = text(
    f"SELECT s.path AS root, {PATH} AS path, v.content_hash,"
    " v.text_hash, v.splitter, v.reading FROM versions v JOIN documents d ON d.id = v.document_id"
    " JOIN folders f ON f.id = d.folder_id JOIN sources s ON s.id = v.source_id WHERE v.id = :id"
)


def file_of(connection: Connection, version_id: int) -> FilePlace | None:
    """The file that a version was read from."""
    row = connection.execute(_FILE, {"id": version_id}).mappings().one_or_none()
    return None if row is None else FilePlace(**row)
