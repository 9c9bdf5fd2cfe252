"""`verify --repair`: only with the lock, only what was found, and nothing is paid without a word."""

from __future__ import annotations

import shutil

import pytest
from step_doors import prose, scan, until
from test_verify_damage import create, plant_changed_segment, plant_missing_rows, plant_unknown_rows, upload
from verify_doors import counts, found, plain_table, repaired, segment_files, settled, sql
from world import World

from voyage_jobs.core.states import Batch
from voyage_jobs.errors import LockedError, StateError
from voyage_jobs.maintenance.audit.repair import compare, foretell, verify_and_repair
from voyage_jobs.maintenance.audit.verify import Scope, verify
from voyage_jobs.state.door import open_state


@pytest.fixture
def world(tmp_path):
    return settled(tmp_path)


def test_beside_a_process_at_work_nothing_is_repaired(world):
    plant_unknown_rows(world)
    with world.worker(), pytest.raises(LockedError):
        repaired(world)
    assert found(world) == {"rows_unknown": 1}


def test_where_there_is_no_state_none_is_made(tmp_path):
    with pytest.raises(StateError):
        repaired(World(tmp_path))
    assert not (tmp_path / "data" / "state.db").exists()


def test_where_nothing_is_wrong_nothing_is_touched(world):
    before = sql(world, "SELECT value FROM meta WHERE key = 'epoch'")
    assert repaired(world) == ({}, {})
    assert sql(world, "SELECT value FROM meta WHERE key = 'epoch'") == before


def test_what_only_a_person_can_mend_is_left_and_the_rest_is_mended(world):
    plant_unknown_rows(world)
    world.docs.rename(world.root / "unmounted")
    before, left = repaired(world)
    assert before == {"source_missing": 1, "rows_unknown": 1}
    assert left == {"source_missing": 1}
    assert len(world.table_rows("path")) == 12, "an unmounted source loses nothing"


def test_a_mass_delete_is_not_forced_by_a_repair(world):
    for path in world.docs.rglob("d*.md"):
        path.unlink()
    before, left = repaired(world)
    assert (before, left) == ({"file_gone": 4}, {"file_frozen": 4})
    assert len(world.table_rows("path")) == 12
    assert sql(world, "SELECT state FROM sources") == [("frozen",)]


def test_where_a_newer_version_is_on_its_way_whatever_comes_replaces_the_damage(world):
    world.write("part0/d0.md", prose("other", 2))
    with world.worker() as context:
        until(world, context, Batch.RUNNING)
    plant_missing_rows(world)
    assert repaired(world) == ({"rows_missing": 2}, {})
    world.write("part0/d0.md", prose("d0", 3))  # back to what was published, and is no more
    world.run()
    assert found(world) == {}
    assert len(world.table_rows("path")) == 12


def test_damage_is_mended_though_the_file_has_changed_since(world):
    plant_missing_rows(world)
    world.write("part0/d0.md", prose("other", 2))
    before, left = repaired(world)
    assert before == {"file_stale": 1, "rows_missing": 2}
    assert left == {}
    world.run()
    assert found(world) == {}
    assert [row["title"] for row in world.table_rows("title", "path") if row["path"] == "part0/d0.md"]


def test_a_dry_run_tells_the_price_and_does_nothing(world):
    plant_changed_segment(world)
    plant_missing_rows(world)
    findings = verify(world.settings(), world.clock, Scope())
    told = foretell(findings, open_state(world.settings()), 1.0)
    by_class = {each["class"]: each for each in told}
    assert set(by_class) == {"pack_changed", "rows_missing"}
    (tokens,) = sql(world, "SELECT SUM(tokens) FROM embeddings")[0]
    assert by_class["pack_changed"]["tokens"] == tokens
    assert by_class["pack_changed"]["cost_usd"] == tokens / 1_000_000
    assert by_class["rows_missing"]["cost_usd"] == 0
    assert counts(findings) == found(world)


def test_a_lost_pack_is_paid_again_and_nothing_else_is(world):
    billed = world.ledger.batch_tokens
    segment_files(world)[0].unlink()
    _, left = repaired(world)
    assert left == {}
    assert world.ledger.batch_tokens == billed, "a repair pays nothing itself"
    assert len(world.table_rows("path")) == 12, "the table goes on serving"
    world.run()
    assert world.ledger.batch_tokens == 2 * billed
    assert found(world) == {}


def test_vectors_that_are_in_the_pack_are_found_there_and_cost_nothing(world):
    billed = world.ledger.batch_tokens
    sql(world, "UPDATE embeddings SET pack_row = (pack_row + 1) % 12")
    before, left = repaired(world)
    assert before["pack_rows"] == 12
    assert left == {}
    world.run()
    assert world.ledger.batch_tokens == billed


