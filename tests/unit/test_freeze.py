"""When a scan must not believe its eyes: sources that freeze, go on serving, and thaw."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from step_doors import document, prose, query, scan, shown, source_row
from world import World

from voyage_jobs.errors import ConfigError
from voyage_jobs.report.status import look
from voyage_jobs.steps.acts import perform
from voyage_jobs.steps.scan import Scan


def settings_of(world, **values):
    return [{"name": "docs", "path": str(world.docs), "delete_grace_s": 0, **values}]


def filled(world, count):
    for number in range(count):
        world.write(f"{number:02}.md", prose(f"number {number}"))
    world.run()
    return world


def retired(context):
    return query(context, "SELECT COUNT(*) FROM versions WHERE retire = 1 OR state = 'retired'")[0][0]


def test_a_missing_root_freezes_and_its_return_thaws(world):
    filled(world, 3)
    world.docs.rename(world.root / "away")
    with world.worker() as context:
        assert "folder is missing" in scan(context).frozen
        row = source_row(context)
        assert (row.state, row.frozen_reason) == ("frozen", scan(context).frozen)
        assert row.scan_due_at > 0
        world.take_turns(context)
        assert retired(context) == 0
        assert len(shown(world)) == 3

        (world.root / "away").rename(world.docs)
        world.clock.advance(400)
        assert scan(context).frozen is None
        assert source_row(context).state == "active"
    assert len(shown(world)) == 3


def test_an_empty_root_freezes_and_what_was_there_thaws_it(world):
    filled(world, 3)
    world.docs.rename(world.root / "mounted")
    world.docs.mkdir()
    with world.worker() as context:
        assert "looks empty" in scan(context).frozen
        world.take_turns(context)
        assert retired(context) == 0
        world.docs.rmdir()
        (world.root / "mounted").rename(world.docs)
        scan(context)
        assert source_row(context).state == "active"
        assert document(context, "00.md").state == "present"
    assert len(shown(world)) == 3


def test_what_was_no_text_and_then_vanishes_is_counted_once(world):
    filled(world, 3)
    for number in range(3):
        (world.docs / f"{number:02}.md").write_bytes(b"\xff\xfe\x00\xd8" * 50)
    with world.worker() as context:
        assert "no longer text (3)" in scan(context).frozen
        for number in range(3):
            (world.docs / f"{number:02}.md").unlink()
        world.clock.advance(400)
        assert "3 of 3 documents are gone" in scan(context).frozen
        world.take_turns(context)
        assert retired(context) == 0
    assert len(shown(world)) == 3


def test_another_device_freezes_even_a_small_loss(world):
    filled(world, 5)
    world.remove("00.md")
    with world.worker() as context:
        with context.store.write() as tx:
            tx.connection.execute(text("UPDATE sources SET device = device + 1"))
        assert "another device" in scan(context).frozen
        assert document(context, "00.md").state == "present"
    assert len(shown(world)) == 5


def test_a_folder_that_is_made_anew_each_time_may_lose_a_little_on_another_device(world):
    filled(world, 5)
    world.remove("00.md")
    source = {"name": "docs", "path": str(world.docs), "delete_grace_s": 0, "same_device": False}
    with world.worker(sources=[source]) as context:
        with context.store.write() as tx:
            tx.connection.execute(text("UPDATE sources SET device = device + 1"))
        assert scan(context).frozen is None
        assert document(context, "00.md").state != "present"
        for path in list(world.docs.iterdir()):
            path.unlink()
        assert "looks empty" in scan(context).frozen, "the other nets hold"


def test_another_device_with_everything_in_place_is_taken_as_it_is(world):
    filled(world, 5)
    with world.worker() as context:
        with context.store.write() as tx:
            tx.connection.execute(text("UPDATE sources SET device = device + 1"))
        assert scan(context).frozen is None
        world.remove("00.md")
        assert scan(context).frozen is None  # the new device is remembered


@pytest.mark.parametrize(("count", "lost", "share", "frozen"), [
    (40, 12, 0.3, False),  # exactly the share
    (40, 13, 0.3, True),
    (12, 10, 0.3, False),  # as small a loss is a day's work
    (12, 11, 0.3, True),
    (12, 12, 1.0, True),  # nothing left is never believed
    (3, 2, 0.1, False),
])  # fmt: skip
def test_the_share_that_may_go_at_once(world, count, lost, share, frozen):
    sources = settings_of(world, max_delete_share=share)
    for number in range(count):
        world.write(f"{number:02}.md", f"# {number}\n\ntext {number}")
    with world.worker(sources=sources) as context:
        scan(context)
        for number in range(lost):
            world.remove(f"{number:02}.md")
        result = scan(context)
        assert (result.frozen is not None) is frozen
        states = dict(query(context, "SELECT state, COUNT(*) FROM documents GROUP BY state"))
        assert states.get("gone", 0) == (0 if frozen else lost)
        assert states["present"] == (count if frozen else count - lost)


def test_the_count_that_may_go_at_once(world):
    sources = settings_of(world, max_delete_share=1.0, max_delete_count=15)
    for number in range(40):
        world.write(f"{number:02}.md", f"# {number}\n\ntext {number}")
    with world.worker(sources=sources) as context:
        scan(context)
        for number in range(16):
            world.remove(f"{number:02}.md")
        assert "max_delete_count = 15" in scan(context).frozen
        world.write("00.md", "# back")
        assert scan(context).frozen is None  # fifteen, now


def test_a_frozen_source_still_takes_what_is_new(world):
    filled(world, 3)
    for number in range(3):
        world.remove(f"{number:02}.md")
    world.write("new.md", prose("new"))
    with world.worker(sources=settings_of(world, max_delete_count=1)) as context:
        assert scan(context).frozen is not None
        world.take_turns(context)
    assert sorted(shown(world)) == ["00.md", "01.md", "02.md", "new.md"]


def test_a_person_confirms_and_the_next_scan_deletes(world):
    filled(world, 3)
    for number in range(3):
        world.remove(f"{number:02}.md")
    with world.worker() as context:
        assert scan(context).frozen is not None
        assert perform(context, "confirm", {"source": "docs"}, "me") == {
            "source": "docs",
            "state": "confirmed",
        }
        assert source_row(context).scan_due_at == 0
        assert scan(context).frozen is None
        world.take_turns(context)
        assert source_row(context).state == "active"
        assert source_row(context).confirmed_at is None
    assert shown(world) == {}


def test_a_confirmation_that_is_given_while_a_scan_is_under_way_holds_for_the_next(world):
    filled(world, 3)
    for number in range(3):
        world.remove(f"{number:02}.md")
    with world.worker(sources=settings_of(world, max_delete_count=1)) as context:
        assert scan(context).frozen is not None
        world.write("new.md", prose("new"))
        under_way = Scan(context, source_row(context), context.settings.sources[0])
        steps = under_way.run()
        next(steps)
        perform(context, "confirm", {"source": "docs"}, "me")
        for _ in steps:
            pass
        assert under_way.result.frozen is not None
        assert source_row(context).scan_due_at == 0
        assert scan(context).frozen is None
        assert source_row(context).confirmed_at is None


def test_a_confirmation_is_used_up_by_one_scan(world):
    filled(world, 3)
    world.remove("00.md")
    with world.worker(sources=settings_of(world, max_delete_share=0.01, max_delete_count=1)) as context:
        world.remove("01.md")
        assert scan(context).frozen is not None
        perform(context, "confirm", {"source": "docs"}, "me")
        scan(context)
        world.remove("02.md")
        assert "looks empty" in scan(context).frozen


def test_a_confirmation_of_a_missing_root_does_not_hold_for_an_empty_one(world):
    """An operator who confirms while nothing is mounted has not seen what a later scan would delete."""
    filled(world, 3)
    world.docs.rename(world.root / "away")
    with world.worker() as context:
        scan(context)
        perform(context, "confirm", {"source": "docs"}, "me")
        assert "missing" in scan(context).frozen
        world.docs.mkdir()
        assert "looks empty" in scan(context).frozen
        assert retired(context) == 0


def test_confirming_what_is_not_frozen_changes_nothing(world):
    filled(world, 2)
    with world.worker() as context:
        assert perform(context, "confirm", {"source": "docs"}, "me")["state"] == "active"
        world.remove("00.md")
        world.remove("01.md")
        assert scan(context).frozen is not None
        with pytest.raises(ConfigError, match="no source 'dogs'"):
            perform(context, "confirm", {"source": "dogs"}, "me")


def test_grace_does_not_run_out_while_frozen(world):
    sources = settings_of(world, delete_grace_s=3600)
    filled(world, 4)
    world.remove("00.md")
    with world.worker(sources=sources) as context:
        scan(context)
        assert document(context, "00.md").state == "missing"
        world.docs.rename(world.root / "away")
        world.clock.advance(2 * 3600)
        assert scan(context).frozen is not None
        assert document(context, "00.md").state == "missing"
        assert retired(context) == 0


# The configuration.


def test_a_source_that_leaves_the_configuration_keeps_serving(world):
    filled(world, 2)
    (world.root / "other").mkdir()
    other = [{"name": "other", "path": str(world.root / "other")}]
    with world.worker(sources=other) as context:
        world.take_turns(context)
        row = source_row(context)
        assert (row.state, row.configured) == ("frozen", False)
        assert "no longer in the configuration" in row.frozen_reason
        assert len(shown(world)) == 2
    world.remove("00.md")
    with world.worker() as context:  # configured again
        assert source_row(context).state == "active"
        world.take_turns(context)
    assert list(shown(world)) == ["01.md"]


def test_a_source_that_left_is_emptied_when_a_person_says_so(world):
    filled(world, 2)
    with world.worker(sources=[]) as context:
        answer = perform(context, "confirm", {"source": "docs"}, "me")
        assert answer == {"source": "docs", "state": "removed", "documents": 2}
        world.take_turns(context)
        assert shown(world) == {}
    world.run()  # and comes back at no cost
    assert len(shown(world)) == 2
    assert not world.ledger.billed_more_than_once()


def test_a_source_with_another_path_is_guarded_like_an_empty_one(world):
    filled(world, 3)
    (world.root / "elsewhere").mkdir()
    with world.worker(sources=[{"name": "docs", "path": str(world.root / "elsewhere")}]) as context:
        assert "3 of 3 documents are gone: its path was changed" in scan(context).frozen
        assert retired(context) == 0


def test_a_source_that_moved_as_a_whole_costs_nothing(world):
    filled(world, 3)
    world.docs.rename(world.root / "elsewhere")
    world.run(sources=[{"name": "docs", "path": str(world.root / "elsewhere"), "delete_grace_s": 0}])
    assert len(shown(world)) == 3
    assert not world.ledger.billed_more_than_once()


def test_one_frozen_source_does_not_stop_another(tmp_path):
    world = World(tmp_path)
    two = tmp_path / "two"
    two.mkdir()
    both = [*settings_of(world), {"name": "two", "path": str(two), "delete_grace_s": 0}]
    world.write("a.md", prose("a"))
    world.write("b.md", prose("b"), folder=two)
    world.run(sources=both)
    world.docs.rename(tmp_path / "away")
    (two / "b.md").unlink()
    world.write("c.md", prose("c"), folder=two)
    world.run(sources=both)
    assert sorted(shown(world)) == ["a.md", "c.md"]


def test_another_path_without_the_documents_asks_and_says_that_it_is_another_folder(world):
    filled(world, 3)
    other = world.root / "other"
    world.write("00.md", prose("number 0"), folder=other)
    world.write("new.md", prose("a new one"), folder=other)
    moved = settings_of(world, path=str(other))
    with world.worker(sources=moved) as context:
        reason = scan(context).frozen
        assert reason == "2 of 4 documents are gone: its path was changed, and they are not in that folder"
        world.take_turns(context)
        assert retired(context) == 0
        assert source_row(context).state == "frozen"
    told = look(world.settings(sources=moved), world.clock)[0]["problems"][0]
    assert told["hint"] == "Set its `path` back, or, if that is meant, `voyage-jobs confirm-deletes docs`."
    world.run(sources=moved, quiet=False, turns=20)
    with world.worker() as context:
        assert scan(context).frozen is None
        assert source_row(context).state == "active"


def test_documents_of_which_only_front_matter_is_left_are_a_loss(world):
    for name in "abcd":
        world.write(f"{name}.md", f"---\ntitle: {name}\n---\n{prose(name)}")
    world.run()
    before = shown(world)
    for name in "abcd":
        world.write(f"{name}.md", f"---\ntitle: {name}\n---\n")
    world.run()
    assert shown(world) == before
    with world.worker() as context:
        assert source_row(context).state == "frozen"
        assert {document(context, f"{name}.md").reason for name in "abcd"} == {"empty"}


@pytest.mark.parametrize(
    "head", ["---\ntitle: a\n---\n", "---\ntitle: a\n...", "+++\ntitle = 'a'\n+++\n\n \n"]
)
def test_a_file_with_nothing_but_front_matter_is_told_to_be_left_out(world, head):
    world.write("a.md", head)
    world.write("b.md", f"{head}\n\nA body.\n")
    world.write("packed.md", f"{head}\n\n{'A' * 600}\n")
    world.run()
    assert list(shown(world)) == ["b.md"]
    with world.worker() as context:
        assert (document(context, "a.md").reason, document(context, "packed.md").reason) == (
            "empty",
            "only_data",
        )
        assert document(context, "a.md").detail == "nothing but front matter"
