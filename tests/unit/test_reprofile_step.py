"""Another model on purpose: nothing sent by accident, nothing paid twice, no reader sees a mix, and back again."""

from __future__ import annotations

import os
import shutil

import pytest
from step_doors import all_batches, newest, prose, scan, until
from world import World

from voyage_jobs.config.profile import profile_of
from voyage_jobs.core import crash
from voyage_jobs.core.states import Batch
from voyage_jobs.errors import ConfigError, DiskFullError
from voyage_jobs.maintenance.audit.verify import Scope, verify
from voyage_jobs.service.signals import Signals
from voyage_jobs.service.sync import Ending, Sync
from voyage_jobs.simulator import FaultScript
from voyage_jobs.state import previous_table, publications, rebuild
from voyage_jobs.steps.acts import perform
from voyage_jobs.table import PublishedTable, exists

OLD, NEW = 8, 16
OTHER = {"output_dimension": NEW}
FILES = 6


class Died(Exception):
    pass


@pytest.fixture(autouse=True)
def disarmed():
    yield
    crash.arm(None)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.fixture
def filled(world):
    world.by_rules(1)
    for number in range(FILES):
        world.write(f"{number}.md", prose(str(number), 2))
    world.run()
    return world


class Table:
    """The table as a reader has it, who knows nothing of profiles."""

    def __init__(self, world: World) -> None:
        lance = world.settings().lancedb
        table = PublishedTable.open(lance.uri, lance.table, None)
        rows = [
            row for part in table.keys(None, ("path", "text", "vector", "model")) for row in part.to_pylist()
        ]
        self.texts: dict[str, list[str]] = {}
        for row in rows:
            self.texts.setdefault(row["path"], []).append(row["text"])
        (self.width,) = {len(row["vector"]) for row in rows}  # never a mix
        self.version = table.version()
        self.path = table.path


def act(world: World, what: str, *, voyage=OTHER, **sections):
    arguments = {"do": what}
    if what == "begin":
        arguments["target"] = profile_of(world.settings(voyage=voyage)).to_json()
    with world.worker(voyage=voyage, **sections) as context:
        return perform(context, "reprofile", arguments, "me")


def reprofiled(world: World, **sections) -> None:
    act(world, "begin", **sections)
    world.run(voyage=OTHER, **sections)


def build_half(world: World) -> None:
    """Until some of the new vectors are here, and some are in flight."""
    small = {"batching": {"max_inputs": 5, "max_in_flight_batches": 1}}
    with world.worker(voyage=OTHER, **small) as context:
        first = until(world, context, Batch.RUNNING)
        for _ in range(100):
            if newest(context).id > first.id and newest(context).state is Batch.RUNNING:
                return
            world.take_turns(context, 1, quiet=False)
            world.clock.advance(5)
    raise AssertionError("never half built")


def paid_once(world: World) -> None:
    assert world.ledger.billed_more_than_once() == {}


def sound(world: World, **sections) -> None:
    found = verify(world.settings(**sections), world.clock, Scope(deep=True))
    assert [(each.code, each.words) for each in found.all()] == []


def sync(world: World, *, wait=True, **sections):
    with Signals() as signals, world.worker(**sections) as context:
        return Sync(context, signals, wait=wait).run()


# --- another profile in the configuration, and nobody has said yes ---


def test_what_was_sent_is_collected_and_shown_and_nothing_more_is_sent(filled):
    filled.write("sent.md", prose("sent"))
    with filled.worker() as context:
        until(filled, context, Batch.RUNNING)
    filled.write("late.md", prose("late"))
    calls = filled.sim.calls["create_batch"]
    outcome = sync(filled, voyage=OTHER)
    assert outcome.ending is Ending.OPERATOR
    assert [problem.code for problem in outcome.problems] == ["profile_changed"]
    assert "reprofile" in outcome.problems[0].next
    shown = Table(filled)
    assert shown.width == OLD
    assert "sent.md" in shown.texts
    assert "late.md" not in shown.texts
    assert filled.sim.calls["create_batch"] == calls
    filled.run()
    assert "late.md" in Table(filled).texts


