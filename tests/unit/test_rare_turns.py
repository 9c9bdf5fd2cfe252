"""Turns that work rarely takes: a stop in the middle, a refusal where none is expected, a text that has gone."""

from __future__ import annotations

import pytest
from small_world import Small, quick
from step_doors import (
    UNREADABLE_LIST,
    all_batches,
    attempts,
    embeddings_by_state,
    money,
    newest,
    parked_in_doubt,
    prose,
    query,
    scan,
    settle,
    source_row,
    tripped,
    turns,
    until,
    versions_of,
)

from voyage_jobs.core.retry import POLICIES
from voyage_jobs.core.states import Batch
from voyage_jobs.errors import CorruptionError
from voyage_jobs.simulator.transport import SimulatorTransport
from voyage_jobs.steps import rows
from voyage_jobs.steps.acts import perform
from voyage_jobs.steps.assemble import assemble
from voyage_jobs.steps.collect import collect
from voyage_jobs.steps.drafts import Drafts
from voyage_jobs.steps.poll import poll
from voyage_jobs.steps.publish import publish
from voyage_jobs.steps.recover_all import scan_all
from voyage_jobs.steps.scan import Scan
from voyage_jobs.steps.submit import submit

GONE_TRIES = POLICIES["results_refused"].tries
WINDOWS = {"model": "voyage-context-3", "endpoint": "/v1/contextualizedembeddings"}


@pytest.fixture(autouse=True)
def _quick():
    with quick():
        yield


@pytest.fixture
def small(tmp_path):
    return Small(tmp_path)


# --- a process that is asked to end begins nothing more ---


def test_a_stop_leaves_batches_where_they_are(small):
    small.write("a.md", prose("a"))
    with small.worker() as context:
        scan(context)
        assemble(context, eager=True)
        context.stopping.set()
        assert not submit(context)
        assert newest(context).state is Batch.PACKED
        context.stopping.clear()
        until(small, context, Batch.RUNNING)
        small.clock.advance(3000)
        assert poll(context)
        context.stopping.set()
        assert not collect(context)
        assert newest(context).state is Batch.ENDED
    small.run()
    assert list(small.served()) == ["a.md"]


def test_a_stop_ends_the_scans_of_a_recovery(small, monkeypatch):
    monkeypatch.setattr("voyage_jobs.steps.scan_slices.SLICE_DOCUMENTS", 1)
    for name in "abc":
        small.write(f"{name}.md", prose(name))
    with small.worker() as context:
        context.stopping.set()
        scan_all(context)
        assert query(context, "SELECT COUNT(*) FROM documents") == [(1,)]
        context.stopping.clear()
        scan_all(context)
        assert query(context, "SELECT COUNT(*) FROM documents") == [(3,)]


def test_a_walk_over_many_empty_folders_lets_other_steps_have_a_turn(small, monkeypatch):
    monkeypatch.setattr("voyage_jobs.steps.scan_slices.SLICE_FOLDERS", 2)
    for number in range(5):
        (small.docs / f"empty{number}").mkdir()
    with small.worker() as context:
        scan = Scan(context, source_row(context), context.source_settings("docs"))
        assert len(list(scan.run())) == 3
        assert scan.result is not None


# --- refusals where none is expected ---


def test_a_look_at_a_job_that_is_refused_says_nothing_about_the_others(tmp_path):
    small = Small(tmp_path, faults={"server_error": {"on": "retrieve_batch", "status": 422, "times": 1}})
    small.write("a.md", prose("a"))
    with small.worker() as context:
        until(small, context, Batch.RUNNING)
        while not poll(context):
            small.clock.advance(30)
        batch = newest(context)
        assert (batch.state, batch.code, batch.failures) == (Batch.RUNNING, "poll", 1)
        assert "422" in batch.error
        assert not tripped(context)
        settle(small, context)
    assert list(small.served()) == ["a.md"]


def test_a_result_file_whose_description_is_refused_needs_a_person_in_the_end(tmp_path):
    small = Small(tmp_path, faults={"server_error": {"on": "retrieve_file", "status": 422}})
    small.write("a.md", prose("a"))
    with small.worker() as context:
        batch = until(small, context, Batch.PARKED, idle_s=60)
        assert "refuses the output file" in batch.reason
        assert "voyage-jobs retry" in batch.hint
        assert len(small.log.named("results.not_found")) == GONE_TRIES - 1
        small.sim.faults.rules = ()
        perform(context, "retry", {}, "me")
        settle(small, context)
    assert list(small.served()) == ["a.md"]


