"""The files of records of a source, as a scan comes by them: each is read row by row, and a row is a document.

What of a row is as it was costs one look-up of its id. Rows that are not found any more are judged at the end of the
scan, file by file and then with all that the source has lost: a file that is cut short, or cannot be read whole, or has
lost more than the guard allows, keeps its documents until it is whole again or somebody says that it is meant.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, pairwise
from typing import TYPE_CHECKING, BinaryIO

from voyage_jobs.config.source_sections import SourceSettings
from voyage_jobs.core.plural import counted
from voyage_jobs.core.states import Document
from voyage_jobs.readers.reader import Refused
from voyage_jobs.records.formats import LogFile, ends_with_line, look_for_fields, rows_of, segments_of, takes
from voyage_jobs.records.formats.log import TAIL, Reached
from voyage_jobs.records.recipe import Record, name_in, records
from voyage_jobs.records.rows import UNREAD, Fault, Lack, Row
from voyage_jobs.sources import names
from voyage_jobs.sources.files import FileStat, Skip, SkipReason
from voyage_jobs.sources.source import FolderScan, Known, Source
from voyage_jobs.splitting import fingerprints
from voyage_jobs.splitting.split import SplitOptions
from voyage_jobs.state import missing, record_files
from voyage_jobs.state.documents import Seen
from voyage_jobs.state.missing import Mark, Vanished
from voyage_jobs.state.record_files import FROZEN, LINE_END, NO_LINE_END, LeftOut, RecordFile
from voyage_jobs.state.sources import SourceRow
from voyage_jobs.state.statements import LOOK_UP
from voyage_jobs.state.store import Tx
from voyage_jobs.state.versions import UNSETTLED_MTIME
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.delete_guard import beyond
from voyage_jobs.steps.reading import RECORD_READER, ReadRecord, leaves_out
from voyage_jobs.steps.rereading import unsettled

if TYPE_CHECKING:
    from sqlalchemy import Connection

News = list[tuple[Seen, ReadRecord]]
_SHOWN = 5
_TRIES = 5  # to open a log between two lines that are written to it
_SEGMENTS = 100  # of a log, at a time: 6 MB
PART_CHARS = 8_000_000  # of records, at a time


@dataclass
class _Look:
    """One reading of one file."""

    file: RecordFile
    trusts: bool
    """Whether rows that say the same as before are made into the same documents."""
    made_under: int | None
    """The profile under which something must be made of a row that is to count as known; None: of course it is."""
    oldest: int
    newest: int
    """The documents of the file when the reading began, gone ones included: a later one is a row that was read
    already."""
    before: array[int]
    """The documents that it had."""
    doubts: bool = False
    """Whether the last row may be a part of one: the file had a line end behind it before, and has none now."""
    doubted: int | None = None
    """Where that row is."""
    found: bytearray = field(default_factory=bytearray)
    """A bit for each of them that was found again."""
    records: int = 0
    unchanged: int = 0
    lacks: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    pending: set[str] = field(default_factory=set)
    """Names that are on their way to be recorded."""

    def __post_init__(self) -> None:
        self.found = bytearray((self.newest - self.oldest) // 8 + 1)

    def find(self, document_id: int) -> bool:
        """Note that a document was found. False if it was already."""
        at, bit = divmod(document_id - self.oldest, 8)
        if document_id > self.newest or self.found[at] >> bit & 1:
            return False
        self.found[at] |= 1 << bit
        return True

    def lack(self, what: Lack, at: int, detail: str = "") -> None:
        """Note what is wrong with a row."""
        count, first = self.lacks.setdefault(what, (0, []))
        if count < _SHOWN:
            first.append(_told(f"{at}: {detail}" if detail else str(at)))
        self.lacks[what] = count + 1, first

    def gone(self) -> array[int]:
        """The documents that were not found."""
        least, found = self.oldest, self.found
        return array("q", (i for i in self.before if not found[(i - least) >> 3] >> ((i - least) & 7) & 1))

    def count(self, *lacks: Lack) -> int:
        """How many rows lack any of these."""
        return sum(self.lacks[each][0] for each in lacks if each in self.lacks)


class RecordFiles:
    """Those of one scan of one source. `begin` comes first."""

    def __init__(
        self,
        context: Context,
        row: SourceRow,
        settings: SourceSettings,
        source: Source,
        options: SplitOptions,
    ) -> None:
        self._context = context
        self._row = row
        self._settings = settings
        self._source = source
        self._recipe = settings.recipe
        self._known: dict[tuple[str, str], RecordFile] = {}
        self._names: dict[str, list[str]] = {}
        """Their names, by folder."""
        self._there: set[tuple[str, str]] = set()
        self._short: list[tuple[_Look, array[int]]] = []
        """Readings that did not find everything again, and what."""
        self._shortened: list[RecordFile] = []
        self.plain: list[tuple[str, str]] = []
        """Documents that are files of records now."""
        self.left_out: set[int] = set()
        """Documents of files that are there, and that the patterns do not want."""
        self.done: list[RecordFile] = []
        """Files of which nothing is to be deleted, to be recorded when the scan comes to its end."""
        self.unread = False
        """Whether one was left for a later scan."""
        self._pending: set[str] = set()
        made_by = (
            [self._recipe.fingerprint, fingerprints.fingerprint(RECORD_READER, options)]
            if self._recipe
            else []
        )
        self._made_by = hashlib.blake2b(json.dumps(made_by).encode(), digest_size=16).hexdigest()
        self._refused_by = f"refused:{self._made_by}"
        meant = f"if it is meant to have none, `voyage-jobs confirm-deletes {row.name}`"
        self._no_line_end = f"it has no line end any more: add one, or, {meant}"

    def begin(self, connection: Connection) -> None:
        """Look up what is known."""
        self._known = record_files.of_source(connection, self._row.id)
        for folder, name in self._known:
            self._names.setdefault(folder, []).append(name)

    def takes(self, name: str) -> bool:
        """Whether a file of this name is one of records."""
        return takes(name, self._recipe)

    def known(self, folder: str, documents: Known) -> Known:
        """What a walk is to know of a folder; its `documents` are those that are files."""
        found = dict(documents)
        for name in documents if self._recipe is not None else ():
            if self.takes(name):
                self.plain.append((folder, name))
                del found[name]
        for name in filter(self.takes, self._names.get(folder, ())):
            each = self._known[folder, name]
            found[name] = unsettled(each.revision) if self._is_due(each) else each.revision
        return found if self._known or self.plain else documents

    def _is_due(self, each: RecordFile) -> bool:
        """Whether it is to be read though it looks as it did."""
        waits = each.reason == FROZEN or each.reached == NO_LINE_END
        return (waits and self._row.confirmed_at is not None) or each.made_by not in (
            self._made_by,
            self._refused_by,
        )

    def visited(self, folder: FolderScan) -> int:
        """Note which files are there; how many more documents than files are as they were."""
        away = {*folder.vanished, *folder.excluded}
        here = list(filter(self.takes, self._names.get(folder.path, ())))
        self._there.update((folder.path, name) for name in here if name not in away)
        news = away | {each.name for each in folder.changed} | {each.name for each in folder.skipped}
        return sum(self._known[folder.path, name].records - 1 for name in here if name not in news)

    def is_file(self, folder: str, name: str) -> bool:
        """Whether this name is on record as a file of records."""
        return (folder, name) in self._known

    # --- one file ---

    def read(self, folder: str, stat: FileStat, *, settled: bool) -> Generator[News, None, int]:
        """Yields rows that are new or changed, some at a time; returns how many are as they were.

        Call `recorded` when what it gave is on record. `settled`: whether the file has not been written to just now.
        """
        path = f"{folder}/{stat.name}" if folder else stat.name
        if self._recipe is not None and self._recipe.logs:
            return (yield from self._read_log(folder, path, stat))
        opened = self._source.stream(path, stat)
        if isinstance(opened, Skip):
            self.refuse(folder, opened)
            return 0
        with opened.file:
            was = self._file(folder, stat.name)
            revision = stat.key if settled else unsettled(stat.key)
            now = replace(
                _with(was, revision),
                content_hash=opened.content_hash,
                made_by=self._made_by,
                reached=self._line_end(was, ends_with_line(stat.name, opened.file)),
            )
            same = was.content_hash == now.content_hash and was.made_by == now.made_by
            if same and was.reason is None and not self._is_due(was) and self._has_no_other_rows(was):
                self.done.append(now)
                return was.records
            look = self._look(now, was)
            is_other = was.content_hash != now.content_hash or Lack.CUT_SHORT in was.left_out
            look.doubts = now.reached == NO_LINE_END and is_other
            try:
                yield from self._rows(look, opened.file, stat)
            except (Refused, OSError) as exc:
                self.refuse(folder, _refused(stat, exc))
                return 0
        after = self._source.revision(path)
        if after is None or not after.is_as(stat.key):
            self.refuse(folder, Skip(stat.name, SkipReason.CHANGING))
            return 0
        self._end(look)
        return look.unchanged

    def _has_no_other_rows(self, was: RecordFile) -> bool:
        """Whether nothing is on record of a reading that broke off: the file may have become what it was before it."""
        with self._context.store.read() as connection:
            return record_files.count_present(connection, was.id) == was.records

    def _line_end(self, was: RecordFile, there: bool) -> str | None:
        """What to note of the line end behind the last row. That it went is kept until it is back, or confirmed: a file
        may be cut, or written, in several steps."""
        if there:
            return LINE_END
        had = was.reached in (LINE_END, NO_LINE_END)
        return NO_LINE_END if had and self._row.confirmed_at is None else None

    def _read_log(self, folder: str, path: str, listed: FileStat) -> Generator[News, None, int]:
        """The same of a log, which may grow meanwhile: from where the last reading came to, if that is still so."""
        for _ in range(_TRIES):
            stat = self._source.revision(path) or listed
            opened = self._source.stream(path, stat, hashed=False)
            if not isinstance(opened, Skip) or opened.reason != SkipReason.CHANGING:
                break
        if isinstance(opened, Skip):
            self.refuse(folder, opened)
            return 0
        with opened.file:
            was = self._file(folder, stat.name)
            look = self._look(replace(_with(was, stat.key), made_by=self._made_by), was)
            log = LogFile(opened.file, stat.size, self._settings.encoding)
            try:
                if (
                    look.trusts
                    and was.reason is None
                    and was.reached
                    and log.read_on(Reached(*json.loads(was.reached)))
                ):
                    self._find_all_but_the_tail(look)
                yield from self._in_parts(look, segments_of(log), stat, _SEGMENTS)
            except (Refused, OSError) as exc:
                self.refuse(folder, _refused(stat, exc))
                return 0
        after = self._source.revision(path)
        if after is None or after.inode != stat.inode or after.size < stat.size:
            self.refuse(folder, Skip(stat.name, SkipReason.CHANGING))
            return 0
        look.file = replace(look.file, reached=log.reached and json.dumps(log.reached))
        self._end(look)
        return look.unchanged

    def _find_all_but_the_tail(self, look: _Look) -> None:
        """What is in front of where a log is read on is there."""
        with self._context.store.read() as connection:
            tail = record_files.rows(connection, look.file.id, [name_in(look.file.file, TAIL)])
        tails = {document_id for document_id, _, _ in tail.values()}
        for each in look.before:
            if each not in tails:
                look.records += look.find(each)
        look.unchanged = look.records

    def _look(self, now: RecordFile, was: RecordFile) -> _Look:
        with self._context.store.read() as connection:
            before = record_files.present(connection, now.id)
            oldest, newest = record_files.bounds(connection, now.id)
        trusts = was.made_by == self._made_by
        # Of a file that was frozen, rows that it lacked may have been asked for meanwhile, under another profile.
        made_under = None if was.reason is None else self._context.profile_id
        return _Look(now, trusts=trusts, made_under=made_under, oldest=oldest, newest=newest, before=before)

    def _rows(self, look: _Look, file: BinaryIO, stat: FileStat) -> Iterator[News]:
        assert self._recipe is not None  # noqa: S101 - for the type checker: else no file is one of records
        for _ in look_for_fields(stat.name, file, self._recipe):
            yield []
        rows: Iterator[Row | Fault] = rows_of(stat.name, file, self._recipe)
        if look.doubts:
            rows = _doubting_the_last(look, rows)
        yield from self._in_parts(look, rows, stat, LOOK_UP)

    def _in_parts(
        self, look: _Look, rows: Iterator[Row | Fault], stat: FileStat, count: int
    ) -> Iterator[News]:
        assert self._recipe is not None  # noqa: S101 - as above
        for part in _parts(records(self._recipe, rows), count):
            yield list(self._news(look, part, stat))

    def _news(
        self, look: _Look, part: Sequence[Record | Fault], stat: FileStat
    ) -> Iterator[tuple[Seen, ReadRecord]]:
        named: dict[str, Record] = {}
        for each in part:
            if isinstance(each, Fault):
                look.lack(each.lack, each.at, each.detail)
                continue
            name = name_in(stat.name, each.id)
            if name in named or name in self._pending:
                look.lack(Lack.DUPLICATE_ID, each.at, each.id)
            else:
                named[name] = each
        with self._context.store.read() as connection:
            known = record_files.rows(connection, look.file.id, list(named), look.made_under)
        for name, record in named.items():
            document_id, state, digest = known.get(name, (None, "", None))
            says_the_same = digest == record.digest and state == Document.PRESENT
            if record.at == look.doubted and not says_the_same:
                look.lack(Lack.CUT_SHORT, record.at, self._no_line_end)
                continue
            if document_id is not None and not look.find(document_id):
                look.lack(Lack.DUPLICATE_ID, record.at, record.id)
                continue
            look.records += 1
            if record.wrong:
                look.lack(Lack.WRONG_TYPE, record.at, ", ".join(record.wrong))
            if look.trusts and says_the_same:
                look.unchanged += 1
                continue
            self._pending.add(name)
            yield _seen(look.file, name, record), ReadRecord(record, stat)

    def recorded(self) -> None:
        """What was given so far is on record."""
        self._pending.clear()

    def _end(self, look: _Look) -> None:
        left_out = {str(what): LeftOut(count, first) for what, (count, first) in sorted(look.lacks.items())}
        look.file = replace(look.file, records=look.records, left_out=left_out, reason=None, detail=None)
        gone = look.gone()
        if gone:
            self._short.append((look, gone))
        else:
            self.done.append(look.file)

    def refuse(self, folder: str, skip: Skip) -> None:
        """Note why a file was not read: what is known of it stays as it is."""
        self._there.add((folder, skip.name))
        if skip.stat is None and skip.reason in (SkipReason.CHANGING, SkipReason.VANISHED):
            self.unread = True
            return
        was = self._file(folder, skip.name)
        revision = (0, UNSETTLED_MTIME, 0, None) if skip.stat is None else skip.stat.key
        refused = replace(
            _with(was, revision), reason=str(skip.reason), detail=_told(skip.detail), made_by=self._refused_by
        )
        self.done.append(refused)

    def _file(self, folder: str, name: str) -> RecordFile:
        known = self._known.get((folder, name))
        if known is None:
            with self._context.store.write() as tx:
                known = RecordFile(record_files.ensure(tx, self._row.id, folder, name), folder, name)
        self._there.add((folder, name))
        return known

    # --- the end of the scan ---

    def judge(
        self, connection: Connection, since: Mark, is_protected: Callable[[str], bool]
    ) -> list[Vanished]:
        """What is gone and may go, as far as single files decide that. Those that lost too much are frozen."""
        gone: list[Vanished] = []
        confirmed = self._row.confirmed_at is not None or self._settings.keep
        for look, ids in self._short:
            lost = 0 if confirmed else self._lost(connection, look, ids, since)
            reason = self._why_frozen(look, lost)
            if reason is None:
                gone.extend(missing.vanished_ones(connection, ids, since))
                self._shortened.append(look.file)
                continue
            self.done.append(replace(look.file, reason=FROZEN, detail=reason))
            file = names.display(look.file.name)
            self._context.log.error("records.frozen", source=self._row.name, file=file, reason=reason)
        for key, each in self._known.items():
            if key not in self._there and not is_protected(each.path):
                ids = record_files.present(connection, each.id)
                gone.extend(missing.vanished_ones(connection, ids, since))
                if leaves_out(self._source, each.name):
                    self.left_out.update(ids)
        return gone

    def withheld(self, connection: Connection) -> int:
        """How many records are served that their files do not have, because these are frozen or cannot be read."""
        latest = {each.id: each for key, each in self._known.items() if key in self._there}
        latest.update((each.id, each) for each in (*self._shortened, *self.done))
        return sum(
            record_files.count_present(connection, each.id) - (each.records if each.reason == FROZEN else 0)
            for each in latest.values()
            if each.reason is not None
        )

    def _lost(self, connection: Connection, look: _Look, ids: array[int], since: Mark) -> int:
        """How many records a reader of the table would miss."""
        lost = 0
        for each in missing.vanished_ones(connection, ids, since):
            lost += each.is_a_loss
            if beyond(lost, len(look.before), self._settings):  # enough is known, and they may be a million
                return len(ids)
        return lost

    def _why_frozen(self, look: _Look, lost: int) -> str | None:
        if not lost:
            return None
        had = len(look.before)
        found = f"{lost:,} of {counted(had, 'record')} are not in it any more"
        unread = look.count(*UNREAD)
        if look.count(Lack.CUT_SHORT):
            is_known = look.doubted is None
            what = "it ends in the middle of a row" if is_known else "its last row has no line end any more"
            return f"{what}, and {found}"
        if unread:
            return f"{counted(unread, 'row')} of it cannot be read, and {found}"
        if lost == had:
            return f"all of its {counted(had, 'record')} are gone"
        most = beyond(lost, had, self._settings)
        return None if most is None else f"{found}, {most}"

    def record(self, tx: Tx) -> None:
        """Put on record how the files look of which nothing is to be deleted."""
        for each in self.done:
            record_files.put(tx, each)
        self.done.clear()

    def record_losses(self, tx: Tx, is_protected: Callable[[str], bool]) -> None:
        """The same of all others: what they lost is on record as missing now, and files that are gone are forgotten."""
        for each in self._shortened:
            record_files.put(tx, each)
        for key, each in self._known.items():
            if key not in self._there and not is_protected(each.path):
                record_files.forget(tx, each.id)


def _parts(found: Iterator[Record | Fault], count: int) -> Iterator[list[Record | Fault]]:
    """At most so many at a time, and fewer where their texts are long."""
    part: list[Record | Fault] = []
    chars = 0
    for each in found:
        part.append(each)
        chars += len(each.text) if isinstance(each, Record) else 0
        if len(part) == count or chars >= PART_CHARS:
            yield part
            part, chars = [], 0
    if part:
        yield part


def _doubting_the_last(look: _Look, rows: Iterator[Row | Fault]) -> Iterator[Row | Fault]:
    for row, after in pairwise(chain(rows, (None,))):
        if row is not None:
            look.doubted = row.at if after is None and isinstance(row, Row) else None
            yield row


def _refused(stat: FileStat, exc: Refused | OSError) -> Skip:
    if isinstance(exc, Refused):
        return Skip(stat.name, exc.reason, exc.detail, stat)
    return Skip(stat.name, SkipReason.UNREADABLE, exc.strerror or str(exc))


def _told(detail: str) -> str:
    """As it can be stored: names in a file may hold bytes that are no text."""
    return detail.encode("utf-8", "backslashreplace").decode()


def _with(each: RecordFile, revision: tuple[int, int, int, int | None]) -> RecordFile:
    size, mtime_ns, inode, ctime_ns = revision
    return replace(each, size=size, mtime_ns=mtime_ns, inode=inode, ctime_ns=ctime_ns)


def _seen(file: RecordFile, name: str, record: Record) -> Seen:
    size = len(record.text.encode())
    return Seen(file.path, name, size, 0, 0, record.digest, ctime_ns=0, group=file.id)
