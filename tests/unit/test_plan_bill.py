"""A plan equals the bill: in every world it names the texts, tokens and batches of the `sync` that follows."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from older_state import as_0_1_0_left_it
from step_doors import prose, query, scan
from test_expedite_step import Death, dies_at
from tokenizer_file import make_tokenizer
from world import World

from voyage_jobs.errors import DiskFullError
from voyage_jobs.planning.input_files import InputFiles
from voyage_jobs.planning.plan import plan
from voyage_jobs.planning.rehearsal import rehearsal
from voyage_jobs.service.signals import Signals
from voyage_jobs.service.sync import Sync
from voyage_jobs.state import backlog
from voyage_jobs.state.door import open_state
from voyage_jobs.steps import synchronous
from voyage_jobs.steps.acts import perform
from voyage_jobs.steps.assemble import assemble
from voyage_jobs.steps.context import no_progress


def make_world(tmp_path, **sections):
    """A provider that bills by a tokenizer, settings that name the same, and some files."""
    file = str(make_tokenizer(tmp_path / "tokenizer.json"))
    voyage = {"tokenizer": file, **sections.pop("voyage", {})}
    world = World(tmp_path, options={"tokenizer": file}, voyage=voyage, **sections)
    for number in range(6):
        world.write(f"part{number % 2}/d{number}.md", prose(f"number {number}", 4))
    world.write("copy.md", prose("number 1", 4))
    return world


def bill(world):
    """Texts (or windows), tokens and jobs on the provider's books so far."""
    ledger = world.ledger
    assert ledger.billed_more_than_once() == {}
    return ledger.units(), ledger.batch_tokens, len(ledger.export()["batches"])


def plan_and_sync(world, *, before_sync=lambda _context: None, max_inputs=None, **sections):
    """Plan, then `sync` under the same settings: the plan, after it was compared with what was billed."""
    settings = world.settings(**sections)
    planned = plan(settings, world.clock, max_inputs=max_inputs)
    before = bill(world)
    with Signals() as signals, world.worker(**sections) as context:
        before_sync(context)
        Sync(context, signals, most_inputs=max_inputs).run()
    found = planned["batches"]
    billed = tuple(now - then for now, then in zip(bill(world), before, strict=True))
    assert (found["tokens"], found["count"]) == billed[1:]
    if "context" not in settings.voyage.model:  # else a thing that is billed is a window of several texts
        assert found["inputs"] == billed[0]
    return planned


def fresh(_world):
    pass


def changed(world):
    world.run()
    world.write("part0/d0.md", prose("number 0", 3) + "\n\n# More\n\nrenew a certificate")
    world.write("part1/d1.md", prose("something else", 5))


def moved(world):
    world.run()
    shutil.move(world.docs / "part0", world.docs / "elsewhere")
    world.write("new.md", prose("a new one"))


def deleted(world):
    world.run()
    world.remove("part0/d0.md")
    world.remove("copy.md")
    world.write("new.md", prose("a new one"))


def edited_before_it_was_sent(world):
    with world.worker() as context:
        scan(context)
    world.write("part0/d0.md", prose("number 0 is another"))
    world.remove("part0/d2.md")


def packed_and_not_sent(world):
    with world.worker() as context:
        scan(context)
        assert assemble(context, eager=True, most_inputs=5)
    world.write("new.md", prose("a new one"))


def the_state_is_lost(world):
    world.run()
    for name in ("state.db", "state.db-wal", "state.db-shm"):
        (world.data_dir / name).unlink(missing_ok=True)
    world.write("new.md", prose("a new one"))


ONE_BATCH: dict[str, int] = {}
BATCHES = {"max_inputs": 4}
WAVES = {"max_inputs": 7, "max_in_flight_batches": 2}


@pytest.mark.parametrize(("before", "batching"), [
    (fresh, ONE_BATCH), (fresh, BATCHES), (fresh, WAVES), (changed, BATCHES), (moved, ONE_BATCH),
    (deleted, ONE_BATCH), (edited_before_it_was_sent, BATCHES), (packed_and_not_sent, BATCHES),
    (packed_and_not_sent, WAVES), (the_state_is_lost, BATCHES),
])  # fmt: skip
def test_a_plan_is_what_a_run_is_billed(tmp_path, before, batching):
    world = make_world(tmp_path, batching=batching)
    before(world)
    planned = plan_and_sync(world)
    assert planned["tokens"]["to_send"] == planned["batches"]["tokens"] > 0
    assert plan(world.settings(), world.clock)["tokens"]["to_send"] == 0


