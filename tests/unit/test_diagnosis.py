"""The one list of reasons: each entry has a text and a next step, and whoever asks why hears the same of it."""

from dataclasses import replace

import pytest
from test_docs import demand_known
from test_named_commands import named
from world import World

from voyage_jobs.core.clock import US
from voyage_jobs.core.states import BEFORE_THE_JOB, Batch, Mode
from voyage_jobs.diagnosis import causes, process_conditions, stuck
from voyage_jobs.diagnosis.blocker import ASSEMBLE, EVERY_STEP, Blocker, Mover, keeping
from voyage_jobs.diagnosis.causes import CODES, blockers
from voyage_jobs.diagnosis.entry import entered_in
from voyage_jobs.diagnosis.rooms import Room
from voyage_jobs.diagnosis.snapshot import Run, gather
from voyage_jobs.diagnosis.table_rows import TableRows
from voyage_jobs.notify.facts import EVENT_OF, last_errors
from voyage_jobs.report import waits
from voyage_jobs.report.one_line import one_line
from voyage_jobs.report.status import look
from voyage_jobs.service.signals import Signals
from voyage_jobs.service.sync import Ending, Sync
from voyage_jobs.state.batches import UNUSABLE
from voyage_jobs.state.circuits import Circuit
from voyage_jobs.state.last_errors import FATAL, LastError
from voyage_jobs.state.notices import Untold
from voyage_jobs.state.pauses import Pause, Pauses
from voyage_jobs.state.rebuild import Build, Progress
from voyage_jobs.state.record_files import FROZEN, LeftOut, RecordFile
from voyage_jobs.state.scan_notes import ScanNotes
from voyage_jobs.state.setback import SetBack
from voyage_jobs.state.sources import NOT_CONFIGURED
from voyage_jobs.state.stats import SourceStats, Waiting
from voyage_jobs.steps.assemble import assemble
from voyage_jobs.vendors import registry

HOUR = 3600 * US
DAY = 24 * HOUR


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("world"))
    world.write("a.md", "# a\n\ntext")
    world.run(12, quiet=False)  # its batch is at the provider
    return world


@pytest.fixture
def facts(world):
    found = gather(world.settings(), world.clock)
    return replace(found, holder=77, here=replace(found.here, mode="run", heartbeat_at=found.now))


def circuit(name, code, until):
    return Circuit(name, until, 9, 0, code, f"It is {code}", None)


def closed(facts, *pairs):
    return {"circuits": {name: circuit(name, code, facts.now + HOUR) for name, code in pairs}}


