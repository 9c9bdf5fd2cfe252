"""Tasks in another process, without the process: plain text is read so, and now and then the other one is killed."""

from __future__ import annotations

import contextlib
import functools
import os
import random
from collections.abc import Iterator
from typing import Any
from unittest import mock

import orjson

from voyage_jobs.engine import children
from voyage_jobs.engine.child import named
from voyage_jobs.engine.waiting import Steps
from voyage_jobs.readers import registry
from voyage_jobs.readers.text import MARKDOWN, RST, TEXT, TextReader
from voyage_jobs.steps import ahead

_KILLED = 0.1
_SLOW = 0.3


class Plain(TextReader):
    """The very texts of the reader that it stands for."""

    isolated = True

    def __init__(self) -> None:
        super().__init__(TEXT.name, *TEXT.forms)


class Child:
    """Stands for a process: takes its time, and may be lost once it has answered something."""

    def __init__(self, rng: random.Random, task: str) -> None:
        self.is_fresh = True
        self._rng = rng
        self._task = named(task)
        self._found: dict[str, Any] = {}

    def ask(self, request: bytes, file: int) -> None:
        """Read at once, to answer later."""
        with os.fdopen(os.dup(file), "rb") as copy:
            self._found = orjson.loads(orjson.dumps(self._task(request, copy)))

    def answer(self) -> Steps[dict[str, Any]]:
        """What it found."""
        while self._rng.random() < _SLOW:
            yield None
        if not self.is_fresh and self._rng.random() < _KILLED:
            raise EOFError
        self.is_fresh = False
        return self._found

    def why_lost(self) -> children.Lost:
        """It was killed."""
        return children.Lost(-9)

    def end(self) -> None:
        """There is nothing to end."""


@contextlib.contextmanager
def isolated(seed: int) -> Iterator[None]:
    """Have plain text read so, and, where there is an engine, whatever else is read and cut."""
    rng = random.Random(f"reading {seed}")
    with (
        mock.patch.object(registry, "_registry", registry.Registry((MARKDOWN, RST, Plain()), tuple)),
        mock.patch.multiple(ahead, WORTH_BYTES=0, LEAST_BYTES=0),
        mock.patch.object(children, "Child", functools.partial(Child, rng)),
    ):
        try:
            yield
        finally:
            children.rest()