@pytest.mark.parametrize("point", [
    "assemble.committed", "spool.committed", "sync.attempt.committed", "sync.spooled", "sync.committed",
    "segment.renamed",
])  # fmt: skip
def test_what_was_to_be_sent_at_once_as_the_process_died_is_planned_as_it_is_billed(tmp_path, point):
    world = make_world(tmp_path)
    with pytest.raises(Death), world.worker() as context:
        scan(context)
        dies_at(world, context, point, path="copy.md")
        raise Death
    world.write("new.md", prose("a new one"))
    at_once = world.ledger.sync_tokens
    plan_and_sync(world)
    assert world.ledger.sync_tokens == at_once


def test_a_batch_that_goes_at_once_without_an_order_is_planned(tmp_path):
    world = make_world(tmp_path)
    with world.worker() as context:
        scan(context)
        with context.store.read() as connection:
            wanted = list(backlog.wanted(connection, context.profile_id, 0, 2))
        with context.store.write() as tx:
            synchronous.make(context, tx, wanted)
    assert plan(world.settings(), world.clock)["batches"]["count"] == 2


def test_where_room_in_flight_cuts_batches_the_tokens_are_those_of_the_bill(tmp_path):
    """Into how many batches it cuts them depends on which job ends first: the plan lets the oldest end first."""
    world = make_world(
        tmp_path, batching={"max_inputs": 7, "max_in_flight_batches": 2, "max_in_flight_tokens": 500}
    )
    planned = plan(world.settings(), world.clock)
    assert planned["batches"]["count"] > 4
    world.run()
    assert planned["batches"]["tokens"] == planned["tokens"]["to_send"] == world.ledger.batch_tokens


def test_vectors_that_are_missing_are_planned_again(tmp_path):
    world = make_world(tmp_path)
    world.run()
    shutil.rmtree(world.settings().paths.vectors)
    found = plan(world.settings(), world.clock)["embeddings"]
    assert found == {"new": 0, "already_waiting": 24, "without_text": 0, "to_send": 24}


def test_contextualized_windows_are_planned_as_they_are_billed(tmp_path):
    voyage = {"model": "voyage-context-3", "endpoint": "/v1/contextualizedembeddings"}
    world = make_world(tmp_path, voyage=voyage, batching={"max_inputs": 6})
    planned = plan_and_sync(world)
    assert (planned["embeddings"]["to_send"], planned["batches"]["count"]) == (6, 6)
    assert planned["reused_chunks"] == 4  # of the copy


def test_another_profile_is_planned_as_reprofile_is_billed(tmp_path):
    world = make_world(tmp_path)
    world.run()
    other = {"voyage": {"output_dimension": 16}}
    target = {"do": "begin", "target": None}

    def begin(context):
        target["target"] = context.asked.to_json()
        perform(context, "reprofile", target, "me")

    planned = plan_and_sync(world, before_sync=begin, **other)
    assert planned["sources"][0]["changed"] == 7
    assert planned["embeddings"]["to_send"] == 24
    assert any("until `voyage-jobs reprofile`" in warning for warning in planned["warnings"])


@pytest.mark.parametrize("budget", [{"daily_tokens": 700}, {"run_tokens": 500}, {"monthly_usd": 0.00002}])
def test_what_a_budget_keeps_back_is_not_in_the_batches(tmp_path, budget):
    world = make_world(tmp_path, batching={"max_inputs": 4})
    planned = plan_and_sync(world, budget=budget)
    assert 0 < planned["batches"]["tokens"] < planned["tokens"]["to_send"]
    (name,) = budget
    assert any(warning.startswith(f"budget.{name} allows") for warning in planned["warnings"])


def test_a_budget_of_one_source_keeps_back_that_source_alone(tmp_path):
    world = make_world(tmp_path)
    more = tmp_path / "more"
    world.write("one.md", prose("of another source", 3), folder=more)
    sources = [
        {"name": "docs", "path": str(world.docs), "daily_tokens": 300},
        {"name": "more", "path": str(more)},
    ]
    planned = plan_and_sync(world, sources=sources)
    assert [source["embeddings"] for source in planned["sources"]] == [24, 3]
    assert any("daily_tokens of source docs allows" in warning for warning in planned["warnings"])


def test_a_small_try_is_planned_as_it_is_billed(tmp_path):
    planned = plan_and_sync(make_world(tmp_path, batching={"max_inputs": 4}), max_inputs=7)
    assert (planned["batches"]["count"], planned["batches"]["inputs"]) == (2, 7)
    assert not any("budget" in warning for warning in planned["warnings"])


def test_texts_that_were_in_a_job_that_failed_validation_are_planned_in_small_batches(tmp_path):
    world = make_world(tmp_path)
    with world.worker() as context:
        scan(context)
        with context.store.write() as tx:
            tx.connection.exec_driver_sql("UPDATE embeddings SET refusals = 5")
    planned = plan_and_sync(world)
    assert planned["batches"]["count"] == planned["batches"]["inputs"] == 24


