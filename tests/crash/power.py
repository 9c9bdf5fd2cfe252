"""Lives in which the power goes: real stores, virtual time, and death with the loss of what was not synced."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from world import World

from voyage_jobs import crash

from . import checks
from .disk import Disk
from .documents import Author

_FAULTS = {"request_lost": {"on": "create_batch", "nth": [2, 5], "as": "read_error"}}


class PowerLossError(BaseException):
    """The machine is off at this instruction; nothing in it may catch this."""


class Machine:
    """A world whose disk is watched. `root` must be empty."""

    def __init__(self, root: Path, seed: int) -> None:
        self.world = World(
            root,
            seed=seed,
            faults=_FAULTS,
            splitting={"max_chars": 400},
            batching={"max_inputs": 6, "min_inputs": 1},
            voyage={"quarantine_s": 60},
        )
        self.disk = Disk(self.world.data_dir)
        self.author = Author(self, seed)
        self._rng = random.Random(seed)

    def write(self, path: str, text: str) -> None:
        """Write a document."""
        self.world.write(path, text)

    def remove(self, path: str) -> None:
        """Delete a document."""
        self.world.remove(path)

    def move(self, path: str, to: str) -> None:
        """Rename a document."""
        target = self.world.docs / to
        target.parent.mkdir(parents=True, exist_ok=True)
        (self.world.docs / path).rename(target)

    def run(self) -> None:
        """Work until everything is done."""
        with self.disk.watched():
            self.world.run()

    def run_until_power_fails(self, point: str, number: int) -> list[str] | None:
        """Work until the n-th passage of a crash point, where the power goes.

        What was lost; None if everything was done before that.
        """
        image = self.world.root / "image"
        lost: list[str] = []
        left = number

        def hook(passed: str) -> None:
            nonlocal left
            left -= passed == point
            if left == 0:
                crash.arm(None)
                lost.extend(self.disk.after_power_loss(image, self._rng))
                raise PowerLossError

        crash.arm(hook)
        try:
            self.run()
        except PowerLossError:
            shutil.rmtree(self.world.data_dir)
            image.rename(self.world.data_dir)
            self.disk.restart()
            return lost
        finally:
            crash.arm(None)
        return None

    def everything_is_right(self) -> None:
        """The promises."""
        checks.everything_is_right(self.world.settings(), self.world.sim, self.world.clock)


def live(root: Path, seed: int, losses: int = 3) -> int:
    """A life with so many power losses at points drawn from the seed; how many struck."""
    rng = random.Random(seed)
    machine = Machine(root, seed)
    machine.author.begin(4)
    machine.run()
    struck = 0
    for _ in range(losses):
        machine.author.act(3)
        lost = machine.run_until_power_fails(rng.choice(sorted(crash.POINTS)), rng.randint(1, 4))
        struck += lost is not None
    machine.run()
    machine.everything_is_right()
    return struck
