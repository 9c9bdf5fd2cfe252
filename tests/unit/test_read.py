"""Reading yields a document or a reason, never an exception and never a wait."""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from voyage_jobs.sources import read as read_module
from voyage_jobs.sources.files import FileStat, Skip, SkipReason
from voyage_jobs.sources.read import ReadDocument, read_document


def look(path: Path) -> FileStat:
    return FileStat.of(path.name, path.lstat())


def read(path: Path, **options: Any) -> ReadDocument | Skip:
    options = {"max_bytes": 1000, **options}
    return read_document(os.fsencode(path), options.pop("expected", None) or look(path), **options)


def reason(path: Path, **options: Any) -> tuple[SkipReason, str, bool]:
    skip = read(path, **options)
    assert isinstance(skip, Skip), skip
    return skip.reason, skip.detail, skip.stat is not None


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.md"
    path.write_bytes(b"# Title\r\n\r\ntext\n")
    return path


@pytest.fixture
def ordinary(tmp_path: Path) -> Iterator[Path]:
    """A folder of an ordinary user, whose rights the test has: root may read everything."""
    if os.geteuid() != 0:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory() as made:
        os.chown(made, 65534, 65534)
        os.seteuid(65534)
        try:
            yield Path(made)
        finally:
            os.seteuid(0)


# Not regular, not readable


def test_a_pipe_is_neither_waited_for_nor_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.md")

    assert reason(tmp_path / "pipe.md") == (SkipReason.SPECIAL, "not a regular file", False)


def test_sockets_devices_and_folders_are_special(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.fspath(tmp_path / "sock"))
        assert reason(tmp_path / "sock")[0] == SkipReason.SPECIAL
    assert reason(Path("/dev/null"))[0] == SkipReason.SPECIAL
    assert reason(tmp_path)[0] == SkipReason.SPECIAL


def test_gone_is_vanished(file: Path) -> None:
    before = look(file)
    file.unlink()

    assert reason(file, expected=before)[0] == SkipReason.VANISHED


def test_a_file_turned_into_a_link_is_not_followed(file: Path) -> None:
    before = look(file)
    file.rename(file.with_name("other.md"))
    file.symlink_to("other.md")

    assert reason(file, expected=before)[0] == SkipReason.SYMLINK
    assert isinstance(read(file, expected=before, follow_symlinks=True), ReadDocument)


def test_without_permission_it_is_unreadable_and_tried_again(ordinary: Path) -> None:
    (ordinary / "a.md").write_text("text")
    (ordinary / "a.md").chmod(0)

    assert reason(ordinary / "a.md") == (SkipReason.UNREADABLE, "Permission denied", False)


def test_a_disk_error_is_unreadable(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(read_module.os, "read", broken)
    assert reason(file) == (SkipReason.UNREADABLE, "Input/output error", False)


# Changing


@pytest.mark.parametrize("change", ["grow", "touch", "replace"])
def test_a_change_since_the_look_leaves_it_to_the_next_scan(file: Path, change: str) -> None:
    before = look(file)
    if change == "grow":
        file.write_bytes(file.read_bytes() + b"more")
    if change == "replace":
        file.with_name("new").write_bytes(file.read_bytes())
        file.with_name("new").rename(file)
    os.utime(file, ns=(0, before.mtime_ns + (change == "touch")))

    assert reason(file, expected=before) == (SkipReason.CHANGING, "changed since it was listed", False)
    assert isinstance(read(file), ReadDocument)


@pytest.mark.parametrize("change", ["grow", "shrink", "touch"])
def test_a_change_during_reading_leaves_it_to_the_next_scan(
    file: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_read, before = os.read, look(file)

    def changing(fd: int, count: int) -> bytes:
        if change == "shrink":
            os.truncate(file, 3)
        part = real_read(fd, count)
        if change == "grow" and part:
            with file.open("ab") as more:
                more.write(b"more")
        os.utime(file, ns=(0, before.mtime_ns + (change == "touch")))
        return part

    monkeypatch.setattr(read_module.os, "read", changing)
    assert reason(file, expected=before) == (SkipReason.CHANGING, "changed while it was read", False)


# Content


def test_too_large_is_not_even_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with file.open("r+b") as sparse:
        sparse.truncate(5_000_000)
    monkeypatch.setattr(read_module.os, "read", None)

    assert reason(file) == (SkipReason.TOO_LARGE, "5,000,000 bytes; the limit is 1,000", True)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", (SkipReason.EMPTY, "no text")),
        (b"\xef\xbb\xbf", (SkipReason.EMPTY, "no text")),
        (b" \r\n\t\xc2\xa0", (SkipReason.EMPTY, "nothing but white space")),
        (b"text\0more", (SkipReason.BINARY, "a zero byte at offset 4")),
        (b"%PDF-1.7 text", (SkipReason.BINARY, "starts as a binary format does")),
        (b"\xff\xfeT\0\0\0", (SkipReason.BINARY, "a zero character at offset 1")),
        (b"caf\xe9 au lait", (SkipReason.UNDECODABLE, "not UTF-8 at byte 3")),
        (b"\xef\xbb\xbfab\xff", (SkipReason.UNDECODABLE, "not UTF-8 at byte 5")),
        (b"\xff\xfeT\0\x00\xd8", (SkipReason.UNDECODABLE, "not UTF-16-LE at byte 4")),
        (b"\xfe\xff\0Tx", (SkipReason.UNDECODABLE, "not UTF-16-BE at byte 4")),
    ],
)
def test_content_that_is_no_text(file: Path, data: bytes, expected: tuple[SkipReason, str]) -> None:
    file.write_bytes(data)

    assert reason(file) == (*expected, True)


@pytest.mark.parametrize(
    ("data", "text", "encoding"),
    [
        (b"# T\r\n\rx\n", "# T\r\n\rx\n", "utf-8"),
        ("\ufeffcafé 🙂".encode(), "café 🙂", "utf-8"),
        ("\ufeff\ufeffx".encode(), "\ufeffx", "utf-8"),
        (b"\xff\xfe" + "é🙂\r\n".encode("utf-16-le"), "é🙂\r\n", "utf-16-le"),
        (b"\xfe\xff" + "é🙂\r\n".encode("utf-16-be"), "é🙂\r\n", "utf-16-be"),
    ],
)
def test_text_is_decoded_and_otherwise_left_alone(file: Path, data: bytes, text: str, encoding: str) -> None:
    file.write_bytes(data)
    digest = hashlib.blake2b(data, digest_size=20).digest()

    assert read(file) == ReadDocument(text, encoding, digest, look(file))


def test_a_large_file_is_read_in_parts(file: Path) -> None:
    data = os.urandom(1_500_000).hex().encode()
    file.write_bytes(data)

    found = read(file, max_bytes=len(data))
    assert isinstance(found, ReadDocument)
    assert found.text.encode() == data