class WithoutDate(SimulatorTransport):
    """A vendor, or a proxy before it, that does not tell the time."""

    def handle_request(self, request):
        answer = super().handle_request(request)
        del answer.headers["date"]
        return answer


def test_where_the_vendor_tells_no_time_the_quarantine_begins_anew_with_each_process(tmp_path):
    small = Small(tmp_path, faults={"request_lost": {"on": "create_batch", "nth": 1, "as": "read_timeout"}})
    small.transport = WithoutDate(small.sim)
    small.write("a.md", prose("a"))
    with small.worker() as context:
        until(small, context, Batch.CREATING)
        turns(small, context, 5, idle_s=300)
        assert newest(context).state is Batch.CREATING
    small.clock.advance(800)
    with small.worker() as context:
        for _ in range(13):
            turns(small, context, 1, idle_s=60)
            assert attempts(context, newest(context)) == ["open"]
        settle(small, context)
        assert attempts(context, newest(context)) == ["lost", "created"]
    assert len(small.sim.state()["batches"]) == 1
    assert list(small.served()) == ["a.md"]


def test_a_late_job_is_looked_for_again_when_the_list_cannot_be_had(tmp_path):
    small = Small(tmp_path, faults=UNREADABLE_LIST)
    small.write("a.md", prose("a"))
    with small.worker() as context:
        parked_in_doubt(small, context)
        looks = small.sim.calls["list_batches"]
        for more in (1, 2, 3):
            small.clock.advance(700)  # the list still cannot be had
            submit(context)
            assert small.sim.calls["list_batches"] == looks + more
            assert newest(context).state is Batch.PARKED
        assert not tripped(context)


# --- texts and files that have gone ---


def published_but_for_one_chunk(small):
    """A document that is served without its second chunk; the state has let go of its text."""
    small.write("a.md", prose("a", 3))
    small.run()
    assert len(small.served()["a.md"]) == 2


@pytest.fixture
def one_refused(tmp_path):
    small = Small(tmp_path, faults={"line_refused": {"contains": "part 1.", "times": 1}})
    published_but_for_one_chunk(small)
    return small


def edited_after_a_retry(small, context):
    """The chunk that failed is wanted again, and its text is neither in the state nor in the file."""
    perform(context, "retry", {}, "me")
    assemble(context, eager=True)
    assert newest(context).state is Batch.PACKED


def test_a_batch_whose_text_has_gone_before_it_was_written_is_given_back(one_refused):
    with one_refused.worker() as context:
        edited_after_a_retry(one_refused, context)
        context.memory(Drafts).written.clear()  # as in a process that begins later
        one_refused.write("a.md", prose("something else"))
        assert submit(context)
        assert newest(context).state is Batch.CANCELLED
        assert embeddings_by_state(context) == {"held": 2, "wanted": 1}
        assert money(context).reserved_tokens == 0
        one_refused.clock.advance(400)
        settle(one_refused, context)
    assert [text.split()[1] for text in one_refused.served()["a.md"]] == ["something"]


def test_an_input_file_that_is_lost_with_its_text_is_given_back(one_refused):
    with one_refused.worker() as context:
        edited_after_a_retry(one_refused, context)
        submit(context)
        assert newest(context).state is Batch.SPOOLED
        context.input_path(newest(context).ref).unlink()
        one_refused.write("a.md", prose("something else"))
        assert submit(context)
        assert newest(context).state is Batch.CANCELLED
        assert "its input file is lost" in str(one_refused.log.named("batch.cancelled"))
        one_refused.clock.advance(400)
        settle(one_refused, context)
    assert [text.split()[1] for text in one_refused.served()["a.md"]] == ["something"]


def test_a_window_of_which_a_chunk_is_lost_is_not_sent_by_halves(tmp_path):
    small = Small(tmp_path, voyage=WINDOWS, dimension=256)
    small.write("a.md", prose("a", 3))
    with small.worker() as context:
        scan(context)
        assemble(context, eager=True)
        with context.store.write() as tx:  # damage, as `verify` finds and mends it
            tx.connection.exec_driver_sql("DELETE FROM chunks WHERE ordinal = 1")
        assert submit(context)
        assert newest(context).state is Batch.CANCELLED
    assert small.sim.calls["upload_file"] == 0


