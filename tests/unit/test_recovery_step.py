"""The start: whatever the last process left, and whatever happened to the files meanwhile."""

from __future__ import annotations

import os
import shutil

import lance
import pytest
from step_doors import (
    all_batches,
    embeddings_by_state,
    money,
    newest,
    prose,
    query,
    settle,
    shown,
    source_row,
    tripped,
    turns,
)
from verify_doors import found
from world import World

from voyage_jobs.core.clock import US
from voyage_jobs.core.crash import arm
from voyage_jobs.errors import ConfigError, LockedError
from voyage_jobs.state import circuits
from voyage_jobs.steps.reprofile import BEGIN, reprofile

DAY_S = 86_400


@pytest.fixture
def filled(world):
    """Three published documents."""
    for name in "abc":
        world.write(f"{name}.md", prose(name, 2))
    world.run()
    return world


def lance_of(world):
    return world.data_dir / "lancedb"


def rebuilt(world, before, **sections):
    """After a run the table shows the same, and nothing was spent."""
    spent = world.ledger.export()
    world.run(**sections)
    assert world.ledger.export() == spent
    return shown(world) == before


# The table.


def test_a_table_that_is_missing_is_built_again_at_no_cost(filled):
    before = shown(filled)
    shutil.rmtree(lance_of(filled))
    with filled.worker() as context:
        settled = money(context).settled_tokens
        settle(filled, context)
        assert money(context).settled_tokens == settled
        assert len(all_batches(context)) == 1
    assert shown(filled) == before


def looks(monkeypatch):
    """How often Lance opens a table from now on."""
    seen = []
    real = lance.dataset
    monkeypatch.setattr(lance, "dataset", lambda *args, **how: seen.append(args) or real(*args, **how))
    return seen


def test_a_table_that_nothing_has_touched_is_not_opened_by_the_next_sync(filled, monkeypatch):
    before, seen = shown(filled), looks(monkeypatch)
    filled.run()
    assert seen == []
    filled.write("d.md", prose("d", 2))
    filled.run()  # what it publishes, the next one need not look at either
    assert len(shown(filled)) > len(before)
    seen.clear()
    filled.run()
    assert seen == []


@pytest.mark.parametrize("what", ["data", "_versions", "_transactions"])
def test_a_table_with_any_other_file_is_looked_into(filled, monkeypatch, what):
    (file, *_) = (lance_of(filled) / "chunks.lance" / what).iterdir()
    found = file.stat()
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))  # no program can set a ctime back
    seen = looks(monkeypatch)
    filled.run()
    assert seen
    seen.clear()
    filled.run()
    assert seen == []


def test_a_daemon_leaves_no_word_that_the_table_is_whole(world, monkeypatch):
    world.write("a.md", prose("a", 2))
    world.run(eager=False)
    seen = looks(monkeypatch)
    world.run()
    assert seen


