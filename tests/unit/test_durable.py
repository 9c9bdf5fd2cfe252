"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os

import pytest

from voyage_jobs.core import durable
from voyage_jobs.errors import DiskFullError


@pytest.fixture
def synced(monkeypatch):
    """The kinds of what was fsynced, in order."""
    seen = []
    real = os.fsync

    def fsync(fd):
        seen.append("folder" if os.path.isdir(f"/proc/self/fd/{fd}") else "file")
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    return seen


def failing(error):
    def fail(*_args, **_kwargs):
        raise OSError(error, os.strerror(error))

    return fail


def test_a_file_appears_when_it_is_whole_and_synced(tmp_path, synced):
    path = tmp_path / "out.jsonl"
    with durable.writing(path) as out:
        out.write(b"one\n")
        out.flush()
        assert not path.exists()
        assert not synced
    assert path.read_bytes() == b"one\n"
    assert synced == ["file", "folder"]
    assert os.listdir(tmp_path) == ["out.jsonl"]


def test_what_was_there_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_bytes(b"old")
    with durable.writing(path) as out:
        out.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


def test_what_is_no_file_stays_what_it_is_and_takes_what_is_written(tmp_path):
    path = tmp_path / "null"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with durable.writing(path) as out:
            out.write(b"one\n")
        assert os.read(reader, 9) == b"one\n"
    finally:
        os.close(reader)
    assert path.is_fifo()
    assert os.listdir(tmp_path) == ["null"]


def test_what_a_link_leads_to_is_written_and_the_link_stays(tmp_path):
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "file").write_bytes(b"old")
    with durable.writing(tmp_path / "link") as out:
        out.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"new"
    assert sorted(os.listdir(tmp_path)) == ["file", "link"]


def test_an_error_leaves_nothing_behind(tmp_path):
    path = tmp_path / "out.jsonl"
    with pytest.raises(RuntimeError, match="no more"), durable.writing(path) as out:
        out.write(b"half")
        raise RuntimeError("no more")
    assert not os.listdir(tmp_path)


def test_a_half_file_of_a_dead_process_is_written_over(tmp_path):
    (tmp_path / "out.jsonl.tmp").write_bytes(b"what a dead process left, and longer than the new one")
    with durable.writing(tmp_path / "out.jsonl") as out:
        out.write(b"new")
    assert (tmp_path / "out.jsonl").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["out.jsonl"]


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_no_room_has_one_name_wherever_it_shows(tmp_path, monkeypatch, error, call):
    path = tmp_path / "out.jsonl"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, call, failing(error))
    with pytest.raises(DiskFullError, match="No room left") as caught, durable.writing(path) as out:
        out.write(b"new")
    monkeypatch.undo()
    assert "out.jsonl" in caught.value.message
    assert "work resumes by itself" in caught.value.hint
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out.jsonl"]


def test_a_failed_sync_is_not_tried_again(tmp_path, monkeypatch):
    """After a failed fsync the kernel has forgotten the data: a second one would lie."""
    calls = []

    def fsync(fd):
        calls.append(fd)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="Input/output"), durable.writing(tmp_path / "out.jsonl") as out:
        out.write(b"new")
    assert len(calls) == 1
    assert not os.listdir(tmp_path)


def test_other_errors_keep_their_own_name():
    with pytest.raises(PermissionError), durable.no_room_is_one_error("a file"):
        raise PermissionError(errno.EACCES, "no")


def test_removing_what_is_gone_is_no_error(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"")
    durable.remove(path)
    durable.remove(path)
    assert not path.exists()


def test_files_and_folders_can_be_synced_afterwards(tmp_path, synced):
    (tmp_path / "a").write_bytes(b"a")
    durable.sync_file(tmp_path / "a")
    durable.sync_dir(tmp_path)
    assert synced == ["file", "folder"]
    with pytest.raises(NotADirectoryError):
        durable.sync_dir(tmp_path / "a")
