"""A table belongs to the state that made it: others are refused, it is handed over on purpose, and rows are counted."""

from __future__ import annotations

import shutil

import lance
import lancedb
import pytest
from format1 import unpacked
from small_world import Death
from step_doors import prose
from verify_doors import found, plain_table
from world import World

from voyage_jobs import table as published
from voyage_jobs.errors import ConfigError
from voyage_jobs.maintenance.audit.catalog import CATALOG
from voyage_jobs.maintenance.backup import backup
from voyage_jobs.maintenance.doctor.data import check_data
from voyage_jobs.maintenance.restore import restore
from voyage_jobs.maintenance.take_over import take_over
from voyage_jobs.planning.plan import plan
from voyage_jobs.report.status import status
from voyage_jobs.service.worker import lance_door
from voyage_jobs.steps.reprofile import BACK, BEGIN, reprofile
from voyage_jobs.table import LanceDoor

MARK = b"voyage_jobs.state"


def shared(tmp_path, home, name, **more):
    """A data folder of its own whose source is called `docs`, like the other's, at the one table."""
    world = World(tmp_path / name, lancedb={"uri": str(home / "shared")}, **more)
    world.write("readme.md", prose(name, 3))
    return world


@pytest.fixture
def one(tmp_path, home):
    world = shared(tmp_path, home, "one")
    world.run()
    return world


@pytest.fixture
def two(tmp_path, home, one):
    return shared(tmp_path, home, "two", seed=2)


def path_of(world):
    settings = world.settings()
    return f"{settings.lancedb.uri}/{settings.lancedb.table}.lance"


def mark_of(world):
    return lance.dataset(path_of(world)).schema.metadata.get(MARK, b"").decode()


def unmark(world):
    lance.dataset(path_of(world)).update_schema_metadata({MARK.decode(): None})
    assert mark_of(world) == ""


def have(world):
    return take_over(world.settings(), world.clock, world.log, transport=world.transport)


def problems(world):
    return {each["code"]: each for each in status(world.settings(), world.clock)["problems"]}


def texts(world):
    return [row["text"] for row in world.table_rows("text")]


def test_another_state_is_refused_before_it_writes_anything(one, two):
    before, version = texts(one), lance.dataset(path_of(one)).version
    for _ in range(2):
        with pytest.raises(ConfigError, match="belongs to another data folder") as refused:
            two.run()
        assert "[lancedb] table" in refused.value.hint
        assert "voyage-jobs take-over" in refused.value.hint
    assert refused.value.exit_code == 2
    assert (texts(one), lance.dataset(path_of(one)).version) == (before, version)
    assert two.ledger.units() == 0
    two.run(lancedb={"table": "mine"})
    one.run()
    assert texts(one) == before


def test_a_plan_is_refused_as_a_run_is_and_marks_nothing(tmp_path, home, one, two):
    version = lance.dataset(path_of(one)).version
    with pytest.raises(ConfigError, match="belongs to another data folder") as refused:
        plan(two.settings(), two.clock)
    assert "[lancedb] table" in refused.value.hint
    assert "voyage-jobs take-over" in refused.value.hint
    assert plan(one.settings(), one.clock)["embeddings"]["to_send"] == 0
    unmark(one)
    unmarked = lance.dataset(path_of(one)).version
    assert plan(one.settings(), one.clock)["embeddings"]["to_send"] == 0
    assert unmarked == lance.dataset(path_of(one)).version > version
    assert mark_of(one) == ""


def test_what_only_looks_says_so_and_repairs_nothing(one, two):
    two.run(lancedb={"table": "mine"})
    assert found(two) == {"table_of_another": 1}
    assert CATALOG["table_of_another"].person
    checks = list(check_data(two.settings(), two.clock, lance_door(two.settings())))
    assert "belongs to another data folder" in checks[-1].why
    assert checks[-1].exit_code == 2
    assert found(one) == {}


def test_a_table_that_is_taken_over_is_filled_from_here_at_no_cost(one, two):
    two.run(lancedb={"table": "mine"})
    paid = two.ledger.units()
    with one.worker() as at_work:
        assert have(two).rows == len(texts(one))
        two.run()
        one.write("new.md", prose("new", 1))
        with pytest.raises(ConfigError, match="belongs to another data folder"):
            one.take_turns(at_work)
    assert all("two" in text for text in texts(two))
    assert two.ledger.units() == paid
    assert found(two) == {}
    assert "table_of_another" in problems(one)
    with pytest.raises(ConfigError):
        one.run()


def test_rows_of_the_other_stay_until_they_are_taken_out_on_purpose(one, two):
    two.write("own.md", prose("own", 1))
    (two.docs / "readme.md").unlink()
    have(two)
    two.run()
    assert {row["path"] for row in two.table_rows("path")} == {"own.md", "readme.md"}
    assert "another program has changed it" in problems(two)["table_rows"]["message"]
    assert found(two).keys() == {"rows_unknown"}


