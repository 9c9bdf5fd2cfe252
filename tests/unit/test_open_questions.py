"""What the provider's pages leave open, question by question: however it is answered, all is served and paid once."""

import json

import pytest
from small_world import Small, quick
from step_doors import all_batches, until

from voyage_jobs.core.states import Batch
from voyage_jobs.steps.acts import perform

TEXTS = {f"d{number}.md": f"text number {number}" for number in range(5)}
LOST = {"answer_lost": {"on": "create_batch", "times": 1}}
REFUSED = {"line_refused": {"contains": "number 3", "message": "too long"}}


@pytest.fixture(autouse=True)
def _quick():
    with quick():
        yield


def small_of(tmp_path, options=None, faults=None, **sections):
    small = Small(tmp_path, options=options, faults=faults, **sections)
    for path, text in TEXTS.items():
        small.write(path, text)
    return small


def all_is_served(small, but=()):
    assert small.served() == {path: [text] for path, text in TEXTS.items() if path not in but}
    assert small.ledger.billed_more_than_once() == {}


def serves_all(tmp_path, options=None, faults=None, **sections):
    small = small_of(tmp_path, options, faults, **sections)
    small.run()
    all_is_served(small)
    return small


def parks_and_goes_on(tmp_path, options, faults=None, mended=None, **sections):
    """The batch waits for an operator, who mends the settings and retries; the words that it was parked with."""
    small = small_of(tmp_path, options, faults, **sections)
    with small.worker() as context:
        batch = until(small, context, Batch.PARKED)
        perform(context, "retry", {"ref": batch.ref}, "me")
    small.run(**(mended or {}))
    all_is_served(small)
    return f"{batch.reason} {batch.hint}"


def test_an_upload_above_the_largest_size_that_is_refused_with_400_names_the_way_out(tmp_path):
    options = {"max_file_bytes": 300, "file_too_large_status": 400}
    said = parks_and_goes_on(tmp_path, options, mended={"batching": {"max_inputs": 2}})
    assert "(400)" in said
    assert "voyage-jobs retry" in said


def test_an_upload_above_the_largest_size_that_is_refused_with_413_is_cut_until_it_passes(tmp_path):
    serves_all(tmp_path, {"max_file_bytes": 450, "file_too_large_status": 413})


@pytest.mark.parametrize("inputs_are", ["texts", "lines"])
@pytest.mark.parametrize("cap_at", ["validation", "create"])
def test_a_cap_of_inputs_counts_lines_or_texts_and_strikes_early_or_late(tmp_path, inputs_are, cap_at):
    options = {"inputs_are": inputs_are, "inputs_cap_at": cap_at, "max_inputs": 2}
    serves_all(tmp_path / "within", options, batching={"max_inputs": 2})
    if cap_at == "create":
        said = parks_and_goes_on(tmp_path / "above", options, mended={"batching": {"max_inputs": 2}})
        assert "at most 2" in said
    else:
        serves_all(tmp_path / "above", options)


@pytest.mark.parametrize("word", ["completed", "expired", "partially_completed"])
def test_a_job_that_overran_its_window_may_end_under_any_word(tmp_path, word):
    small = serves_all(tmp_path, {"overrun_status": word}, {"job_slow": {"nth": 1, "done_share": 0.4}})
    assert len(small.ledger.export()["batches"]) == 2


@pytest.mark.parametrize("redirect", [None, "https://storage.example"])
@pytest.mark.parametrize("ranges", [True, False])
def test_contents_may_redirect_and_may_serve_ranges(tmp_path, redirect, ranges):
    faults = {"body_cut": {"times": 2, "keep_share": 0.4}}
    serves_all(tmp_path, {"redirect_to": redirect, "ranges": ranges}, faults)


@pytest.mark.parametrize("where", ["message", "body", "output"])
def test_a_line_may_be_refused_in_three_shapes(tmp_path, where):
    small = small_of(tmp_path, {"refused_lines": where}, REFUSED)
    small.run()
    all_is_served(small, but=["d3.md"])
    with small.worker() as context, context.store.read() as connection:
        (said,) = connection.exec_driver_sql("SELECT detail FROM lines WHERE detail IS NOT NULL").scalars()
    assert "too long" in said


@pytest.mark.parametrize("line", [3, 4, 99])
def test_a_bad_line_may_fail_its_job_and_be_named_in_any_way(tmp_path, line):
    """Counted from 0, from 1, or by a number that no line has."""
    serves_all(tmp_path, {"bad_line_fails": "job"}, {"job_invalid": {"nth": 1, "line": line}})


@pytest.mark.parametrize("asked", ["auto", "base64"])
@pytest.mark.parametrize("taken", ["honoured", "ignored"])
def test_an_encoding_may_be_honoured_or_ignored(tmp_path, taken, asked):
    serves_all(tmp_path, {"encoding_format": taken}, voyage={"encoding_format": asked})


