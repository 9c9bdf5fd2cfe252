"""scan: compare a source with what is known of it, record new versions, notice what vanished.

A scan is a generator that commits slice by slice and yields in between, so that a first scan of a million files does
not keep the daemon from polling. What was committed stays if the process dies; the next scan finds it unchanged. Only a
scan that came to its end says that something vanished, and only if the guard agrees.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from voyage_jobs.config.source_sections import SourceSettings
from voyage_jobs.core.clock import US
from voyage_jobs.core.crash import crash_point
from voyage_jobs.engine.children import rest
from voyage_jobs.engine.in_order import Pause, in_order
from voyage_jobs.engine.waiting import finished
from voyage_jobs.items.folder import Removals, forget_removals, removals
from voyage_jobs.readers.reader import Refusal
from voyage_jobs.readers.registry import Registered, reader_of, told
from voyage_jobs.sources import names
from voyage_jobs.sources.commits import Commit, CommitsUnknownError, commits
from voyage_jobs.sources.files import FileStat, Skip, SkipReason
from voyage_jobs.sources.kinds import Kinds
from voyage_jobs.sources.source import FolderScan, Known, RootIdentity, RootMissing
from voyage_jobs.splitting.task import Cut
from voyage_jobs.state import documents, ledger, missing, scan_notes, sources, versions
from voyage_jobs.state.documents import Seen
from voyage_jobs.state.missing import Vanished
from voyage_jobs.state.sources import SourceRow
from voyage_jobs.state.store import Tx
from voyage_jobs.state.versions import Added
from voyage_jobs.steps.ahead import Ahead, Turn, Work, done
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.delete_guard import why_freeze
from voyage_jobs.steps.losses import Losses
from voyage_jobs.steps.reading import ReadDocument, ReadRecord, source_of, with_defaults
from voyage_jobs.steps.record_files import RecordFiles
from voyage_jobs.steps.rereading import Rereading
from voyage_jobs.steps.retained_texts import Retained
from voyage_jobs.steps.splitting import split_options, to_versions

# Keys are random, so a commit rewrites pages all over their index: large slices write each page less often.
SLICE_DOCUMENTS = 24_000
SLICE_CHARS = 16_000_000
SLICE_FOLDERS = 2_000
# Readers may take their time: other steps have a turn once a slice has taken this long.
SLICE_S = 5.0
# A file written this shortly before it was read may change again without its mtime showing it.
SETTLE_S = 2.0
# Without a stat: what is true now may not be so at the next scan.
_LATER = (SkipReason.CHANGING, SkipReason.VANISHED, Refusal.NO_READER)


@dataclass
class Slice:
    """What one transaction will record."""

    until: float
    """By the monotonic clock; then it is full, whatever is in it."""
    read: list[tuple[Seen, ReadDocument | ReadRecord, Cut | None]] = field(default_factory=list)
    skipped: list[Seen] = field(default_factory=list)
    unnoted: list[tuple[str, FileStat]] = field(default_factory=list)
    """Files by their folder that are as they were; when they were last changed is not on record."""
    chars: int = 0
    folders: int = 0

    @property
    def empty(self) -> bool:
        """Whether there is nothing to record."""
        return not (self.read or self.skipped or self.unnoted)

    def full(self, now: float) -> bool:
        """Whether it is time to commit, unless it is empty."""
        count = len(self.read) + len(self.skipped) + len(self.unnoted)
        return count >= SLICE_DOCUMENTS or self.chars >= SLICE_CHARS or (count > 0 and now >= self.until)

    @property
    def worth_a_pause(self) -> bool:
        """Whether enough folders went by to let other steps have a turn."""
        return self.folders >= SLICE_FOLDERS


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
        self.added: list[Added] = []
        """What each slice brought."""
        self.unreadable_folders: list[str] = []
        self.passed_over = Kinds()
        """Files that `include` does not name."""
        self.gone: Sequence[Vanished] = ()
        """What was not found any more, once the scan has come to its end."""
        self._on_skip = on_skip
        self._options = split_options(context.settings, context.rules)
        self._readers: dict[Registered, Registered] = {}
        """Each with what the source tells it: to put that together takes longer than to read a small file."""
        self._source = source_of(settings)
        self._rules_fingerprint = self._source.fingerprint
        self._rules_changed = row.rules_fingerprint != self._rules_fingerprint
        self._rereading = Rereading(row.splitter_fingerprint, self._options, settings.reader_options)
        self._records = RecordFiles(context, row, settings, self._source, self._options)
        self._ahead = Ahead(context, self._source, self._options, self._age_s)
        self._folder_ids: dict[str, int] = {}
        self._visited: set[str] = set()
        self._vanished: list[tuple[str, str]] = []
        self._unchanged = 0
        self._changed = 0
        self._begun = missing.Mark(0, 0)
        self._removed: Removals = {}
        self._lost = 0
        self._moved = 0
        self._later = 0
        self._unread = False
        self._part = self._slice()
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
            self._freeze(f"its folder is missing: {exc.message}")
            return
        self._begin()
        self._part = self._slice()
        with contextlib.closing(self._works()) as works:  # it holds a connection to the state
            yield from self._taken(works)
        if not self._part.empty:
            self._commit()
            yield
        yield from self._finish(identity)

    def _taken(self, works: Iterator[Work | None]) -> Iterator[None]:
        for turns in in_order(works, self._ahead.at_once, self._ahead.most):
            if isinstance(turns, Pause):
                # What was read before may be what other steps have to do with.
                if turns is Pause.WAITING and not self._part.empty:
                    self._commit()
                yield
                continue
            for turn in turns:
                yield from self._note(turn)
                if self._part.full(self.context.clock.mono()):
                    self._commit()
                    yield

    def _works(self) -> Generator[Work | None, None, None]:
        """What is to be done in folder after folder; None when others should have a turn."""
        for folder in self._walk():
            self._part.folders += 1
            self._part.unnoted.extend((folder.path, stat) for stat in folder.unnoted)
            for found in self._visit(folder):
                yield from self._work(folder.path, found)
            if self._part.full(self.context.clock.mono()):
                yield from self._ahead.flush()
                yield done([])
            if self._part.worth_a_pause:
                self._part.folders = 0
                yield from self._ahead.flush()
                yield None
        yield from self._ahead.flush()

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
            self._folder_ids = documents.folder_ids(connection, self.row.id)
        if folder not in self._folder_ids:
            return False
        stat = self._source.revision(path)
        if stat is None:
            return False
        self._part = self._slice()
        works = (*self._work(folder, stat), *self._ahead.flush())
        for turn in [turn for work in works for turn in finished(work)]:
            for _ in self._note(turn):
                pass
        if not self._part.read:
            return False
        self._commit()
        return True

    def _slice(self) -> Slice:
        return Slice(self.context.clock.mono() + SLICE_S)

    # --- beginning ---

    def _begin(self) -> None:
        with self.context.store.read() as connection:
            self._folder_ids = documents.folder_ids(connection, self.row.id)
            self._begun = missing.begun(connection, self.row.id)
            self._records.begin(connection)
        self._removed = removals(self.context.settings, self.settings)
        if self._rules_changed and limits_of(self.row.rules_fingerprint) != limits_of(
            self._rules_fingerprint
        ):
            with self.context.store.write() as tx:
                documents.forget_skips(tx, self.row.id)
        # Noted before the first file is, or a scan that broke off would leave files split in the old way. Where nothing
        # is known yet, there is nothing to compare.
        meanwhile = self._rereading.marker_meanwhile if self._folder_ids else self._rereading.marker
        if meanwhile != self.row.splitter_fingerprint:
            with self.context.store.write() as tx:
                sources.note(tx, self.row.id, splitter_fingerprint=meanwhile)

    def _walk(self) -> Iterator[FolderScan]:
        with self.context.store.read() as connection:

            def known(folder: str) -> Known:
                folder_id = self._folder_ids.get(folder)
                found = {} if folder_id is None else self._rereading.known(connection, folder_id)
                return self._records.known(folder, found)

            yield from self._source.discover(known, rules_changed=self._rules_changed)

    # --- one folder ---

    def _visit(self, folder: FolderScan) -> Sequence[Skip | FileStat]:
        """Note what of a folder was seen and what vanished; what is news in it."""
        if folder.unreadable is not None:
            self._unread = True
            self.unreadable_folders.append(folder.path)
            self.context.log.warning(
                "folder.unreadable",
                source=self.row.name,
                path=names.display(folder.path),
                error=folder.unreadable,
            )
            return ()
        self._visited.add(folder.path)
        self._unchanged += folder.unchanged + self._records.visited(folder)
        self.passed_over.add(folder.passed_over)
        gone = (
            name
            for name in (*folder.vanished, *folder.excluded)
            if not self._records.is_file(folder.path, name)
        )
        self._vanished.extend((folder.path, name) for name in gone)
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
                self._unchanged += end.value
                return
            self.read += len(news)
            self._part.read.extend((seen, read, None) for seen, read in news)
            self._part.chars += sum(len(read.text) for _, read in news)
            if self._part.full(self.context.clock.mono()):
                self._commit()
            yield

    def _is_too_fresh(self, stat: FileStat) -> bool:
        fresh = self.hinted and self._age_s(stat.mtime_ns) < self.context.settings.watch.settle_s
        self._later += fresh
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
        self._part.read.append((seen, self._dated(path, found), cut))
        self._part.chars += len(found.text)

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
            self._unread = True
            self.context.log.info(
                "file.later", source=self.row.name, name=names.display(skip.name), why=skip.reason
            )
            return
        stat = skip.stat or FileStat(skip.name, 0, versions.UNSETTLED_MTIME, 0)
        self._part.skipped.append(
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

    # --- one slice ---

    def _commit(self) -> None:
        context, part = self.context, self._part
        self._part = self._slice()
        split = to_versions(context, part.read, self._options)
        with context.store.write() as tx:
            self._save(tx, part.skipped)
            noted = ((self._folder_ids[folder], stat.name, stat.ctime_ns) for folder, stat in part.unnoted)
            documents.note_ctimes(tx, noted)
            ids = self._save(tx, [seen for seen, _, _ in part.read])
            for document_id, version in zip(ids, split, strict=True):
                version.document_id = document_id
            added = versions.add(tx, self.row.id, context.profile_id, split)
            if added.reused_tokens:
                ledger.save(tx, added.reused_tokens, context.price, self.row.id)
            crash_point("scan.slice.before_commit")
        crash_point("scan.slice.committed")
        self._records.recorded()
        self.added.append(added)
        self._changed += added.versions
        if added.versions or part.skipped:
            context.log.info(
                "scan.recorded",
                source=self.row.name,
                versions=added.versions,
                chunks=added.chunks,
                new=added.new_embeddings,
                reused=added.reused_chunks,
                skipped=len(part.skipped),
            )
        context.progress(f"scanning {self.row.name}", self._unchanged + self._changed, None)

    def _save(self, tx: Tx, seen: list[Seen]) -> list[int]:
        return documents.save(tx, self.row.id, self.row.name, self._folder_ids, seen)

    # --- the end ---

    def _finish(self, identity: RootIdentity) -> Iterator[None]:
        with self.context.store.read() as connection:
            self._add_vanished_folders(connection)
            live = documents.count_live(connection, self.row.id)
            gone = self.gone = [
                missing.vanished(connection, self._folder_ids[folder], name, self._begun)
                for folder, name in dict.fromkeys((*self._vanished, *self._records.plain))
            ]
            gone += self._records.judge(connection, self._begun, self._is_protected)
            known = {each.id for each in gone}
            spoilt = [each for each in documents.spoilt(connection, self.row.id) if each not in known]
            withheld = self._records.withheld(connection) if gone or spoilt else 0
        if self._records.done:
            with self.context.store.write() as tx:
                self._records.record(tx)
        self._lost = sum(each.is_a_loss for each in gone)
        self._moved = sum(each.moved_to is not None for each in gone)
        if self._later:
            self._not_yet()
            return
        reason = None
        removed = removals(self.context.settings, self.settings)
        on_purpose = {each.id for each in gone if each.path in removed and not self.settings.keep}
        meant = sum(each.is_a_loss for each in gone if each.id in on_purpose)
        confirmed = self.row.confirmed_at is not None
        if not confirmed and not self.settings.keep:
            moved = self.row.device is not None and self.row.device != identity.device
            elsewhere = moved and self.settings.same_device
            reason = why_freeze(
                self._lost - meant,
                live - meant,
                self.settings,
                elsewhere=elsewhere,
                another=self.row.scanned_at is not None and self.row.device is None,
                spoilt=len(spoilt),
                withheld=withheld,
            )
        if reason is not None:
            self._freeze(reason)
            return
        losses = Losses(self.context, self.row, self.settings, gone, spoilt, on_purpose, self._begun)
        yield from losses.all_but_the_last()
        with self.context.store.write() as tx:
            losses.last(tx)
            self._records.record_losses(tx, self._is_protected)
            if self.row.frozen_reason is not None:
                sources.thaw(tx, self.row.id, "confirmed" if self.row.confirmed_at else "its folder is back")
            self._note_done(tx, identity)
        crash_point("scan.finish.committed")
        if not self.context.rehearsal:
            seen = {each.path: removed[each.path] for each in gone if each.path in removed}
            forget_removals(self.settings, {**self._removed, **seen})
        self._done(None)

    def _not_yet(self) -> None:
        """What vanished may be among what is being written: a move is told as one by a scan that has read all."""
        self._lost = self._moved = 0
        self._done(None)

    def _add_vanished_folders(self, connection: object) -> None:
        """Everything known of folders that are not there any more, unless they are only out of sight."""
        for path, folder_id in self._folder_ids.items():
            if path not in self._visited and not self._is_protected(path):
                known = documents.known(connection, folder_id)  # type: ignore[arg-type]
                self._vanished.extend((path, name) for name in known)

    def _is_protected(self, path: str) -> bool:
        return any(root in ("", path) or path.startswith(root + "/") for root in self.unreadable_folders)

    def _note_done(self, tx: Tx, identity: RootIdentity) -> None:
        self._note_unseen(tx)
        sources.note(
            tx,
            self.row.id,
            device=identity.device,
            inode=identity.inode,
            rules_fingerprint=self._rules_fingerprint,
            **({"splitter_fingerprint": self._rereading.marker} if self._compared else {}),
            profile_id=self.context.profile_id,
            scanned_at=tx.now,
            **self._used_up(tx),
        )

    def _note_unseen(self, tx: Tx) -> None:
        if not self.hinted or self.unreadable_folders:
            scan_notes.put(
                tx,
                self.row.id,
                self.unreadable_folders,
                count=bool(self._changed or self._vanished),
                passed_over=self.passed_over.as_dict() if self._visited else None,
            )

    @property
    def _compared(self) -> bool:
        """Whether every document was compared with the reader that it has now."""
        return self._rereading.all_readers_here and not self._unread and not self._records.unread

    def _used_up(self, tx: Tx) -> dict[str, object]:
        """When to scan again, and that the confirmation is used up: it was about what was seen then.

        One that was given while this scan was running is for the next one, which is due at once.
        """
        now = sources.by_name(tx.connection, self.row.name)
        if now is not None and now.confirmed_at != self.row.confirmed_at:
            return {"scan_due_at": 0}
        if self.hinted and now is not None:
            return {"scan_due_at": now.scan_due_at, "confirmed_at": None}
        return {"scan_due_at": tx.now + int(self.settings.scan_interval_s * US), "confirmed_at": None}

    def _freeze(self, reason: str) -> None:
        with self.context.store.write() as tx:
            sources.freeze(tx, self.row.id, reason)
            self._note_unseen(tx)
            sources.note(tx, self.row.id, **self._used_up(tx))
        self.context.log.error("source.frozen", source=self.row.name, reason=reason)
        self._done(reason)

    def _done(self, frozen: str | None) -> None:
        self.context.memory(Retained).due = True
        self.result = ScanResult(
            self.row.name,
            self._unchanged,
            self._changed,
            self._lost,
            self._moved,
            frozen,
            profile_id=self.profile_id,
            hinted=self.hinted,
            later=self._later,
        )
        self.context.log.info(
            "scan.finished",
            source=self.row.name,
            unchanged=self._unchanged,
            changed=self._changed,
            vanished=self._lost,
            moved=self._moved,
            hinted=self.hinted,
            later=self._later,
        )


def limits_of(fingerprint: str | None) -> str | None:
    """The part of a fingerprint of the rules that is not about patterns, and decides which wanted files are taken."""
    return None if fingerprint is None else fingerprint.partition(":")[2]
