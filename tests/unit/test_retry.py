"""Waits: one table, one formula; and the page that shows the table."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from voyage_jobs.core.clock import VirtualClock
from voyage_jobs.core.retry import POLICIES, SIZE_TRIES, is_over, wait_s

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reliability.md").read_text()
UNITS_S = {"s": 1, "min": 60, "h": 3600}
each_policy = pytest.mark.parametrize("name", POLICIES)


@pytest.fixture
def clock():
    return VirtualClock(seed=3)


def waits(clock, name, count):
    return [wait_s(name, failures, clock) for failures in range(1, count + 1)]


@each_policy
def test_the_first_wait_is_that_of_the_table_give_or_take_a_fifth(clock, name):
    first_s = POLICIES[name].first_s
    found = [wait_s(name, 1, clock) for _ in range(200)]
    assert min(found) >= 0.8 * first_s
    assert max(found) <= min(1.2 * first_s, POLICIES[name].cap_s)
    assert len(set(found)) > 50  # what failed together does not come back together


@each_policy
def test_waits_grow_by_their_factor_up_to_the_cap(clock, name):
    rule = POLICIES[name]
    for failures, found in enumerate(waits(clock, name, 30), start=1):
        plain_s = rule.first_s * rule.factor ** (failures - 1)
        assert min(rule.cap_s, 0.8 * plain_s) <= found <= min(rule.cap_s, 1.2 * plain_s)


def test_waits_double_until_they_are_at_the_cap(clock):
    found = waits(clock, "voyage", 14)
    assert all(after > 1.2 * before for before, after in itertools.pairwise(found[:7]))
    assert found[-3:] == [300, 300, 300]


@each_policy
@pytest.mark.parametrize("failures", [10_000, 10**30])
def test_no_wait_grows_beyond_all_numbers(clock, name, failures):
    assert 0 < wait_s(name, failures, clock) <= POLICIES[name].cap_s


@each_policy
@pytest.mark.parametrize("failures", [0, -1])
def test_a_count_that_makes_no_sense_is_a_first_failure(clock, name, failures):
    assert 0.8 * POLICIES[name].first_s <= wait_s(name, failures, clock) <= 1.2 * POLICIES[name].first_s


@each_policy
def test_it_is_over_with_the_last_of_the_tries(name):
    tries = POLICIES[name].tries
    if tries is None:
        assert not is_over(name, 10**9)
    else:
        assert not is_over(name, tries - 1)
        assert is_over(name, tries)
        assert is_over(name, tries + 1)


def test_the_size_is_insisted_on_for_fewer_tries_than_there_are():
    assert 1 < SIZE_TRIES < POLICIES["download"].tries - 1


def shown_s(text):
    """`5 min` in seconds."""
    number, unit = re.fullmatch(r"(\d+) (s|min|h)", text).groups()
    return float(number) * UNITS_S[unit]


def test_the_page_shows_the_table_as_it_is():
    section = PAGE.split("## Waits and ends\n", 1)[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    shown = {}
    for name, first, factor, cap, tries, then in (map(str.strip, row) for row in rows):
        most = None if tries == "no limit" else int(tries)
        shown[name.strip("`")] = (shown_s(first), float(factor), shown_s(cap), most, then)
    wanted = {name: (r.first_s, r.factor, r.cap_s, r.tries, r.then) for name, r in POLICIES.items()}
    assert list(shown.items()) == list(wanted.items())