def situations(facts):
    """Changes of the facts that together bring every reason there is."""
    now, [batch], [docs] = facts.now, facts.open, facts.sources
    other = replace(docs, id=9, name="other", frozen_reason=NOT_CONFIGURED)
    target = replace(facts.asked, dimension=16)
    build = Build(target, now, "me")
    progress = Progress(
        documents=1, ready=1, refused=0, unread=0, chunks=2, open_chunks=1, failed_chunks=0,
        unscanned_sources=(), frozen_sources=(),
    )  # fmt: skip
    fatal = LastError("publish", FATAL, "It fell.", None, 1, 0, 0, None)
    waiting = Waiting(1, 10, now, 10)
    yield {"asked": target}
    yield {"build": build, "progress": progress}
    yield {"build": build, "progress": replace(progress, open_chunks=0, failed_chunks=2)}
    yield {"build": replace(build, hold=True), "progress": replace(progress, open_chunks=0)}
    for state, values in (
        (Batch.PARKED, {"code": UNUSABLE, "reason": "Odd"}),
        (Batch.PARKED, {"reason": "Odd"}),
        (Batch.UPLOADING, {"error": "It fell.", "failures": 4, "due_at": now + HOUR}),
        (Batch.SPOOLED, {"due_at": 0}),
        (Batch.RUNNING, {"remote_status": "pondering"}),
        (Batch.RUNNING, {"deadline_at": now - HOUR, "remote_status": "in_progress"}),
    ):
        yield {"open": [replace(batch, state=state, **values)]}
    yield {"open": [replace(batch, state=Batch.CREATING)] * 4}
    yield {"open": [replace(batch, state=Batch.ENDED)], "since": {batch.id: 0}}
    for code in ("auth", "quota", "unreachable", "unavailable", "intercepted", "rate_limited", "bad_answer"):
        yield closed(facts, ("vendor", code))
    for code in ("send_refused", "model_refused", "in_flight_limit"):
        yield closed(facts, ("create", code), ("disk", "paused_disk"), ("table", "table_away"))
    yield {"pauses": Pauses({"sending": Pause("sending", now, None, "me")})}
    yield {"rooms": [Room("daily_tokens", 0, now + HOUR)], "waiting": waiting}
    yield {"fresh_rooms": (Room("fresh.daily_tokens", 0, now + HOUR, None, 10, 10),)}
    yield {"fresh_rooms": (Room("fresh.daily_usd", 0, now + HOUR, None, 1.0, 0.0),)}
    yield closed(facts, ("fresh", "fresh_deferred"))
    yield {"holder": None}
    yield {"holder": None, "daemon_died": True}
    yield {"holder": None, "last_errors": [fatal]}
    yield {"claiming": True, "recounting": True, "in_flight": (10**6, 0), "waiting": waiting}
    yield {"waiting": waiting, "in_flight": (2, 100), "sources": [replace(docs, scan_due_at=0)]}
    run = Run(quiet=True, timed_out=True, most_inputs_reached=True, planned=True)
    yield {"run": run, "waiting": waiting}
    yield {"sources": [replace(docs, frozen_reason="its root is gone"), other]}
    yield {"sources": []}
    yield {"source_stats": {docs.id: SourceStats(skipped={"unreadable": 3})}, "failed": 2, "cancelled": 1}
    yield {"scan_notes": {docs.id: ScanNotes(1, ("locked",), 2)}}
    lacking = {"left_out": {"no_text": LeftOut(1, ("7: SKU1",))}}
    for told in ({"reason": FROZEN, "detail": "it is short"}, {"reason": "broken"}, lacking):
        yield {"record_files": {docs.id: [RecordFile(1, "", "a.csv", **told)]}}
    yield {
        "scan_notes": {docs.id: ScanNotes()},
        "source_stats": {},
        "sources": [replace(docs, scanned_at=now)],
    }
    for code in ("watch_limit", "watch_failed", "watch_silent"):
        yield {"watching": {docs.name: {"code": code, "message": "odd"}}}
    yield {"refused": [replace(batch, state=Batch.REFUSED)], "duplicates": 2}
    yield {"now": now + HOUR, "page_problem": "The port is taken"}
    yield {"set_back": SetBack("jobs", now, by_jobs=2), "unchecked_since": now}
    yield {"behind": "generation"}
    yield {"table_exists": None}
    yield {
        "table_exists": False,
        "source_stats": {docs.id: SourceStats(chunks={**SourceStats().chunks, "published": 1})},
    }
    yield {"older_format": "1", "table_exists": True}
    yield {"table_rows": TableRows(3, 2)}
    yield {"table_rows": TableRows(3, 2, of_another=True)}
    yield {"untold": [Untold("webhook", 1, 0, "No.")]}
    yield {"unclosed": [("abc", "collected", now - 3 * DAY)], "ready_since": 0, "asked_since": 0}
    yield {"waiting": replace(waiting, oldest_at=0, embeddings=10**6), "open": []}
    yield {"sources": [replace(docs, scanned_at=0)], "missing_since": {docs.id: 0}}


def test_every_code_has_a_text_and_a_next_step_whose_commands_exist(facts, monkeypatch):
    monkeypatch.setattr(process_conditions, "library_is_safe", lambda: False)
    found = {}
    for changes in situations(facts):
        for each in blockers(replace(facts, **changes)):
            found[each.code] = each
            assert each.message.endswith((".", "!", "?")), each
            assert all((each.text, each.next, each.as_dict()["moved_by"])), each
            assert each.stops <= EVERY_STEP | {"delete", "embed"}, each
            for words in named(f"{each.text} {each.next}"):
                demand_known(words, each.next)
    assert found.keys() == CODES
    assert EVENT_OF.keys() <= CODES


def test_each_text_names_the_provider_that_is_worked_with(facts, monkeypatch):
    monkeypatch.setitem(registry.VENDORS, "abacus", "abacus:ABACUS")
    provider = facts.settings.provider.model_copy(update={"type": "abacus"})
    settings = facts.settings.model_copy(update={"provider": provider})
    told = []
    for changes in situations(facts):
        moment = replace(facts, settings=settings, **changes)
        told += [f"{each.text} {each.next}" for each in blockers(moment)]
        told += [wait.text for wait in (waits.of_batch(moment, each) for each in moment.open) if wait]
    assert not [each for each in told if "Voyage" in each]
    assert sum("Abacus" in each for each in told) > 10


def test_a_batch_of_mode_sync_is_asked_for_at_once_until_its_answer_is_here(facts):
    [batch] = facts.open
    for state in (Batch.PACKED, Batch.SPOOLED, Batch.CREATING):
        row = replace(batch, state=state, mode=Mode.SYNC, asked_by="me")
        wait = waits.of_batch(replace(facts, open=[row]), row)
        assert (wait.code, "me asked for it at once" in wait.text) == ("expedited", True)
    row = replace(batch, state=Batch.ENDED, mode=Mode.SYNC)
    assert waits.of_batch(replace(facts, open=[row]), row).code == "fetching"


def test_no_code_is_entered_twice():
    entered = [code for entry in causes.CAUSES for code in entry.codes]
    assert sorted(entered) == sorted(set(entered))


def test_the_words_of_an_error_are_kept_apart():
    found = Blocker(code="c", text="It waits", words="a quoted text " * 50, next="Do.")
    assert found.message.startswith("It waits: a quoted text")
    assert len(found.message) < 230
    assert "quoted" not in found.text