def test_a_batch_that_was_packed_and_not_sent_waits_for_the_decision(filled):
    filled.write("packed.md", prose("packed"))
    with filled.worker() as context:
        until(filled, context, Batch.UPLOADED)
    with filled.worker(voyage=OTHER) as context:
        filled.take_turns(context, 30, quiet=False)
        assert newest(context).state is Batch.UPLOADED
    filled.run()
    assert "packed.md" in Table(filled).texts
    paid_once(filled)


def test_a_call_in_doubt_is_cleared_up_all_the_same(tmp_path):
    world = World(
        tmp_path, faults={"answer_lost": {"on": "create_batch", "nth": 1}}, voyage={"quarantine_s": 60}
    )
    world.write("a.md", prose("a"))
    with world.worker() as context:
        until(world, context, Batch.CREATING)
    world.run(voyage=OTHER)
    assert Table(world).width == OLD
    paid_once(world)


def test_nothing_to_do_is_no_error(filled):
    answer = act(filled, "begin", voyage={})
    assert answer["state"] == "nothing to do"


def test_asking_twice_does_no_harm(filled):
    assert act(filled, "begin")["state"] == "begun"
    assert act(filled, "begin")["state"] == "building"


def test_another_build_must_be_given_up_first(filled):
    act(filled, "begin")
    with pytest.raises(ConfigError, match="being built already") as caught:
        act(filled, "begin", voyage={"output_dtype": "int8"})
    assert "--abandon" in caught.value.hint


@pytest.mark.parametrize("what", ["abandon", "accept_failures"])
def test_without_a_build_there_is_nothing_to_give_up_or_accept(filled, what):
    with pytest.raises(ConfigError, match="No table is being built"):
        act(filled, what, voyage={})


def test_without_a_switch_there_is_no_way_back(filled):
    with pytest.raises(ConfigError, match="nothing to switch back to"):
        act(filled, "switch_back", voyage={})


def test_a_word_of_another_version_is_refused(filled):
    with filled.worker() as context, pytest.raises(ConfigError, match="does not know how"):
        perform(context, "reprofile", {"do": "something newer"}, "me")


def test_a_configuration_that_changes_its_mind_during_a_build_stops_sending(filled):
    act(filled, "begin")
    calls = filled.sim.calls["create_batch"]
    outcome = sync(filled)
    assert {problem.code for problem in outcome.problems} == {"profile_changed", "reprofiling"}
    assert "--abandon" in outcome.problems[0].next
    assert filled.sim.calls["create_batch"] == calls
    filled.run(voyage=OTHER)
    assert Table(filled).width == NEW


# --- building and switching ---


def test_everything_is_embedded_once_for_each_profile_and_shown_at_once(filled):
    before = Table(filled)
    act(filled, "begin")
    seen = set()

    def look(_point):
        if exists(filled.settings().lancedb.uri, "chunks"):
            shown = Table(filled)
            seen.add((shown.width, tuple(sorted(shown.texts))))

    crash.arm(look)
    filled.run(voyage=OTHER)
    crash.arm(None)
    after = Table(filled)
    assert seen == {(OLD, tuple(sorted(before.texts))), (NEW, tuple(sorted(before.texts)))}
    assert (after.width, after.texts) == (NEW, before.texts)
    assert filled.ledger.units() == 2 * 2 * FILES
    paid_once(filled)
    sound(filled, voyage=OTHER)
    filled.run(voyage=OTHER)
    assert Table(filled).version == after.version, "another start has nothing to do"


def test_edits_meanwhile_are_embedded_for_the_new_table_alone(filled):
    before = Table(filled).texts
    act(filled, "begin")
    with filled.worker(voyage=OTHER) as context:
        until(filled, context, Batch.RUNNING)
        filled.write("0.md", prose("edited", 2))
        filled.write("added.md", prose("added"))
        filled.remove("1.md")
        scan(context)  # before the results are here, which come before a scan in a turn
        filled.clock.advance(400)
        filled.take_turns(context, 10, quiet=False)
        shown = Table(filled)
        assert shown.width == OLD
        assert shown.texts == {path: texts for path, texts in before.items() if path != "1.md"}
        filled.take_turns(context)
    shown = Table(filled)
    assert shown.width == NEW
    assert "edited" in shown.texts["0.md"][0]
    assert "added.md" in shown.texts
    assert "1.md" not in shown.texts
    edited = [text for path in ("0.md", "added.md") for text in shown.texts[path]]
    assert [filled.ledger.times_billed(text) for text in edited] == [1] * len(edited)
    sound(filled, voyage=OTHER)


