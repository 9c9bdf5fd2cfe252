"""What the last scan of each source could not see or read whole, for those who ask later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import orjson
from sqlalchemy import Connection, select, text

from voyage_jobs.state import meta
from voyage_jobs.state.dialect import json_field, json_members
from voyage_jobs.state.schema import meta as facts
from voyage_jobs.state.statements import Prepared
from voyage_jobs.state.store import Tx

_KEY = "scan_notes:"
_SHOWN = 20
NOT_EMBEDDED = "_not_embedded_tokens"
"""In the metadata of a document: about how many tokens of it are data, and were left out."""
LEFT_OUT = "_left_out"
"""In the metadata of a document: what else of it is not in its text, or not as it could be; how much, by reason."""
_BROKEN_HEAD = '{"_front_matter_error":'


@dataclass(frozen=True)
class ScanNotes:
    """Of one source. `unreadable_folders` are the first of them, as `names.encode` makes them."""

    unreadable: int = 0
    unreadable_folders: Sequence[str] = ()
    broken_front_matter: int = 0
    """Documents whose front matter, as they were last read, could not be read whole."""
    passed_over: Mapping[str, int] = field(default_factory=dict)
    """Files that `include` does not name, by kind."""
    data_files: int = 0
    """Documents that hold data which is not embedded."""
    data_tokens: int = 0
    """About how many tokens that data has."""
    parts: Mapping[str, int] = field(default_factory=dict)
    """What else of documents is not embedded, or not as it could be: how much, by reason."""


# Of each document the newest live version: one that is still served while its edit waits was counted, and is no more.
_NEWEST = (
    "source_id = :source AND (state IN ('waiting', 'ready') OR state = 'published' AND NOT EXISTS"
    " (SELECT 1 FROM versions w WHERE w.document_id = versions.document_id AND w.state IN ('waiting', 'ready')))"
)
# Purpose: how many documents of a source have front matter that could not be read whole.
_BROKEN = text(
    f"SELECT COUNT(*) FROM versions WHERE substr(metadata, 1, {len(_BROKEN_HEAD)}) = :head AND {_NEWEST}"
)
# Purpose: the documents of a source with data that is not embedded, and its tokens.
_DATA = text(
    f"SELECT COUNT(*), COALESCE(SUM({json_field('metadata', NOT_EMBEDDED)}), 0) FROM versions"
    f" WHERE instr(metadata, '\"{NOT_EMBEDDED}\":') > 0 AND {_NEWEST}"
)
# Purpose: what else is left out of the documents of a source, by reason.
_PARTS = text(
    f"SELECT part.key, SUM(part.value) FROM versions, {json_members('metadata', LEFT_OUT)} AS part"
    f" WHERE instr(metadata, '\"{LEFT_OUT}\":') > 0 AND part.type = 'integer' AND {_NEWEST}"
    " GROUP BY part.key ORDER BY part.key"
)
# Purpose: the notes of all sources.
_ALL = Prepared(select(facts.c.key, facts.c.value).where(facts.c.key.startswith(_KEY, autoescape=True)))


def put(
    tx: Tx,
    source_id: int,
    unreadable_folders: Sequence[str],
    *,
    count: bool,
    passed_over: Mapping[str, int] | None,
) -> None:
    """Note what a scan that came to its end met; `count` the versions again, or keep what one counted before.

    `passed_over` is None where the scan saw no folder: what was noted before stays.
    """
    known = by_source(tx.connection).get(source_id)
    notes = known if known and not count else _counted(tx.connection, source_id)
    kinds = passed_over if passed_over is not None else known.passed_over if known else {}
    folders = sorted(unreadable_folders)[:_SHOWN]
    notes = replace(notes, unreadable=len(unreadable_folders), unreadable_folders=folders, passed_over=kinds)
    meta.put(tx, f"{_KEY}{source_id}", orjson.dumps(asdict(notes)).decode())


def _counted(connection: Connection, source_id: int) -> ScanNotes:
    files, tokens = data_left_out(connection, source_id)
    broken = broken_front_matter(connection, source_id)
    parts = parts_left_out(connection, source_id)
    return ScanNotes(broken_front_matter=broken, data_files=files, data_tokens=tokens, parts=parts)


def data_left_out(connection: Connection, source_id: int) -> tuple[int, int]:
    """(documents, tokens) of data that is not embedded. Looks at every version."""
    files, tokens = connection.execute(_DATA, {"source": source_id}).one()
    return int(files), int(tokens)


def parts_left_out(connection: Connection, source_id: int) -> dict[str, int]:
    """What else is left out of documents: how much, by reason. Looks at every version."""
    return {str(reason): int(count) for reason, count in connection.execute(_PARTS, {"source": source_id})}


def broken_front_matter(connection: Connection, source_id: int) -> int:
    """How many documents of a source have front matter that could not be read whole. Looks at every version."""
    return int(connection.execute(_BROKEN, {"source": source_id, "head": _BROKEN_HEAD}).scalar_one())


def by_source(connection: Connection) -> dict[int, ScanNotes]:
    """The notes of every source that was scanned, by its row."""
    rows = _ALL.rows(connection)
    return {int(key.removeprefix(_KEY)): ScanNotes(**orjson.loads(value)) for key, value in rows}