def test_a_refused_window_whose_text_has_gone_waits_for_the_next_scan(tmp_path):
    """Cut in two it can only be with its text at hand; until then the whole window has failed."""
    small = Small(
        tmp_path, faults={"line_refused": {"contains": "part 2.", "times": 2}}, voyage=WINDOWS, dimension=256
    )
    small.write("a.md", prose("a", 3))
    with small.worker() as context:
        until(small, context, Batch.RUNNING)
        with context.store.write() as tx:
            tx.connection.exec_driver_sql("DELETE FROM texts")
        settle(small, context)
        assert embeddings_by_state(context) == {"failed": 1}
        assert query(context, "SELECT failed_chunks FROM versions") == [(3,)]


def test_a_cancelled_job_that_fails_validation_is_given_up(tmp_path):
    small = Small(tmp_path, faults={"job_invalid": {"nth": 1, "line": 1}})
    for name in "ab":
        small.write(f"{name}.md", prose(name))
    with small.worker() as context:
        batch = until(small, context, Batch.RUNNING)
        small.clock.advance(3000)  # it has failed by now, which nobody has asked yet
        perform(context, "cancel", {"ref": batch.ref}, "me")
        settle(small, context)
        assert [each.state for each in all_batches(context)] == [Batch.CLOSED]
        assert embeddings_by_state(context) == {"dropped": 2}
        assert money(context).reserved_tokens == 0
    assert small.served() == {}


# --- publications ---


def test_rows_come_in_batches_of_bounded_size(small, monkeypatch):
    monkeypatch.setattr(rows, "BATCH_ROWS", 2)
    for name in "abc":
        small.write(f"{name}.md", prose(name, 2))
    small.run()
    assert {path: len(found) for path, found in small.served().items()} == {"a.md": 2, "b.md": 2, "c.md": 2}


def test_a_file_that_is_edited_between_the_choice_and_its_rows_waits(small, monkeypatch):
    """As with a real table, which takes its rows in a thread of its own."""
    for name in "ab":
        small.write(f"{name}.md", prose(name))
    small.run()
    small.door.table = None
    real = rows.RowMaker.batches

    def batches(maker):
        monkeypatch.undo()
        small.write("a.md", prose("a, edited"))
        return real(maker)

    with small.worker() as context:
        monkeypatch.setattr(rows.RowMaker, "batches", batches)
        assert publish(context)
        assert small.served() == {}
        assert [each["path"] for each in small.log.named("publish.no_text")] == ["a.md"]
        assert publish(context)
        assert list(small.served()) == ["b.md"]
        settle(small, context)
    assert "edited" in small.served()["a.md"][0]


def test_a_pack_that_is_damaged_when_its_rows_are_made_is_fetched_anew(small):
    small.write("a.md", prose("a"))
    small.run()
    small.door.table = None
    with small.worker() as context:
        for path in small.data_dir.glob("vectors/*/*.arrow"):
            path.write_bytes(path.read_bytes()[:100])
        assert publish(context)
        assert small.log.named("segment.damaged")
        assert versions_of(context, "a.md") == ["waiting"]
        settle(small, context)
    assert list(small.served()) == ["a.md"]


def test_a_table_that_refuses_rows_for_its_own_reasons_ends_the_process(small, monkeypatch):
    small.write("a.md", prose("a"))
    with small.worker() as context:
        table = context.open_table()

        def torn(documents, batches):
            list(batches)
            raise CorruptionError("Its newest manifest is empty.")

        monkeypatch.setattr(table, "flip", torn)
        with pytest.raises(CorruptionError, match="newest manifest"):
            settle(small, context)
        monkeypatch.delattr(table, "flip")
        assert versions_of(context, "a.md") == ["ready"]
    small.run()
    assert list(small.served()) == ["a.md"]
    assert not small.ledger.billed_more_than_once()


def test_a_publication_ends_with_the_page_that_fills_it(small, monkeypatch):
    monkeypatch.setattr("voyage_jobs.steps.publish._PAGE", 2)
    monkeypatch.setattr("voyage_jobs.steps.publish.PUBLICATION_DOCUMENTS", 4)
    for number in range(9):
        small.write(f"{number}.md", prose(f"number {number}"))
    with small.worker() as context:
        settle(small, context)
        assert query(context, "SELECT documents FROM publications ORDER BY id") == [(4,), (4,), (1,)]
    assert len(small.served()) == 9
