"""What the last scan of each source could not see or read whole, for those who ask later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import orjson
from sqlalchemy import Connection, bindparam, func, select

from voyage_jobs.state import meta
from voyage_jobs.state.schema import meta as facts
from voyage_jobs.state.schema import versions
from voyage_jobs.state.store import Tx

_KEY = "scan_notes:"
_SHOWN = 20
_BROKEN_HEAD = '{"_front_matter_error":'


@dataclass(frozen=True)
class ScanNotes:
    """Of one source. `unreadable_folders` are the first of them, as `names.encode` makes them."""

    unreadable: int = 0
    unreadable_folders: Sequence[str] = ()
    broken_front_matter: int = 0
    """Live versions whose front matter could not be read whole."""
    passed_over: Mapping[str, int] = field(default_factory=dict)
    """Files that `include` does not name, by kind."""


# Purpose: how many live versions of a source have front matter that could not be read whole.
_BROKEN = select(func.count()).where(
    versions.c.source_id == bindparam("source"),
    versions.c.state.in_(("waiting", "ready", "published")),
    func.substr(versions.c.metadata, 1, len(_BROKEN_HEAD)) == _BROKEN_HEAD,
)
# Purpose: the notes of all sources.
_ALL = select(facts.c.key, facts.c.value).where(facts.c.key.startswith(_KEY, autoescape=True))


def put(
    tx: Tx,
    source_id: int,
    unreadable_folders: Sequence[str],
    *,
    count: bool,
    passed_over: Mapping[str, int] | None,
) -> None:
    """Note what a scan that came to its end met; `count` the front matter again, or keep what one counted before.

    `passed_over` is None where the scan saw no folder: what was noted before stays.
    """
    known = by_source(tx.connection).get(source_id)
    broken = (
        known.broken_front_matter if known and not count else broken_front_matter(tx.connection, source_id)
    )
    kinds = passed_over if passed_over is not None else known.passed_over if known else {}
    notes = ScanNotes(len(unreadable_folders), sorted(unreadable_folders)[:_SHOWN], broken, kinds)
    meta.put(tx, f"{_KEY}{source_id}", orjson.dumps(asdict(notes)).decode())


def broken_front_matter(connection: Connection, source_id: int) -> int:
    """How many live versions of a source have front matter that could not be read whole. Looks at every one."""
    return int(connection.execute(_BROKEN, {"source": source_id}).scalar_one())


def by_source(connection: Connection) -> dict[int, ScanNotes]:
    """The notes of every source that was scanned, by its row."""
    rows = connection.execute(_ALL)
    return {int(key.removeprefix(_KEY)): ScanNotes(**orjson.loads(value)) for key, value in rows}