# --- what stands in the way for a time ---


def test_what_is_paused_is_planned_and_told(tmp_path):
    world = make_world(tmp_path)
    with world.worker() as context:
        perform(context, "pause", {"sending": True}, "me")
    planned = plan(world.settings(), world.clock)
    assert planned["batches"]["inputs"] == 24
    assert any(warning.startswith("Sending is paused by me") for warning in planned["warnings"])


def test_a_wait_for_company_is_not_waited_for(tmp_path):
    world = make_world(tmp_path, batching={"min_inputs": 1000, "linger_s": 86_400})
    assert plan(world.settings(), world.clock)["batches"]["inputs"] == 24


# --- what it leaves alone ---


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def listing(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name not in ("state.db-shm",)}


def test_nothing_is_written_but_a_file_without_a_name(tmp_path, temporary):
    world = make_world(tmp_path)
    world.run()
    world.write("new.md", prose("a new one"))
    before = listing(world.data_dir)
    with rehearsal(world.settings(), world.clock, no_progress) as tried:
        assert len(list(tried.run(InputFiles(None), lambda *_: None))) == 1
        open_files = [os.path.realpath(entry) for entry in Path("/proc/self/fd").iterdir()]
        assert [name for name in open_files if name.startswith(str(temporary))]
        assert list(temporary.iterdir()) == []
        assert query(tried.context, "SELECT COUNT(*) FROM texts") == [(1,)]
    assert listing(world.data_dir) == before
    assert list(temporary.iterdir()) == []


def test_a_plan_that_is_killed_leaves_nothing_behind(tmp_path, temporary):
    world = make_world(tmp_path, dimension=1024)
    world.run()
    script = textwrap.dedent(f"""
        import os, signal
        from pathlib import Path
        from voyage_jobs.core.clock import SystemClock
        from voyage_jobs.config.load import load_settings
        from voyage_jobs.planning.rehearsal import rehearsal
        from voyage_jobs.steps.context import no_progress
        settings = load_settings(Path({str(world.config_file())!r}), os.environ)
        with rehearsal(settings, SystemClock(), no_progress) as tried:
            print(len(tried.rows), flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
    """)
    done = subprocess.run([sys.executable, "-c", script], env=os.environ, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (-9, b"1\n"), done.stderr
    assert list(temporary.iterdir()) == []


def test_whoever_writes_the_state_is_not_kept_waiting(tmp_path):
    world = make_world(tmp_path)
    world.run()
    with rehearsal(world.settings(), world.clock, no_progress):
        with world.worker() as context, context.store.write() as tx:
            tx.connection.exec_driver_sql("UPDATE sources SET scan_due_at = 1")


def test_nobody_is_called_and_no_damaged_file_is_set_aside(tmp_path):
    world = make_world(tmp_path)
    world.run()
    (cut,) = world.settings().paths.vectors.glob("*/*.arrow")
    cut.write_bytes(cut.read_bytes()[:-10])
    asked = len(world.transport.requests)
    with rehearsal(world.settings(), world.clock, no_progress) as tried:
        with pytest.raises(RuntimeError, match="calls nobody"):
            tried.context.client.list_batches()
        assert query(tried.context, "SELECT COUNT(*) FROM embeddings WHERE state = 0") == [(24,)]
    assert cut.exists()
    assert len(world.transport.requests) == asked


def test_files_that_did_not_change_are_not_read(tmp_path, monkeypatch):
    world = make_world(tmp_path)
    world.run()
    names = []
    real = os.open

    def opens(path, *args, **kwargs):
        names.append(os.fsdecode(os.fspath(path)))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", opens)
    assert plan(world.settings(), world.clock)["sources"][0]["unchanged"] == 7
    assert not [name for name in names if name.endswith(".md")]


def test_a_disk_without_room_for_the_copy_is_told_before_it_is_filled(tmp_path, monkeypatch):
    world = make_world(tmp_path)
    world.run()
    full = os.statvfs_result((4096, 4096, 100, 1, 1, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _path: full)
    with pytest.raises(DiskFullError) as caught:
        plan(world.settings(), world.clock)
    assert "TMPDIR" in caught.value.hint


def test_a_state_of_an_older_release_is_planned_and_left_as_it_is(tmp_path):
    world = make_world(tmp_path).by_rules(1)
    world.run()
    as_0_1_0_left_it(world)
    file = open_state(world.settings()).place
    before = file.read_bytes()
    planned = plan(world.settings(), world.clock)
    assert (planned["tokens"]["to_send"], planned["sources"][0]["unchanged"]) == (0, 7)
    assert file.read_bytes() == before