def test_an_encoding_may_be_rejected(tmp_path):
    said = parks_and_goes_on(
        tmp_path,
        {"encoding_format": "rejected"},
        voyage={"encoding_format": "base64"},
        mended={"voyage": {"encoding_format": ""}},
    )
    assert "encoding_format" in said


def test_an_input_file_keeps_to_the_strictest_reading(tmp_path):
    """Two keys a line, a list for input, short ASCII ids that differ, no blank line, no mark, a newline at the end."""
    small = small_of(tmp_path)
    with small.worker() as context:
        batch = until(small, context, Batch.SPOOLED)
        written = context.input_path(batch.ref).read_bytes()
    assert written.endswith(b"\n")
    assert b"\r" not in written
    lines = [json.loads(line) for line in written[:-1].split(b"\n")]
    assert all(line.keys() == {"custom_id", "body"} and line["body"].keys() == {"input"} for line in lines)
    assert all(type(line["body"]["input"]) is list for line in lines)
    ids = [line["custom_id"] for line in lines]
    assert len(set(ids)) == len(TEXTS)
    assert all(each.isascii() and each.isalnum() and len(each) <= 64 for each in ids)


@pytest.mark.parametrize("times", [1, 4])
def test_an_input_file_that_is_not_found_after_a_good_upload(tmp_path, times):
    """Seen a minute later, or only when it is uploaded once more."""
    serves_all(tmp_path, faults={"input_file_not_found": {"times": times}})


@pytest.mark.parametrize("as_", ["request_lost", "answer_lost"])
def test_a_create_call_is_not_idempotent_whether_or_not_it_arrived(tmp_path, as_):
    small = serves_all(tmp_path, faults={as_: {"on": "create_batch", "times": 1, "as": "read_timeout"}})
    assert len(small.ledger.export()["batches"]) == 1


@pytest.mark.parametrize("status", [200, 400, 409])
def test_cancelling_a_job_that_is_over_may_be_refused(tmp_path, status):
    faults = {"server_error": {"on": "cancel_batch", "status": status, "times": 1}} if status != 200 else None
    small = small_of(tmp_path, faults=faults)
    with small.worker() as context:
        batch = until(small, context, Batch.RUNNING)
        small.clock.advance(600)
        perform(context, "cancel", {"ref": batch.ref}, "me")
        small.take_turns(context)
    all_is_served(small)


@pytest.mark.parametrize("retry_after_s", [None, 5, 7200])
def test_a_429_at_create_may_or_may_not_say_how_long(tmp_path, retry_after_s):
    faults = {"rate_limited": {"on": "create_batch", "times": 1, "retry_after_s": retry_after_s}}
    small = small_of(tmp_path, faults=faults)
    began = small.clock.mono()
    small.run()
    all_is_served(small)
    assert small.clock.mono() - began >= max(1800, min(3600, retry_after_s or 0))  # voyage.max_retry_after_s


@pytest.mark.parametrize("cap", [1, 100])
def test_tokens_in_flight_may_be_reserved_at_create(tmp_path, cap):
    serves_all(tmp_path, {"max_in_flight_jobs": cap}, batching={"max_inputs": 1})


def test_a_model_may_not_be_served_in_batches(tmp_path):
    faults = {"server_error": {"on": "create_batch", "status": 400, "nth": 1}}
    assert "(400)" in parks_and_goes_on(tmp_path, None, faults)


@pytest.mark.parametrize(
    "operation", ["upload_file", "list_batches", "retrieve_batch", "file_content", "delete_file"]
)
def test_any_call_may_be_rate_limited(tmp_path, operation):
    faults = {**LOST, "rate_limited": {"on": operation, "times": 2, "retry_after_s": 3}}
    serves_all(tmp_path, faults=faults)


@pytest.mark.parametrize("share", [0.67, 2 / 3])
def test_a_price_may_be_rounded_either_way_and_is_a_setting(tmp_path, share):
    prices = {"voyage-4": {"batch_usd_per_million": round(0.06 * share, 6)}}
    small = serves_all(tmp_path, prices=prices)
    with small.worker() as context:
        (batch,) = all_batches(context)
    assert batch.usd_per_million == pytest.approx(0.06 * share, abs=1e-6)
    assert batch.tokens_settled == small.ledger.batch_tokens


@pytest.mark.parametrize("times", [0, 3])
def test_a_file_may_not_be_deletable_at_once(tmp_path, times):
    faults = {"not_deleted": {"times": times}} if times else None
    small = serves_all(tmp_path, faults=faults)
    assert small.sim.state()["files"] == 0


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_of_the_other_platform_may_be_refused_in_two_ways(tmp_path, status):
    serves_all(tmp_path, faults={"auth_outage": {"from_s": 0, "until_s": 600, "status": status}})


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("cursor", [True, False])
def test_a_list_may_come_in_either_order_with_or_without_has_more(tmp_path, order, cursor):
    small = serves_all(tmp_path, {"batches_order": order, "list_shows_cursor": cursor}, LOST)
    assert len(small.ledger.export()["batches"]) == 1
