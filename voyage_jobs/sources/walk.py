"""What a source folder holds now, against what was known of it; one folder at a time.

A rescan in which nothing changed is the common case: it costs one `stat` and one look-up per file. Memory is
that of the largest single folder, however many there are. The order is deterministic: names are sorted, and a
folder comes before those below it.

Nothing is taken for vanished because it could not be seen: a folder that cannot be listed says so in
`unreadable`, and a file that cannot be examined is in `skipped`.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from voyage_jobs.sources import names
from voyage_jobs.sources.files import FileStat, Skip, SkipReason
from voyage_jobs.sources.kinds import kind_of
from voyage_jobs.sources.links import LinkRefused, Links
from voyage_jobs.sources.rules import PathRules
from voyage_jobs.sources.source import FolderScan, Known, RootIdentity, RootMissing

_NOTHING_KNOWN: Known = {}
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NONBLOCK
_REGULAR = stat.S_IFREG
_TYPE = 0o170000  # the part of st_mode that says what a thing is
_SPECIAL = {stat.S_IFIFO: "FIFO", stat.S_IFSOCK: "socket", stat.S_IFBLK: "device", stat.S_IFCHR: "device"}


def root_identity(root: bytes) -> RootIdentity:
    """Which folder `root` leads to. Raises RootMissing if none."""
    try:
        found = os.stat(root)
    except OSError as exc:
        raise RootMissing(f"{names.display(names.encode(root))}: {exc.strerror}") from exc
    if not stat.S_ISDIR(found.st_mode):
        raise RootMissing(f"{names.display(names.encode(root))} is not a folder.")
    return RootIdentity(found.st_dev, found.st_ino)


def walk(
    root: bytes,
    rules: PathRules,
    *,
    follow_symlinks: bool,
    known: Callable[[str], Known],
    rules_changed: bool = False,
) -> Iterator[FolderScan]:
    """Compare every folder of the source with what is `known` of it, from the root down.

    `known(folder)` is asked once for each folder that can be opened. A known name that is as it was is not
    put to the rules again, unless `rules_changed`. Raises RootMissing, before the first folder only.
    """
    root_identity(root)
    links = Links(root) if follow_symlinks else None
    return _Walk(root, rules, links, known, rules_changed).folders()


@dataclass(slots=True)
class _Folder:
    """A folder still to come."""

    path: str
    above: tuple[RootIdentity, ...] = ()
    """The folders over it; kept only where links are followed, to cut cycles."""
    linked: RootIdentity | None = None
    """What it must prove to be, if a link leads to it."""


@dataclass(slots=True)
class _Look:
    """The folder at hand."""

    scan: FolderScan
    known: Known
    keeps: Callable[[str], bool]
    allows: Callable[[str], bool]
    above: tuple[RootIdentity, ...]
    settled: list[str] = field(default_factory=list)
    """Known names that have found their place; those left over in the end have vanished."""
    below: list[_Folder] = field(default_factory=list)

    def wants(self, name: str) -> bool:
        """Whether the rules keep the file; a known one that they do not is put into `excluded`."""
        if self.keeps(name):
            return True
        if self.allows(name):
            kind = kind_of(name)
            self.scan.passed_over[kind] = self.scan.passed_over.get(kind, 0) + 1
        if name in self.known:
            self.scan.excluded.append(name)
            self.settled.append(name)
        return False

    def take(self, name: str, now: os.stat_result) -> None:
        kind, found = now.st_mode & _TYPE, FileStat.of(name, now)
        if kind != _REGULAR:
            self.skip(name, SkipReason.SPECIAL, _SPECIAL.get(kind, "not a file"), found)
        elif not self.is_as_before(found):
            self.scan.changed.append(found)

    def skip(self, name: str, reason: SkipReason, detail: str, now: FileStat | None = None) -> None:
        if now is None or not self.is_as_before(now):
            self.scan.skipped.append(Skip(name, reason, detail, now))
            if now is None and name in self.known:
                self.settled.append(name)

    def is_as_before(self, now: FileStat) -> bool:
        """Whether it is known as it is now, which is counted."""
        was = self.known.get(now.name)
        if was is None:
            return False
        self.settled.append(now.name)
        same = now.is_as(was)
        self.scan.unchanged += same
        if same and was[3] is None:
            self.scan.unnoted.append(now)
        return same


class _Walk:
    """One walk over one source."""

    def __init__(
        self,
        root: bytes,
        rules: PathRules,
        links: Links | None,
        known: Callable[[str], Known],
        rules_changed: bool,
    ) -> None:
        self._root = root
        self._rules = rules
        self._links = links
        self._known = known
        self._rules_changed = rules_changed

    def folders(self) -> Iterator[FolderScan]:
        waiting = [_Folder("")]
        while waiting:
            folder = waiting.pop()
            scan = FolderScan(folder.path)
            try:
                below = self._scan(folder, scan)
            except OSError as exc:
                yield FolderScan(folder.path, scan.device, unreadable=exc.strerror or str(exc))
                continue
            yield scan
            below.sort(key=lambda each: each.path, reverse=True)
            waiting.extend(below)

    def _scan(self, folder: _Folder, scan: FolderScan) -> list[_Folder]:
        """Fill in `scan`; return the folders to enter from here. Raises OSError if it cannot be listed
        whole."""
        flags = _OPEN_FOLDER if folder.linked or not folder.path else _OPEN_FOLDER | os.O_NOFOLLOW
        fd = os.open(self._os_path(folder.path), flags)
        try:
            found = os.fstat(fd)
            here = RootIdentity(found.st_dev, found.st_ino)
            if folder.linked not in (None, here):
                raise OSError(errno.ESTALE, "the link was turned while it was followed")
            scan.device = here.device
            above = (*folder.above, here) if self._links else ()
            keeps, allows = self._rules.in_folder(folder.path), self._rules.allows_in_folder(folder.path)
            look = _Look(scan, self._known(folder.path), keeps, allows, above)
            last = None
            for name, entry in self._compare(fd, look):
                if name != last:  # a folder that is being written to may list a name twice
                    self._judge(look, name, entry)
                last = name
        finally:
            os.close(fd)
        if len(look.settled) != len(look.known):
            scan.vanished = sorted(look.known.keys() - set(look.settled))
        return look.below

    def _compare(self, fd: int, look: _Look) -> list[tuple[str, os.DirEntry[str]]]:
        """Count the files that are as they were; return all else, sorted. Every file of a rescan comes
        here."""
        asked_again = self._rules_changed or self._rules.may_change_in(look.scan.path)
        was_of = (_NOTHING_KNOWN if asked_again else look.known).get
        settle = look.settled.append
        rest: list[tuple[str, os.DirEntry[str]]] = []
        with os.scandir(fd) as entries:
            for entry in entries:
                name = entry.name
                if not name.isascii():
                    name = names.encode_listed(name)
                was = was_of(name)
                if was is not None:
                    try:
                        now = entry.stat(follow_symlinks=False)
                    except OSError:
                        rest.append((name, entry))
                        continue
                    if (
                        now.st_ctime_ns == was[3]
                        and now.st_mtime_ns == was[1]
                        and now.st_size == was[0]
                        and now.st_ino == was[2]
                        and now.st_mode & _TYPE == _REGULAR
                    ):
                        settle(name)
                        continue
                rest.append((name, entry))
        look.scan.unchanged = len(look.settled)
        rest.sort(key=lambda each: each[0])
        return rest

    def _judge(self, look: _Look, name: str, entry: os.DirEntry[str]) -> None:
        path = _join(look.scan.path, name)
        try:
            is_link = entry.is_symlink()
            is_folder = entry.is_dir(follow_symlinks=False)
        except OSError:
            # A file system that does not say in its listing what a thing is, nor lets us look. Should it be a
            # folder, then trying to enter it protects what is known to lie below.
            is_link = is_folder = False
            look.below.append(_Folder(path, look.above))
        if is_folder:
            if self._rules.enters(path):
                look.below.append(_Folder(path, look.above))
            return
        try:
            if is_link:
                self._judge_link(look, name, entry)
            elif look.wants(name):
                look.take(name, entry.stat(follow_symlinks=False))
        except FileNotFoundError:
            return  # gone since it was listed
        except OSError as exc:
            look.skip(name, SkipReason.UNREADABLE, exc.strerror or str(exc))

    def _judge_link(self, look: _Look, name: str, entry: os.DirEntry[str]) -> None:
        path = _join(look.scan.path, name)
        if not (self._rules.enters(path) if _leads_to_folder(entry) else look.wants(name)):
            return
        own = FileStat.of(name, entry.stat(follow_symlinks=False))
        if self._links is None:
            look.skip(name, SkipReason.SYMLINK, "not followed", own)
            return
        try:
            target = self._links.resolve(self._os_path(path), look.above)
        except LinkRefused as refused:
            look.skip(name, refused.reason, refused.detail, own)
            return
        if stat.S_ISDIR(target.st_mode):
            look.below.append(_Folder(path, look.above, RootIdentity(target.st_dev, target.st_ino)))
        else:
            look.take(name, target)

    def _os_path(self, path: str) -> bytes:
        return os.path.join(self._root, names.decode(path)) if path else self._root


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
