"""`voyage-jobs verify` as people and scripts meet it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from verify_doors import plain_table, segment_files, settled, sql

from voyage_jobs.cli.main import cli
from voyage_jobs.maintenance.audit.catalog import CATALOG


@pytest.fixture
def world(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("VOYAGE_")]:
        monkeypatch.delenv(name)
    return settled(tmp_path, documents=2, dimension=256)


def verify(world, *args):
    return CliRunner().invoke(cli, ["--config", str(world.config_file()), "verify", *args])


def test_before_the_first_run_there_is_nothing_to_verify(world):
    (world.data_dir / "state.db").rename(world.root / "aside.db")
    result = verify(world)
    assert result.exit_code == 2
    assert "state.db is gone" in result.stderr
    (world.data_dir / "generation").unlink()
    result = verify(world)
    assert result.exit_code == 2
    assert "There is no state yet" in result.stderr


def test_a_clean_folder_says_so(world):
    result = verify(world)
    assert result.exit_code == 0
    assert result.stdout == (
        "Checked: 3 files, 1 segment, 6 embeddings, 6 rows.\n"
        "Files were compared by size, times and inode; --deep reads them.\nEverything agrees.\n"
    )
    assert "Every file was read.\n" in verify(world, "--deep").stdout
    report = json.loads(verify(world, "--json").stdout)
    assert report["clean"] is True
    assert report["compared_by"] == "size, times and inode"
    assert report["checked"] == {
        **{"files": 3, "packs": 1, "embeddings": 6, "rows": 6},
        **dict.fromkeys(("indexes", "jobs", "remote_files"), 0),
    }
    assert report["findings"] == []
    assert (report["mended"], report["at_work"]) == (None, None)


def test_damage_is_told_with_examples_and_mended(world):
    plain_table(world).delete("ordinal = 1")
    result = verify(world)
    assert result.exit_code == 3
    assert "rows_missing: 2 rows: published, and not in the table" in result.stdout
    assert "docs:part0/d0.md chunk 1" in result.stdout
    assert "verify --repair" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    report = json.loads(verify(world, "--json").stdout)
    (finding,) = report["findings"]
    assert finding == {
        "class": "rows_missing",
        "count": 2,
        "unit": "rows",
        "means": CATALOG["rows_missing"].means,
        "mend": CATALOG["rows_missing"].mend,
        "person": False,
        "examples": ["docs:part0/d0.md chunk 1", "docs:part1/d1.md chunk 1"],
    }
    result = verify(world, "--repair")
    assert result.exit_code == 0
    assert "rows_missing: 2, mended" in result.stdout
    assert verify(world).exit_code == 0


def test_a_dry_run_names_the_price_and_mends_nothing(world):
    segment_files(world)[0].unlink()
    result = verify(world, "--repair", "--dry-run")
    assert result.exit_code == 3
    assert (
        "--repair would, in this order:\n  pack_missing, 1: have their vectors made again, which costs"
        in result.stdout
    )
    assert "tokens to be paid again" in result.stdout
    assert "with --dry-run it says" not in result.stdout
    report = json.loads(verify(world, "--repair", "--dry-run", "--json").stdout)
    (told,) = report["would"]
    assert told["class"] == "pack_missing"
    assert told["tokens"] > 0
    assert told["cost_usd"] > 0


def test_a_dry_run_of_nothing_is_a_mistake(world):
    result = verify(world, "--dry-run")
    assert result.exit_code == 2
    assert "--dry-run goes with --repair" in result.stderr


def test_repair_beside_a_process_at_work_is_refused_and_looking_is_not(world):
    plain_table(world).delete("ordinal = 1")
    with world.worker():
        assert verify(world, "--repair").exit_code == 4
        result = verify(world)
    assert result.exit_code == 3
    assert f"Process {os.getpid()} is running" in result.stdout


def test_what_a_person_must_mend_has_its_own_exit_code(world):
    world.docs.rename(world.root / "unmounted")
    result = verify(world, "--repair")
    assert result.exit_code == 6
    assert "source_missing: 1, 1 left" in result.stdout
    assert "(only you can)" in result.stdout


def test_the_vendor_is_asked_only_with_a_key(world):
    result = verify(world, "--remote")
    assert result.exit_code == 2
    assert "no Voyage API key" in result.stderr


def test_names_that_would_play_tricks_are_shown_harmlessly(world):
    sql(world, "UPDATE documents SET name = 'a' || char(27) || '[2J.md' WHERE id = 2")
    result = verify(world)
    assert "\x1b" not in result.stdout
    assert "\\x1b" in result.stdout


def test_every_class_of_damage_stands_on_its_page():
    page = (Path(__file__).parents[2] / "docs" / "verify.md").read_text()
    for code, damage in CATALOG.items():
        assert f"| `{code}` | {damage.unit} | {damage.means} | {damage.mend} |" in page


def test_what_is_gone_from_a_frozen_source_waits_for_you_and_not_for_a_scan(world):
    for path in world.docs.rglob("d*.md"):
        path.unlink()
    world.run(quiet=False, turns=4)
    result = verify(world)
    assert result.exit_code == 6
    assert "bring them back, or `voyage-jobs confirm-deletes NAME` (only you can)" in result.stdout
    assert "verify --repair" not in result.stdout
    told = verify(world, "--repair", "--dry-run").stdout
    assert "file_frozen, 2: leave it to you" in told
