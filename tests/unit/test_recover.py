"""After a loss of state nothing is paid twice: segments are taken in, jobs are claimed, others' jobs are left alone."""

import shutil

import pytest

from tests.world import World
from voyage_jobs.config.provider import request_params
from voyage_jobs.core.states import Batch
from voyage_jobs.service.ask import ask
from voyage_jobs.service.signals import Signals
from voyage_jobs.service.sync import Ending, Sync
from voyage_jobs.state import backlog, batches, meta
from voyage_jobs.vendors.remote import JobSpec


def sync(world, *, wait=True, **sections):
    with Signals() as signals, world.worker(**sections) as context:
        return Sync(context, signals, wait=wait).run()


def recover(world, **arguments):
    return ask(
        world.settings(), world.clock, world.log, "recover", arguments, "me", transport=world.transport
    ).answer


def lose_state(world):
    for file in world.data_dir.glob("state.db*"):
        file.unlink()


def keep_state(world):
    shutil.copy(world.data_dir / "state.db", world.root / "kept.db")


def put_back_state(world):
    lose_state(world)
    shutil.copy(world.root / "kept.db", world.data_dir / "state.db")


def write_some(world, name, count=4):
    for number in range(count):
        world.write(
            f"{name}{number}.md",
            f"# {name} {number}\n\nAbout {name} and {number}.\n\n## More\n\nAnd more {name} {number}.",
        )


def settled(world, expected_rows):
    """Everything is shown, nothing was paid twice, nothing is left."""
    assert world.ledger.billed_more_than_once() == {}
    assert len(world.table_rows()) == expected_rows
    with world.worker() as context, context.store.read() as connection:
        assert batches.in_state(connection, *(state for state in Batch if state is not Batch.CLOSED)) == []
        assert meta.get(connection, meta.CLAIM) != meta.CLAIM_DUE


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    write_some(world, "first")
    return world


ROWS = 8

# --- what cannot be had ---


def test_a_damaged_pack_is_told_and_the_rest_is_taken_in(world):
    sync(world)
    write_some(world, "second")
    sync(world)
    segments = sorted(world.data_dir.glob("vectors/*/*.arrow"))
    segments[0].write_bytes(segments[0].read_bytes()[:100])
    lose_state(world)
    answer = recover(world)
    assert (answer["packs"], answer["embeddings"], len(answer["damaged_packs"])) == (1, ROWS, 1)
    assert sync(world).ending is Ending.DONE
    assert len(world.table_rows()) == 2 * ROWS


def test_an_unreachable_vendor_is_told(tmp_path):
    world = World(tmp_path, faults={"request_lost": {"on": ["list_batches"]}})
    write_some(world, "first")
    sync(world)
    lose_state(world)
    answer = recover(world)
    assert answer["embeddings"] == ROWS
    assert "could not be reached" in answer["vendor"]


def test_nothing_is_sent_before_jobs_were_claimed(tmp_path):
    world = World(tmp_path, faults={"request_lost": {"on": ["list_batches"], "times": 5}})
    write_some(world, "first")
    sync(world, wait=False)
    lose_state(world)
    assert sync(world).ending is Ending.DONE
    settled(world, ROWS)


def test_a_job_whose_files_are_gone_is_left(world):
    sync(world, wait=False)
    for file in list(world.sim.files.page({})["data"]):
        world.sim.files.delete(file["id"])
    lose_state(world)
    answer = recover(world)
    assert list(answer["jobs_left"].values()) == ["its files are no longer at the provider"]


def create_again(world, job, **metadata):
    """Another job for the input file of a job."""
    params, marks = request_params(world.settings()), job["metadata"] | metadata
    with world.worker() as context:
        context.client.create_batch(JobSpec(job["endpoint"], job["input_file_id"], params, marks, ""))


@pytest.mark.parametrize("mark", ["../../elsewhere", "a/b", "a.b", "\n"])
def test_a_job_whose_mark_cannot_be_the_name_of_a_file_is_left_alone(world, mark):
    """A mark names files in the spool and among the segments; whoever shares the account may write any mark."""
    sync(world, wait=False)
    (job,) = world.sim.jobs.all(world.sim.now_us())
    create_again(world, job, voyage_jobs_ref=mark)
    lose_state(world)
    answer = recover(world)
    assert answer["jobs_left"] == {mark: "its mark is not one that voyage-jobs makes"}
    assert answer["jobs"] == [job["metadata"]["voyage_jobs_ref"]]
    assert sync(world).ending is Ending.DONE
    assert not list(world.root.rglob("elsewhere*"))


