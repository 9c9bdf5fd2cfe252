"""The catalogue of events in docs/logs.md is that of the code: events, levels, fields; and how a log is kept short."""

import io
import json
import re

import pytest
from log_events import documented, logged_by_the_code
from world import KEY, World

from voyage_jobs.core.clock import VirtualClock
from voyage_jobs.core.observe import about
from voyage_jobs.core.redact import remember
from voyage_jobs.telemetry import logs
from voyage_jobs.telemetry.repeats import MOST_OF_A_KIND

CODE = logged_by_the_code()
PAGE = documented()
ABOUT_A_BATCH = ("batch.", "create.", "cancel.", "job.", "results.", "call.")
ABOUT_ALL_BATCHES = {"create.deferred"}
TEXT = "The heron on the weir has never paid a bill in all its life."


def test_the_code_and_the_catalogue_know_the_same_events():
    assert len(CODE) > 50
    assert sorted(PAGE) == sorted([*CODE, "library"])


@pytest.mark.parametrize("event", sorted(CODE))
def test_levels_and_fields_are_those_of_the_code(event):
    levels, fields, more = PAGE[event]
    assert levels == CODE[event].levels, CODE[event].places
    assert fields == CODE[event].fields, CODE[event].places
    assert more == CODE[event].open


def test_names_of_events_and_fields_are_of_one_kind():
    for event, logged in CODE.items():
        assert re.fullmatch(r"[a-z_]+(\.[a-z_]+)?", event), logged.places
        assert all(re.fullmatch(r"[a-z][a-z_]*", name) for name in logged.fields), logged.places
        assert not logged.fields & {"time", "level", "event", "exception"}, logged.places


@pytest.mark.parametrize("event", sorted(event for event in CODE if event.startswith(ABOUT_A_BATCH)))
def test_what_is_about_a_batch_has_its_ref(event):
    assert ("ref" in CODE[event].fields) == (event not in ABOUT_ALL_BATCHES)


# --- a whole life, through the real log ---


@pytest.fixture
def stream():
    import structlog

    before = structlog.get_config()
    stream = io.StringIO()
    yield stream
    logs.configure()
    structlog.configure(**before)


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_life_full_of_trouble_leaves_no_key_and_no_text_in_its_log(tmp_path, stream):
    said = f'Refused: input "{TEXT}" by {KEY}'
    world = World(
        tmp_path,
        faults={
            "auth_outage": {"times": 1},
            "server_error": {"times": 2},
            "request_lost": {"on": "create_batch", "nth": 1, "as": "read_timeout"},
            "line_refused": {"contains": "heron", "message": said},
        },
        voyage={"quarantine_s": 60},
        batching={"max_inputs": 1},
    )
    world.log = logs.get_logger()
    logs.configure("debug", "json", stream=stream, clock=world.clock)
    world.write("a.md", f"# A\n\n{TEXT}\n")
    world.write("b.md", f"# B\n\n{TEXT.upper()}\n")
    world.run()
    events = {line["event"] for line in lines(stream)}
    assert {"circuit.opened", "batch.collected", "documents.published", "create.unknown"} <= events
    assert KEY not in stream.getvalue()
    assert "heron on the weir" not in stream.getvalue().lower()


def test_everything_about_a_batch_can_be_found_by_its_ref(tmp_path, stream):
    world = World(tmp_path)
    world.log = logs.get_logger()
    logs.configure("debug", "json", stream=stream, clock=world.clock)
    world.write("a.md", f"# A\n\n{TEXT}\n")
    world.run()
    told = lines(stream)
    [ref] = {line["ref"] for line in told if line["event"] == "batch.assembled"}
    story = [line["event"] for line in told if line.get("ref") == ref]
    for event in ("batch.assembled", "batch.uploaded", "batch.submitted", "batch.ended", "batch.collected"):
        assert event in story


# --- what the log does with a line ---


def logged(stream, log, **options):
    clock = VirtualClock()
    logs.configure("debug", "json", stream=stream, clock=clock, **options)
    log(logs.get_logger(), clock)
    return lines(stream)


def test_while_a_batch_is_worked_on_everything_is_about_it(stream):
    def log(log, clock):
        log.info("circuit.closed", circuit="vendor")
        with about("r1"):
            log.info("circuit.closed", circuit="vendor")
            log.info("cancel.sent", ref="r2", batch_id="b")

    assert [line.get("ref") for line in logged(stream, log)] == [None, "r1", "r2"]


