"""Lives in one process: real stores, virtual time, and death by a kill or by the loss of what was not synced."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from world import World

from voyage_jobs.config.profile import profile_of
from voyage_jobs.core import crash
from voyage_jobs.steps.acts import perform

from . import checks
from .disk import Disk
from .documents import Author

_FAULTS = {"request_lost": {"on": "create_batch", "nth": [2, 5], "as": "read_error"}}


class DeathError(BaseException):
    """The process is gone at this instruction; nothing in it may catch this."""


class Machine:
    """A world whose disk is watched. `root` must be empty."""

    def __init__(self, root: Path, seed: int, faults: dict[str, Any] | None = None) -> None:
        self.world = World(
            root,
            seed=seed,
            faults={**_FAULTS, **(faults or {})},
            splitting={"max_chars": 400},
            batching={"max_inputs": 6, "min_inputs": 1},
            voyage={"quarantine_s": 60},
        )
        self.disk = Disk(self.world.data_dir)
        self.author = Author(self, seed)
        self.asked: dict[str, Any] = {}
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
            self.world.run(**self.asked)

    def act(self, command: str, **arguments: object) -> None:
        """Do what an operator asks for, and no more."""
        with self.disk.watched(), self.world.worker(**self.asked) as context:
            perform(context, command, arguments, "an operator")

    def ask_for(self, **sections: object) -> None:
        """From now on the configuration says so."""
        self.asked = sections

    def reprofile(self, what: str) -> None:
        """Ask for other vectors, give them up, or go back."""
        target = profile_of(self.world.settings(**self.asked)).to_json()
        self.act("reprofile", do=what, target=target)

    def run_until_power_fails(
        self, point: str, number: int = 1, work: Callable[[], None] | None = None
    ) -> list[str] | None:
        """Work until the n-th passage of a crash point, where the power goes. `work` instead of all there is to do.

        What was lost; None if everything was done before that.
        """
        lost: list[str] = []
        died = self._run_until(
            point,
            number,
            lambda image: lost.extend(self.disk.after_power_loss(image, self._rng)),
            work or self.run,
        )
        return lost if died else None

    def run_until_killed(self, point: str, number: int = 1) -> None:
        """Work until the n-th passage of a crash point, and leave the files as a killed process does."""
        died = self._run_until(
            point, number, lambda image: shutil.copytree(self.world.data_dir, image), self.run
        )
        assert died, f"{point} was not passed {number} times"

    def _run_until(
        self, point: str, number: int, save: Callable[[Path], object], work: Callable[[], None]
    ) -> bool:
        """Die at a crash point and go back to what `save` kept: an orderly end may have changed the data folder."""
        image = self.world.root / "image"
        left = number

        def hook(passed: str) -> None:
            nonlocal left
            left -= passed == point
            if left == 0:
                crash.arm(None)
                save(image)
                raise DeathError

        crash.arm(hook)
        try:
            work()
        except DeathError:
            shutil.rmtree(self.world.data_dir)
            image.rename(self.world.data_dir)
            self.disk.restart()
            return True
        finally:
            crash.arm(None)
        return False

    def everything_is_right(self, *, paid_twice: int = 0) -> None:
        """The promises. `paid_twice`: how many texts the provider was rightly asked for a second time."""
        checks.everything_is_right(
            self.world.settings(**self.asked), self.world.sim, self.world.clock, paid_twice=paid_twice
        )


def live(root: Path, seed: int, losses: int = 3) -> int:
    """A life with so many power losses at points drawn from the seed; how many struck."""
    rng = random.Random(seed)
    machine = Machine(root, seed)
    machine.author.begin(4)
    machine.run()
    struck = 0
    for _ in range(losses):
        machine.author.act(3)
        lost = machine.run_until_power_fails(rng.choice(sorted(crash.POINTS)), rng.randint(1, 2))
        struck += lost is not None
    machine.run()
    machine.everything_is_right()
    return struck


def live_somewhere(seed: int) -> int:
    """The same in a folder that goes afterwards."""
    with tempfile.TemporaryDirectory() as root:
        return live(Path(root) / "life", seed)