def test_rows_of_a_state_that_was_lost_are_no_sign_of_another_program(one):
    (one.docs / "readme.md").unlink()
    for file in one.data_dir.glob("state.db*"):
        file.unlink()
    with one.worker():
        pass  # as `recover` does, and a start that is ended before it publishes
    assert "table_rows" not in problems(one)
    one.write("new.md", prose("new", 1))
    one.run()
    assert "the state was lost, or older" in problems(one)["table_rows"]["message"]


@pytest.mark.parametrize("before", [True, False])
def test_a_death_on_the_way_to_take_over_is_harmless(one, two, monkeypatch, before):
    mark = LanceDoor.mark

    def dies(door):
        if not before:
            mark(door)
        raise Death

    with monkeypatch.context() as broken, pytest.raises(Death):
        broken.setattr(LanceDoor, "mark", dies)
        have(two)
    if before:
        one.run()
        have(two)
    two.run()
    assert all("two" in text for text in texts(two))
    assert found(two) == {}


def test_a_table_of_an_older_release_goes_to_the_state_whose_rows_it_has(tmp_path, one, two):
    unmark(one)
    with pytest.raises(ConfigError, match="belongs to another data folder"):
        two.run()
    assert mark_of(one) == ""
    before, paid = texts(one), one.ledger.units()
    one.run()
    assert mark_of(one)
    assert (texts(one), one.ledger.units()) == (before, paid)
    assert len(one.log.named("table.marked")) == 1
    assert one.log.named("table.rebuild") == []
    with pytest.raises(ConfigError):
        two.run()


def test_a_folder_of_the_first_release_has_its_table_marked_for_nothing(tmp_path):
    old = unpacked(tmp_path)
    with old.worker():
        assert mark_of(old)
    assert old.ledger.units() == 0
    old.run()
    assert mark_of(old)
    assert found(old) == {}


def test_a_death_right_after_marking_is_harmless(one, monkeypatch):
    unmark(one)
    mark = LanceDoor.mark

    def dies(door):
        mark(door)
        raise Death

    with monkeypatch.context() as broken, pytest.raises(Death):
        broken.setattr(LanceDoor, "mark", dies)
        one.run()
    before = texts(one)
    one.run()
    assert texts(one) == before
    assert one.log.named("table.rebuild") == []
    assert found(one) == {}


def test_a_restored_backup_goes_on_with_its_table(one):
    backup(one.settings(), one.clock, one.root / "saved")
    one.write("later.md", prose("later", 1))
    one.run()
    shutil.rmtree(one.data_dir)
    restore(one.settings(), one.clock, one.root / "saved")
    one.run()
    assert {row["path"] for row in one.table_rows("path")} == {"readme.md", "later.md"}
    assert mark_of(one)


@pytest.mark.parametrize("told_by", ["generation", "segments"])
def test_a_state_in_the_place_of_a_lost_one_has_its_table(one, told_by):
    mark, paid = mark_of(one), one.ledger.units()
    if told_by == "segments":
        (one.data_dir / "generation").unlink()
    for path in one.data_dir.glob("state.db*"):
        path.unlink()
    one.run()
    assert mark_of(one) not in ("", mark)
    assert one.ledger.units() == paid
    assert found(one) == {}


def test_other_vectors_and_the_way_back_keep_the_mark(one):
    unmark(one)
    one.run()
    mark = mark_of(one)
    other = {"voyage": {"output_dimension": 16}}
    with one.worker(**other) as context:
        reprofile(context, {"do": BEGIN, "target": context.asked.to_json()}, "test")
        one.take_turns(context)
        assert mark_of(one) == mark
        reprofile(context, {"do": BACK}, "test")
        assert mark_of(one) == mark
    one.run()
    assert found(one) == {}


def test_status_counts_the_rows_of_the_table_and_opens_it_only_when_it_has_changed(one, monkeypatch):
    rows = len(texts(one))
    with monkeypatch.context() as watched:
        watched.setattr(published, "see", lambda *_: pytest.fail("the table was opened"))
        assert status(one.settings(), one.clock)["table"]["rows_found"] == rows
    assert "table_rows" not in problems(one)
    lancedb.connect(one.settings().lancedb.uri).open_table("chunks").delete("ordinal = 1")
    report = status(one.settings(), one.clock)
    assert not report["healthy"]
    assert (report["table"]["rows"], report["table"]["rows_found"]) == (rows, rows - 1)
    assert f"has {rows - 1} rows, and {rows} are published" in problems(one)["table_rows"]["message"]


def test_a_repair_puts_the_count_right(tmp_path):
    from voyage_jobs.maintenance.audit.repair import verify_and_repair
    from voyage_jobs.maintenance.audit.verify import Scope

    world = World(tmp_path)
    world.write("a.md", prose("a", 3))
    world.run()
    plain_table(world).delete("ordinal = 1")
    assert "table_rows" in problems(world)
    verify_and_repair(world.settings(), world.clock, world.log, Scope(), transport=world.transport)
    assert "table_rows" not in problems(world)
