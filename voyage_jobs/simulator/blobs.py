"""File contents: small ones in memory, large ones on disk, so that a job of gigabytes costs no memory."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

SPILL_BYTES = 1 << 18
CHUNK_BYTES = 1 << 20


class Blob:
    """Bytes that grow at the end. The file goes with the last reference, so no reader is cut off."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._path = Path()
        self._on_disk = 0
        self._tail = bytearray()
        self._skipped = 0

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self._on_disk + len(self._tail) - self._skipped

    def append(self, data: bytes) -> None:
        """Add bytes at the end."""
        self._tail += data
        if len(self._tail) >= SPILL_BYTES:
            if not self._on_disk:
                self._path = self._store.new_path()
                weakref.finalize(self, _unlink, self._path)
            with open(self._path, "ab") as out:
                out.write(self._tail)
            self._on_disk += len(self._tail)
            self._tail.clear()

    def narrow(self, start: int, stop: int) -> None:
        """Keep the bytes of [start, stop) alone; nothing can be added any more."""
        self._skipped += start
        self._tail = self._tail[: max(0, self._skipped + stop - start - self._on_disk)]
        self._on_disk = min(self._on_disk, self._skipped + stop - start)

    def read(self, start: int = 0, length: int | None = None) -> bytes:
        """The bytes from `start` on, fewer than `length` only at the end."""
        stop = self._skipped + (self.size if length is None else min(start + length, self.size))
        start += self._skipped
        if start >= self._on_disk:
            return bytes(self._tail[start - self._on_disk : stop - self._on_disk])
        fd = os.open(self._path, os.O_RDONLY)
        try:
            data = os.pread(fd, min(stop, self._on_disk) - start, start)
        finally:
            os.close(fd)
        return data + bytes(self._tail[: max(0, stop - self._on_disk)])

    def chunks(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The bytes of [start, stop) in pieces."""
        end = self.size if stop is None else min(stop, self.size)
        while start < end:
            piece = self.read(start, min(CHUNK_BYTES, end - start))
            start += len(piece)
            yield piece

    def find_all(self, mark: bytes) -> Iterator[int]:
        """Where `mark` stands, each time."""
        offset, seen, most = 0, b"", len(mark) - 1
        for piece in self.chunks():
            seen += piece
            at = seen.find(mark)
            while at >= 0:
                yield offset + at
                at = seen.find(mark, at + len(mark))
            offset += max(0, len(seen) - most)
            seen = seen[-most:]

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Every line without its newline, with the offset it starts at."""
        offset, rest = 0, b""
        for piece in self.chunks():
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                yield offset, line
                offset += len(line) + 1
        if rest:
            yield offset, rest


class BlobStore:
    """Makes blobs. Large ones go to the given folder, or to a temporary one that goes away with the store."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._lock = threading.Lock()

    def new(self) -> Blob:
        """A new, empty blob."""
        return Blob(self)

    def new_path(self) -> Path:
        """A name that no other file has; folders are made when the first is asked for."""
        with self._lock:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="voyage-simulator-"))
                weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
            self._folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(suffix=".blob", dir=self._folder)
            os.close(handle)
            return Path(name)


def _unlink(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
