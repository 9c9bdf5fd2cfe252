"""The short form of the simulation; `make sim` runs the long one."""

import re
from pathlib import Path

import pytest

import voyage_jobs
from voyage_jobs.core import crash

from .life import live
from .providers import ALL
from .story import SUSPENDED, UNTOUCHED, Plan

SLICE = 8


@pytest.mark.parametrize("first", range(1_000_000, 1_000_000 + 6 * SLICE, SLICE))
def test_lives_end_well(first):
    for seed in range(first, first + SLICE):
        live(seed)


@pytest.mark.parametrize("first", range(2_000_000, 2_000_000 + 2 * SLICE, SLICE))
def test_lives_with_another_provider_end_well(first):
    for seed in range(first, first + SLICE):
        live(seed, Plan(vendor=ALL))


def test_a_life_is_repeated_by_its_seed():
    assert live(5) == live(5)


def test_machines_sleep_between_an_attempt_and_its_call():
    assert sum(live(seed, Plan(sleeps=0.5)).acts[SUSPENDED] for seed in range(3)) > 0


def test_processes_begin_with_a_table_that_nothing_has_touched():
    assert sum(live(seed).acts[UNTOUCHED] for seed in range(3)) > 0


def test_every_crash_point_stands_somewhere_in_the_code():
    sources = Path(voyage_jobs.__file__).parent.rglob("*.py")
    named = {name for path in sources for name in re.findall(r'crash_point\("([^"]+)"\)', path.read_text())}
    assert named == crash.POINTS