def test_an_input_file_that_was_cut_is_not_taken_for_the_beginning_of_the_results(tmp_path):
    """It broke off, and is gone at the next try: what came of it must not spoil what the results tell."""
    world = World(tmp_path, faults={"body_cut": {"nth": 1, "keep_share": 0.05}}, options={"ranges": True})
    write_some(world, "first")
    sync(world, wait=False)
    lose_state(world)
    world.clock.advance(86_400)
    world.sim.settle()
    (job,) = world.sim.jobs.all(world.sim.now_us())
    assert "was lost" in recover(world)["vendor"]
    world.sim.files.delete(job["input_file_id"])
    assert len(recover(world)["jobs"]) == 1
    assert sync(world).work.embeddings_sent == 0
    settled(world, ROWS)


def test_a_job_of_another_data_folder_is_left_alone(world, tmp_path):
    licence = "# Licence\n\nThe same in every folder."
    world.write("licence.md", licence)
    sync(world, wait=False)
    here = World(tmp_path / "here", seed=2)
    here.transport, here.sim = world.transport, world.sim
    write_some(here, "other")
    here.write("licence.md", licence)
    (reason,) = recover(here, lost_folder=True)["jobs_left"].values()
    assert reason == "1 of its 9 texts are known here: it seems to be another data folder's"
    assert world.sim.calls["cancel_batch"] == 0


def test_a_job_made_under_other_settings_is_left_alone(world, tmp_path):
    sync(world, wait=False)
    here = World(tmp_path / "here", dimension=16, seed=2)
    here.transport, here.sim = world.transport, world.sim
    write_some(here, "first")
    answer = recover(here, lost_folder=True)
    assert list(answer["jobs_left"].values()) == ["it was made under other settings"]


@pytest.mark.parametrize("marked", [True, False], ids=["marked", "of an older release"])
def test_two_projects_of_one_account_share_all_their_texts_and_nothing_else(
    world, tmp_path, marked, monkeypatch
):
    """Seen: `recover` of the second collected the first one's results and deleted its files."""
    if not marked:
        monkeypatch.setattr("voyage_jobs.steps.known_jobs.marks", lambda _context: {})
    sync(world, wait=False)
    there = World(tmp_path / "there", seed=2)
    there.transport, there.sim, there.clock = world.transport, world.sim, world.clock
    write_some(there, "first")
    answer = recover(there)

    assert (answer["jobs"], len(answer["maybe_lost"])) == ([], 1)
    assert sync(there).work.embeddings_sent == ROWS
    assert world.sim.state()["files"] >= 1, "the first one's files are there"
    assert len(there.table_rows()) == ROWS
    outcome = sync(world)
    assert (outcome.ending, outcome.work.embeddings_sent) == (Ending.DONE, 0)
    assert len(world.table_rows()) == ROWS
    assert not world.sim.state()["files"]


def test_the_jobs_of_a_folder_that_is_lost_are_claimed_on_demand(world, tmp_path):
    sync(world, wait=False)
    there = World(tmp_path / "there", seed=2)
    there.transport, there.sim, there.clock = world.transport, world.sim, world.clock
    write_some(there, "first")

    assert len(recover(there, lost_folder=True)["jobs"]) == 1
    assert sync(there).work.embeddings_sent == 0
    settled(there, ROWS)


# --- a state that was lost ---


@pytest.mark.parametrize("asked", [True, False], ids=["recover", "by itself"])
def test_after_a_finished_run_nothing_is_sent_again(world, asked):
    sync(world)
    lose_state(world)
    if asked:
        assert recover(world)["embeddings"] == ROWS
    outcome = sync(world)
    assert (outcome.ending, outcome.work.embeddings_sent) == (Ending.DONE, 0)
    settled(world, ROWS)


@pytest.mark.parametrize("asked", [True, False], ids=["recover", "by itself"])
@pytest.mark.parametrize("later_s", [0, 86_400], ids=["running", "ended"])
def test_a_job_in_flight_is_taken_on_and_collected(world, asked, later_s):
    sync(world, wait=False)
    lose_state(world)
    world.clock.advance(later_s)
    if asked:
        assert len(recover(world)["jobs"]) == 1
    outcome = sync(world)
    assert (outcome.ending, outcome.work.embeddings_sent) == (Ending.DONE, 0)
    settled(world, ROWS)


