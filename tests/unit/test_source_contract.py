"""What every source promises, a folder as well as a store that is none; then what folders alone do."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
from pathlib import Path

import pytest
from memory_source import MemorySource
from ordinary import ordinary_folder
from step_doors import document, prose, scan, shown
from world import World

from voyage_jobs.sources import folder as folder_module
from voyage_jobs.sources.files import FileStat, Skip, SkipReason
from voyage_jobs.sources.folder import FolderSource
from voyage_jobs.sources.source import Opened, RootMissing, Source
from voyage_jobs.steps import scan as scan_module


class Folder:
    """A folder, and the hand that writes into it."""

    def __init__(self, root: Path) -> None:
        self.root = root / "docs"
        self.root.mkdir()
        self.source: Source = FolderSource(os.fsencode(self.root))

    def write(self, path: str, data: bytes) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    def remove(self, path: str) -> None:
        (self.root / path).unlink()

    def take_away(self) -> None:
        shutil.rmtree(self.root)


class Store:
    """The double."""

    def __init__(self, _root: Path) -> None:
        self.source = MemorySource()

    def write(self, path: str, data: bytes) -> None:
        self.source.write(path, data)

    def remove(self, path: str) -> None:
        del self.source.objects[path]

    def take_away(self) -> None:
        self.source.there = False


@pytest.fixture(params=[Folder, Store], ids=["folder", "double"])
def place(request, tmp_path):
    return request.param(tmp_path)


def listed(source, known=None):
    """Everything by path, against what is known of each folder."""
    scans = list(source.discover(lambda folder: (known or {}).get(folder, {})))
    assert not any(scan.unreadable or scan.skipped for scan in scans)
    return {f"{scan.path}/{each.name}".lstrip("/"): each for scan in scans for each in scan.changed}


def test_what_is_there_is_discovered_folder_by_folder(place):
    for path in ("b.md", "a.md", "sub/deep/c.md"):
        place.write(path, b"text")
    scans = list(place.source.discover(lambda _folder: {}))
    assert [scan.path for scan in scans] == ["", "sub", "sub/deep"]
    assert [[each.name for each in scan.changed] for scan in scans] == [["a.md", "b.md"], [], ["c.md"]]


def test_a_stream_has_the_bytes_and_their_hash_if_it_is_what_was_listed(place):
    place.write("a.csv", b"one\ntwo\n")
    now = place.source.revision("a.csv")
    opened, streamed = place.source.open("a.csv", now), place.source.stream("a.csv", now)
    with streamed.file:
        assert streamed.file.read() == b"one\ntwo\n"
    assert streamed.content_hash == opened.content_hash
    assert place.source.stream("a.csv", now._replace(size=1)).reason == SkipReason.CHANGING
    place.remove("a.csv")
    assert place.source.stream("a.csv", now).reason == SkipReason.VANISHED


def test_what_is_known_counts_as_unchanged_until_its_revision_changes(place):
    place.write("a.md", b"text")
    place.write("b.md", b"text")
    known = {"": {each.name: each.key for each in listed(place.source).values()}}
    [scan] = place.source.discover(lambda folder: known[folder])
    assert (scan.unchanged, scan.changed, scan.vanished) == (2, [], [])

    place.write("a.md", b"text and more")
    place.remove("b.md")
    [scan] = place.source.discover(lambda folder: known[folder])
    assert (scan.unchanged, [each.name for each in scan.changed], scan.vanished) == (0, ["a.md"], ["b.md"])


def test_a_revision_is_four_numbers_that_the_state_can_hold(place):
    place.write("sub/a.md", b"text")
    found = listed(place.source)["sub/a.md"]
    assert place.source.revision("sub/a.md") == found
    assert len(found.key) == 4
    assert all(number is None or -(1 << 63) <= number < 1 << 63 for number in found.key)
    assert place.source.revision("sub/none.md") is None


def test_open_gives_the_bytes_with_their_hash(place):
    data = b"# Title\r\n\r\n\xff\x00text"
    place.write("a.md", data)
    expected = listed(place.source)["a.md"]
    opened = place.source.open("a.md", expected)
    assert isinstance(opened, Opened)
    assert opened.content_hash == hashlib.blake2b(data, digest_size=20).digest()
    assert opened.stat == expected
    assert (opened.file.read(3), opened.file.seek(0), opened.file.read()) == (b"# T", 0, data)


def test_what_changed_since_it_was_listed_is_left_to_the_next_scan(place):
    place.write("a.md", b"text")
    expected = listed(place.source)["a.md"]
    place.write("a.md", b"other text")
    skip = place.source.open("a.md", expected)
    assert skip == Skip("a.md", SkipReason.CHANGING, "changed since it was listed")
    place.remove("a.md")
    skip = place.source.open("a.md", expected)
    assert skip == Skip("a.md", SkipReason.VANISHED, "gone since it was listed")


def test_what_is_written_later_does_not_show_in_what_is_open(place):
    place.write("a.md", b"text")
    opened = place.source.open("a.md", listed(place.source)["a.md"])
    assert isinstance(opened, Opened)
    place.write("a.md", b"more")
    assert opened.file.read() == b"text"


def test_it_keeps_what_it_lists_and_enters_its_folders(place):
    place.write("sub/a.md", b"text")
    assert all(map(place.source.keeps, listed(place.source)))
    assert place.source.enters("")
    assert place.source.enters("sub")
    assert isinstance(place.source.fingerprint, str)
    assert place.source.identity() == place.source.identity()
    assert all(isinstance(each, bytes) for each in place.source.to_watch())


def test_a_source_that_is_not_there_says_so_before_anything_else(place):
    place.write("a.md", b"text")
    place.take_away()
    for asks in (
        place.source.identity,
        lambda: place.source.discover(lambda _folder: {}),
        lambda: list(place.source.to_watch()),
    ):
        with pytest.raises(RootMissing):
            asks()


def test_a_scan_needs_no_more_than_the_port(tmp_path, monkeypatch):
    """A store that is no folder is scanned, sent and published; what it changes and loses is noticed."""
    world, store = World(tmp_path), MemorySource()
    monkeypatch.setattr(scan_module, "source_of", lambda _settings: store)
    store.write("a.md", prose("a").encode())
    store.write("sub/b.md", prose("b").encode())
    world.run()
    assert shown(world).keys() == {"a.md", "sub/b.md"}
    store.write("a.md", prose("other").encode())
    del store.objects["sub/b.md"]
    with world.worker() as context:
        result = scan(context)
        assert (result.unchanged, result.changed, result.vanished) == (0, 1, 1)
        assert document(context, "sub/b.md").state == "gone"
        assert scan(context).changed == 0


# Folders alone.


def look(path: Path) -> FileStat:
    return FileStat.of(path.name, path.lstat())


def opened(path: Path, expected: FileStat | None = None, **options) -> Opened | Skip:
    source = FolderSource(os.fsencode(path.parent), **{"max_bytes": 1000, **options})
    return source.open(path.name, expected or look(path))


def reason(path: Path, **options) -> tuple[str, str, bool]:
    skip = opened(path, **options)
    assert isinstance(skip, Skip), skip
    return skip.reason, skip.detail, skip.stat is not None


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.md"
    path.write_bytes(b"# Title\r\n\r\ntext\n")
    return path


@pytest.fixture
def ordinary():
    with ordinary_folder() as folder:
        yield folder


def test_a_pipe_is_neither_waited_for_nor_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.md")
    assert reason(tmp_path / "pipe.md") == (SkipReason.SPECIAL, "not a regular file", False)


def test_sockets_devices_and_folders_are_special(tmp_path):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.fspath(tmp_path / "sock"))
        assert reason(tmp_path / "sock")[0] == SkipReason.SPECIAL
    assert reason(Path("/dev/null"))[0] == SkipReason.SPECIAL
    assert reason(tmp_path)[0] == SkipReason.SPECIAL


def test_a_file_turned_into_a_link_is_not_followed(file):
    before = look(file)
    file.rename(file.with_name("other.md"))
    file.symlink_to("other.md")
    assert reason(file, expected=before)[0] == SkipReason.SYMLINK
    before = FileStat.of(file.name, file.stat())  # being renamed has changed its ctime
    assert isinstance(opened(file, before, follow_symlinks=True), Opened)


def test_without_permission_it_is_unreadable_and_tried_again(ordinary):
    (ordinary / "a.md").write_text("text")
    (ordinary / "a.md").chmod(0)
    assert reason(ordinary / "a.md") == (SkipReason.UNREADABLE, "Permission denied", False)


def test_a_disk_error_is_unreadable(file, monkeypatch):
    def broken(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(folder_module.os, "read", broken)
    assert reason(file) == (SkipReason.UNREADABLE, "Input/output error", False)


@pytest.mark.parametrize("change", ["grow", "touch", "replace"])
def test_any_change_since_the_look_leaves_it_to_the_next_scan(file, change):
    before = look(file)
    if change == "grow":
        file.write_bytes(file.read_bytes() + b"more")
    if change == "replace":
        file.with_name("new").write_bytes(file.read_bytes())
        file.with_name("new").rename(file)
    os.utime(file, ns=(0, before.mtime_ns + (change == "touch")))
    assert reason(file, expected=before) == (SkipReason.CHANGING, "changed since it was listed", False)
    assert isinstance(opened(file), Opened)


@pytest.mark.parametrize("change", ["grow", "shrink", "touch"])
def test_a_change_during_reading_leaves_it_to_the_next_scan(file, change, monkeypatch):
    real_read, before = os.read, look(file)

    def changing(fd, count):
        if change == "shrink":
            os.truncate(file, 3)
        part = real_read(fd, count)
        if change == "grow" and part:
            with file.open("ab") as more:
                more.write(b"more")
        os.utime(file, ns=(0, before.mtime_ns + (change == "touch")))
        return part

    monkeypatch.setattr(folder_module.os, "read", changing)
    assert reason(file, expected=before) == (SkipReason.CHANGING, "changed while it was read", False)


def test_too_large_is_not_even_read(file, monkeypatch):
    with file.open("r+b") as sparse:
        sparse.truncate(5_000_000)
    monkeypatch.setattr(folder_module.os, "read", None)
    assert reason(file) == (SkipReason.TOO_LARGE, "5,000,000 bytes; the limit is 1,000", True)


def test_a_large_file_is_read_in_parts(file):
    data = os.urandom(1_500_000)
    file.write_bytes(data)
    found = opened(file, max_bytes=len(data))
    assert isinstance(found, Opened)
    assert found.file.read() == data
