"""Files that move, are copied, vanish and return: no cost, and never a gap in the table."""

from __future__ import annotations

import os
import shutil

import pytest
from sqlalchemy import text
from step_doors import all_batches, document, money, prose, query, scan, shown, turns, versions_of

from voyage_jobs.explain.history import history
from voyage_jobs.steps.pipeline import Pipeline

GRACE_S = 3600


@pytest.fixture
def settled(world):
    """Two published documents."""
    world.write("a.md", prose("a", 2))
    world.write("b.md", prose("b"))
    world.run()
    return world


def with_grace(world):
    return [{"name": "docs", "path": str(world.docs), "delete_grace_s": GRACE_S}]


def move(world, old, new):
    (world.docs / new).parent.mkdir(parents=True, exist_ok=True)
    (world.docs / old).rename(world.docs / new)


def seen_while_working(world, context, turns=60):
    """What a reader sees after every single turn until all is quiet."""
    seen = []
    pipeline = Pipeline(context, eager=True)
    for _ in range(turns):
        did = pipeline.turn()
        seen.append(shown(world))
        if not did:
            world.clock.advance(pipeline.idle_s())
    return seen


def test_a_move_costs_nothing_and_is_never_absent(settled):
    world = settled
    texts = shown(world)["a.md"]
    batches = world.ledger.export()["batches"]
    move(world, "a.md", "deep/renamed.md")
    with world.worker() as context:
        seen = seen_while_working(world, context, 12)
        assert document(context, "deep/renamed.md").moved_from == "a.md"
        assert document(context, "a.md").state == "gone"
        assert versions_of(context, "a.md") == ["retired"]
        causes = [row[0] for row in query(context, "SELECT cause FROM transitions WHERE kind = 'document'")]
        assert "moved from a.md" in causes
        assert len(all_batches(context)) == 1
        assert money(context).saved_tokens > 0
    for table in seen:
        assert texts in (table.get("a.md"), table.get("deep/renamed.md"))
    assert sorted(seen[-1]) == ["b.md", "deep/renamed.md"]
    assert world.ledger.export()["batches"] == batches


def test_a_move_does_not_wait_for_the_grace_period(settled):
    world = settled
    move(world, "a.md", "c.md")
    world.run(sources=with_grace(world))
    assert sorted(shown(world)) == ["b.md", "c.md"]


def test_a_move_that_must_be_split_anew_is_served_at_its_old_place_until_it_is_ready(settled):
    """Another suffix may mean other chunks, hence another job: hours in which the document must not be absent."""
    world = settled
    texts = shown(world)["a.md"]
    move(world, "a.md", "a.txt")
    with world.worker() as context:
        seen = seen_while_working(world, context, 40)
        assert document(context, "a.txt").moved_from == "a.md"
    assert all(table.get("a.md") == texts or "a.txt" in table for table in seen)
    assert sorted(seen[-1]) == ["a.txt", "b.md"]


def test_a_moved_file_that_goes_before_it_is_ready_does_not_leave_its_old_rows_behind(settled):
    world = settled
    move(world, "a.md", "a.txt")
    with world.worker() as context:
        scan(context)
        world.remove("a.txt")
        scan(context)
        world.take_turns(context)
    assert sorted(shown(world)) == ["b.md"]


def test_there_and_back_again(settled):
    world = settled
    move(world, "a.md", "c.md")
    world.run()
    move(world, "c.md", "a.md")
    with world.worker(sources=with_grace(world)) as context:
        seen = seen_while_working(world, context, 12)
        assert document(context, "a.md").moved_from == "c.md"
        assert document(context, "c.md").state == "gone"
    assert all("a.md" in table or "c.md" in table for table in seen)
    assert sorted(seen[-1]) == ["a.md", "b.md"]
    assert not world.ledger.billed_more_than_once()


def test_a_file_moved_over_another(settled):
    world = settled
    world.write("c.txt", prose("c", 2))
    world.run()
    texts = shown(world)["c.txt"]
    (world.docs / "c.txt").replace(world.docs / "b.md")  # and split again, being Markdown now
    with world.worker(sources=with_grace(world)) as context:
        seen = seen_while_working(world, context, 40)
        assert document(context, "b.md").moved_from == "c.txt"
    assert all("b.md" in table for table in seen)
    assert all(table.get("c.txt") == texts or "About c" in table["b.md"][0] for table in seen)
    assert sorted(seen[-1]) == ["a.md", "b.md"]


def test_two_files_that_change_places(settled):
    world = settled
    before = shown(world)
    move(world, "a.md", "aside")
    move(world, "b.md", "a.md")
    move(world, "aside", "b.md")
    world.run()
    assert shown(world) == {"a.md": before["b.md"], "b.md": before["a.md"]}
    assert not world.ledger.billed_more_than_once()


def test_a_renamed_folder_moves_all_its_documents(world):
    for number in range(30):
        world.write(f"old/sub/{number}.md", prose(str(number)))
    world.run()
    units = world.ledger.units()
    os.rename(world.docs / "old", world.docs / "new")
    with world.worker(sources=with_grace(world)) as context:
        result = scan(context)
        assert (result.moved, result.vanished, result.frozen) == (30, 0, None)
        world.take_turns(context)
        for number in range(30):
            assert document(context, f"new/sub/{number}.md").moved_from == f"old/sub/{number}.md"
            assert versions_of(context, f"old/sub/{number}.md") == ["retired"]
    assert sorted(shown(world)) == sorted(f"new/sub/{number}.md" for number in range(30))
    assert world.ledger.units() == units
    there, here = (
        history(world.settings(), world.clock, f"docs:{place}/sub/7.md") for place in ("old", "new")
    )
    assert any("published" in event.what for event in there.events)
    assert any("moved from old/sub/7.md" in event.what for event in here.events)