def test_where_the_input_file_is_gone_the_results_tell(world):
    sync(world, wait=False)
    lose_state(world)
    world.clock.advance(86_400)
    world.sim.settle()
    (job,) = world.sim.jobs.all(world.sim.now_us())
    world.sim.files.delete(job["input_file_id"])
    assert len(recover(world)["jobs"]) == 1
    assert sync(world).work.embeddings_sent == 0
    settled(world, ROWS)


def test_windows_of_contextualized_embeddings_are_taken_on(tmp_path):
    context_model = {"model": "voyage-context-3", "endpoint": "/v1/contextualizedembeddings"}
    world = World(tmp_path, voyage={**context_model, "output_dimension": 256})
    write_some(world, "first")
    sync(world, wait=False)
    lose_state(world)
    assert len(recover(world)["jobs"]) == 1
    assert sync(world).work.embeddings_sent == 0
    rows = len(world.table_rows())
    lose_state(world)
    recover(world)
    assert sync(world).work.embeddings_sent == 0
    settled(world, rows)


def test_what_changed_meanwhile_is_sent_and_nothing_else(world):
    sync(world, wait=False)
    lose_state(world)
    world.write("first0.md", "# Again\n\nQuite another text.")
    assert sync(world).work.embeddings_sent == 1
    settled(world, ROWS - 1)


def test_a_second_job_for_a_batch_is_stopped(world):
    sync(world, wait=False)
    (job,) = world.sim.jobs.all(world.sim.now_us())
    create_again(world, job)
    lose_state(world)
    recover(world)
    assert world.sim.calls["cancel_batch"] == 1


# --- an older copy that was put back ---


def test_a_job_newer_than_the_copy_is_found_by_its_ref(world):
    sync(world)
    keep_state(world)
    write_some(world, "second")
    sync(world, wait=False)
    put_back_state(world)
    assert len(recover(world)["jobs"]) == 1
    assert sync(world).work.embeddings_sent == 0
    settled(world, 2 * ROWS)


def test_a_pack_newer_than_the_copy_is_taken_in(world):
    sync(world)
    keep_state(world)
    write_some(world, "second")
    sync(world)
    put_back_state(world)
    answer = recover(world)
    assert (answer["packs"], answer["jobs"]) == (2, [])
    assert sync(world).work.embeddings_sent == 0
    settled(world, 2 * ROWS)


def test_a_batch_that_was_collected_after_the_copy_is_over(world):
    sync(world, wait=False)
    keep_state(world)
    sync(world)
    put_back_state(world)
    recover(world)
    assert sync(world).work.embeddings_sent == 0
    settled(world, ROWS)


@pytest.mark.parametrize("state", [Batch.PACKED, Batch.SPOOLED, Batch.UPLOADED])
@pytest.mark.parametrize("collected", [False, True])
def test_a_batch_that_was_sent_after_the_copy_is_not_sent_again(world, state, collected):
    with world.worker() as context:
        from voyage_jobs.steps.pipeline import Pipeline

        pipeline = Pipeline(context, eager=True)
        for _ in range(50):
            pipeline._scan()
            pipeline._assemble()
            with context.store.read() as connection:
                if batches.in_state(connection, Batch.PACKED):
                    break
        from voyage_jobs.steps.submit import submit

        while not reached(context, state):
            submit(context)
    keep_state(world)
    sync(world, wait=collected)
    put_back_state(world)
    recover(world)
    assert sync(world).work.embeddings_sent == 0
    settled(world, ROWS)


def reached(context, state):
    with context.store.read() as connection:
        return bool(batches.in_state(connection, state))


def test_a_fresh_folder_asks_the_vendor_nothing(tmp_path):
    world = World(tmp_path)
    write_some(world, "first")
    sync(world)
    assert world.sim.calls["list_batches"] == 0


def test_what_is_held_stays_held(world):
    sync(world)
    recover(world)
    with world.worker() as context, context.store.read() as connection:
        assert backlog.measure(connection, context.profile_id).embeddings == 0
    settled(world, ROWS)
