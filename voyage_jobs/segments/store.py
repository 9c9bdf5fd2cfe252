"""All segments of one data folder: find, open, check, set aside, remove."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from voyage_jobs.core import durable, private
from voyage_jobs.core.generation import Stamp
from voyage_jobs.core.profile import Profile
from voyage_jobs.core.states import Mode
from voyage_jobs.errors import CorruptionError
from voyage_jobs.segments.format import SUFFIX, WrittenSegment, is_segment_name, segment_name
from voyage_jobs.segments.reader import SegmentReader
from voyage_jobs.segments.writer import SegmentWriter


@dataclass(frozen=True, slots=True)
class AdoptedSegment:
    """A segment found on disk, with everything a new `state.db` has to know about it."""

    written: WrittenSegment
    reader: SegmentReader


class SegmentStore:
    """The folder `vectors/`; names are relative to it: `<12 hex>/<ref>.arrow`. Threads may share it.

    `stamp` is what new segments carry: set by the process that writes.
    """

    def __init__(self, folder: Path, *, max_open: int = 16) -> None:
        self._folder = folder
        self._max_open = max_open
        self.stamp: Stamp | None = None
        self._readers: OrderedDict[str, SegmentReader] = OrderedDict()
        self._lock = threading.Lock()

    def path(self, name: str) -> Path:
        """Where the segment of this name is or would be; ValueError if it is no segment's name."""
        if not is_segment_name(name):
            raise ValueError(f"{name!r} is not the name of a segment")
        return self._folder / name

    def writer(self, profile: Profile, ref: str, mode: Mode = Mode.BATCH) -> SegmentWriter:
        """A writer for the segment of batch `ref`, which is of this mode."""
        path = self.path(segment_name(profile.fingerprint, ref))
        if not path.parent.is_dir():
            with durable.no_room_is_one_error(str(path)):
                private.make_folder(path.parent)
                durable.sync_dir(self._folder)
                durable.sync_dir(self._folder.parent)
        return SegmentWriter(path, profile, ref, mode, self.stamp)

    def open(self, name: str) -> SegmentReader:
        """The segment, from the few kept open if possible. Raises `CorruptionError` if missing or damaged."""
        path = self.path(name)
        with self._lock:
            reader = self._readers.pop(name, None)
            if reader is None or not _is_still(reader, path):
                reader = SegmentReader(path)
            self._readers[name] = reader
            if len(self._readers) > self._max_open:
                self._readers.popitem(last=False)
            return reader

    def names(self) -> list[str]:
        """The names of all segments, sorted. Temporary and set-aside files are not segments."""
        if not self._folder.is_dir():
            return []
        found = (f"{path.parent.name}/{path.name}" for path in self._folder.glob(f"*/*{SUFFIX}"))
        return sorted(name for name in found if is_segment_name(name))

    def check(self, name: str, sha256: str) -> bool:
        """Whether the segment's bytes are still those that were written; streams the whole file."""
        try:
            return self._digest(name)[1] == sha256
        except FileNotFoundError:
            return False

    def adopt(
        self, names: Iterable[str], on_damaged: Callable[[str, CorruptionError], None]
    ) -> Iterator[AdoptedSegment]:
        """The sound ones of these segments, for a state that does not know them; the others go to `on_damaged`."""
        for name in names:
            try:
                found = self.adopt_one(name)
            except CorruptionError as exc:
                on_damaged(name, exc)
            except OSError as exc:  # a folder of that name, no permission, a bad sector
                on_damaged(name, CorruptionError(f"{self.path(name)} cannot be read: {exc.strerror}."))
            else:
                yield found

    def adopt_one(self, name: str) -> AdoptedSegment:
        """One segment on disk. Raises `CorruptionError` if it is missing or damaged."""
        reader = self.open(name)
        size, sha256 = self._digest(name)
        return AdoptedSegment(WrittenSegment(name, reader.rows, size, sha256), reader)

    def set_aside(self, name: str) -> Path:
        """Take a damaged segment out of use by renaming it; its new path. It is kept for you to look at."""
        path = self.path(name)
        aside = path.with_name(path.name + ".damaged")
        count = 1
        while aside.exists():
            count += 1
            aside = path.with_name(f"{path.name}.damaged-{count}")
        self._forget(name)
        os.rename(path, aside)
        durable.sync_dir(path.parent)
        return aside

    def remove(self, name: str) -> None:
        """Delete a segment that nobody needs any more, if it is there."""
        path = self.path(name)
        self._forget(name)
        durable.remove(path)
        if path.parent.is_dir():
            durable.sync_dir(path.parent)

    def discard_unfinished(self) -> int:
        """Delete what killed writers left; how many files. Only for the one process that writes segments."""
        left = list(self._folder.glob(f"*/*{SUFFIX}.tmp"))
        for path in left:
            durable.remove(path)
        return len(left)

    def _digest(self, name: str) -> tuple[int, str]:
        """Size and SHA-256 of a segment's file."""
        with open(self.path(name), "rb") as file:
            digest = hashlib.file_digest(file, "sha256")
            return file.tell(), digest.hexdigest()

    def _forget(self, name: str) -> None:
        with self._lock:
            self._readers.pop(name, None)


def _is_still(reader: SegmentReader, path: Path) -> bool:
    """Whether the file under this name is the one the reader has mapped."""
    try:
        stat = os.stat(path)
    except FileNotFoundError:
        return False
    return reader.identity == (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)
