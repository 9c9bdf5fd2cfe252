"""Two daemons with one account, in short; `make sim-two` runs the long form."""

import pytest

from .mutants import OF_TWO
from .story import Tally, Violation
from .two import BETWEEN, BOUNDED, EXACT, TOOK, live_as_two

HOURS = 8
MOST_PAIRS = 20


def test_two_daemons_with_one_account_leave_each_other_alone():
    both = Tally()
    for seed in (0, 1):
        both.add(live_as_two(seed, HOURS))
    assert both.acts[EXACT] + both.acts[BOUNDED] == 4
    assert both.acts[TOOK] > 0
    assert both.acts[BETWEEN] > 0


def test_a_pair_is_repeated_by_its_seed():
    assert live_as_two(5, 3) == live_as_two(5, 3)


@pytest.mark.parametrize(("name", "first"), [("jobs of another folder claimed", 1), ("any job adopted", 4)])
def test_a_daemon_that_takes_what_is_anothers_is_noticed(name, first):
    mutant = OF_TWO[name]
    for seed in range(first, MOST_PAIRS):
        with mutant.apply():
            try:
                live_as_two(seed, HOURS, mutant.plan)
            except Violation as exc:
                print(f"{name}: pair {seed}: {str(exc).splitlines()[-2][:300]}")
                break
    else:
        pytest.fail(f"{name}: nobody noticed in {MOST_PAIRS} pairs")
    live_as_two(seed, HOURS, mutant.plan)  # the same pair is whole with the safeguard in its place