def test_batches_for_the_old_table_end_and_are_kept_and_those_not_sent_never_are(filled):
    filled.write("running.md", prose("running"))
    with filled.worker() as context:
        until(filled, context, Batch.RUNNING)
        filled.write("packed.md", prose("packed"))
        filled.clock.advance(1)
        running = newest(context)
    filled.write("packed.md", prose("packed"))
    with filled.worker() as context:
        for _ in range(50):
            filled.take_turns(context, 1, quiet=False)
            if newest(context).id != running.id and newest(context).state is Batch.UPLOADED:
                break
        waiting = newest(context)
        assert waiting.state is Batch.UPLOADED
    reprofiled(filled)
    with filled.worker(voyage=OTHER) as context:
        ended = {batch.ref: batch for batch in all_batches(context)}
    assert ended[running.ref].tokens_settled
    assert ended[waiting.ref].tokens_settled is None
    assert {"running.md", "packed.md"} <= Table(filled).texts.keys()
    paid_once(filled)


def test_the_same_budget_holds_for_both(filled):
    limit = filled.ledger.batch_tokens + 40
    limits = {"budget": {"daily_tokens": limit}}
    act(filled, "begin", **limits)
    outcome = sync(filled, voyage=OTHER, **limits)
    assert {problem.code for problem in outcome.problems} == {"budget_reached", "reprofiling"}
    assert filled.ledger.batch_tokens <= limit
    assert Table(filled).width == OLD
    filled.run(voyage=OTHER)
    assert Table(filled).width == NEW


def test_a_contextualized_table_is_built_the_same_way(filled):
    voyage = {"endpoint": "contextualizedembeddings", "model": "voyage-context-3", "output_dimension": NEW}
    act(filled, "begin", voyage=voyage)
    filled.run(voyage=voyage)
    assert Table(filled).width == NEW
    paid_once(filled)
    sound(filled, voyage=voyage)


def test_without_a_table_there_is_nothing_to_wait_for(world):
    world.write("a.md", prose("a"))
    with world.worker() as context:
        until(world, context, Batch.RUNNING)
    act(world, "begin")
    with world.worker(voyage=OTHER) as context:
        world.take_turns(context, 5, quiet=False)
        assert context.build is None
    world.run(voyage=OTHER)
    assert Table(world).width == NEW


@pytest.mark.parametrize("how", ["lost", "torn"])
def test_a_table_that_is_lost_meanwhile_is_made_for_the_new_vectors(filled, how):
    act(filled, "begin")
    path = Table(filled).path
    if how == "lost":
        shutil.rmtree(path)
    else:
        manifest = min(os.listdir(os.path.join(path, "_versions")))
        os.truncate(os.path.join(path, "_versions", manifest), 10)
    filled.run(voyage=OTHER)
    shown = Table(filled)
    assert (shown.width, len(shown.texts)) == (NEW, FILES)
    paid_once(filled)
    sound(filled, voyage=OTHER)


def test_a_state_that_is_lost_during_a_build_pays_nothing_twice(filled):
    act(filled, "begin")
    build_half(filled)
    for file in filled.data_dir.glob("state.db*"):
        file.unlink()
    outcome = sync(filled, voyage=OTHER)
    assert [problem.code for problem in outcome.problems] == ["profile_changed"]
    assert Table(filled).width == OLD
    reprofiled(filled)
    assert (Table(filled).width, len(Table(filled).texts)) == (NEW, FILES)
    paid_once(filled)


# --- what cannot be embedded ---