def test_what_an_error_quotes_at_length_is_left_out(stream):
    remember("planted-secret")

    def log(log, clock):
        log.error(
            "batch.parked", ref="r", reason=f"the input '{TEXT}' is odd, \"short\" is not; planted-secret"
        )

    [line] = logged(stream, log)
    assert line["reason"] == "the input '...' is odd, \"short\" is not; ***"


# --- repeats ---


def last_error(log, failures):
    log.warning(
        "circuit.opened", code="unreachable", failures=failures, wait_s=failures * 2.0, error=f"no {failures}"
    )


def test_the_same_trouble_is_told_once_and_then_counted(stream):
    def log(log, clock):
        for failures in range(1, 11):
            last_error(log, failures)
            clock.advance(40)
            logs.log_repeats()

    told = logged(stream, log, repeat_s=300)
    assert [(line["failures"], line.get("held_back")) for line in told] == [(1, None), (8, 7), (9, None)]


def test_what_was_held_back_is_told_at_the_end(stream):
    def log(log, clock):
        for failures in range(1, 5):
            last_error(log, failures)
        logs.log_repeats()
        logs.log_repeats(all_of_them=True)
        logs.log_repeats(all_of_them=True)

    told = logged(stream, log, repeat_s=300)
    assert [(line["failures"], line.get("held_back")) for line in told] == [(1, None), (4, 3)]
    assert told[1]["level"] == "warning"


def test_the_next_line_after_the_interval_says_what_was_held_back(stream):
    def log(log, clock):
        last_error(log, 1)
        last_error(log, 2)
        clock.advance(301)
        last_error(log, 3)

    assert [line.get("held_back") for line in logged(stream, log, repeat_s=300)] == [None, 1]


def test_other_troubles_are_told(stream):
    def log(log, clock):
        for ref in ("r1", "r2", "r1"):
            log.error("batch.parked", ref=ref, reason="odd")
        log.error("batch.refused", ref="r1", batch_id="b", reason="odd")
        last_error(log, 1)
        log.error("circuit.opened", code="auth", failures=1, wait_s=1, error="no")

    told = [(line["event"], line.get("ref")) for line in logged(stream, log, repeat_s=300)]
    assert told == [
        ("batch.parked", "r1"),
        ("batch.parked", "r2"),
        ("batch.refused", "r1"),
        ("circuit.opened", None),
        ("circuit.opened", None),
    ]


def test_below_warning_a_line_with_any_news_is_told(stream):
    def log(log, clock):
        for unchanged in (5, 5, 6):
            log.info("scan.finished", source="docs", unchanged=unchanged)

    assert [line["unchanged"] for line in logged(stream, log, repeat_s=300)] == [5, 6]


def test_of_one_kind_no_more_than_so_many_are_told(stream):
    def log(log, clock):
        for number in range(MOST_OF_A_KIND + 50):
            log.warning("folder.unreadable", source="docs", path=f"f{number}", error="no")
        clock.advance(301)
        logs.log_repeats()

    told = logged(stream, log, repeat_s=300)
    assert len(told) == MOST_OF_A_KIND + 1
    assert told[-1]["held_back"] == 50


def test_each_answer_to_an_operator_is_told(stream):
    def log(bound, _clock):
        for error in ("a", "b", "b"):
            bound.error("config.refused", error=error)
        for _ in range(2):
            bound.info("config.reloaded", sources=["docs"])

    assert [line["event"] for line in logged(stream, log, repeat_s=300)] == [
        *["config.refused"] * 3,
        *["config.reloaded"] * 2,
    ]


def test_none_that_was_held_back_is_forgotten(stream):
    """The line that would tell of others is itself one too many of its kind."""

    def log(log, clock):
        for _ in range(10):
            log.warning("folder.unreadable", source="docs", path="often", error="no")
        clock.advance(301)
        for number in range(MOST_OF_A_KIND):
            log.warning("folder.unreadable", source="docs", path=f"f{number}", error="no")
        log.warning("folder.unreadable", source="docs", path="often", error="no")
        logs.log_repeats(all_of_them=True)

    told = logged(stream, log, repeat_s=300)
    assert len(told) + sum(line.get("held_back", 0) for line in told) - 1 == 10 + MOST_OF_A_KIND + 1


def test_what_is_remembered_is_bounded(stream):
    def log(log, clock):
        for number in range(5_000):
            log.info("scan.finished", source="docs", unchanged=number)
        log.info("scan.finished", source="docs", unchanged=4_999)

    assert len(logged(stream, log, repeat_s=300)) == 5_000
    assert len(logs._held_back.repeats._entries) <= 1_000


def test_without_an_interval_every_line_is_told(stream):
    def log(log, clock):
        for _ in range(3):
            last_error(log, 1)

    assert len(logged(stream, log)) == 3
