"""Files of a killed process that are cut, emptied or gone: healed, or refused in clear words, and nothing lost."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from voyage_jobs.errors import StateError
from voyage_jobs.table.engine import newest_manifest

from .machine import Machine

DAMAGES = ("emptied", "cut", "gone")


def damage(path: Path, how: str) -> None:
    if how == "gone":
        path.unlink()
    elif how == "zeros":
        path.write_bytes(bytes(path.stat().st_size))
    else:
        os.truncate(path, 0 if how == "emptied" else path.stat().st_size // 2)


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.rglob(pattern)
    return found


def largest(folder: Path, pattern: str) -> Path:
    return max(folder.rglob(pattern), key=lambda path: path.stat().st_size)


@pytest.fixture
def machine(tmp_path):
    machine = Machine(tmp_path, seed=5)
    machine.author.begin(4)
    return machine


@pytest.fixture
def published(machine):
    """Two publications and a removal are behind it, so that the table has versions and deletions."""
    machine.run()
    machine.author.every_act()
    machine.run()
    machine.everything_is_right()
    return machine


def is_healed_at_no_cost(machine: Machine) -> None:
    units = machine.world.ledger.units()
    jobs = machine.world.sim.calls["create_batch"]
    machine.run()
    machine.everything_is_right()
    assert machine.world.ledger.units() == units
    assert machine.world.sim.calls["create_batch"] == jobs


# --- the table ---


@pytest.mark.parametrize("how", [*DAMAGES, "zeros"])
@pytest.mark.parametrize("what", ["newest manifest", "data file", "deletion file"])
def test_a_torn_table_is_published_again_from_the_packs(published, what, how):
    table = published.world.data_dir / "lancedb" / "chunks.lance"
    found = {
        "newest manifest": lambda: Path(newest_manifest(str(table)) or ""),
        "data file": lambda: largest(table / "data", "*.lance"),
        "deletion file": lambda: largest(table / "_deletions", "*"),
    }[what]()
    damage(found, how)
    is_healed_at_no_cost(published)


@pytest.mark.parametrize("what", ["_versions", "data", "_transactions", "."])
def test_a_table_that_lost_a_whole_folder_is_published_again(published, what):
    folder = published.world.data_dir / "lancedb" / "chunks.lance" / what
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    is_healed_at_no_cost(published)


def test_a_torn_table_is_kept_beside_the_new_one_and_the_log_says_so(published):
    table = published.world.data_dir / "lancedb" / "chunks.lance"
    damage(Path(newest_manifest(str(table)) or ""), "emptied")
    is_healed_at_no_cost(published)
    (told,) = published.world.log.named("table.set_aside")
    assert Path(told["kept_as"]).is_dir()
    assert list((Path(told["kept_as"]) / "data").iterdir())


# --- the segments ---


@pytest.mark.parametrize("how", DAMAGES)
def test_the_vectors_of_a_lost_pack_are_asked_for_again_and_no_others(published, how):
    world = published.world
    with world.worker() as context, context.store.read() as connection:
        sql = (
            "SELECT p.name, COUNT(*) FROM embeddings e JOIN packs p ON p.id = e.pack_id"
            " WHERE e.state = 2 GROUP BY p.id"
        )
        name, embeddings = connection.exec_driver_sql(sql).all()[0]
    served = len(world.table_rows("path"))
    damage(world.data_dir / "vectors" / name, how)
    with world.worker():
        assert len(world.table_rows("path")) == served, "it does not go on serving meanwhile"
    published.run()
    published.everything_is_right(paid_twice=embeddings)


def test_a_half_written_pack_of_a_killed_process_is_swept_away(machine):
    machine.run_until_killed("segment.written")
    left = only(machine.world.data_dir / "vectors", "*.tmp")
    damage(left, "cut")
    machine.run()
    machine.everything_is_right()


# --- the spool ---


@pytest.mark.parametrize("how", DAMAGES)
def test_a_torn_input_file_is_written_again(machine, how):
    machine.run_until_killed("upload.before")
    damage(largest(machine.world.data_dir / "spool", "*.jsonl"), how)
    machine.run()
    machine.everything_is_right()


@pytest.mark.parametrize("how", DAMAGES)
def test_a_torn_result_file_is_fetched_again(machine, how):
    machine.run_until_killed("segment.renamed")
    damage(only(machine.world.data_dir / "spool", "*.output.jsonl"), how)
    fetched = machine.world.sim.calls["file_content"]
    machine.run()
    machine.everything_is_right()
    assert machine.world.sim.calls["file_content"] > fetched


# --- SQLite ---


def test_without_its_shared_memory_file_the_state_is_whole(machine):
    machine.run_until_killed("collect.committed")
    (machine.world.data_dir / "state.db-shm").unlink()
    machine.run()
    machine.everything_is_right()


@pytest.mark.parametrize("garbage", [b"\xff" * 5000, bytes(4096 + 24)])
def test_garbage_at_the_end_of_the_log_is_passed_over(machine, garbage):
    machine.run_until_killed("attempt.committed")
    log = machine.world.data_dir / "state.db-wal"
    assert log.stat().st_size
    with open(log, "ab") as file:
        file.write(garbage)
    machine.run()
    machine.everything_is_right()


def test_a_lost_state_is_rebuilt_from_folders_packs_and_jobs_at_no_cost(published):
    for path in published.world.data_dir.glob("state.db*"):
        path.unlink()
    units = published.world.ledger.units()
    published.run()
    assert published.world.ledger.units() == units
    assert published.world.ledger.billed_more_than_once() == {}


def test_a_damaged_state_is_refused_in_clear_words_and_left_as_it_is(published):
    state = published.world.data_dir / "state.db"
    content = random.Random(1).randbytes(40_000) + state.read_bytes()[40_000:]
    state.write_bytes(content)
    with pytest.raises(StateError, match="is damaged") as refused:
        published.run()
    assert "recover" in refused.value.hint
    assert state.read_bytes() == content