def refuse_a_line(world: World) -> None:
    rule = {"line_refused": {"contains": "About bad, part 1"}}
    world.sim.faults.rules = FaultScript.from_dict({"faults": rule}).rules


def blocked(world: World, **sections):
    outcome = sync(world, voyage=OTHER, **sections)
    assert outcome.ending is Ending.OPERATOR
    return {problem.code: problem for problem in outcome.problems}


def test_what_the_vendor_refuses_keeps_the_switch_until_it_is_tried_again(tmp_path):
    world = World(tmp_path)
    world.write("bad.md", prose("bad", 2))
    world.write("good.md", prose("good"))
    world.run()
    refuse_a_line(world)
    act(world, "begin")
    assert "1 chunk failed" in blocked(world)["reprofile_blocked"].message
    assert Table(world).width == OLD
    world.sim.faults.rules = ()
    with world.worker(voyage=OTHER) as context:
        perform(context, "retry", {}, "me")
    world.run(voyage=OTHER)
    shown = Table(world)
    assert (shown.width, len(shown.texts["bad.md"])) == (NEW, 2)


def test_or_until_a_person_accepts_it(tmp_path):
    world = World(tmp_path)
    world.write("bad.md", prose("bad", 2))
    world.write("good.md", prose("good"))
    world.run()
    refuse_a_line(world)
    act(world, "begin")
    blocked(world)
    assert act(world, "accept_failures")["failed_chunks"] == 1
    with world.worker(voyage=OTHER) as context:
        world.take_turns(context, 10, quiet=False)
    shown = Table(world)
    assert (shown.width, len(shown.texts["bad.md"]), len(shown.texts["good.md"])) == (NEW, 1, 1)
    sound(world, voyage=OTHER)


def test_a_folder_that_is_not_there_keeps_the_switch(filled):
    away = filled.root / "away"
    act(filled, "begin")
    filled.docs.rename(away)
    found = blocked(filled)
    assert {"frozen", "reprofile_blocked"} <= found.keys()
    assert f"{FILES} documents in the table cannot be read" in found["reprofile_blocked"].message
    assert len(Table(filled).texts) == FILES
    away.rename(filled.docs)
    filled.run(voyage=OTHER)
    assert (Table(filled).width, len(Table(filled).texts)) == (NEW, FILES)


def test_a_source_that_left_the_configuration_is_left_out_only_by_a_person(filled, tmp_path):
    other = tmp_path / "other"
    filled.write("x.md", prose("x"), folder=other)
    here = {"name": "other", "path": str(other)}
    docs = {"name": "docs", "path": str(filled.docs)}
    filled.run(sources=[docs, here])
    act(filled, "begin", sources=[docs])
    assert "reprofile_blocked" in blocked(filled, sources=[docs])
    act(filled, "accept_failures", sources=[docs])
    with filled.worker(voyage=OTHER, sources=[docs]) as context:
        filled.take_turns(context, 10, quiet=False)
    assert Table(filled).width == NEW
    assert "x.md" not in Table(filled).texts


# --- dying ---


def dies_at(point: str, nth: int = 1):
    left = nth

    def hook(passed: str) -> None:
        nonlocal left
        if passed == point:
            left -= 1
            if left == 0:
                raise Died

    crash.arm(hook)


BUILD_POINTS = [
    "reprofile.committed",
    "switch.intent.committed",
    "switch.kept",
    "switch.table.done",
    "switch.table.synced",
    "switch.committed",
]


@pytest.mark.parametrize("point", BUILD_POINTS)
@pytest.mark.parametrize("edited", [False, True])
def test_death_at_any_point_of_the_way_there(filled, point, edited):
    before = Table(filled).texts
    dies_at(point)
    with pytest.raises(Died):
        reprofiled(filled)
    crash.arm(None)
    assert Table(filled).texts == before
    if edited:
        filled.write("0.md", prose("edited", 2))
        filled.remove("1.md")
    reprofiled(filled)
    shown = Table(filled)
    assert shown.width == NEW
    assert shown.texts.keys() == before.keys() - ({"1.md"} if edited else set())
    assert ("edited" in shown.texts["0.md"][0]) == edited
    paid_once(filled)
    sound(filled, voyage=OTHER)
    assert act(filled, "switch_back")["state"] == "switched back"
    # A document that has gone leaves the old table, too, unless the switch was begun before that was seen.
    left_before = edited and point == "reprofile.committed"
    assert Table(filled).texts.keys() == before.keys() - ({"1.md"} if left_before else set())
    filled.run()
    assert Table(filled).texts == shown.texts
    sound(filled)
    paid_once(filled)


