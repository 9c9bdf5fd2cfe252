"""One document with all that decides about it: what is served and wanted, its chunks in groups, its file now."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from voyage_jobs.config.source_sections import SourceSettings
from voyage_jobs.core.clock import iso
from voyage_jobs.core.states import Embedding, Version
from voyage_jobs.diagnosis.blocker import NOTHING_TO_DO
from voyage_jobs.diagnosis.snapshot import Moment
from voyage_jobs.diagnosis.source_conditions import when_frozen
from voyage_jobs.report import waits, why_file
from voyage_jobs.report.waits import Wait
from voyage_jobs.report.words import ranges, when
from voyage_jobs.sources import names
from voyage_jobs.sources.files import FileStat, Revision
from voyage_jobs.splitting.windows import amplification_of
from voyage_jobs.state import documents, history, record_files, sources
from voyage_jobs.state.documents import DocumentRow, Place
from voyage_jobs.state.history import ChunkHistory, VersionHistory, View
from voyage_jobs.state.outcomes import OUTCOME_WORDS
from voyage_jobs.state.record_files import RecordFile
from voyage_jobs.state.sources import SourceRow
from voyage_jobs.state.versions import UNSETTLED_MTIME
from voyage_jobs.steps.reading import with_defaults

_LIVE = (Version.WAITING, Version.READY, Version.PUBLISHED)


@dataclass(frozen=True)
class Group:
    """Chunks of a version that stand alike: in one state, in one batch (None: in none)."""

    state: Embedding
    ref: str | None
    batch_id: int | None
    chunks: Sequence[ChunkHistory]

    @property
    def lines(self) -> str:
        """Their lines, counted from 0 as in the input file."""
        return ranges([chunk.last.line for chunk in self.chunks if chunk.last is not None])


def groups(chunks: Iterable[ChunkHistory]) -> list[Group]:
    """Chunks by how they stand; what only an operator moves on comes first, what is held last."""
    found: dict[tuple[Embedding, str | None], list[ChunkHistory]] = {}
    for each in chunks:
        in_batch = each.state in (Embedding.PACKED, Embedding.SUBMITTED)
        ref = each.last.ref if in_batch and each.last is not None else None
        found.setdefault((each.state, ref), []).append(each)
    order = list(_WORST_FIRST)
    return [
        Group(state, ref, alike[0].last.batch_id if ref is not None and alike[0].last else None, alike)
        for (state, ref), alike in sorted(
            found.items(), key=lambda item: (order.index(item[0][0]), item[0][1] or "")
        )
    ]


_WORST_FIRST = (
    Embedding.FAILED,
    Embedding.DROPPED,
    Embedding.WANTED,
    Embedding.PACKED,
    Embedding.SUBMITTED,
    Embedding.HELD,
)


@dataclass(frozen=True)
class Standing:
    """One document with all that decides about it."""

    connection: View
    moment: Moment
    row: DocumentRow
    place: Place
    source: SourceRow | None
    configured: SourceSettings | None
    live: Sequence[VersionHistory]
    file: RecordFile | None = None
    """The file of records that it is a row of; None: it is a file itself."""

    @property
    def path(self) -> str:
        """The path of its file."""
        return self.row.path if self.file is None else self.file.name

    @property
    def revision(self) -> Revision:
        """How its file looked when it was read last."""
        place = self.place
        if self.file is not None:
            return self.file.revision
        return place.size, place.mtime_ns, place.inode, place.ctime_ns

    @property
    def served(self) -> VersionHistory | None:
        """What the table shows."""
        return next((each for each in self.live if each.state is Version.PUBLISHED), None)

    @property
    def wanted(self) -> VersionHistory | None:
        """What it is to show."""
        return next((each for each in self.live if each.state is not Version.PUBLISHED), None)

    def at(self, time: int) -> str:
        """A time in words."""
        return f"at {when(time, self.moment.now)}"

    @property
    def name(self) -> str:
        """For an operator."""
        return f"{self.row.source}:{names.display(self.row.path)}"


def look(connection: View, moment: Moment, row: DocumentRow) -> Standing:
    """Read it."""
    return Standing(
        connection,
        moment,
        row,
        documents.place_of(connection, row.id),
        sources.by_name(connection, row.source),
        next((each for each in moment.settings.sources if each.name == row.source), None),
        [each for each in history.versions_of(connection, row.id) if each.state in _LIVE],
        record_files.file_of(connection, row.id),
    )


def ref_of(row: DocumentRow) -> str:
    """As an operator names it to a command."""
    return f"{row.source}:{row.path}"


def word_of(view: Standing) -> str:
    """The document as an argument of a command."""
    return names.in_shell(view.name)


# --- since it was read ---


def put_back(source: str) -> str:
    """What to do about a source that left the configuration."""
    return f"Put it back, or `voyage-jobs confirm-deletes {source}`."


def since_then(view: Standing) -> Wait | None:
    """What has become of the file since it was read: changed, gone, or not wanted any more by the patterns."""
    source = view.configured
    if source is None:
        said = (
            f"Its source {view.row.source} is not in the configuration any more; its rows stay in the table."
        )
        return Wait("not_configured", said, None, put_back(view.row.source))
    due = view.source.scan_due_at if view.source is not None else 0
    held = waits.first(view.moment, "scan", source=view.row.source)
    scan = "The next scan"
    if due > view.moment.now and held is None:
        scan += f", due {view.at(due)},"
    next_ = NOTHING_TO_DO if held is None else held.next
    until = due if due > view.moment.now and held is None else None
    refused = why_file.by_rules(with_defaults(source, view.source), view.path)
    frozen = None if view.source is None else view.source.frozen_reason
    if refused is not None and view.source is not None and frozen is not None:
        said = f"But {refused.text}, and the source is frozen, so it stays: {frozen}."
        return Wait("frozen", said, None, when_frozen(view.source))
    if refused is not None:
        said = f"But {refused.text}: {scan.lower() if scan == 'The next scan' else scan} takes it out."
        return Wait(refused.code, said, until, next_)
    path = os.path.join(names.decode(view.place.root), names.decode(view.path))
    try:
        now = FileStat.of("", os.stat(path, follow_symlinks=source.follow_symlinks))
    except PermissionError:
        said = "But a folder on the way to its file cannot be entered by this user: nothing below it is read."
        return Wait(
            "folder_unreadable", said, None, "Let this user enter it; the next scan picks up what is there."
        )
    except OSError:
        if frozen is not None:
            said = f"Its file is missing, and the source is frozen: {frozen}."
            return Wait(
                "frozen", said, None, f"Bring it back, or `voyage-jobs confirm-deletes {view.row.source}`."
            )
        return Wait("file_gone", f"But its file is not there now. {scan} notices.", until, next_)
    if view.revision[1] != UNSETTLED_MTIME and not now.is_as(view.revision):
        said = (
            f"The file has been written to since. {scan} reads it; if its text has changed, it is sent then."
        )
        return Wait("changed_since", said, until, next_)
    return None


# --- for programs ---


def chunk_facts(each: ChunkHistory) -> dict[str, Any]:
    """One chunk, for programs."""
    return {
        "ordinal": each.ordinal,
        "embedding_key": each.key.hex(),
        "state": str(each.state),
        "attempts": each.attempts,
        "batch": each.last and each.last.ref,
        "line": each.last and each.last.line,
        "outcome": each.last and OUTCOME_WORDS[each.last.outcome],
        "detail": each.last and each.last.detail,
    }


def _windows(chunks: Sequence[ChunkHistory]) -> dict[str, Any] | None:
    """What an insertion would send, where chunks go out in windows; else None."""
    if not any(chunk.slot for chunk in chunks):
        return None
    windows: dict[bytes, list[int]] = {}
    for chunk in chunks:
        windows.setdefault(chunk.key, []).append(chunk.tokens)
    return amplification_of(windows.values())


def facts_of(view: Standing) -> dict[str, Any]:
    """The document, for programs."""
    version = view.wanted or view.served
    chunks = [] if version is None else list(history.chunks_of(view.connection, version.id))
    reused = (
        0
        if version is None
        else sum(each.state is Embedding.HELD and each.wanted_at < version.seen_at for each in chunks)
    )
    served = view.served
    return {
        "document": {
            "source": view.row.source,
            "path": view.row.path,
            "state": view.row.state,
            "first_seen_at": iso(view.place.seen_at),
            "read_at": iso(version.seen_at) if version is not None else None,
            "published_at": iso(served.published_at) if served is not None else None,
            "table_version": served.table_version if served is not None else None,
            "older_version_served": served is not None and view.wanted is not None,
        },
        "chunks": {
            "total": len(chunks),
            "windows": _windows(chunks),
            "reused": reused,
            "by_state": [
                {"state": str(each.state), "batch": each.ref, "chunks": len(each.chunks)}
                for each in groups(chunks)
            ],
        },
    }