def test_a_vector_that_its_pack_does_not_hold_is_wanted_again(world):
    sql(world, "UPDATE embeddings SET key = zeroblob(20) WHERE id = 1")
    _, left = repaired(world)
    assert left == {}
    assert sql(world, "SELECT state, pack_id FROM embeddings WHERE id = 1")[0] in [(0, None), (4, None)]


def test_a_break_in_the_history_is_told_once(world):
    sql(world, "UPDATE batches SET state = 'refused'")
    assert repaired(world) == ({"history_wrong": 1}, {})
    sql(world, "UPDATE batches SET state = 'cancelled'")
    assert found(world) == {"history_wrong": 1}, "a later one is another one"


def test_money_is_booked_on_the_day_it_was_spent(world):
    before = sql(world, "SELECT kind, at, tokens, usd FROM spend WHERE batch_id IS NOT NULL ORDER BY kind")
    sql(world, "UPDATE spend SET tokens = 1, usd = 5 WHERE batch_id IS NOT NULL")
    world.clock.advance(3 * 86_400)
    assert repaired(world) == ({"spend_wrong": 1}, {})
    assert (
        sql(world, "SELECT kind, at, tokens, usd FROM spend WHERE batch_id IS NOT NULL ORDER BY kind")
        == before
    )


def test_the_vendor_is_tidied_only_when_that_was_asked_for(world):
    with world.worker() as context:
        ref = sql(world, "SELECT ref FROM batches")[0][0]
        upload(world, context, f"voyage-jobs-{ref}.jsonl")
        mine = upload(world, context, "mine.jsonl")
    plant_unknown_rows(world)
    assert repaired(world) == ({"rows_unknown": 1}, {})
    assert found(world, remote=True) == {"file_orphan": 1}
    assert repaired(world, remote=True) == ({"file_orphan": 1}, {})
    with world.worker() as context:
        assert [file.id for file in context.client.list_files()] == [mine.id]


def test_a_second_job_is_cancelled_and_a_strangers_is_not(world):
    world.write("new.md", prose("new"))
    with world.worker() as context:
        batch = until(world, context, Batch.RUNNING)
        second = create(context, batch.input_file_id, batch.ref)
        theirs = create(context, upload(world, context, "x.jsonl").id, "eeee0123456789abcdef")
    before, left = repaired(world, remote=True)
    assert before == {"job_orphan": 1, "job_twice": 1}
    assert left == {"job_orphan": 1}
    with world.worker() as context:
        jobs = {job.id: job.status for job in context.client.list_batches()}
    assert jobs[second.id].startswith("cancel")
    assert not jobs[theirs.id].startswith("cancel")


def test_a_job_that_an_older_state_forgot_is_taken_on(world):
    world.write("new.md", prose("new"))
    with world.worker() as context:
        scan(context)
    shutil.copy(world.data_dir / "state.db", world.root / "older.db")
    with world.worker() as context:
        until(world, context, Batch.RUNNING)
    for file in world.data_dir.glob("state.db*"):
        file.unlink()
    shutil.copy(world.root / "older.db", world.data_dir / "state.db")
    before, left = repaired(world, remote=True)
    assert before == {"job_orphan": 1}
    assert left == {}
    world.run()
    assert not world.ledger.billed_more_than_once()


def test_what_a_repair_did_is_told_by_class(world):
    plant_missing_rows(world)
    world.docs.rename(world.root / "unmounted")
    before, after = verify_and_repair(world.settings(), world.clock, world.log, Scope())
    assert [(each["class"], each["count"], each["left"]) for each in compare(before, after)] == [
        ("source_missing", 1, 1),
        ("rows_missing", 2, 0),
    ]


def test_more_damage_than_one_round_takes_is_mended_in_the_next(world, monkeypatch):
    monkeypatch.setattr("voyage_jobs.maintenance.audit.findings.MOST_SUBJECTS", 2)
    plain_table(world).delete("ordinal = 0")
    assert repaired(world) == ({"rows_missing": 4}, {})


def test_the_books_of_a_batch_whose_results_cannot_be_used_are_right_and_are_made_anew(tmp_path):
    world = World(tmp_path, faults={"line_wrong_dimension": {"jobs": 1}})
    world.write("a.md", prose("a"))
    world.run()
    assert found(world) == {}
    sums = "SELECT kind, SUM(tokens) FROM spend GROUP BY kind ORDER BY kind"
    before = sql(world, sums)
    assert dict(before)["reserved"] == dict(before)["released"]
    sql(world, "DELETE FROM spend WHERE kind != 'reserved'")
    assert repaired(world) == ({"spend_wrong": 1}, {})
    assert sql(world, sums) == before
