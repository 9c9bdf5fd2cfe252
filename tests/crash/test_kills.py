"""`kill -9` at random moments: the rounds that every run of the suite can afford."""

from __future__ import annotations

import pytest

from .kills import live

KILLS = 10


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_again_and_again_it_gets_everything_done_once(tmp_path, seed):
    tally = live(tmp_path, seed, KILLS)
    print(f"repeat: python -m tests.crash --lives {seed}:{seed + 1} --kills {KILLS}; {tally}")
