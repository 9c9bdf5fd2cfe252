"""`voyage-jobs backup`, `restore` and `export` as people and scripts meet them."""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from verify_doors import segment_files, settled

from voyage_jobs.cli.main import cli


@pytest.fixture
def world(tmp_path):
    return settled(tmp_path, documents=2, dimension=256)


def call(world, *args):
    return CliRunner().invoke(cli, ["--config", str(world.config_file()), *map(str, args)])


def test_there_and_back(world):
    copy = world.root / "copy"
    result = call(world, "backup", copy)
    assert result.exit_code == 0
    assert result.stdout.startswith("2 files, ")
    assert "1 of them as hard links" in result.stdout
    refused = call(world, "restore", copy)
    assert refused.exit_code == 2
    assert "is not empty" in refused.stderr
    shutil.rmtree(world.data_dir)
    result = call(world, "restore", copy)
    assert result.exit_code == 0
    assert "voyage-jobs sync" in result.stdout
    shutil.rmtree(world.data_dir)
    report = json.loads(call(world, "restore", copy, "--json").stdout)
    assert report["files"] == 2
    assert report["folder"] == str(world.data_dir)


def test_a_damaged_pack_ends_with_3_and_is_named(world):
    segment_files(world)[0].unlink()
    result = call(world, "backup", world.root / "copy", "--with-table")
    assert result.exit_code == 3
    assert "Not in it:" in result.stderr


@pytest.mark.parametrize("place", ["/proc/copy", "a.txt/copy"])
def test_a_place_where_no_folder_can_be_made_is_an_answer(world, place):
    (world.root / "a.txt").write_text("a file")
    result = call(world, "backup", world.root / place)
    assert result.exit_code == 2
    assert "No folder can be made in" in result.stderr


def test_a_table_that_is_asked_for_and_is_not_there_is_told(world):
    assert call(world, "backup", world.root / "one", "--with-table").stderr == ""
    shutil.rmtree(world.data_dir / "lancedb")
    result = call(world, "backup", world.root / "two", "--with-table")
    assert result.exit_code == 0
    assert "Not in it: the table" in result.stderr
    report = json.loads(call(world, "backup", world.root / "three", "--with-table", "--json").stdout)
    assert report["table_missing"] is True
    assert "the table" not in call(world, "backup", world.root / "four").stderr


def test_backup_beside_a_process_at_work(world):
    with world.worker():
        assert call(world, "backup", world.root / "copy").exit_code == 0


def test_export(world):
    path = world.root / "out.parquet"
    result = call(world, "export", path)
    assert result.exit_code == 0
    assert result.stdout.startswith("6 rows, ")
    assert call(world, "export", path).exit_code == 2
    report = json.loads(call(world, "export", path, "--force", "--no-vectors", "--json").stdout)
    assert report["rows"] == 6


def test_what_is_exported_into_a_pipe_is_all_that_it_gets(world):
    path = world.root / "pipe"
    os.mkfifo(path)
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(path.read_bytes)
        result = call(world, "export", path, "--force")
        assert result.exit_code == 0
    assert pq.read_table(pa.BufferReader(read.result())).num_rows == 6
    assert result.stdout == ""
    assert result.stderr.startswith("6 rows, ")
    size = call(world, "export", world.root / "a_file.parquet").stdout
    assert result.stderr.partition(", in ")[0] == size.partition(", in ")[0]


def test_a_report_is_not_mixed_with_what_is_exported_to_the_same_place(world):
    result = call(world, "export", "/dev/stdout", "--force", "--json")
    assert result.exit_code == 2
    assert "--json goes where the file would go" in result.stderr


@pytest.mark.parametrize("length", [250, 255, 300])
@pytest.mark.parametrize("command", ["backup", "export"])
def test_a_name_that_is_too_long_is_told(world, command, length):
    """The file that is renamed at the end has a longer one."""
    place = world.root / ("x" * length)
    result = call(world, command, place)
    if command == "export" and length == 250:
        assert result.exit_code == 0
        return
    assert result.exit_code == 2
    assert "File name too long" in result.stderr
    assert not list(world.root.glob("x*"))
