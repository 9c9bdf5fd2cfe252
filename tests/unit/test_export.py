"""`export` writes what the table shows, whole or not at all."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest
from verify_doors import prose, settled
from world import World

from voyage_jobs.errors import ConfigError
from voyage_jobs.maintenance import export as export_module
from voyage_jobs.maintenance.export import export


@pytest.fixture
def world(tmp_path):
    return settled(tmp_path)


def test_before_the_first_publication_there_is_nothing_to_export(tmp_path):
    world = World(tmp_path)
    with pytest.raises(ConfigError, match="no table"):
        export(world.settings(), tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


def test_a_file_is_overwritten_only_by_force(world):
    path = world.root / "out.parquet"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="already exists"):
        export(world.settings(), path)
    assert path.read_text() == "mine"
    assert export(world.settings(), path, force=True).rows == 12


def test_a_folder_that_is_not_there_and_a_source_nobody_knows(world):
    with pytest.raises(ConfigError, match="no folder"):
        export(world.settings(), world.root / "nowhere" / "out.parquet")
    with pytest.raises(ConfigError, match=r"no source 'doc'.*Did you mean docs"):
        export(world.settings(), world.root / "out.parquet", source="doc")


def test_a_source_that_has_left_the_configuration_still_has_its_rows(world):
    elsewhere = world.root / "elsewhere"
    elsewhere.mkdir()
    settings = world.settings(sources=[{"name": "other", "path": str(elsewhere)}])
    assert export(settings, world.root / "out.parquet", source="docs").rows == 12
    assert export(settings, world.root / "none.parquet", source="other").rows == 0


def test_a_failure_half_way_leaves_no_file(world, monkeypatch):
    def fails(*_args):
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        export(world.settings(), world.root / "out.parquet", progress=fails)
    assert list(world.root.glob("out.parquet*")) == []


def test_every_row_and_column_is_there(world):
    done = export(world.settings(), world.root / "out.parquet")
    read = pq.read_table(done.path)
    wanted = world.table_rows(
        "chunk_id",
        "source",
        "path",
        "ordinal",
        "text",
        "section",
        "metadata",
        "front_matter",
        "place",
        "vector",
    )
    rows = sorted(read.to_pylist(), key=lambda row: (row["source"], row["path"], row["ordinal"]))
    assert len(rows) == done.rows == 12
    for row, expected in zip(rows, wanted, strict=True):
        assert np.array_equal(row.pop("vector"), expected.pop("vector"))
        assert {name: row[name] for name in expected} == expected
    assert done.bytes == done.path.stat().st_size
    assert pq.ParquetFile(done.path).metadata.row_group(0).column(0).compression == "ZSTD"


def test_without_vectors_and_of_one_source(tmp_path):
    (tmp_path / "more").mkdir()
    sources = [{"name": name, "path": str(tmp_path / name)} for name in ("docs", "more")]
    world = World(tmp_path, sources=sources)
    world.write("a.md", prose("a", 2))
    world.write("b.md", prose("b", 3), folder=tmp_path / "more")
    world.run()
    export(world.settings(), tmp_path / "out.parquet", source="more", vectors=False)
    read = pq.read_table(tmp_path / "out.parquet")
    assert "vector" not in read.column_names
    assert set(read["source"].to_pylist()) == {"more"}
    assert read.num_rows == 3
    export(world.settings(), tmp_path / "all.parquet")
    assert pq.read_table(tmp_path / "all.parquet").num_rows == 5


def test_large_exports_come_in_row_groups(world, monkeypatch):
    monkeypatch.setattr(export_module, "_GROUP_BYTES", 1)
    seen = []
    export(
        world.settings(),
        world.root / "out.parquet",
        progress=lambda what, done, total: seen.append((done, total)),
    )
    assert seen[-1] == (12, 12)
    assert pq.ParquetFile(world.root / "out.parquet").metadata.num_rows == 12