# --- a new reason is one entry ---


ENTRY = []


@entered_in(ENTRY)("full_moon", moved_by=Mover.DECISION, stops=(ASSEMBLE,))
def stopped_by_the_moon(gate, say):
    yield say(f"The moon is full over {gate.settings.lancedb.table}", "Wait, or `voyage-jobs doctor`.")


@pytest.fixture
def full_moon(monkeypatch):
    monkeypatch.setattr(causes, "CAUSES", (*ENTRY, *causes.CAUSES))


def test_one_entry_stops_the_step_and_is_told_behind_every_door(tmp_path, full_moon, monkeypatch):
    world = World(tmp_path, batching={"linger_s": 0})
    world.write("a.md", "# a\n\ntext")
    with Signals() as signals, world.worker() as context:
        outcome = Sync(context, signals).run()
        assert not assemble(context, eager=True)
        assert one_line(context).startswith("full_moon; ")
        with context.store.read() as connection:
            monkeypatch.setitem(EVENT_OF, "full_moon", "parked")
            assert [fact.message for fact in last_errors(context, connection)] == [
                "The moon is full over chunks."
            ]
    assert world.sim.calls["create_batch"] == 0
    assert outcome.ending is Ending.OPERATOR
    [problem] = outcome.problems
    assert problem.message == "1 embedding still to be sent: The moon is full over chunks."
    report, found = look(world.settings(), world.clock)
    assert report["problems"][0]["code"] == found[0].code == "full_moon"
    assert report["headline"]["text"] == "1 problem: The moon is full over chunks."
    wait = waits.to_be_sent(gather(world.settings(), world.clock), waits.Text(1, 1))
    assert (wait.code, wait.next) == ("full_moon", "Wait, or `voyage-jobs doctor`.")


# --- what steps do, and what is said of it ---


def test_batches_that_cannot_be_sent_are_the_reason_of_what_they_keep_back(world, facts):
    """`why` used to say that it goes with the next batch, while none was chosen for an hour."""
    aside = [replace(facts.open[0], state=Batch.CREATING, created_at=facts.now)] * 4
    held = waits.to_be_sent(replace(facts, open=aside), waits.Text(1, 1))
    assert (held.code, held.until) == ("held_up", facts.now + HOUR)
    assert waits.to_be_sent(replace(facts, open=aside[:3]), waits.Text(1, 1)).code == "next"


def test_unusable_results_of_another_profile_keep_nothing_back(facts):
    other = replace(facts.open[0], state=Batch.PARKED, code=UNUSABLE, profile_id=facts.profile_id + 1)
    found = blockers(replace(facts, open=[other]))
    assert "unusable_results" in {each.code for each in found}
    assert list(keeping(found, ASSEMBLE)) == []


@pytest.mark.parametrize("name", ["vendor", "disk", "create"])
def test_a_circuit_whose_wait_is_over_lets_the_next_call_try(facts, name):
    open_circuit = {name: circuit(name, "unavailable", facts.now - 1)}
    found = blockers(replace(facts, circuits=open_circuit))
    assert [each.circuit for each in found if each.circuit] == [name]
    assert not [each for each in keeping(found, *EVERY_STEP, now=facts.now) if each.circuit]
    assert [each for each in keeping(found, *EVERY_STEP) if each.circuit]


def test_a_pause_or_a_budget_of_one_source_explains_that_texts_wait_and_the_ordinary_course_does_not(facts):
    def told(**changes):
        waiting = Waiting(10, 100, facts.now - DAY, 10)
        past = replace(facts, waiting=waiting, open=[], **changes)
        return [each.because for each in stuck.find(past, blockers(past)) if each.code == "not_sent"]

    assert told() == [None]
    assert told(claiming=True, recounting=True) == [None]
    assert told(holder=None) == ["daemon_not_running"]
    assert told(pauses=Pauses({"source:docs": Pause("source:docs", facts.now, None, "me")})) == ["paused"]
    room = Room("docs.daily_tokens", 0, facts.now + HOUR, facts.sources[0].id)
    assert told(rooms=[room], waiting_by_source={room.source_id: 100}) == ["budget_reached"]


def test_a_batch_without_a_job_is_not_waited_for_while_other_vectors_are_asked_for(tmp_path):
    world = World(tmp_path, batching={"linger_s": 0})
    world.write("a.md", "# a\n\ntext")
    with world.worker() as context:
        world.take_turns(context, 3, quiet=False)
        [batch] = gather(world.settings(), world.clock).open
        assert batch.state in BEFORE_THE_JOB
    with Signals() as signals, world.worker(voyage={"output_dimension": 16}) as context:
        outcome = Sync(context, signals, timeout_s=HOUR / US).run()
    assert outcome.ending is Ending.OPERATOR
    assert [problem.code for problem in outcome.problems] == ["profile_changed", "in_flight"]
    assert outcome.elapsed_s < 60