@pytest.mark.parametrize(
    "point", ["switch_back.intent.committed", "switch_back.table.done", "switch_back.committed"]
)
def test_death_at_any_point_of_the_way_back(filled, point):
    before = Table(filled)
    reprofiled(filled)
    units = filled.ledger.units()
    dies_at(point)
    with pytest.raises(Died):
        act(filled, "switch_back")
    crash.arm(None)
    filled.run()
    after = Table(filled)
    assert (after.width, after.texts) == (OLD, before.texts)
    assert filled.ledger.units() == units, "it costs nothing"
    sound(filled)


@pytest.mark.parametrize("point", ["abandon.committed", "cancel.committed"])
def test_death_while_it_is_given_up(filled, point):
    before = Table(filled)
    act(filled, "begin")
    with filled.worker(voyage=OTHER) as context:
        until(filled, context, Batch.UPLOADED)
    dies_at(point)
    with pytest.raises(Died):
        act(filled, "abandon")
        filled.run()
    crash.arm(None)
    filled.run()
    after = Table(filled)
    assert (after.width, after.texts, after.version) == (OLD, before.texts, before.version)
    assert filled.ledger.units() == 2 * FILES
    sound(filled)


def fill_up_at(wanted, monkeypatch):
    """The disk is full at that point, once."""

    def no_room(*_anything):
        monkeypatch.undo()
        raise DiskFullError("No room left on the disk.")

    def fill_up(point):
        if point == wanted:
            crash.arm(None)
            before_the_commit = point == "switch.kept"
            monkeypatch.setattr(PublishedTable, "remake" if before_the_commit else "sync", no_room)

    crash.arm(fill_up)


def test_a_full_disk_in_the_middle_of_the_switch_is_waited_out(filled, monkeypatch):
    act(filled, "begin")
    fill_up_at("switch.table.done", monkeypatch)
    filled.run(voyage=OTHER)
    assert filled.log.named("disk.paused")
    assert (Table(filled).width, len(Table(filled).texts)) == (NEW, FILES)
    sound(filled, voyage=OTHER)


def until_the_disk_is_full(world: World, context) -> None:
    for _ in range(300):
        if world.log.named("disk.paused"):
            return
        world.take_turns(context, 1, quiet=False)
        world.clock.advance(5)
    raise AssertionError("the disk was never full")


def test_a_switch_that_is_in_the_table_already_cannot_be_abandoned(filled, monkeypatch):
    act(filled, "begin")
    fill_up_at("switch.table.done", monkeypatch)
    with filled.worker(voyage=OTHER) as context:
        until_the_disk_is_full(filled, context)
        with pytest.raises(ConfigError, match="too late") as caught:
            perform(context, "reprofile", {"do": "abandon"}, "me")
        assert "--switch-back" in caught.value.hint
        assert perform(context, "reprofile", {"do": "switch_back"}, "me")["state"] == "switched back"
    assert (Table(filled).width, len(Table(filled).texts)) == (OLD, FILES)
    filled.run()
    sound(filled)
    paid_once(filled)


def test_a_switch_that_did_not_reach_the_table_can_be_abandoned(filled, monkeypatch):
    before = Table(filled)
    act(filled, "begin")
    fill_up_at("switch.kept", monkeypatch)
    with filled.worker(voyage=OTHER) as context:
        until_the_disk_is_full(filled, context)
        assert perform(context, "reprofile", {"do": "abandon"}, "me")["state"] == "abandoned"
    filled.run()
    assert (Table(filled).width, Table(filled).texts) == (OLD, before.texts)
    sound(filled)
    paid_once(filled)


