"""What is on the disk after the power went: everything that was synced, and of the rest whatever chance has it.

Every fsync of this process is noted. Of a file that changed since, the contents may be lost; of a folder that changed
since, names may be missing, or be back at what they were renamed from. SQLite and its log call fsync from C, unseen
here; what it committed is taken for durable, as it is under `synchronous=FULL`, but its log may end in garbage.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

_SQLITE = ("state.db", "state.db-wal")
_MEMORY_ONLY = "state.db-shm"


class Disk:
    """Notes what is durable below `folder`. `watched` must enclose everything that may sync."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._contents: dict[int, tuple[int, int]] = {}
        self._names: dict[int, dict[str, int]] = {}

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Note every fsync of this process."""
        with mock.patch("os.fsync", self._note):
            yield

    def _note(self, fd: int) -> None:
        found = os.fstat(fd)
        if stat.S_ISDIR(found.st_mode):
            self._names[found.st_ino] = {entry.name: entry.inode() for entry in os.scandir(fd)}
        else:
            self._contents[found.st_ino] = (found.st_size, found.st_mtime_ns)

    def is_durable(self, path: Path) -> bool:
        """Whether the name of a file or folder survives a power loss."""
        names = self._names.get(path.parent.stat().st_ino, {})
        return names.get(path.name) == path.stat().st_ino

    def restart(self) -> None:
        """The power is back: whatever is there now is what was on the disk."""
        self._contents.clear()
        self._names.clear()
        for folder, _, files in os.walk(self._folder):
            for path in (folder, *(os.path.join(folder, name) for name in files)):
                with open_for_sync(path) as fd:
                    self._note(fd)

    def after_power_loss(self, image: Path, rng: random.Random) -> list[str]:
        """Copy the folder to `image` as a power loss at this moment may leave it; what was lost, in words."""
        lost: list[str] = []
        self._copy(self._folder, image, rng, lost)
        return lost

    def _copy(self, folder: Path, image: Path, rng: random.Random, lost: list[str]) -> None:
        image.mkdir()
        durable = self._names.get(folder.stat().st_ino, {})
        before = {inode: name for name, inode in durable.items()}
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            here = Path(entry.path)
            if entry.name == _MEMORY_ONLY:
                continue
            if entry.name in _SQLITE:
                _copy_sqlite(here, image / entry.name, rng, lost)
                continue
            name = entry.name
            if durable.get(name) != entry.inode() and rng.random() < 0.5:
                lost.append(f"the name of {here.relative_to(self._folder)}")
                if entry.inode() not in before:
                    continue
                name = before[entry.inode()]
            if entry.is_dir():
                self._copy(here, image / name, rng, lost)
            else:
                shutil.copy2(here, image / name)
                self._damage(here, image / name, rng, lost)

    def _damage(self, here: Path, copy: Path, rng: random.Random, lost: list[str]) -> None:
        """Lose what was not synced of one file: all of it, its end, or its blocks but not its length."""
        found = here.stat()
        durable, changed_ns = self._contents.get(found.st_ino, (0, -1))
        if (durable, changed_ns) == (found.st_size, found.st_mtime_ns) or not found.st_size:
            return
        how = rng.choice(("kept", "empty", "cut", "zeros"))
        if how == "kept":
            return
        kept = min(durable, found.st_size)
        if how == "cut":
            kept = (kept + found.st_size) // 2
        os.truncate(copy, kept)
        if how == "zeros":
            os.truncate(copy, found.st_size)
        lost.append(f"{here.relative_to(self._folder)}: {how}")


@contextlib.contextmanager
def open_for_sync(path: str) -> Iterator[int]:
    """A file or folder, as one that is to be synced is opened."""
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


def _copy_sqlite(here: Path, copy: Path, rng: random.Random, lost: list[str]) -> None:
    shutil.copy2(here, copy)
    if here.name.endswith("-wal") and rng.random() < 0.5:
        with open(copy, "ab") as log:
            log.write(rng.randbytes(rng.randint(1, 9000)))
        lost.append("the end of SQLite's log: garbage")
