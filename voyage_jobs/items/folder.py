"""The folder of one set of items: files are put and removed whole and durably, one process at a time.

    NAME/ab/READABLE-DIGEST.md        an item
    NAME/.removed/READABLE-DIGEST.md  an item that was removed, until a scan has seen that it has gone
    NAME/.lock                        held while items are put or removed

A removal is one rename, so at every moment a file is there, or removed on purpose, or lost. The scan lets the second
kind go at once, and the guard against mass deletes counts the third alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from voyage_jobs.config.item_sources import is_item_source
from voyage_jobs.config.settings import Settings
from voyage_jobs.config.source_sections import SourceSettings
from voyage_jobs.core import durable, lock, private
from voyage_jobs.errors import ConfigError
from voyage_jobs.items.item import SUFFIX, Item, decode, encode, file_of

REMOVED = ".removed"
_DIGEST_CHARS = 32

Removals = Mapping[str, tuple[int, int]]
"""Paths of items that were removed on purpose, each with what tells its note from a later one."""


class ItemFolder:
    """The items in `root`, which lies in the data folder's `items`. `max_bytes`: a source takes no larger file."""

    def __init__(self, root: Path, max_bytes: int) -> None:
        self.root = root
        self._max_bytes = max_bytes

    def put(self, items: Iterable[Item]) -> int:
        """Store items, each in place of what its id had before; how many are new or not as before.

        On return they are on disk. Raises ConfigError at the first that cannot be stored; those before it are.
        """
        touched: set[Path] = set()
        with self._door() as door, self._settled(touched):
            return sum([self._put_one(item, door, touched) for item in items])

    def _put_one(self, item: Item, door: int, touched: set[Path]) -> bool:
        data = encode(item)
        if len(data) > self._max_bytes:
            raise ConfigError(
                f"Item {item.id!r} has {len(data):,} bytes; the limit is {self._max_bytes:,}.",
                hint="Cut it into several, or raise max_file_bytes of its source in a configuration file.",
            )
        path = self.root / file_of(item.id)
        with _alone(door):
            changed = not _holds(path, data)
            if changed:
                self._make(path.parent, touched)
                with durable.writing(path, private=True, sync_folder=False) as file:
                    file.write(data)
                touched.add(path.parent)
            durable.remove(self.root / REMOVED / path.name)
        return changed

    def _make(self, folder: Path, touched: set[Path]) -> None:
        if not folder.is_dir():
            private.make_folder(folder)
            touched.add(self.root)

    def remove(self, ids: Iterable[str]) -> int:
        """Take items away; how many were there. On return that is on disk, and that it was meant."""
        touched: set[Path] = set()
        removed = self.root / REMOVED
        with self._door() as door, self._settled(touched):
            self._make(removed, touched)
            return sum([self._remove_one(self.root / file_of(each), door, touched) for each in ids])

    def _remove_one(self, path: Path, door: int, touched: set[Path]) -> bool:
        note = self.root / REMOVED / path.name
        touched.add(note.parent)
        with _alone(door):
            try:
                os.rename(path, note)
            except FileNotFoundError:  # lost before, perhaps: that it may go is worth a note all the same
                with open(note, "ab", opener=private.opener):
                    return False
        touched.add(path.parent)
        return True

    def ids(self) -> Iterator[str]:
        """The ids of all items, in no order that means anything."""
        for path in sorted(self.root.glob(f"[0-9a-f][0-9a-f]/*{SUFFIX}")):
            with contextlib.suppress(FileNotFoundError, UnicodeDecodeError):  # removed meanwhile; not ours
                found = decode(path.read_bytes().decode())
                if found is not None:
                    yield found[0]

    @contextlib.contextmanager
    def _door(self) -> Iterator[int]:
        """The file whose lock lets one change at a time in; made with the folder."""
        lock.make_data_dir(self.root.parent.parent)
        with contextlib.ExitStack() as opened:
            try:
                private.make_folder(self.root.parent)
                private.make_folder(self.root)
                file = opened.enter_context(open(self.root / ".lock", "ab", opener=private.opener))
            except OSError as exc:
                raise ConfigError(
                    f"The folder of items {self.root} cannot be used: {exc.strerror}.",
                    hint="It, and the folder that it is in, must be folders that this user may write.",
                ) from exc
            yield file.fileno()

    @contextlib.contextmanager
    def _settled(self, touched: set[Path]) -> Iterator[None]:
        """Whatever came of it, what was done is on disk."""
        try:
            yield
        finally:
            for folder in touched:
                durable.sync_dir(folder)


@contextlib.contextmanager
def _alone(door: int) -> Iterator[None]:
    """Held for one item at a time: where items come from may itself put some."""
    fcntl.flock(door, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(door, fcntl.LOCK_UN)


def removals(settings: Settings, source: SourceSettings) -> Removals:
    """What was removed on purpose from a source; nothing where it is no source of items."""
    if not is_item_source(settings, source):
        return {}
    found = {}
    with contextlib.suppress(FileNotFoundError), os.scandir(source.path / REMOVED) as notes:
        for note in notes:
            digest = note.name.removesuffix(SUFFIX)[-_DIGEST_CHARS:]
            with contextlib.suppress(FileNotFoundError):  # put again meanwhile
                found[f"{digest[:2]}/{note.name}"] = _mark(Path(note.path))
    return found


def back_again(settings: Settings, source: SourceSettings, paths: Iterable[str]) -> set[str]:
    """Which of these paths, not found by a scan and without a note, were removed and put again while it ran.

    At every moment an item that is not lost has its file or its note, so one of three looks finds it.
    """
    if not is_item_source(settings, source):
        return set()
    removed = source.path / REMOVED
    return {
        path
        for path in paths
        for file in [source.path / path]
        if any(map(os.path.lexists, (file, removed / os.path.basename(path), file)))
    }


def forget_removals(source: SourceSettings, seen: Removals) -> None:
    """A scan has seen that these have gone. A note that came since, of a later removal, stays."""
    for path, mark in seen.items():
        note = source.path / REMOVED / os.path.basename(path)
        with contextlib.suppress(OSError):  # removed with the item, or there to be seen by the next scan
            if _mark(note) == mark:
                os.unlink(note)


def _mark(note: Path) -> tuple[int, int]:
    stat = os.lstat(note)
    return stat.st_ino, stat.st_ctime_ns


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except FileNotFoundError:
        return False