def test_a_pack_that_is_damaged_is_made_again_before_the_switch(filled):
    act(filled, "begin")
    with filled.worker(voyage=OTHER) as context:
        mine = context.profile.fingerprint[:12]

        def spoil(point):
            if point == "collect.committed":
                crash.arm(None)
                (path,) = [
                    context.segments.path(name) for name in context.segments.names() if name.startswith(mine)
                ]
                path.chmod(0o600)
                os.truncate(path, path.stat().st_size - 8)

        crash.arm(spoil)
        filled.take_turns(context)
        assert filled.log.named("segment.damaged")
    assert (Table(filled).width, len(Table(filled).texts)) == (NEW, FILES)
    sound(filled, voyage=OTHER)


# --- giving up ---


def test_what_was_paid_for_an_abandoned_build_serves_the_next_one(filled):
    filled.write("0.md", prose("zero again", 2))
    filled.run()
    act(filled, "begin")
    build_half(filled)
    filled.write("0.md", prose("edited", 2))
    filled.write("added.md", prose("added"))
    answer = act(filled, "abandon")
    assert answer["state"] == "abandoned"
    assert sync(filled, voyage=OTHER).ending is Ending.OPERATOR, (
        "the configuration still asks for the other vectors"
    )
    filled.run()
    shown = Table(filled)
    assert (shown.width, "added.md" in shown.texts, "edited" in shown.texts["0.md"][0]) == (OLD, True, True)
    sound(filled)
    assert filled.ledger.units() == 14 + 3 + 5
    reprofiled(filled)
    assert filled.ledger.units() == 14 + 3 + 13 + 2, "13 texts, and two that an edit made useless"
    paid_once(filled)


def test_jobs_of_an_abandoned_build_are_cancelled_and_what_they_answered_is_kept(filled):
    act(filled, "begin")
    with filled.worker(voyage=OTHER) as context:
        until(filled, context, Batch.RUNNING)
    assert act(filled, "abandon")["cancelled"] == 1
    filled.run()
    assert filled.sim.calls["cancel_batch"] == 1
    outcome = sync(filled)
    assert outcome.ending is Ending.DONE, outcome.problems
    reprofiled(filled)
    paid_once(filled)


# --- back again ---


def test_the_table_of_before_comes_back_at_no_cost_and_then_catches_up(filled):
    before = Table(filled)
    reprofiled(filled)
    filled.write("0.md", prose("edited", 2))
    filled.write("added.md", prose("added"))
    filled.remove("1.md")
    filled.docs.joinpath("2.md").rename(filled.docs / "moved.md")
    filled.run(voyage=OTHER)
    units = filled.ledger.units()

    assert act(filled, "switch_back")["state"] == "switched back"
    back = Table(filled)
    assert (back.width, back.texts) == (OLD, before.texts)
    assert filled.ledger.units() == units
    filled.run(
        2, quiet=False, voyage=OTHER
    )  # nothing is sent while the configuration asks for the other vectors
    assert filled.ledger.units() == units

    filled.run()
    caught_up = Table(filled).texts
    assert "edited" in caught_up["0.md"][0]
    assert caught_up.keys() == (before.texts.keys() - {"1.md", "2.md"}) | {"added.md", "moved.md"}
    assert filled.ledger.units() == units + 3, "what was edited and added, and nothing of what moved"
    paid_once(filled)
    sound(filled)
    reprofiled(filled)
    assert filled.ledger.units() == units + 3, "and forward once more"
    assert Table(filled).texts == caught_up


def test_what_had_failed_before_is_tried_again_after_the_way_back(tmp_path):
    world = World(tmp_path)
    refuse_a_line(world)
    world.write("bad.md", prose("bad", 2))
    world.run()
    assert len(Table(world).texts["bad.md"]) == 1
    world.sim.faults.rules = ()
    reprofiled(world)
    act(world, "switch_back")
    assert len(Table(world).texts["bad.md"]) == 1
    world.run()
    assert len(Table(world).texts["bad.md"]) == 2
    sound(world)


