"""Lanes: waits that double up to a cap, open by themselves, and say why they are closed."""

from __future__ import annotations

import itertools

import pytest
from step_doors import closed_lanes

from voyage_jobs.clock import US
from voyage_jobs.errors import (
    AuthError,
    BadAnswerError,
    NotSentError,
    OutcomeUnknownError,
    QuotaError,
    RateLimitedError,
)
from voyage_jobs.steps import lanes as lane
from voyage_jobs.store import lanes


@pytest.fixture
def context(world):
    with world.worker() as context:
        yield context


def wait_s(context, name="vendor"):
    return closed_lanes(context)[name].until_at / US - context.clock.wall()


@pytest.mark.parametrize(("error", "code"), [
    (AuthError, "auth"),
    (QuotaError, "quota"),
    (RateLimitedError, "rate_limited"),
    (NotSentError, "unreachable"),
    (OutcomeUnknownError, "unavailable"),
    (BadAnswerError, "bad_answer"),
])  # fmt: skip
def test_trouble_closes_the_vendor_lane_and_says_why(context, error, code):
    lane.trouble(context, error("It said no.", hint="Ask again."))
    found = closed_lanes(context)["vendor"]
    assert (found.code, found.message, found.hint, found.failures) == (code, "It said no.", "Ask again.", 1)
    assert not lane.is_open(context, lanes.VENDOR)
    assert lane.is_open(context, lanes.CREATE)
    context.clock.advance(wait_s(context) + 0.001)
    assert lane.is_open(context, lanes.VENDOR)  # due for a try; still in trouble until one succeeds
    assert "vendor" in closed_lanes(context)
    lane.fine(context)
    assert not closed_lanes(context)


def test_waits_double_up_to_a_cap(context):
    waits = []
    for _ in range(14):
        lane.trouble(context, NotSentError())
        waits.append(wait_s(context))
    assert 1.5 < waits[0] < 2.5
    assert all(after > 1.2 * before for before, after in itertools.pairwise(waits[:7]))
    assert max(waits) <= lane.LONGEST_WAIT_S
    assert closed_lanes(context)["vendor"].failures == 14


def test_the_beginning_of_the_trouble_is_kept(context):
    lane.trouble(context, NotSentError())
    since = closed_lanes(context)["vendor"].since_at
    context.clock.advance(500)
    lane.trouble(context, NotSentError())
    assert closed_lanes(context)["vendor"].since_at == since


@pytest.mark.parametrize("error", [AuthError, QuotaError])
def test_a_refused_key_is_not_tried_every_few_seconds(context, error):
    lane.trouble(context, error())
    assert wait_s(context) >= 45
    for _ in range(10):
        lane.trouble(context, error())
    assert wait_s(context) <= lane.LONGEST_WAIT_S


@pytest.mark.parametrize(("asked", "at_least"), [(3600.0, 3600), (0.0, 1.5), (None, 1.5)])
def test_a_longer_wish_of_the_vendor_is_honoured(context, asked, at_least):
    lane.trouble(context, RateLimitedError(retry_after_s=asked))
    assert at_least <= wait_s(context) <= max(at_least, 3) + 1


def test_only_new_jobs_wait_when_too_much_is_in_flight(context):
    with context.store.write() as tx:
        lane.create_must_wait(context, tx, RateLimitedError("Too many.", retry_after_s=10.0))
    assert wait_s(context, "create") == pytest.approx(context.settings.voyage.create_retry_s)
    assert not lane.is_open(context, lanes.CREATE)
    assert lane.is_open(context, lanes.VENDOR)
    assert not lane.is_open(context, lanes.VENDOR, lanes.CREATE)
    lane.fine(context)  # the vendor lane's success says nothing about this one
    assert "create" in closed_lanes(context)
    lane.fine(context, lanes.CREATE)
    assert not closed_lanes(context)


def test_no_wait_grows_beyond_all_numbers(context):
    assert lane.backoff_s(context, 10_000) <= lane.LONGEST_WAIT_S
    assert lane.backoff_s(context, 10_000, 30.0, 1800.0) <= 1800
