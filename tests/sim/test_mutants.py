"""A test of the tests: taking any one safeguard out is noticed within a thousand lives, and not without reason."""

import pytest

from .life import live
from .mutants import MUTANTS
from .story import Violation

MOST_SEEDS = 1_000


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_noticed(name):
    mutant = MUTANTS[name]
    for seed in range(MOST_SEEDS):
        with mutant.apply():
            try:
                live(seed, mutant.plan)
            except Violation as exc:
                print(f"{name}: seed {seed}: {str(exc).splitlines()[-2][:300]}")
                break
    else:
        pytest.fail(f"{name}: nobody noticed in {MOST_SEEDS} lives")
    live(seed, mutant.plan)  # the same life is whole with the safeguard in its place
