"""The power goes at every crash point: what was not synced is lost, and nothing else is."""

from __future__ import annotations

import pytest

from .machine import Machine, live
from .points import OF_A_CANCELLATION, OF_A_REMOVAL, THE_WAY_OF_A_BATCH

# What this life does not come by (cancelling, expediting, other vectors, notices) dies by kills alone.
ON_THE_WAY = sorted({*THE_WAY_OF_A_BATCH, *OF_A_REMOVAL})
SEEDS = {point: seed for seed, point in enumerate(sorted({*ON_THE_WAY, *OF_A_CANCELLATION}))}


@pytest.mark.parametrize("point", ON_THE_WAY)
def test_after_a_power_loss_everything_is_done_once(tmp_path, point):
    machine = Machine(tmp_path, seed=SEEDS[point])
    machine.author.begin(4)
    machine.run()
    machine.author.every_act(new=2)
    lost = machine.run_until_power_fails(point, 1)
    print(f"lost at {point}: {lost}")
    assert lost is not None
    machine.run()
    machine.everything_is_right()


@pytest.mark.parametrize("seed", range(3))
def test_power_losses_one_after_the_other(tmp_path, seed):
    live(tmp_path, seed)
