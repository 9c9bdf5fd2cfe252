"""What was taken away while it waited to be sent: it is not paid, not shown, and is read again if it comes back."""

from __future__ import annotations

import pytest
from step_doors import all_batches, prose, query, shown

from voyage_jobs.core.states import Batch
from voyage_jobs.report.why import why
from voyage_jobs.service.reload import apply
from voyage_jobs.state import publications
from voyage_jobs.steps.budget import begin_run
from voyage_jobs.steps.pipeline import Pipeline

KEPT_BACK = {"daily_tokens": 1}
DAY_S = 86_400.0


@pytest.fixture
def two(world):
    """A world with two folders, of which nothing is sent yet."""
    for name in ("a", "b"):
        world.write("one.md", prose(f"{name} one"), folder=world.root / name)
        world.write("two.md", prose(f"{name} two"), folder=world.root / name)
    kept_back(world, sources(world, "a", "b"))
    return world


def kept_back(world, those):
    """A scan; nothing can be sent."""
    before = world.ledger.units()
    world.run(turns=12, quiet=False, budget=KEPT_BACK, sources=those)
    assert world.ledger.units() == before


def sources(world, *names, **others):
    return [
        {"name": name, "path": str(world.root / name), "delete_grace_s": DAY_S, **others} for name in names
    ]


def assembled(world, those, monkeypatch):
    """All four texts are in a batch, and the process ended before it was sent."""
    with world.worker(sources=those) as context, monkeypatch.context() as patch:
        patch.setattr("voyage_jobs.steps.pipeline.submit", lambda _context: False)
        pipeline = Pipeline(context, eager=True)
        for _ in range(10):
            pipeline.turn()
        assert [(batch.state, batch.inputs) for batch in all_batches(context)] == [(Batch.PACKED, 4)]


def published(world, name):
    return sorted(row["path"] for row in world.table_rows("source", "path") if row["source"] == name)


def test_nothing_is_sent_of_a_source_that_left_the_configuration(two):
    two.run(sources=sources(two, "a"))
    assert two.ledger.units() == 2
    assert published(two, "b") == []
    told = why(two.settings(sources=sources(two, "a")), two.clock, "b:one.md")
    assert (told.reason, "left the configuration before it was sent" in told.paragraph) == (
        "not_configured",
        True,
    )
    with two.worker(sources=sources(two, "a")) as context:
        assert query(context, "SELECT COUNT(*) FROM embeddings WHERE state = 0") == [(0,)]


def test_what_comes_back_is_sent_then_and_once(two):
    two.run(sources=sources(two, "a"))
    two.run(sources=sources(two, "a", "b"))
    assert published(two, "b") == ["one.md", "two.md"]
    assert two.ledger.units() == 4
    assert not two.ledger.billed_more_than_once()


def test_a_source_that_leaves_while_it_runs_is_not_sent_either(two):
    with two.worker(budget=KEPT_BACK, sources=sources(two, "a", "b")) as context:
        apply(context, two.settings(sources=sources(two, "a")))
        two.take_turns(context)
    assert two.ledger.units() == 2


def test_another_name_is_another_source_with_limits_of_its_own(two):
    (two.root / "b").rename(two.root / "c")
    limited = [*sources(two, "a"), *sources(two, "c", daily_tokens=1)]
    with two.worker(sources=limited) as context:
        pipeline = Pipeline(context, eager=True, scan_once=True)
        for _ in range(40):
            pipeline.turn()
            two.clock.advance(30)
    assert two.ledger.units() == 2
    assert published(two, "c") == []


def test_what_another_source_has_too_is_sent(two):
    two.write("same.md", prose("b one"), folder=two.root / "a")
    two.run(sources=sources(two, "a"))
    assert published(two, "a") == ["one.md", "same.md", "two.md"]


def test_what_stood_under_the_former_path_is_not_sent(world):
    world.write("private.md", prose("private"))
    world.write("public/public.md", prose("public"))
    home = [{"name": "docs", "path": str(world.docs), "max_delete_share": 1.0, "delete_grace_s": 0}]
    kept_back(world, home)
    world.run(sources=[{**home[0], "path": str(world.docs / "public")}])
    assert world.ledger.units() == 1
    assert list(shown(world)) == ["public.md"]


@pytest.mark.parametrize("grace_s", [0, DAY_S])
def test_what_was_excluded_or_deleted_while_it_waited_is_not_sent(world, grace_s):
    for name in ("kept", "deleted", "excluded"):
        world.write(f"{name}.md", prose(name))
    source = {"name": "docs", "path": str(world.docs), "max_delete_share": 1.0, "delete_grace_s": grace_s}
    kept_back(world, [source])
    deleted = (world.docs / "deleted.md").read_text()
    world.remove("deleted.md")
    world.run(sources=[{**source, "exclude": ["excluded.md"]}])
    assert list(shown(world)) == ["kept.md"]
    assert world.ledger.units() == 1

    world.write("deleted.md", deleted)
    world.clock.advance(60)
    world.run(sources=[source])
    assert sorted(shown(world)) == ["deleted.md", "excluded.md", "kept.md"]
    assert not world.ledger.billed_more_than_once()


def test_an_edit_of_a_file_that_vanished_is_not_sent_and_what_was_shown_stays(world):
    source = {"name": "docs", "path": str(world.docs), "max_delete_share": 1.0, "delete_grace_s": DAY_S}
    world.write("a.md", prose("first"))
    world.write("b.md", prose("b"))
    world.run(sources=[source])
    before = shown(world)
    world.write("a.md", prose("second"))
    kept_back(world, [source])
    world.remove("a.md")
    world.run(sources=[source])
    assert shown(world) == before
    assert world.ledger.units() == 2


def test_a_source_that_keeps_what_has_gone_has_it_sent(world):
    source = {"name": "docs", "path": str(world.docs), "max_delete_share": 1.0, "keep": True}
    world.write("a.md", prose("a"))
    kept_back(world, [source])
    world.remove("a.md")
    world.run(sources=[source])
    assert list(shown(world)) == ["a.md"]


def test_a_batch_that_was_assembled_before_is_taken_apart(two, monkeypatch):
    assembled(two, sources(two, "a", "b"), monkeypatch)
    two.run(sources=sources(two, "a"))
    assert two.ledger.units() == 2
    with two.worker(sources=sources(two, "a")) as context:
        causes = query(context, "SELECT cause FROM transitions WHERE target = 'cancelled'")
    assert causes == [("source b left the configuration",)]


def test_what_the_table_showed_of_it_comes_back_after_the_table_was_lost(two):
    both = sources(two, "a", "b")
    two.run(sources=both)
    with two.worker(sources=both) as context, context.store.write() as tx:
        publications.unpublish_all(tx, "the table is lost")
    two.run(sources=sources(two, "a"))
    assert published(two, "b") == ["one.md", "two.md"]


@pytest.mark.parametrize("limits", [{"tokens": 1}, {"usd": 1e-9}, {"inputs": 1}])
def test_the_limits_of_a_run_hold_for_what_an_earlier_one_assembled(two, monkeypatch, limits):
    both = sources(two, "a", "b")
    assembled(two, both, monkeypatch)
    with two.worker(sources=both) as context:
        begin_run(context, **limits)
        pipeline = Pipeline(context, eager=True, most_inputs=limits.get("inputs"), scan_once=True)
        for _ in range(20):
            pipeline.turn()
            two.clock.advance(30)
        assert two.ledger.units() == limits.get("inputs", 0)
        begin_run(context)
        two.take_turns(context)
    assert two.ledger.units() == 4
    assert not two.ledger.billed_more_than_once()
