"""scan: compare a source with what is known of it, record new versions, notice what vanished.

A scan is a generator that commits slice by slice (scan_slices.py) and yields in between, so that a first scan of a
million files does not keep the daemon from polling. How it ends is in scan_ending.py.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from voyage_jobs.config.source_sections import SourceSettings
from voyage_jobs.engine.children import rest
from voyage_jobs.engine.in_order import Pause, in_order
from voyage_jobs.engine.waiting import finished
from voyage_jobs.items.folder import removals
from voyage_jobs.readers.reader import Refusal
from voyage_jobs.readers.registry import Registered, reader_of, told
from voyage_jobs.sources import names
from voyage_jobs.sources.commits import Commit, CommitsUnknownError, commits
from voyage_jobs.sources.files import FileStat, Skip, SkipReason
from voyage_jobs.sources.source import FolderScan, Known, RootMissing
from voyage_jobs.state import documents, missing, sources, versions
from voyage_jobs.state.documents import Seen
from voyage_jobs.state.missing import Vanished
from voyage_jobs.state.sources import SourceRow
from voyage_jobs.state.versions import Added
from voyage_jobs.steps.ahead import Ahead, Turn, Work, done
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.reading import ReadDocument, source_of, with_defaults
from voyage_jobs.steps.record_files import RecordFiles
from voyage_jobs.steps.rereading import Rereading, unsettled
from voyage_jobs.steps.retained_texts import Retained
from voyage_jobs.steps.scan_ending import Ending, Marks, Walked
from voyage_jobs.steps.scan_slices import Slices
from voyage_jobs.steps.splitting import split_options

# A file written this shortly before it was read may change again without its mtime showing it.
SETTLE_S = 2.0
# Without a stat: what is true now may not be so at the next scan.
_LATER = (SkipReason.CHANGING, SkipReason.VANISHED, Refusal.NO_READER)


@dataclass(frozen=True)
class ScanResult:
    """What a complete scan came to."""

    source: str
    unchanged: int
    changed: int
    vanished: int
    moved: int
    frozen: str | None
    profile_id: int
    hinted: bool = False
    later: int = 0
    """Files that were left for a later scan because they were being written to."""
    rereading: bool = False
    """Whether files that are as they were may be among the changed: other readers, splitting or profile."""


class Scan:
    """One scan of one source. `run()` yields after every slice; afterwards `result` is set.

    A scan that is made because a watch has `hinted` at a change is a whole scan, but for two things: it leaves files
    that were written to a moment ago for the next one (a periodic scan takes them, so that none waits forever), and
    it does not put off the periodic scan.
    """

    def __init__(
        self,
        context: Context,
        row: SourceRow,
        settings: SourceSettings,
        *,
        hinted: bool = False,
        on_skip: Callable[[str, str], None] = lambda _path, _reason: None,
    ) -> None:
        self.context = context
        self.row = row
        self.settings = settings = with_defaults(settings, row)
        self.hinted = hinted
        self.profile_id = context.profile_id
        self.result: ScanResult | None = None
        self.read = 0
        """Files that were read and are text."""
        self.walked = Walked()
        self._is_first = False
        self._on_skip = on_skip
        self._options = split_options(context.settings, context.rules)
        self._readers: dict[Registered, Registered] = {}
        """Each with what the source tells it: to put that together takes longer than to read a small file."""
        self._source = source_of(settings)
        self._rules_fingerprint = self._source.fingerprint
        self._rules_changed = row.rules_fingerprint != self._rules_fingerprint
        self._limits_changed = limits_of(row.rules_fingerprint) != limits_of(self._rules_fingerprint)
        self._rereading = Rereading(row.splitter_fingerprint, self._options, settings.reader_options)
        self._records = RecordFiles(context, row, settings, self._source, self._options)
        self._ahead = Ahead(context, self._source, self._options, self._age_s)
        self._slices = Slices(context, row, self._options)
        self._ending = Ending(context, row, settings, self._records, self.walked, self._source, hinted)
        self._commits: Mapping[bytes, Commit] | None = None
        """Of all files, once one was read whose date git is to tell."""

    def run(self) -> Iterator[None]:
        """Walk, compare, record; yields between slices."""
        try:
            yield from self._run()
        finally:
            rest()

    def _run(self) -> Iterator[None]:
        try:
            identity = self._source.identity()
        except RootMissing as exc:
            self._ending.freeze(f"its folder is missing: {exc.message}")
            self._done()
            return
        self._begin()
        self._slices.begin()
        with contextlib.closing(self._works()) as works:  # it holds a connection to the state
            yield from self._taken(works)
        if not self._slices.is_empty:
            self._commit()
            yield
        marks = Marks(self._rules_fingerprint, self._rereading.marker if self._compared else None)
        yield from self._ending.run(identity, self._slices.folder_ids, marks)
        self._done()

    def _taken(self, works: Iterator[Work | None]) -> Iterator[None]:
        for turns in in_order(works, self._ahead.at_once, self._ahead.most):
            if isinstance(turns, Pause):
                # What was read before may be what other steps have to do with.
                if turns is Pause.WAITING and not self._slices.is_empty:
                    self._commit()
                yield
                continue
            for turn in turns:
                yield from self._note(turn)
                if self._slices.is_full:
                    self._commit()
                    yield

    def _works(self) -> Generator[Work | None, None, None]:
        """What is to be done in folder after folder; None when others should have a turn."""
        for folder in self._walk():
            self._slices.folder(folder.path, folder.unnoted)
            for found in self._visit(folder):
                yield from self._work(folder.path, found)
            if self._slices.is_full:
                yield from self._ahead.flush()
                yield done([])
            if self._slices.takes_a_pause():
                yield from self._ahead.flush()
                yield None
        yield from self._ahead.flush()

    @property
    def added(self) -> Sequence[Added]:
        """What each slice brought."""
        return self._slices.added

    @property
    def gone(self) -> Sequence[Vanished]:
        """What was not found any more, once the scan has come to its end."""
        return self._ending.gone

    @property
    def left_out(self) -> Mapping[str, int]:
        """How many folders and wanted files were left out by ignore files, or as what tools have made."""
        return self._source.rules.left_out

    def take_one(self, path: str) -> bool:
        """Read one file out of turn and record what is new in it. False where that is for a whole scan to do.

        So it is where the folder is new (a scan that is running may just be adding it), where the rules or the
        splitting have changed since the last scan, and where the file cannot be taken.
        """
        if self._rules_changed or self._rereading.due:
            return False
        if not self._source.keeps(path) or self._records.takes(path):
            return False
        folder = path.rpartition("/")[0]
        with self.context.store.read() as connection:
            self._slices.folder_ids = documents.folder_ids(connection, self.row.id)
        if folder not in self._slices.folder_ids:
            return False
        stat = self._source.revision(path)
        if stat is None:
            return False
        self._slices.begin()
        works = (*self._work(folder, stat), *self._ahead.flush())
        for turn in [turn for work in works for turn in finished(work)]:
            for _ in self._note(turn):
                pass
        if not self._slices.has_read:
            return False
        self._commit()
        return True

    def _commit(self) -> None:
        added = self._slices.commit()
        self._records.recorded()
        self.walked.changed += added.versions
        seen = self.walked.unchanged + self.walked.changed
        self.context.progress(f"scanning {self.row.name}", seen, None)

    # --- beginning ---

    def _begin(self) -> None:
        with self.context.store.read() as connection:
            self._slices.folder_ids = documents.folder_ids(connection, self.row.id)
            self.walked.begun = missing.begun(connection, self.row.id)
            self._records.begin(connection)
        self.walked.removed = removals(self.context.settings, self.settings)
        if self._limits_changed:
            with self.context.store.write() as tx:
                documents.forget_skips(tx, self.row.id)
                # Until this has come to its end, lest limits that change back pass for those that made its skips.
                sources.note(tx, self.row.id, rules_fingerprint=None)
        # Noted before the first file is, or a scan that broke off would leave files split in the old way. Where nothing
        # is known yet, there is nothing to compare.
        self._is_first = not self._slices.folder_ids
        meanwhile = self._rereading.marker if self._is_first else self._rereading.marker_meanwhile
        if meanwhile != self.row.splitter_fingerprint:
            with self.context.store.write() as tx:
                sources.note(tx, self.row.id, splitter_fingerprint=meanwhile)

    def _walk(self) -> Iterator[FolderScan]:
        with self.context.store.read() as connection:

            def known(folder: str) -> Known:
                folder_id = self._slices.folder_ids.get(folder)
                found = {} if folder_id is None else self._rereading.known(connection, folder_id)
                return self._records.known(folder, self._within_limits(found))

            yield from self._source.discover(known, rules_changed=self._rules_changed)

    def _within_limits(self, found: Known) -> Known:
        """What is known of a folder; where the limits are others, what is too large now is looked at again."""
        if not self._limits_changed:
            return found
        most = self.settings.max_file_bytes
        return {name: unsettled(was) if was[0] > most else was for name, was in found.items()}

    # --- one folder ---

    def _visit(self, folder: FolderScan) -> Sequence[Skip | FileStat]:
        """Note what of a folder was seen and what vanished; what is news in it."""
        if folder.unreadable is not None:
            self.walked.unread = True
            self.walked.unreadable_folders.append(folder.path)
            self.context.log.warning(
                "folder.unreadable",
                source=self.row.name,
                path=names.display(folder.path),
                error=folder.unreadable,
            )
            return ()
        self.walked.visited.add(folder.path)
        self.walked.unchanged += folder.unchanged + self._records.visited(folder)
        self.walked.passed_over.add(folder.passed_over)
        gone = (
            name
            for name in (*folder.vanished, *folder.excluded)
            if not self._records.is_file(folder.path, name)
        )
        self.walked.vanished.extend((folder.path, name) for name in gone)
        return (*folder.skipped, *folder.changed)

    def _work(self, folder: str, found: Skip | FileStat) -> Iterator[Work]:
        if isinstance(found, Skip) or self._records.takes(found.name):
            yield from self._ahead.told(folder, found)
        elif found.name in self._rereading.without_reader:
            yield from self._ahead.told(folder, Skip(found.name, Refusal.NO_READER))
        elif not self._is_too_fresh(found):
            path = f"{folder}/{found.name}" if folder else found.name
            yield from self._ahead.read(folder, found, self._reader(path))

    def _reader(self, path: str) -> Registered:
        found = reader_of(path)
        if found not in self._readers:
            self._readers[found] = told(found, self.settings.reader_options.get(found.name, {}))
        return self._readers[found]

    def _note(self, turn: Turn) -> Generator[None, None, None]:
        """Have in the slice what a name came to."""
        found = turn.found
        if isinstance(found, ReadDocument):
            self._read(turn, found)
        elif self._records.takes(found.name):
            yield from self._take_records(turn.folder, found)
        elif isinstance(found, Skip):
            self._skip(turn.folder, found)

    def _take_records(self, folder: str, found: Skip | FileStat) -> Generator[None, None, None]:
        if isinstance(found, Skip):
            self._records.refuse(folder, found)
            return
        if self._is_too_fresh(found):
            return
        reading = self._records.read(folder, found, settled=self._age_s(found.mtime_ns) >= SETTLE_S)
        while True:
            try:
                news = next(reading)
            except StopIteration as end:
                self.walked.unchanged += end.value
                return
            self.read += len(news)
            for seen, read in news:
                self._slices.read(seen, read)
            if self._slices.is_full:
                self._commit()
            yield

    def _is_too_fresh(self, stat: FileStat) -> bool:
        fresh = self.hinted and self._age_s(stat.mtime_ns) < self.context.settings.watch.settle_s
        self.walked.later += fresh
        return fresh

    def _read(self, turn: Turn, found: ReadDocument) -> None:
        folder, stat = turn.folder, found.stat
        path = f"{folder}/{stat.name}" if folder else stat.name
        now = self._source.revision(path)
        if now is None or not now.is_as(stat.key):  # others may have recorded something newer meanwhile
            self._skip(folder, Skip(stat.name, SkipReason.CHANGING))
            return
        seen = Seen(
            folder,
            stat.name,
            stat.size,
            versions.UNSETTLED_MTIME if turn.age_s < SETTLE_S else stat.mtime_ns,
            stat.inode,
            found.content_hash,
            ctime_ns=stat.ctime_ns,
        )
        # What was cut for another profile than is active by now is cut again.
        cut = turn.cut if turn.under is self.context.active else None
        self.read += 1
        self._slices.read(seen, self._dated(path, found), cut)

    def _dated(self, path: str, found: ReadDocument) -> ReadDocument:
        """With the date and the author of its last commit, if the source has its dates from git."""
        if self.settings.dates == "file":
            return found
        if self._commits is None:
            try:
                self._commits = commits(bytes(self.settings.path))
            except CommitsUnknownError as exc:
                self._commits = {}
                self.context.log.warning("commits.unknown", source=self.row.name, error=str(exc))
        commit = self._commits.get(names.decode(path))
        return found if commit is None else replace(found, changed_us=commit.at_us, author=commit.author)

    def _age_s(self, mtime_ns: int) -> float:
        """Seconds between its last change and now; a time in the future is as far off as one in the past."""
        return abs(self.context.clock.wall() - mtime_ns / 1e9)

    def _skip(self, folder: str, skip: Skip) -> None:
        self._on_skip(f"{folder}/{skip.name}" if folder else skip.name, str(skip.reason))
        if skip.stat is None and skip.reason in _LATER:
            self.walked.unread = True
            self.context.log.info(
                "file.later", source=self.row.name, name=names.display(skip.name), why=skip.reason
            )
            return
        stat = skip.stat or FileStat(skip.name, 0, versions.UNSETTLED_MTIME, 0)
        self._slices.skip(
            Seen(
                folder,
                skip.name,
                stat.size,
                stat.mtime_ns,
                stat.inode,
                reason=str(skip.reason),
                detail=skip.detail or None,
                ctime_ns=stat.ctime_ns,
            )
        )

    # --- the end ---

    @property
    def _compared(self) -> bool:
        """Whether every document was compared with the reader that it has now."""
        return self._rereading.all_readers_here and not self.walked.unread and not self._records.unread

    def _done(self) -> None:
        walked, ending = self.walked, self._ending
        self.context.memory(Retained).due = True
        self.result = ScanResult(
            self.row.name,
            walked.unchanged,
            walked.changed,
            ending.lost,
            ending.moved,
            ending.frozen,
            profile_id=self.profile_id,
            hinted=self.hinted,
            later=walked.later,
            rereading=self._rereading.due and not self._is_first,
        )
        self.context.log.info(
            "scan.finished",
            source=self.row.name,
            unchanged=walked.unchanged,
            changed=walked.changed,
            vanished=ending.lost,
            moved=ending.moved,
            hinted=self.hinted,
            later=walked.later,
        )


def limits_of(fingerprint: str | None) -> str | None:
    """The part of a fingerprint of the rules that is not about patterns, and decides which wanted files are taken."""
    return None if fingerprint is None else fingerprint.partition(":")[2]