def test_a_copy_costs_nothing(settled):
    world = settled
    shutil.copy(world.docs / "a.md", world.docs / "copy.md")
    with world.worker() as context:
        world.take_turns(context)
        assert document(context, "copy.md").moved_from is None
        assert len(all_batches(context)) == 1
    table = shown(world)
    assert table["copy.md"] == table["a.md"]
    assert not world.ledger.billed_more_than_once()


def test_a_copy_whose_original_goes_later(settled):
    world = settled
    shutil.copy(world.docs / "a.md", world.docs / "copy.md")
    world.run()
    world.remove("a.md")
    world.run()
    assert sorted(shown(world)) == ["b.md", "copy.md"]


# Vanished and back.


def test_a_vanished_file_is_served_for_the_grace_period(settled):
    world = settled
    world.remove("a.md")
    with world.worker(sources=with_grace(world)) as context:
        world.take_turns(context)
        assert document(context, "a.md").state == "missing"
        assert sorted(shown(world)) == ["a.md", "b.md"]
        world.clock.advance(GRACE_S - 60)
        scan(context)
        assert document(context, "a.md").state == "missing"
        world.clock.advance(61)
        scan(context)
        assert document(context, "a.md").state == "gone"
        world.take_turns(context)
        assert versions_of(context, "a.md") == ["retired"]
    assert sorted(shown(world)) == ["b.md"]


def test_a_file_that_returns_within_grace_was_never_away(settled):
    world = settled
    rows = world.table_rows()
    content = (world.docs / "a.md").read_bytes()
    world.remove("a.md")
    with world.worker(sources=with_grace(world)) as context:
        scan(context)
        world.write("a.md", content)
        scan(context)
        assert document(context, "a.md").state == "present"
        assert document(context, "a.md").missing_at is None
        world.take_turns(context)
        world.clock.advance(2 * GRACE_S)
        scan(context)
        world.take_turns(context)
        assert versions_of(context, "a.md") == ["published"]
    assert world.table_rows() == rows


def test_a_file_that_returns_after_grace_costs_nothing(settled):
    world = settled
    content = (world.docs / "a.md").read_bytes()
    texts = shown(world)["a.md"]
    world.remove("a.md")
    world.run()
    assert "a.md" not in shown(world)
    world.write("a.md", content)
    world.run()
    assert shown(world)["a.md"] == texts
    assert not world.ledger.billed_more_than_once()


def test_a_file_that_returns_before_its_rows_are_out_keeps_them(settled):
    world = settled
    content = (world.docs / "a.md").read_bytes()
    world.remove("a.md")
    with world.worker() as context:
        scan(context)
        assert document(context, "a.md").state == "gone"
        world.write("a.md", content)
        scan(context)
        assert query(context, "SELECT COUNT(*) FROM versions WHERE retire = 1") == [(0,)]
        world.take_turns(context)
    assert sorted(shown(world)) == ["a.md", "b.md"]


@pytest.mark.parametrize("grace", [0, GRACE_S])
def test_a_file_that_returns_with_other_content(settled, grace):
    world = settled
    sources = [{"name": "docs", "path": str(world.docs), "delete_grace_s": grace}]
    world.remove("a.md")
    with world.worker(sources=sources) as context:
        scan(context)
        world.write("a.md", prose("other"))
        scan(context)
        seen = seen_while_working(world, context, 40)
    assert all("a.md" in table for table in seen)
    assert "other" in seen[-1]["a.md"][0]
    assert "b.md" in seen[-1]


def test_a_file_that_vanishes_while_its_job_runs_is_paid_kept_and_never_shown(world):
    world.write("a.md", prose("a"))
    world.write("b.md", prose("b"))
    with world.worker() as context:
        turns(world, context, 6)
        content = (world.docs / "a.md").read_bytes()
        world.remove("a.md")
        scan(context)
        world.take_turns(context)
        assert sorted(shown(world)) == ["b.md"]
        assert query(context, "SELECT COUNT(*) FROM embeddings WHERE state = 2") == [(2,)]

        world.write("a.md", content)
        scan(context)
        world.take_turns(context)
    assert sorted(shown(world)) == ["a.md", "b.md"]
    assert not world.ledger.billed_more_than_once()


def test_a_file_that_becomes_a_folder(settled):
    world = settled
    world.remove("a.md")
    world.write("a.md/inside.md", prose("inside"))
    world.run()
    assert sorted(shown(world)) == ["a.md/inside.md", "b.md"]


def test_the_state_lets_go_of_texts_and_chunks_of_what_is_gone(settled):
    world = settled
    world.remove("a.md")
    with world.worker() as context:
        world.take_turns(context)
        left = text(
            "SELECT COUNT(*) FROM chunks c JOIN versions v ON v.id = c.version_id WHERE v.state = 'retired'"
        )
        with context.store.read() as connection:
            assert connection.execute(left).scalar_one() == 0
            assert connection.execute(text("SELECT COUNT(*) FROM texts")).scalar_one() == 0
