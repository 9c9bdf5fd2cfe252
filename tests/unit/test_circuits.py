"""When calls wait: an item that fails waits alone; a shared cause opens a circuit, says why, and closes by itself."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from step_doors import newest, prose, scan, tripped

from voyage_jobs.core.clock import US
from voyage_jobs.core.retry import POLICIES
from voyage_jobs.core.states import Batch
from voyage_jobs.errors import (
    AuthError,
    BadAnswerError,
    InterceptedError,
    NotSentError,
    OutcomeUnknownError,
    QuotaError,
    RateLimitedError,
    RefusedError,
)
from voyage_jobs.state import batches, circuits
from voyage_jobs.steps import circuits as circuit
from voyage_jobs.steps.assemble import assemble

PASSING = [
    (NotSentError, "unreachable"),
    (OutcomeUnknownError, "unavailable"),
    (InterceptedError, "intercepted"),
    (BadAnswerError, "bad_answer"),
]
SHARED = [(AuthError, "auth"), (QuotaError, "quota"), (RateLimitedError, "rate_limited")]


@pytest.fixture
def context(world):
    with world.worker() as context:
        yield context


def wait_s(context, name="vendor"):
    return tripped(context)[name].until_at / US - context.clock.wall()


def until_due(context, name="vendor"):
    context.clock.advance(max(0.0, wait_s(context, name)) + 0.001)


# --- one item ---


@pytest.mark.parametrize(("error", "code"), PASSING)
def test_one_item_that_fails_is_no_shared_cause_however_often(context, error, code):
    for _ in range(50):
        circuit.failed(context, "file 1", error("It said no."))
    assert not tripped(context)
    assert circuit.may_pass(context, circuits.VENDOR)


def test_a_refusal_is_about_its_item_alone(context):
    for number in range(50):
        circuit.failed(context, f"file {number}", RefusedError("It said no."))
    assert not tripped(context)


@pytest.fixture
def batch(world, context):
    world.write("a.md", prose("a"))
    scan(context)
    assert assemble(context, eager=True)
    return newest(context)


def put_off(context, policy, error):
    with context.store.write() as tx:
        return circuit.put_off(context, tx, newest(context), policy, error)


def test_a_batch_that_is_put_off_keeps_its_count_its_wait_and_its_words(context, batch):
    began = context.clock.wall()
    for failures in (1, 2, 3):
        assert put_off(context, "upload", NotSentError(f"No, {failures}.")) == failures
        context.clock.advance(100)
    found = newest(context)
    assert (found.code, found.failures, found.error) == ("upload", 3, "No, 3.")
    assert found.failing_since == pytest.approx(began * US, abs=US)
    assert found.due_at == pytest.approx((began + 200 + 20) * US, abs=5 * US)
    assert found.state is batch.state
    assert not tripped(context)


def test_failures_of_another_kind_are_counted_afresh(context, batch):
    assert [put_off(context, "upload", NotSentError()) for _ in range(3)] == [1, 2, 3]
    context.clock.advance(60)
    assert put_off(context, "create_call", NotSentError()) == 1
    assert newest(context).failing_since == pytest.approx(context.clock.wall() * US, abs=US)


def test_a_longer_wish_of_the_vendor_is_honoured_for_one_batch_as_well(context, batch):
    put_off(context, "upload", OutcomeUnknownError(retry_after_s=900.0))
    assert newest(context).due_at == pytest.approx((context.clock.wall() + 900) * US, abs=US)


def test_what_has_no_row_waits_by_its_policy_and_alone(context):
    waits = []
    for _ in range(12):
        circuit.let_rest(context, "the list", "list")
        assert circuit.rests(context, "the list")
        assert not circuit.rests(context, "another list")
        began = context.clock.mono()
        while circuit.rests(context, "the list"):
            context.clock.advance(1)
        waits.append(context.clock.mono() - began)
    assert waits[0] <= 13
    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx(POLICIES["list"].cap_s, abs=2)


# --- shared circuits ---


@pytest.mark.parametrize(("error", "code"), PASSING)
def test_two_different_items_that_fail_alike_stop_all_calls_and_it_is_said_why(context, error, code):
    circuit.failed(context, "file 1", error("It said no.", hint="Ask again."))
    assert not tripped(context)
    circuit.failed(context, "file 2", error("It said no.", hint="Ask again."))
    found = tripped(context)["vendor"]
    assert (found.code, found.message, found.hint, found.failures) == (code, "It said no.", "Ask again.", 1)
    assert not circuit.may_pass(context, circuits.VENDOR)
    assert circuit.may_pass(context, circuits.CREATE)
    until_due(context)
    assert circuit.may_pass(context, circuits.VENDOR)  # due for a try; still in trouble until one succeeds
    assert "vendor" in tripped(context)
    circuit.fine(context)
    assert not tripped(context)


@pytest.mark.parametrize(("error", "code"), SHARED)
def test_what_is_about_the_account_stops_all_calls_at_once(context, error, code):
    circuit.failed(context, "file 1", error("It said no.", hint="Ask again."))
    found = tripped(context)["vendor"]
    assert (found.code, found.message, found.hint, found.failures) == (code, "It said no.", "Ask again.", 1)


def test_two_items_that_fail_differently_are_no_shared_cause(context):
    circuit.failed(context, "file 1", NotSentError())
    circuit.failed(context, "file 2", BadAnswerError())
    assert not tripped(context)


def test_a_success_in_between_shows_that_the_cause_is_not_shared(context):
    for number in range(20):
        circuit.failed(context, f"file {number}", NotSentError())
        circuit.fine(context)
    assert not tripped(context)


def test_creates_that_fail_alike_stop_new_jobs_alone(context):
    for number in (1, 2):
        circuit.failed(context, f"create {number}", OutcomeUnknownError("It said no."), circuits.CREATE)
    assert set(tripped(context)) == {"create"}
    assert 48 <= wait_s(context, "create") <= 72
    assert circuit.may_pass(context, circuits.VENDOR)
    assert not circuit.may_pass(context, circuits.VENDOR, circuits.CREATE)
    circuit.fine(context)
    assert "create" in tripped(context)
    circuit.fine(context, circuits.CREATE)
    assert not tripped(context)


def test_waits_of_a_circuit_double_up_to_a_cap_while_its_tries_fail(context):
    circuit.failed(context, "file 1", NotSentError())
    waits = []
    for _ in range(14):
        circuit.failed(context, "file 2", NotSentError())
        waits.append(wait_s(context))
        until_due(context)
    assert 1.5 < waits[0] < 2.5
    assert all(after > 1.2 * before for before, after in itertools.pairwise(waits[:7]))
    assert max(waits) <= POLICIES["voyage"].cap_s
    assert tripped(context)["vendor"].failures == 14


def test_steps_that_fail_in_the_same_turn_make_no_longer_wait(context):
    circuit.failed(context, "file 0", NotSentError())
    for number in range(20):
        circuit.failed(context, f"file {number}", NotSentError())
    assert tripped(context)["vendor"].failures == 1


def test_the_beginning_of_the_trouble_is_kept(context):
    circuit.failed(context, "file 1", AuthError())
    since = tripped(context)["vendor"].since_at
    context.clock.advance(500)
    circuit.failed(context, "file 1", AuthError())
    assert tripped(context)["vendor"].failures == 2
    assert tripped(context)["vendor"].since_at == since


@pytest.mark.parametrize("error", [AuthError, QuotaError])
def test_a_refused_key_is_not_tried_every_few_seconds(context, error):
    circuit.failed(context, "file 1", error())
    assert wait_s(context) >= 45
    for _ in range(10):
        until_due(context)
        circuit.failed(context, "file 1", error())
    assert wait_s(context) <= POLICIES["account"].cap_s


@pytest.mark.parametrize(("asked", "at_least"), [(3600.0, 3600), (0.0, 1.5), (None, 1.5)])
def test_a_longer_wish_of_the_vendor_is_honoured(context, asked, at_least):
    circuit.failed(context, "file 1", RateLimitedError(retry_after_s=asked))
    assert at_least <= wait_s(context) <= max(at_least, 3) + 1


def test_only_new_jobs_wait_when_too_much_is_in_flight(context):
    with context.store.write() as tx:
        circuit.create_must_wait(context, tx, RateLimitedError("Too many.", retry_after_s=10.0))
    assert wait_s(context, "create") == pytest.approx(context.settings.voyage.create_retry_s)
    assert not circuit.may_pass(context, circuits.CREATE)
    assert circuit.may_pass(context, circuits.VENDOR)
    assert not circuit.may_pass(context, circuits.VENDOR, circuits.CREATE)
    circuit.fine(context)  # the provider lane's success says nothing about this one
    assert "create" in tripped(context)
    circuit.fine(context, circuits.CREATE)
    assert not tripped(context)


# --- probes ---


def test_after_its_wait_each_step_may_make_one_call_in_a_turn_until_one_succeeds(context):
    circuit.failed(context, "file 1", AuthError())
    assert not circuit.Calls(context).more()
    until_due(context)
    circuit.begin_turn(context)
    for step in (circuit.Calls(context), circuit.Calls(context)):
        assert [step.more() for _ in range(3)] == [True, False, False]
    third = circuit.Calls(context)
    assert third.more()
    circuit.fine(context)
    assert [third.more() for _ in range(3)] == [True, True, True]


def test_a_probe_that_fails_takes_no_other_step_its_probe_of_the_same_turn(context):
    """Else the step that comes first in a turn, with what is sick, would keep the circuit open for all."""
    circuit.failed(context, "file 1", AuthError())
    until_due(context)
    circuit.begin_turn(context)
    assert circuit.Calls(context).more()
    circuit.failed(context, "file 1", AuthError())
    assert circuit.Calls(context).more()
    circuit.begin_turn(context)
    assert not circuit.Calls(context).more()


def test_what_has_failed_least_comes_first(context, batch):
    rows = [replace(batch, id=number, failures=failures) for number, failures in enumerate((5, 0, 2, 0))]
    assert [each.id for each in circuit.healthiest_first(rows)] == [1, 3, 2, 0]


# --- items and circuits together ---


@pytest.mark.parametrize(("error", "code"), SHARED)
def test_what_is_about_the_account_is_not_counted_against_a_batch(context, batch, error, code):
    """Else it would wait an hour for its own sake when the key is mended."""
    assert put_off(context, "upload", NotSentError()) == 1
    before = newest(context)
    for _ in range(100):
        assert put_off(context, "upload", error()) == 1
    assert newest(context) == before


def outage(context, probes):
    circuit.failed(context, "file 1", NotSentError())
    for _ in range(probes):
        circuit.failed(context, "file 2", NotSentError())
        until_due(context)


@pytest.mark.parametrize(("probes", "is_due"), [(circuit.OUTAGE - 1, False), (circuit.OUTAGE, True)])
def test_when_an_outage_is_over_what_failed_is_tried_at_once(context, batch, probes, is_due):
    for _ in range(9):
        put_off(context, "upload", NotSentError())
    outage(context, probes)
    due_at = newest(context).due_at
    assert due_at > context.clock.wall() * US
    circuit.fine(context)
    assert (newest(context).due_at <= context.clock.wall() * US) is is_due
    assert newest(context).failures == 9  # it is still behind what has failed less


def test_what_is_parked_is_left_alone_when_an_outage_is_over(context, batch):
    with context.store.write() as tx:
        values = {"reason": "r", "hint": "h", "error": "e", "due_at": tx.now + 3600 * US}
        batches.move(tx, batch, Batch.PARKED, "r", **values)
    outage(context, circuit.OUTAGE)
    circuit.fine(context)
    assert newest(context).due_at > context.clock.wall() * US


def test_a_plain_question_that_fails_alike_is_the_second_item(world, context):
    circuit.failed(context, "file 1", NotSentError())
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(context.client, "probe", raises(NotSentError))
        assert not circuit.api_answers(context)
    assert tripped(context)["vendor"].code == "unreachable"
    assert circuit.api_answers(context)
    assert not tripped(context)


def raises(error):
    def fails():
        raise error

    return fails