@pytest.mark.parametrize("asked_again", ["after it was switched back", "before the switch"])
def test_a_document_that_lacked_a_chunk_leaves_the_table_that_came_back_when_its_file_is_gone(
    tmp_path, asked_again
):
    world = World(tmp_path)
    refuse_a_line(world)
    world.write("bad.md", prose("bad", 2))
    world.write("good.md", prose("good", 2))
    world.run()
    if (
        asked_again == "before the switch"
    ):  # then it is on its way to the old table while the new one is built
        with world.worker() as context:
            perform(context, "retry", {}, "me")
            until(world, context, Batch.RUNNING)
    world.sim.faults.rules = ()
    reprofiled(world)
    act(world, "switch_back")
    assert Table(world).texts.keys() == {"bad.md", "good.md"}
    world.remove("bad.md")
    with world.worker() as context:
        world.take_turns(context)
        world.clock.advance(10 * 86_400)
        world.take_turns(context)
    assert Table(world).texts.keys() == {"good.md"}
    sound(world)


def test_what_is_retried_during_a_build_is_mended_if_that_is_abandoned(tmp_path):
    world = World(tmp_path)
    refuse_a_line(world)
    world.write("bad.md", prose("bad", 2))
    world.run()
    act(world, "begin")
    with world.worker(voyage=OTHER) as context:
        until(world, context, Batch.RUNNING)
        perform(context, "retry", {}, "me")
        perform(context, "reprofile", {"do": "abandon"}, "me")
    world.sim.faults.rules = ()
    world.run()
    assert (Table(world).width, len(Table(world).texts["bad.md"])) == (OLD, 2)
    sound(world)


def test_a_document_that_is_to_be_mended_is_not_left_out_unasked(tmp_path):
    world = World(tmp_path)
    refuse_a_line(world)
    other = tmp_path / "other"
    here, docs = {"name": "other", "path": str(other)}, {"name": "docs", "path": str(world.docs)}
    world.write("bad.md", prose("bad", 2), folder=other)
    world.write("x.md", prose("x"), folder=other)
    world.write("good.md", prose("good", 2))
    world.run(sources=[docs, here])
    with world.worker(sources=[docs, here]) as context:
        perform(context, "retry", {}, "me")  # its version waits again, its rows are in the table
    act(world, "begin", sources=[docs])
    found = blocked(world, sources=[docs])
    assert "2 documents in the table cannot be read" in found["reprofile_blocked"].message


def test_the_table_of_before_is_kept_through_upkeep_and_let_go_after_its_time(filled):
    keep = {"lancedb": {"keep_previous_s": 3 * 86_400}}
    reprofiled(filled, **keep)
    table = Table(filled)
    with filled.worker(voyage=OTHER, **keep) as context:
        with context.store.read() as connection:
            previous = previous_table.previous(connection)
        assert (previous.until_at - previous.switched_at) / 1e6 == 3 * 86_400
        assert context.open_table().is_kept(previous.table_version)
        filled.clock.advance(2 * 86_400)
        filled.take_turns(context)
        with context.store.read() as connection:
            assert previous_table.previous(connection) == previous
        filled.clock.advance(86_400)
        filled.take_turns(context)
        with context.store.read() as connection:
            assert previous_table.previous(connection) is None
            assert connection.exec_driver_sql("SELECT COUNT(*) FROM shelf").scalar_one() == 0
    with pytest.raises(ConfigError, match="nothing to switch back to"):
        act(filled, "switch_back", **keep)
    assert Table(filled).texts == table.texts


def test_what_is_let_go_leaves_the_disk_and_its_vectors_may_be_deleted(filled, monkeypatch):
    monkeypatch.setattr("voyage_jobs.table.kept.LEAST_KEEP_S", 0)  # Lance goes by the clock of this machine
    keep = {"lancedb": {"keep_previous_s": 60}}
    old = Table(filled)
    reprofiled(filled, **keep)
    data = os.path.join(old.path, "data")
    before = len(os.listdir(data))
    filled.clock.advance(61)
    filled.run(voyage=OTHER, **keep)
    assert len(os.listdir(data)) < before
    shutil.rmtree(filled.data_dir / "vectors" / profile_of(filled.settings()).fingerprint[:12])
    units = filled.ledger.units()
    filled.run(voyage=OTHER, **keep)
    assert (Table(filled).width, len(Table(filled).texts)) == (NEW, FILES)
    assert filled.ledger.units() == units
    assert sync(filled, voyage=OTHER, **keep).ending is Ending.DONE