@pytest.mark.parametrize("what", ["data", "_versions"])
@pytest.mark.parametrize("how", ["cut", "empty", "missing"])
def test_a_torn_table_is_set_aside_and_built_again_at_no_cost(filled, what, how):
    before = shown(filled)
    victims = sorted((lance_of(filled) / "chunks.lance" / what).iterdir())
    victim = max(victims, key=lambda path: path.stat().st_mtime_ns)
    if how == "missing":
        victim.unlink()
    else:
        os.truncate(victim, 0 if how == "empty" else victim.stat().st_size // 2)
    assert rebuilt(filled, before)


def test_a_table_that_went_back_in_time_is_brought_forward_again(filled, tmp_path):
    """A backup of the table alone was restored: later edits return, and later deletions are done again."""
    backup = tmp_path / "backup"
    shutil.copytree(lance_of(filled), backup)
    filled.remove("a.md")
    filled.write("b.md", prose("b, edited"))
    filled.run()
    before = shown(filled)
    assert sorted(before) == ["b.md", "c.md"]
    shutil.rmtree(lance_of(filled))
    shutil.copytree(backup, lance_of(filled))
    assert rebuilt(filled, before)


def test_a_table_of_another_name_is_filled_and_the_first_one_left_alone(filled):
    before = shown(filled)
    assert rebuilt(filled, before, lancedb={"table": "other"})  # the first one, as it was
    other = lance_of(filled) / "other.lance"
    assert lance.dataset(str(other)).count_rows() == len(filled.table_rows())


def test_a_return_to_the_first_table_takes_out_what_went_meanwhile(filled):
    filled.run(lancedb={"table": "other"})
    filled.remove("a.md")
    filled.run(lancedb={"table": "other"})
    filled.run()
    assert sorted(shown(filled)) == ["b.md", "c.md"]


def test_a_return_to_a_table_of_an_earlier_model_fills_it_anew_and_keeps_what_it_was(filled):
    """It was refused, with the advice to set the model back, which was refused, too."""
    lite = {"voyage": {"model": "voyage-4-lite"}}
    with filled.worker(**lite) as context:
        reprofile(context, {"do": BEGIN, "target": context.asked.to_json()}, "test")
    filled.run(**lite, lancedb={"table": "second"})  # there is no table yet that could be kept
    assert filled.log.named("table.set_aside") == []
    before, paid = lance.dataset(str(lance_of(filled) / "chunks.lance")).to_table(), filled.ledger.units()
    filled.run(**lite)
    found = lance.dataset(str(lance_of(filled) / "chunks.lance")).to_table()
    second = lance.dataset(str(lance_of(filled) / "second.lance")).to_table()
    assert found["embedding_key"] == second["embedding_key"] != before["embedding_key"]
    assert found["chunk_id"] == before["chunk_id"]
    (told,) = filled.log.named("table.set_aside")
    assert (
        "holds vectors of voyage-4, 8 x float, input_type document; those here are of voyage-4-lite"
        in told["reason"]
    )
    assert lance.dataset(told["kept_as"]).to_table() == before, "nothing is lost"
    assert filled.ledger.units() == paid
    filled.run(**lite)
    assert len(filled.log.named("table.set_aside")) == 1
    with filled.worker(**lite) as context:
        assert context.table_door.profile().model == "voyage-4-lite"


def test_a_table_of_another_profile_is_refused_with_a_way_out(filled, tmp_path):
    other = World(tmp_path / "second", voyage={"output_dimension": 16})
    other.write("x.md", prose("x"))
    with pytest.raises(ConfigError) as caught:
        other.run(lancedb={"uri": str(lance_of(filled))})
    assert "table" in (caught.value.message + (caught.value.hint or ""))
    assert len(shown(filled)) == 3


def test_a_publication_that_died_is_made_again(filled):
    """Dead between the table's commit and its acknowledgement."""
    filled.write("a.md", prose("a, edited", 2))

    class Died(Exception):
        pass

    def dies(point):
        if point == "publish.table.done":
            raise Died

    arm(dies)
    try:
        with pytest.raises(Died):
            filled.run()
    finally:
        arm(None)
    filled.run()
    assert "edited" in shown(filled)["a.md"][0]
    assert len(filled.table_rows()) == 6


# Settings that do not fit.


@pytest.mark.parametrize(
    "voyage",
    [
        {"model": "voyage-4-lite"},
        {"output_dimension": 16},
        {"output_dtype": "int8"},
        {"input_type": "query"},
    ],
)
def test_for_other_vectors_nothing_is_sent_and_the_table_goes_on(filled, voyage):
    """See test_reprofile_step.py for what an operator may do about it."""
    filled.write("new.md", prose("new"))
    before, calls = shown(filled), filled.sim.calls["create_batch"]
    with filled.worker(voyage=voyage) as context:
        filled.take_turns(context, 20, quiet=False)
    assert (shown(filled), filled.sim.calls["create_batch"]) == (before, calls)
    assert filled.log.named("profile.changed")
    filled.run()
    assert filled.sim.calls["create_batch"] == calls + 1


def test_two_at_once_are_refused(world):
    with world.worker():
        with pytest.raises(LockedError, match="Another voyage-jobs"), world.worker():
            pass


# What lies about.


def test_files_of_batches_that_are_over_leave_the_spool(filled):
    spool = filled.data_dir / "spool"
    assert not list(spool.iterdir())
    with filled.worker() as context:
        ref = newest(context).ref
    (spool / f"{ref}.jsonl").write_bytes(b"left by a dead process")
    (spool / "of-nobody.jsonl").write_bytes(b"young")
    old = spool / "of-nobody-either.jsonl.tmp"
    old.write_bytes(b"old")
    long_ago = filled.clock.wall() - 2 * DAY_S
    os.utime(old, (long_ago, long_ago))
    now = filled.clock.wall()
    os.utime(spool / "of-nobody.jsonl", (now, now))
    with filled.worker():
        assert sorted(path.name for path in spool.iterdir()) == ["of-nobody.jsonl"]


def test_a_pack_that_is_gone_is_missed_once(filled):
    """It stays on record; each later start would look for its vectors again, and write down that none were lost."""
    for segment in filled.data_dir.glob("vectors/*/*.arrow"):
        segment.unlink()
    filled.run()
    count = "SELECT COUNT(*) FROM transitions WHERE kind = 'embedding' AND origin = 'held'"
    with filled.worker() as context:
        assert query(context, count) == [(1,)]
    with filled.worker() as context:
        assert query(context, count) == [(1,)]
    assert len(filled.log.named("segment.damaged")) == 1


def test_vectors_that_a_new_state_took_in_and_lost_again_are_counted_before_they_are_paid(filled):
    """Else they would go past every budget: nobody counts what comes out of a segment."""
    tokens = "SELECT key, tokens FROM embeddings ORDER BY key"
    with filled.worker() as context:
        (segment,), before = context.segments.names(), query(context, tokens)
    for file in filled.data_dir.glob("state.db*"):
        file.unlink()
    filled.run()
    with filled.worker() as context:
        assert query(context, "SELECT SUM(tokens) FROM embeddings") == [(0,)]
        context.segments.remove(segment)
    with filled.worker() as context:
        assert embeddings_by_state(context) == {"wanted": 6}
        assert query(context, tokens) == before
        settle(filled, context)
        assert newest(context).tokens_estimated >= newest(context).tokens_settled > 0


@pytest.mark.parametrize("damage", ["away", "cut"])
def test_a_pack_that_comes_back_is_taken_in_and_not_paid_again(filled, damage):
    """Its disk was not mounted at one start; or a good copy was put in the place of a damaged one."""
    kept = filled.data_dir.with_name("kept")
    vectors = filled.data_dir / "vectors"
    shutil.copytree(vectors, kept)
    for pack in vectors.rglob("*.arrow"):
        pack.unlink() if damage == "away" else os.truncate(pack, 100)
    with filled.worker() as context:
        assert embeddings_by_state(context) == {"wanted": 6}
    shutil.copytree(kept, vectors, dirs_exist_ok=True)
    assert found(filled) == {"pack_unknown": 1}
    with filled.worker() as context:
        assert embeddings_by_state(context) == {"held": 6}
    spent = filled.ledger.export()
    filled.run()
    assert filled.ledger.export() == spent
    assert found(filled) == {}


def test_half_a_pack_is_swept(filled):
    (segment,) = (filled.data_dir / "vectors").rglob("*.arrow")
    half = segment.with_name("half.arrow.tmp")
    half.write_bytes(b"ARROW1")
    with filled.worker():
        assert not half.exists()
        assert segment.exists()


def test_a_restart_in_the_middle_of_a_download_goes_on_from_there(tmp_path):
    world = World(tmp_path, faults={"body_cut": {"times": 1, "keep_share": 0.6}}, options={"ranges": True})
    for number in range(20):
        world.write(f"{number}.md", prose(f"number {number}"))
    with world.worker() as context:
        for _ in range(100):
            turns(world, context, 1)
            if world.sim.faults.fired["body_cut"]:
                break
        part = next(context.spool.glob("*.part"))
        assert part.stat().st_size > 0
    world.run()
    ranged = [request.headers["range"] for request in world.transport.requests if "range" in request.headers]
    assert ranged
    assert len(shown(world)) == 20


# Clocks.


def test_a_clock_set_back_while_nothing_ran_does_not_keep_a_lane_closed(world):
    world.write("a.md", prose("a"))
    with world.worker() as context:
        with context.store.write() as tx:
            circuits.trip(tx, circuits.VENDOR, tx.now + 600 * US, 9, "unreachable", "no network", None)
    world.clock.step(-5 * DAY_S)
    with world.worker() as context:
        wait = tripped(context)["vendor"].until_at / US - world.clock.wall()
        assert wait <= context.settings.voyage.create_retry_s
        assert source_row(context).scan_due_at <= world.clock.wall() * US
    world.run()
    assert len(shown(world)) == 1


def test_the_state_says_who_works_here_and_when_it_left(world):
    with world.worker(mode="run") as context:
        ((pid, mode, stopped),) = query(context, "SELECT pid, mode, stopped_at FROM daemon")
        assert (pid, mode, stopped) == (os.getpid(), "run", None)
    with world.worker() as context:
        assert query(context, "SELECT mode FROM daemon") == [("sync",)]


def test_a_world_that_is_quiet_stays_quiet(filled):
    before = filled.sim.calls.copy()
    with filled.worker() as context:
        turns(filled, context, 30)
        assert embeddings_by_state(context) == {"held": 6}
    assert filled.sim.calls == before
