"""What something waits for, from moments made for it: the order of the reasons, and their ends."""

from dataclasses import replace

import pytest
from world import World

from voyage_jobs.core.clock import US
from voyage_jobs.core.plural import counted
from voyage_jobs.core.states import Batch
from voyage_jobs.diagnosis import snapshot
from voyage_jobs.diagnosis.rooms import Room
from voyage_jobs.diagnosis.snapshot import Text
from voyage_jobs.report import eta, waits
from voyage_jobs.report.words import ranges, span, when
from voyage_jobs.state import batches
from voyage_jobs.state.batches import NOT_FETCHED, SEND_REFUSED, UNUSABLE
from voyage_jobs.state.circuits import Circuit
from voyage_jobs.state.door import open_state
from voyage_jobs.state.pauses import Pause, Pauses
from voyage_jobs.state.stats import Waiting

MINUTE = 60 * US


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("world"))
    world.write("a.md", "# a\n\ntext")
    world.run(12, quiet=False)  # its batch is at the provider
    return world


@pytest.fixture(scope="module")
def found(world):
    with open_state(world.settings()).read() as connection:
        moment = snapshot.moment(connection, world.settings(), int(world.clock.wall() * US))
        return replace(moment, holder=77), batches.newest(connection, 1)[0]


@pytest.fixture
def moment(found):
    return found[0]


@pytest.fixture
def batch(found):
    return found[1]


def circuit(moment, name, code="unreachable", seconds=60):
    return {name: Circuit(name, moment.now + seconds * US, 1, 0, code, f"it is {code}", None)}


def unsent(world, moment, text=None, **changes):
    return waits.to_be_sent(replace(moment, **changes), text or Text(10, 1))


def test_what_nothing_hinders_goes_with_the_next_batch(world, moment):
    assert unsent(world, moment).code == "next"
    behind = unsent(world, moment, Text(10, 1, refusals=1, ahead=250_000))
    assert "after about 2 others" in behind.text
    assert "Voyage refused" in behind.text


def test_the_first_reason_is_what_only_a_person_moves_on(world, moment, batch):
    parked = [replace(batch, state=Batch.PARKED, code=UNUSABLE, reason="odd", hint="do this")]
    room = Room("daily_tokens", 0, moment.now + MINUTE)
    everything = {
        "asked": replace(moment.asked, dimension=16),
        "pauses": Pauses({"sending": Pause("sending", moment.now, None, "me")}),
        "open": [*parked, replace(batch, state=Batch.SPOOLED, due_at=0)],
        "circuits": {**circuit(moment, "vendor", "auth"), **circuit(moment, "disk", "paused_disk")},
        "rooms": [room],
        "holder": None,
        "here": replace(moment.here, mode="run"),
        "claiming": True,
        "recounting": True,
        "in_flight": (1000, 0),
        "waiting": Waiting(1, 10, moment.now, 10),
    }
    order = []
    mended = {
        "asked": moment.asked,
        "open": [replace(batch, state=Batch.SPOOLED, due_at=0)],
        "vendor": None,
        "pauses": Pauses({}),
        "rooms": [],
        "holder": 77,
        "disk": None,
        "claiming": False,
        "recounting": False,
        "in_flight": (0, 0),
        "open ": [],
        "waiting": Waiting(0, 0, None, None),
    }
    for key, value in mended.items():
        order.append(unsent(world, moment, **everything).code)
        if key in ("vendor", "disk"):
            everything["circuits"] = {k: v for k, v in everything["circuits"].items() if k != key}
        else:
            everything[key.strip()] = value
    assert order == [
        "profile_changed",
        "unusable_results",
        "auth",
        "paused",
        "budget_reached",
        "daemon_not_running",
        "paused_disk",
        "claiming",
        "recounting",
        "in_flight_full",
        "one_at_a_time",
        "gathering",
    ]
    assert unsent(world, moment, **everything).code == "next"


def test_a_batch_that_is_parked_for_another_cause_keeps_no_text_waiting(world, moment, batch):
    for code in (None, SEND_REFUSED, NOT_FETCHED):
        parked = [replace(batch, state=Batch.PARKED, code=code, reason="odd", hint="do this")]
        assert unsent(world, moment, open=parked).code == "next"


def test_a_vendor_that_refuses_one_batch_after_another_is_the_reason_and_says_what_helps(world, moment):
    wait = unsent(world, moment, circuits=circuit(moment, "create", SEND_REFUSED))
    assert (wait.code, wait.until) == (SEND_REFUSED, moment.now + MINUTE)
    assert "Voyage refuses one batch after another" in wait.text
    assert "it is send_refused" in wait.text


def test_a_batch_that_fails_alone_keeps_no_other_waiting(world, moment, batch):
    late = replace(batch, state=Batch.UPLOADING, due_at=moment.now + MINUTE, failures=4, code="upload")
    assert unsent(world, moment, open=[replace(late, error="It was reset.")]).code == "next"


def test_a_closed_lane_says_until_when_and_an_open_one_nothing(world, moment):
    wait = unsent(world, moment, circuits=circuit(moment, "vendor"))
    assert (wait.code, wait.until) == ("unreachable", moment.now + MINUTE)
    assert "(in 1 m)" in wait.text
    assert unsent(world, moment, circuits=circuit(moment, "vendor", seconds=-1)).code == "next"
    assert (
        unsent(world, moment, circuits=circuit(moment, "create", "in_flight_limit")).code == "in_flight_limit"
    )