def test_a_death_while_it_is_let_go_does_no_harm(filled):
    keep = {"lancedb": {"keep_previous_s": 0}}
    act(filled, "begin", **keep)
    dies_at("previous.released")
    with pytest.raises(Died):
        filled.run(voyage=OTHER, **keep)
    crash.arm(None)
    filled.run(voyage=OTHER, **keep)
    assert Table(filled).width == NEW
    with filled.worker(voyage=OTHER, **keep) as context, context.store.read() as connection:
        assert previous_table.previous(connection) is None


def test_a_table_that_was_lost_since_cannot_come_back_but_its_vectors_can(filled):
    reprofiled(filled)
    shutil.rmtree(Table(filled).path)
    filled.run(voyage=OTHER)
    with pytest.raises(ConfigError, match="gone with the table") as caught:
        act(filled, "switch_back")
    assert "only what has changed" in caught.value.hint
    units = filled.ledger.units()
    with filled.worker() as context:
        target = profile_of(filled.settings()).to_json()
        perform(context, "reprofile", {"do": "begin", "target": target}, "me")
        filled.take_turns(context)
    assert (Table(filled).width, filled.ledger.units()) == (OLD, units)


def test_a_second_switch_takes_the_place_of_the_first(filled):
    third = {"output_dimension": 32}
    reprofiled(filled)
    act(filled, "begin", voyage=third)
    with pytest.raises(ConfigError, match="nothing has been switched yet"):
        act(filled, "switch_back", voyage=third)
    filled.run(voyage=third)
    assert Table(filled).width == 32
    act(filled, "switch_back", voyage=third)
    assert Table(filled).width == NEW
    filled.run(voyage=OTHER)
    sound(filled, voyage=OTHER)


# --- beside it ---


def test_versions_of_both_profiles_wait_and_show_side_by_side(filled):
    act(filled, "begin")
    with filled.worker(voyage=OTHER) as context:
        until(filled, context, Batch.RUNNING)
        with context.store.read() as connection:
            found = rebuild.progress(connection, context.profile_id)
            assert publications.ready(connection, 0, 1) == []
        assert (found.documents, found.chunks, found.open_chunks, found.unread) == (FILES, 12, 12, 0)
        assert not found.complete(leave_out=True)
        assert not found.blocked
    sound(filled, voyage=OTHER)


# --- held back ---


def held(world: World, **more):
    target = profile_of(world.settings(voyage=OTHER)).to_json()
    with world.worker(voyage=OTHER) as context:
        return perform(context, "reprofile", {"do": "begin", "target": target, "hold": True, **more}, "me")


def test_a_switch_that_is_held_back_waits_for_a_word(filled):
    assert held(filled)["state"] == "begun"
    assert "reprofile --switch" in blocked(filled)["reprofile_held"].next
    assert "reprofile_held" in blocked(filled), "whatever is started again"
    assert Table(filled).width == OLD
    assert act(filled, "switch")["state"] == "to be switched"
    assert sync(filled, voyage=OTHER).ending is Ending.DONE
    assert Table(filled).width == NEW


def test_a_build_may_be_held_back_later_and_given_up(filled):
    with pytest.raises(ConfigError, match="nothing to switch to"):
        act(filled, "switch")
    act(filled, "begin")
    assert held(filled)["state"] == "held"
    assert "reprofile_held" in blocked(filled)
    act(filled, "abandon")
    assert Table(filled).width == OLD


def test_a_build_that_is_not_held_is_written_as_before(filled):
    act(filled, "begin")
    with filled.state.read() as connection:
        assert (
            "hold"
            not in connection.exec_driver_sql("SELECT value FROM meta WHERE key = 'reprofile'").scalar_one()
        )
