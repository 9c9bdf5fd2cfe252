"""The slices of a scan: what was read is recorded in one transaction for thousands of documents.

What was committed stays if the process dies; the next scan finds it unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from voyage_jobs.core.crash import crash_point
from voyage_jobs.sources.files import FileStat
from voyage_jobs.splitting.split import SplitOptions
from voyage_jobs.splitting.task import Cut
from voyage_jobs.state import documents, ledger, versions
from voyage_jobs.state.documents import Seen
from voyage_jobs.state.sources import SourceRow
from voyage_jobs.state.store import Tx
from voyage_jobs.state.versions import Added
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.reading import ReadDocument, ReadRecord
from voyage_jobs.steps.splitting import to_versions

# Keys are random, so a commit rewrites pages all over their index: large slices write each page less often.
SLICE_DOCUMENTS = 24_000
SLICE_CHARS = 16_000_000
SLICE_FOLDERS = 2_000
# Readers may take their time: other steps have a turn once a slice has taken this long.
SLICE_S = 5.0


@dataclass
class _Slice:
    """What one transaction will record."""

    until: float
    """By the monotonic clock; then it is full, whatever is in it."""
    read: list[tuple[Seen, ReadDocument | ReadRecord, Cut | None]] = field(default_factory=list)
    skipped: list[Seen] = field(default_factory=list)
    unnoted: list[tuple[str, FileStat]] = field(default_factory=list)
    """Files by their folder that are as they were; when they were last changed is not on record."""
    chars: int = 0

    @property
    def count(self) -> int:
        """How many files are in it."""
        return len(self.read) + len(self.skipped) + len(self.unnoted)


class Slices:
    """Those of one scan: the one that is being filled, and what came of those that were committed."""

    def __init__(self, context: Context, row: SourceRow, options: SplitOptions) -> None:
        self.folder_ids: dict[str, int] = {}
        """Of the folders on record; a commit adds new ones."""
        self.added: list[Added] = []
        """What each slice brought."""
        self._context = context
        self._row = row
        self._options = options
        self.begin()

    def begin(self) -> None:
        """Fill a new one."""
        self._folders = 0
        self._slice = _Slice(self._context.clock.mono() + SLICE_S)

    def folder(self, path: str, unnoted: Iterable[FileStat]) -> None:
        """A folder was visited; of these files it is to be noted when they were last changed."""
        self._folders += 1
        self._slice.unnoted.extend((path, stat) for stat in unnoted)

    def read(self, seen: Seen, read: ReadDocument | ReadRecord, cut: Cut | None = None) -> None:
        """A document is to be recorded."""
        self._slice.read.append((seen, read, cut))
        self._slice.chars += len(read.text)

    def skip(self, seen: Seen) -> None:
        """A file that is left out is to be recorded."""
        self._slice.skipped.append(seen)

    @property
    def has_read(self) -> bool:
        """Whether a document is to be recorded."""
        return bool(self._slice.read)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to record."""
        return not self._slice.count

    @property
    def is_full(self) -> bool:
        """Whether it is time to commit."""
        part = self._slice
        late = part.count > 0 and self._context.clock.mono() >= part.until
        return part.count >= SLICE_DOCUMENTS or part.chars >= SLICE_CHARS or late

    def takes_a_pause(self) -> bool:
        """Whether enough folders went by to let other steps have a turn; then they are counted anew."""
        if self._folders < SLICE_FOLDERS:
            return False
        self._folders = 0
        return True

    def commit(self) -> Added:
        """Record what was read, and begin the next; what it brought."""
        context, part = self._context, self._slice
        self.begin()
        split = to_versions(context, part.read, self._options)
        with context.store.write() as tx:
            self._save(tx, part.skipped)
            noted = ((self.folder_ids[folder], stat.name, stat.ctime_ns) for folder, stat in part.unnoted)
            documents.note_ctimes(tx, noted)
            ids = self._save(tx, [seen for seen, _, _ in part.read])
            for document_id, version in zip(ids, split, strict=True):
                version.document_id = document_id
            added = versions.add(tx, self._row.id, context.profile_id, split)
            if added.reused_tokens:
                ledger.save(tx, added.reused_tokens, context.price, self._row.id)
            crash_point("scan.slice.before_commit")
        crash_point("scan.slice.committed")
        self.added.append(added)
        if added.versions or part.skipped:
            context.log.info(
                "scan.recorded",
                source=self._row.name,
                versions=added.versions,
                chunks=added.chunks,
                new=added.new_embeddings,
                reused=added.reused_chunks,
                skipped=len(part.skipped),
            )
        return added

    def _save(self, tx: Tx, seen: list[Seen]) -> list[int]:
        return documents.save(tx, self._row.id, self._row.name, self.folder_ids, seen)
