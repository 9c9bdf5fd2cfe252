"""A world whose table is in memory, whose stores open fast, and whose worker can die at a crash point."""

from __future__ import annotations

import contextlib
from unittest import mock

import pytest
from sim.memory_table import MemoryDoor
from sim.speed import empty_state, fast_stores
from world import World

from voyage_jobs.core import crash
from voyage_jobs.service.worker import working


class Death(BaseException):
    """The process is gone."""


class Small(World):
    """A world whose table is in memory and whose worker can die."""

    def __init__(self, root, **options):
        super().__init__(root, **options)
        self.door = MemoryDoor()
        self.data_dir.mkdir()
        (self.data_dir / "state.db").write_bytes(empty_state())

    def worker(self, *, mode="sync", **sections):
        settings = self.settings(**sections)
        return working(
            settings, self.clock, self.log, mode=mode, transport=self.transport, table_door=self.door
        )

    def dies_at(self, point, **sections):
        """Work until the process dies at a crash point."""

        def hook(name):
            if name == point:
                raise Death(name)

        crash.arm(hook)
        try:
            with pytest.raises(Death):
                self.run(**sections)
        finally:
            crash.arm(None)

    def documents(self):
        """(source, path) -> the rows that a reader of the table sees; none if there is no table."""
        return {} if self.door.table is None else self.door.table.documents

    def served(self):
        """path -> the texts that a reader of the table sees."""
        return {path: [row["text"] for row in rows] for (_, path), rows in self.documents().items()}

    def later(self, seconds=400.0):
        """Time passes; whatever is due is done."""
        self.clock.advance(seconds)
        self.run()


@contextlib.contextmanager
def quick():
    """Open stores fast, and let virtual time pass in long strides."""
    with fast_stores(), mock.patch("voyage_jobs.steps.pipeline.LONGEST_IDLE_S", 600.0):
        yield