def test_a_budget_counts_for_its_source_and_a_run_only_while_it_lasts(world, moment):
    mine, other = (Room("docs.daily_tokens", 5, moment.now + MINUTE, source) for source in (1, 2))
    assert unsent(world, moment, rooms=[mine]).code == "budget_reached"
    assert unsent(world, moment, rooms=[other]).code == "next"
    run = Room("run_tokens", 0, None)
    assert "the limit of one run" in unsent(world, moment, rooms=[run]).text
    assert unsent(world, moment, rooms=[run], holder=None).code == "daemon_not_running"


def test_tokens_under_way_leave_no_room(world, moment):
    most = world.settings().batching.max_in_flight_tokens
    assert unsent(world, moment, in_flight=(1, most)).code == "in_flight_full"


@pytest.mark.parametrize(
    ("state", "values", "code"),
    [
        (Batch.PARKED, {"reason": "odd", "hint": "do"}, "parked"),
        (Batch.SPOOLED, {}, "sending"),
        (Batch.CREATING, {}, "in_doubt"),
        (Batch.RUNNING, {}, "at_voyage"),
        (Batch.RUNNING, {"deadline_at": 5, "remote_status": "in_progress"}, "past_deadline"),
        (Batch.RUNNING, {"deadline_at": 5, "remote_status": "archived"}, "unknown_status"),
        (Batch.ENDED, {}, "fetching"),
        (Batch.ENDED, {"failures": 2}, "fetching"),
    ],
)
def test_every_open_batch_waits_for_something(world, moment, batch, state, values, code):
    wait = waits.of_batch(moment, replace(batch, state=state, **values), 5)
    assert wait.code == code
    assert wait.text.endswith(".")
    assert wait.next


@pytest.mark.parametrize("state", [Batch.SPOOLED, Batch.CREATING, Batch.ENDED])
def test_a_batch_on_its_way_is_held_up_by_a_closed_lane_or_by_nobody_at_work(world, moment, batch, state):
    row = replace(batch, state=state)
    shut = replace(moment, circuits=circuit(moment, "vendor"))
    assert waits.of_batch(shut, row).code == "unreachable"
    assert waits.of_batch(replace(moment, holder=None), row).code == "daemon_not_running"


def test_a_batch_that_is_over_waits_for_nothing(world, moment, batch):
    assert waits.of_batch(moment, replace(batch, state=Batch.CLOSED)) is None


def test_a_version_that_is_ready_waits_for_its_text_the_disk_or_the_next_publication(moment):
    assert waits.to_be_published(moment, has_text=True).code == "ready"
    assert waits.to_be_published(moment, has_text=False).code == "text_missing"
    full = replace(moment, circuits=circuit(moment, "disk", "paused_disk"))
    assert waits.to_be_published(full, has_text=True).code == "paused_disk"
    assert waits.to_be_published(replace(moment, holder=None), has_text=True).code == "daemon_not_running"


# --- expectations and words ---


def test_a_job_is_expected_by_those_that_took_longer_than_it_has():
    took = [60.0, 120.0, 180.0, 600.0]
    start = 1_000 * US
    assert eta.of_job(took, start, start).likely_at == start + 180 * US
    assert eta.of_job(took, start, start + 200 * US) == eta.Expected(start + 600 * US, start + 600 * US)
    assert eta.of_job(took, start, start + 601 * US) == eta.Expected()
    assert eta.of_job([], start, start) == eta.Expected()
    assert eta.of_job(took, None, start) == eta.Expected()


def test_all_are_expected_when_each_is():
    one, two, unknown = eta.Expected(5, 9), eta.Expected(7, 8), eta.Expected()
    assert eta.of_all([one, two]) == eta.Expected(7, 9)
    assert eta.of_all([one, unknown]) == unknown
    assert eta.of_all([]) == unknown
    assert eta.of_next([60.0], 0, waves=3).likely_at == 180 * US
    assert eta.of_next([], 0) == unknown


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 ms"), (0.04, "40 ms"), (1, "1 s"), (1.44, "1.4 s"), (9.96, "10 s"), (45, "45 s"), (59.7, "1 m"),
     (200, "3 m 20 s"), (3600, "1 h"), (7500, "2 h 5 m"), (100_000, "1 d 3 h")],
)  # fmt: skip
def test_spans_have_the_two_units_that_count(seconds, words):
    assert span(seconds) == words


def test_times_and_counts_in_words():
    now = 1_780_000_000 * US
    assert when(now - 200 * US, now) == "20:23 UTC (3 m 20 s ago)"
    assert when(now + 3600 * US, now) == "21:26 UTC (in 1 h)"
    assert when(now - 40 * 3600 * US, now).startswith("2026-05-27 04:26 UTC (1 d 16 h")
    assert when(now, now).endswith("(now)")
    assert (counted(1, "chunk"), counted(2000, "chunk")) == ("1 chunk", "2,000 chunks")
    assert (ranges([5]), ranges([1, 2, 3, 9]), ranges([1, 3, 5, 7, 9])) == (
        "5",
        "1 to 3, 9",
        "1, 3, 5, 7 and others",
    )
