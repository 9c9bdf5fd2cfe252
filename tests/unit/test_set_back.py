"""An older `state.db`, or an older copy of the whole data folder, was put back: nothing that was paid is paid again."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
from silent import Silent
from sim.speed import empty_state
from small_world import Small, quick
from step_doors import all_batches, money, newest, prose, query, settle, turns, until
from verify_doors import found, repaired, sql, state

from voyage_jobs.config.profile import profile_of
from voyage_jobs.core import generation
from voyage_jobs.core.retry import POLICIES
from voyage_jobs.core.states import Batch
from voyage_jobs.errors import VendorError
from voyage_jobs.maintenance.doctor.data import check_data
from voyage_jobs.report.status import status
from voyage_jobs.segments import SegmentReader, SegmentStore
from voyage_jobs.service.signals import Signals
from voyage_jobs.service.sync import Ending, Sync
from voyage_jobs.simulator import FaultScript
from voyage_jobs.state import audit
from voyage_jobs.steps.acts import perform
from voyage_jobs.steps.known_jobs import as_far_as_needed
from voyage_jobs.steps.pipeline import Pipeline
from voyage_jobs.vendors.remote import Phase, RemoteBatch

MOST_TRIES = POLICIES["jobs_at_start"].tries
LIST_FAILS = {"server_error": {"on": ["list_batches"], "status": 500}}


@pytest.fixture(autouse=True)
def strides():
    with quick():
        yield


@pytest.fixture
def small(tmp_path):
    small = Small(tmp_path)
    small.write("a.md", prose("a", 2))
    return small


def keep(small):
    """A copy of the data folder as it is now."""
    shutil.rmtree(small.root / "kept", ignore_errors=True)
    shutil.copytree(small.data_dir, small.root / "kept")


def put_back(small, *, whole):
    """The copy takes the place of the state alone, or of the whole folder."""
    if whole:
        shutil.rmtree(small.data_dir)
        shutil.copytree(small.root / "kept", small.data_dir)
        return
    for file in small.data_dir.glob("state.db*"):
        file.unlink()
    for file in (small.root / "kept").glob("state.db*"):
        shutil.copy(file, small.data_dir)


def send(small, path="b.md", state=Batch.RUNNING):
    """Write a document and bring its batch so far."""
    small.write(path, prose(path, 2))
    with small.worker() as context:
        nth(small, context, len(all_batches(context)) + 1, state)


def nth(small, context, count, state):
    """Take turns until there are so many batches, and the newest is in this state."""
    steps = Pipeline(context, eager=True)
    for _ in range(500):
        found = all_batches(context)
        if len(found) == count and found[-1].state is state:
            return
        if not steps.turn():
            small.clock.advance(steps.idle_s())
    raise AssertionError(f"never {state}")


def second(small, context, state):
    """The same for the second batch."""
    nth(small, context, 2, state)


def problems(small):
    """code -> message, as `status` tells."""
    return {each["code"]: each["message"] for each in status(small.settings(), small.clock)["problems"]}


def paid_once(small, *paths):
    """Everything is shown, nothing was paid twice, and the books say what the provider billed."""
    with small.worker() as context:
        settle(small, context)
        assert money(context).settled_tokens == small.ledger.batch_tokens
        assert money(context).reserved_tokens == 0
    assert small.ledger.billed_more_than_once() == {}
    assert sorted(small.served()) == sorted(paths)


def damage(small):
    """What `verify` finds in the books."""
    with state(small) as connection:
        return {row for rule in audit.STATE_RULES.values() for row in connection.execute(rule)}


def set_back_causes(small):
    return [each["cause"] for each in small.log.named("state.set_back")]


# --- the state alone ---


def test_packs_that_an_older_state_does_not_know_are_taken_in_before_anything_is_sent(small):
    small.run()
    keep(small)
    send(small, state=Batch.CLOSED)
    sent = small.sim.calls["create_batch"]
    put_back(small, whole=False)
    paid_once(small, "a.md", "b.md")
    assert small.sim.calls["create_batch"] == sent
    assert set_back_causes(small) == ["generation"]
    told = problems(small)["state_set_back"]
    assert told == (
        "state.db is older than the stored vectors: 1 file with 2 embeddings was taken in; 0 jobs claimed."
    )
    checks = check_data(small.settings(), small.clock, small.door.under(newest_profile(small)))
    assert told.removesuffix(".") in [check.why for check in checks if check.name == "state"]


def test_an_older_state_is_told_before_anything_is_started(small):
    """The table, which is newer, is no sign of another program, and a mistake can still be taken back."""
    small.run()
    keep(small)
    send(small, state=Batch.CLOSED)
    small.run()
    assert "state_behind" not in problems(small)
    put_back(small, whole=False)
    told = problems(small)
    assert told["state_behind"] == (
        "state.db is older than what was done with it: the next start takes in what it does not know, before"
        " anything is sent."
    )
    assert "table_rows" not in told
    checks = check_data(small.settings(), small.clock, small.door.under(None))
    assert told["state_behind"].removesuffix(".") in [check.why for check in checks if check.name == "state"]
    small.run()
    assert not {"state_behind", "table_rows"} & problems(small).keys()


def test_the_state_of_another_folder_is_told_before_anything_is_started(small):
    small.run()
    stamp = small.settings().paths.generation
    generation.write(stamp, replace(generation.read(stamp), state="0" * 20))
    assert "is not the one that worked here before: the next start" in problems(small)["state_behind"]
    stamp.write_bytes(b"nonsense")
    assert "state_behind" not in problems(small)


def newest_profile(small):
    with small.worker() as context:
        return context.profile


def test_it_is_told_for_a_week(small):
    small.run()
    keep(small)
    send(small, state=Batch.CLOSED)
    put_back(small, whole=False)
    small.run()
    small.clock.advance(6 * 86_400)
    assert "state_set_back" in problems(small)
    small.clock.advance(2 * 86_400)
    assert "state_set_back" not in problems(small)


def test_a_job_that_runs_is_claimed_by_an_older_state(small):
    small.run()
    keep(small)
    send(small)
    put_back(small, whole=False)
    paid_once(small, "a.md", "b.md")
    assert "1 job claimed" in problems(small)["state_set_back"]


def build_and_abandon(small):
    """Let another table be built for a while."""
    other = {"output_dimension": 512}
    target = profile_of(small.settings(voyage=other)).to_json()
    with small.worker(voyage=other) as context:
        perform(context, "reprofile", {"do": "begin", "target": target, "hold": True}, "me")
        turns(small, context, 40, idle_s=60.0)
        perform(context, "reprofile", {"do": "abandon"}, "me")


def sent_and_forgotten(small):
    """A job that has ended since, and a state that does not know it."""
    small.run()
    keep(small)
    send(small)
    put_back(small, whole=False)
    small.clock.advance(20 * 3600.0)


def test_a_job_of_the_present_profile_is_claimed_while_another_is_built(small):
    """Seen: the job was left alone, the build was abandoned, and its texts were paid once more."""
    sent_and_forgotten(small)
    build_and_abandon(small)
    paid_once(small, "a.md", "b.md")


def test_a_job_of_which_nothing_tells_the_profile_is_not_claimed_for_a_build(small):
    """Its vectors are too short for the new table, and its texts were missing in the present one for good."""
    sent_and_forgotten(small)
    small.sim.files.delete(small.sim.jobs.all(small.sim.now_us())[-1]["input_file_id"])
    build_and_abandon(small)
    small.run()
    assert sorted(small.served()) == ["a.md", "b.md"]


def test_packs_tell_where_the_file_beside_the_state_is_gone(small):
    small.run()
    keep(small)
    send(small, state=Batch.CLOSED)
    put_back(small, whole=False)
    small.settings().paths.generation.unlink()
    paid_once(small, "a.md", "b.md")
    assert "1 file with 2 embeddings" in problems(small)["state_set_back"]


def test_the_generation_goes_on_above_the_highest_one(small):
    small.run()
    keep(small)
    for _ in range(5):
        small.run()
    put_back(small, whole=False)
    before = generation.read(small.settings().paths.generation)
    with small.worker() as context:
        assert context.stamp.generation > before.generation
        assert generation.read(small.settings().paths.generation) == context.stamp
    with small.worker():
        pass
    assert set_back_causes(small) == ["generation"]


def test_a_state_of_before_a_loss_claims_what_its_follower_sent(small):
    """state.db was lost, another one began, and then a backup of the first was found and put back."""
    small.run()
    keep(small)
    for file in small.data_dir.glob("state.db*"):
        file.unlink()
    (small.data_dir / "state.db").write_bytes(empty_state())
    send(small)
    put_back(small, whole=False)
    paid_once(small, "a.md", "b.md")
    assert set_back_causes(small) == ["replaced"]


@pytest.mark.parametrize("point", ["create.committed", "download.written", "download.committed"])
def test_a_batch_that_was_collected_since_is_over_and_on_the_bill(tmp_path, point):
    """Its result files are gone at the provider and on disk: its segment says what it held and what it cost."""
    small = Small(tmp_path, faults={"line_refused": {"contains": "part 1", "times": 1}})
    small.write("a.md", prose("a", 2))
    small.dies_at(point)
    keep(small)
    small.run()
    put_back(small, whole=False)
    with small.worker() as context:
        settle(small, context)
        (first, *_) = all_batches(context)
        assert first.tokens_settled
        assert query(context, "SELECT COUNT(*) FROM lines WHERE batch_id = 1 AND outcome = 1") == [(1,)]
        assert money(context).settled_tokens == small.ledger.batch_tokens
    assert small.ledger.billed_more_than_once() == {}
    assert damage(small) == set()


@pytest.mark.parametrize("point", ["assemble.committed", "attempt.committed", "create.committed", "never"])
def test_what_no_answer_reported_is_marked_in_a_bill_that_a_pack_tells(tmp_path, point):
    small = Small(tmp_path)
    small.transport = Silent(small.sim)
    small.write("a.md", prose("a", 2))
    if point == "never":
        small.run()
        keep(small)
        small.write("b.md", prose("b", 2))
    else:
        small.dies_at(point)
        keep(small)
    small.run()
    before = sql(small, "SELECT SUM(tokens), SUM(assumed) FROM spend WHERE kind = 'settled'")
    put_back(small, whole=False)
    with small.worker() as context:
        settle(small, context)
        assert money(context).settled_tokens == money(context).assumed_tokens > small.ledger.batch_tokens
    told = "SELECT SUM(tokens), SUM(assumed) FROM spend WHERE kind = 'settled'"
    assert sql(small, told) == before
    assert damage(small) == set()
    sql(small, "UPDATE spend SET tokens = tokens + 5, assumed = assumed + 5 WHERE kind = 'settled'")
    if point != "never":  # then no batch is known
        assert repaired(small)[0]["spend_wrong"] == 1
        assert sql(small, told) == before


# --- the whole folder ---


@pytest.mark.parametrize("later_s", [0.0, 20 * 3600.0], ids=["running", "ended"])
def test_jobs_that_an_older_folder_does_not_know_are_claimed(small, later_s):
    small.run()
    keep(small)
    send(small)
    put_back(small, whole=True)
    small.clock.advance(later_s)
    paid_once(small, "a.md", "b.md")
    assert small.sim.calls["create_batch"] == 2
    assert set_back_causes(small) == ["jobs"]
    assert "state.db is older than its jobs at Voyage" in problems(small)["state_set_back"]
    assert "state_copied" not in problems(small)


def test_jobs_whose_entries_show_nothing_but_an_id_are_claimed_too(tmp_path):
    small = Small(tmp_path, faults={"list_entry_odd": {"what": "bare_id"}})
    small.write("a.md", prose("a", 2))
    small.run()
    keep(small)
    send(small)
    put_back(small, whole=True)
    paid_once(small, "a.md", "b.md")
    assert small.sim.calls["create_batch"] == 2


@pytest.mark.parametrize(
    "point", ["assemble.committed", "spool.committed", "upload.committed", "attempt.committed"]
)
def test_a_batch_that_was_sent_since_is_not_sent_again(small, point):
    small.dies_at(point)
    keep(small)
    with small.worker() as context:
        until(small, context, Batch.RUNNING)
    put_back(small, whole=True)
    paid_once(small, "a.md")
    assert small.sim.calls["create_batch"] == 1


@pytest.mark.parametrize("point", ["assemble.committed", "spool.committed", "upload.committed"])
def test_a_cancellation_waits_until_it_is_known_whether_the_batch_has_a_job(small, point):
    small.dies_at(point)
    keep(small)
    with small.worker() as context:
        until(small, context, Batch.RUNNING)
    put_back(small, whole=True)
    with small.worker() as context:
        answer = perform(context, "cancel", {"ref": newest(context).ref}, "me")
        assert answer["state"] == "cancelling"
        settle(small, context)
        perform(context, "retry", {}, "me")
    paid_once(small, "a.md")


@pytest.mark.parametrize("point", ["assemble.committed", "spool.committed", "upload.committed"])
def test_a_pause_unpacks_nothing_before_it_is_known_whether_the_batch_has_a_job(small, point):
    small.dies_at(point)
    keep(small)
    with small.worker() as context:
        until(small, context, Batch.RUNNING)
    source = small.settings().sources[0].name
    put_back(small, whole=True)
    with small.worker() as context:
        assert perform(context, "pause", {"source": source}, "me")["unpacked"] == 0
        perform(context, "resume", {}, "me")
    paid_once(small, "a.md")
    assert small.sim.calls["create_batch"] == 1


def test_what_was_not_sent_of_a_paused_source_is_unpacked_once_it_is_known_that_it_has_no_job(small):
    small.dies_at("assemble.committed")
    small.clock.advance(1)
    source = small.settings().sources[0].name
    with small.worker() as context:
        assert perform(context, "pause", {"source": source}, "me")["unpacked"] == 0
        until(small, context, Batch.CLOSED)
        assert small.sim.calls["create_batch"] == 0
        perform(context, "resume", {}, "me")
    paid_once(small, "a.md")


def test_a_batch_whose_texts_changed_is_kept_until_it_is_known_whether_it_has_a_job(small):
    small.dies_at("assemble.committed")
    keep(small)
    with small.worker() as context:
        until(small, context, Batch.RUNNING)
    put_back(small, whole=True)
    small.write("a.md", prose("a.md", 2) + "\n\nOne more.\n")
    for file in (small.data_dir / "spool").glob("*"):
        file.unlink()
    paid_once(small, "a.md")


@pytest.mark.parametrize("whole", [True, False])
def test_texts_of_an_unsent_batch_that_went_in_another_one_are_sent_once(small, whole):
    send(small, "a.md", Batch.UPLOADED)
    keep(small)
    with small.worker() as context:
        perform(context, "cancel", {"ref": newest(context).ref}, "me")
        nth(small, context, 1, Batch.CLOSED)
        perform(context, "retry", {}, "me")
        second(small, context, Batch.RUNNING if whole else Batch.CLOSED)
    put_back(small, whole=whole)
    paid_once(small, "a.md")
    assert small.sim.calls["create_batch"] == 1


def test_texts_that_were_asked_for_again_are_claimed_after_the_first_answer(tmp_path):
    """The older copy still waits for a job that left out a line; the job that brings the line is claimed after it."""
    faults = {"line_missing": {"contains": "part 1", "times": 1}}
    small = Small(tmp_path, faults=faults, voyage={"delete_remote_files": False})
    send(small, "a.md")
    keep(small)
    with small.worker() as context:
        second(small, context, Batch.RUNNING)
    put_back(small, whole=True)
    paid_once(small, "a.md")
    assert small.sim.calls["create_batch"] == 2


def test_what_cannot_be_claimed_is_no_news_at_the_next_start(small):
    small.run()
    keep(small)
    send(small)
    put_back(small, whole=True)
    for file in list(small.sim.files.page({})["data"]):
        small.sim.files.delete(file["id"])
    small.run()
    small.write("c.md", prose("c"))
    small.run()
    assert set_back_causes(small) == ["jobs"]
    assert sorted(small.served()) == ["a.md", "b.md", "c.md"]


def test_a_copy_that_runs_elsewhere_is_told(small):
    """Both carry the id of one state: each finds jobs of the other."""
    small.run()
    keep(small)
    for name in ("b.md", "c.md"):
        send(small, name)
        put_back(small, whole=True)
        small.run()
        keep(small)
        assert ("state_copied" in problems(small)) == (name == "c.md")
    assert small.ledger.billed_more_than_once() == {}


# --- others on the account ---


def test_two_folders_on_one_account_leave_each_others_jobs_alone(tmp_path, small):
    other = Small(tmp_path / "other", seed=2)
    other.transport, other.sim, other.clock = small.transport, small.sim, small.clock
    for each in (small, other):
        each.write("a.md", prose("a", 2))  # the same texts, too
        each.run()
        keep(each)
        send(each)
    before = len(small.sim.jobs.all(small.sim.now_us()))
    put_back(small, whole=True)
    put_back(other, whole=True)
    small.run()
    other.run()
    assert len(small.sim.jobs.all(small.sim.now_us())) == before
    for each in (small, other):
        (told,) = [set(jobs["adopted"]) for jobs in each.log.named("jobs.adopted")]
        (left,) = [jobs["left"] for jobs in each.log.named("jobs.adopted")]
        assert len(told) == 1
        assert "it was sent by another data folder" in left.values()
        assert found(each, remote=True).keys() <= {"table_missing"}  # it is in memory


# --- what it costs ---


def test_a_start_with_nothing_to_send_asks_nothing(small):
    small.run()
    before = small.sim.calls.copy()
    small.run()
    assert small.sim.calls == before


def test_a_start_with_something_to_send_reads_the_list_once(small):
    small.run()
    before = small.sim.calls["list_batches"]
    with small.worker() as context:
        for name in ("b", "c"):
            small.write(f"{name}.md", prose(name))
            context.store.write()
            small.clock.advance(4000)
            settle(small, context)
    polled = small.sim.calls["list_batches"] - before
    assert polled == 1
    assert len(small.served()) == 3


def test_five_thousand_known_packs_cost_one_listing(small, monkeypatch):
    small.run()
    (folder,) = (small.data_dir / "vectors").iterdir()
    rows = []
    for number in range(5000):
        (folder / f"{number:020x}.arrow").touch()
        rows.append((f"{folder.name}/{number:020x}.arrow",))
    with state(small) as connection:
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO packs (name, profile_id, rows, bytes, sha256, created_at) VALUES (?, 1, 0, 0, '', 0)",
            rows,
        )
        connection.execute("COMMIT")
    listings = []
    names = SegmentStore.names

    def listed(self):
        listings.append(1)
        return names(self)

    def opened(self, path):
        raise AssertionError(f"{path} was opened")

    monkeypatch.setattr(SegmentStore, "names", listed)
    monkeypatch.setattr(SegmentReader, "__init__", opened)
    with small.worker():
        pass
    assert len(listings) == 1
    assert "state_set_back" not in problems(small)


def job(number, created_s):
    created = None if created_s is None else created_s * 1_000_000
    known = {
        "id": f"batch-{number}",
        "status": "completed",
        "phase": Phase.ENDED_OK,
        "created_at_us": created,
    }
    return RemoteBatch(**{**dict.fromkeys(RemoteBatch.__dataclass_fields__), **known})


@pytest.mark.parametrize(
    ("created", "read"),
    [
        (range(100, 0, -1), 51),
        (range(100), 100),
        ([100, 99, 101, *range(98, 0, -1)], 101),
        ([100, None, *range(98, 0, -1)], 100),
        ([*range(100, 90, -1), *range(10)], 20),
        (range(60, 50, -1), 10),
        (range(50, 0, -1), 50),
    ],
    ids=[
        "newest first",
        "oldest first",
        "no order",
        "a job without a time",
        "a turn",
        "few",
        "a time on record that is wrong",
    ],
)
def test_the_list_is_read_to_its_end_unless_it_is_newest_first(created, read):
    jobs = [job(number, each) for number, each in enumerate(created)]
    assert len(list(as_far_as_needed(jobs, 51_000_000))) == read
    assert len(list(as_far_as_needed(jobs, None))) == len(jobs)


# --- a list that cannot be read ---


def test_a_list_that_cannot_be_read_does_not_block_for_ever(small):
    small.run()
    small.sim.faults = FaultScript.from_dict({"faults": LIST_FAILS})
    small.write("b.md", prose("b"))
    began = small.clock.mono()
    with small.worker() as context:
        until(small, context, Batch.RUNNING)
    assert 1500 < small.clock.mono() - began < 7200
    assert len(small.log.named("jobs.unread")) == MOST_TRIES - 1
    assert len(small.log.named("jobs.unchecked")) == 1
    assert "texts are sent without it" in problems(small)["jobs_unchecked"]
    small.sim.faults = FaultScript.from_dict({"faults": {}})
    small.write("c.md", prose("c"))
    small.run()
    assert "jobs_unchecked" not in problems(small)


def test_a_run_that_does_not_wait_ends_where_voyage_cannot_be_reached(small):
    small.run()
    small.sim.faults = FaultScript.from_dict({"faults": {"request_lost": {"as": "connect_error"}}})
    small.write("b.md", prose("b"))
    began = small.clock.mono()
    with small.worker(mode="sync") as context:
        outcome = Sync(context, Signals(), wait=False).run()
    assert outcome.ending is Ending.UNFINISHED
    assert "still to be sent" in outcome.problems[0].text
    assert small.clock.mono() - began < 60
    assert small.log.named("jobs.unread")
    assert "could not be reached" in str(status(small.settings(), small.clock)["last_errors"])


def test_tries_count_over_restarts(small):
    small.run()
    small.sim.faults = FaultScript.from_dict({"faults": LIST_FAILS})
    small.write("b.md", prose("b"))
    for _ in range(MOST_TRIES):
        with small.worker() as context:
            turns(small, context, 12)
        small.clock.advance(300)
    assert small.log.named("jobs.unchecked")


def test_a_list_that_can_be_read_again_lets_texts_go(small):
    small.run()
    small.sim.faults = FaultScript.from_dict(
        {"faults": {"server_error": {**LIST_FAILS["server_error"], "times": 2}}}
    )
    small.write("b.md", prose("b"))
    small.run()
    assert sorted(small.served()) == ["a.md", "b.md"]
    assert small.log.named("jobs.unread")
    assert not small.log.named("jobs.unchecked")


def test_nothing_is_sent_at_the_full_price_before_the_list_was_read(small):
    small.run()
    small.write("b.md", prose("b"))
    with small.worker() as context:
        small.sim.faults = FaultScript.from_dict({"faults": LIST_FAILS})
        turns(small, context, 6)
        order = {"order": "an order", "source": "docs", "path": "b.md"}
        with pytest.raises(VendorError, match="list of jobs"):
            perform(context, "expedite", order, "me")
        assert small.ledger.sync_tokens == 0
        small.sim.faults = FaultScript.from_dict({"faults": {}})
        small.clock.advance(3600)
        perform(context, "expedite", order, "me")
    assert small.ledger.sync_tokens


# --- segments of a batch that is being collected ---


@pytest.mark.parametrize("point", ["segment.renamed", "collect.before_commit"])
def test_a_pack_whose_batch_is_about_to_be_collected_is_left_to_that(tmp_path, point):
    """Only the results tell what was refused, and what it cost."""
    small = Small(tmp_path, faults={"line_refused": {"contains": "part 1", "times": 1}})
    small.write("a.md", prose("a", 3))
    small.dies_at(point)
    with small.worker() as context:
        assert newest(context).state is Batch.ENDED
        settle(small, context)
        (batch,) = all_batches(context)
        assert query(context, "SELECT cause FROM transitions WHERE target = 'collected'") == [
            ("2 held, 1 refused, 0 to be sent again",)
        ]
        assert batch.tokens_settled == money(context).settled_tokens == small.ledger.batch_tokens
        assert query(context, "SELECT COUNT(*) FROM embeddings WHERE state = 3") == [(1,)]
    assert "state_set_back" not in problems(small)


@pytest.mark.parametrize("odd", ["cut", "a folder"])
def test_an_unknown_file_that_cannot_be_read_is_named_and_nothing_else(small, odd):
    small.run()
    (folder,) = (small.data_dir / "vectors").iterdir()
    path = folder / "0123456789abcdef0123.arrow"
    path.write_bytes(b"ARROW1 no more") if odd == "cut" else path.mkdir()
    small.write("b.md", prose("b"))
    small.run()
    assert sorted(small.served()) == ["a.md", "b.md"]
    assert {each["segment"] for each in small.log.named("segment.damaged")} == {f"{folder.name}/{path.name}"}
    assert "state_set_back" not in problems(small)


def test_dying_while_packs_are_taken_in_counts_them_all(small, monkeypatch):
    small.run()
    keep(small)
    for name in ("b.md", "c.md"):
        send(small, name, Batch.CLOSED)
    put_back(small, whole=False)
    adopt_one = SegmentStore.adopt_one
    seen = []

    def dies(self, name):
        seen.append(name)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return adopt_one(self, name)

    with monkeypatch.context() as patch:
        patch.setattr(SegmentStore, "adopt_one", dies)
        with pytest.raises(KeyboardInterrupt), small.worker():
            pass
    paid_once(small, "a.md", "b.md", "c.md")
    assert "2 files with 4 embeddings" in problems(small)["state_set_back"]
