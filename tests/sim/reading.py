"""Reading in another process, without the process: plain text is read so, and now and then the other one is killed."""

from __future__ import annotations

import contextlib
import functools
import os
import random
from collections.abc import Generator, Iterator
from typing import Any
from unittest import mock

import orjson

from voyage_jobs.readers import isolation, registry
from voyage_jobs.readers.child import _answer
from voyage_jobs.readers.reader import Refusal, Refused
from voyage_jobs.readers.text import MARKDOWN, RST, TEXT, TextReader

_KILLED = 0.1
_SLOW = 0.3


class Plain(TextReader):
    """The very texts of the reader that it stands for."""

    isolated = True

    def __init__(self) -> None:
        super().__init__(TEXT.name, *TEXT.forms)


class Child:
    """Stands for a process: takes its time, and may be lost once it has answered something."""

    def __init__(self, rng: random.Random) -> None:
        self.is_fresh = True
        self._rng = rng
        self._found: dict[str, Any] = {}

    def ask(self, request: bytes, file: int) -> None:
        """Read at once, to answer later."""
        self._found = orjson.loads(orjson.dumps(_answer(request, os.dup(file))))

    def answer(self) -> Generator[None, None, dict[str, Any]]:
        """What it found."""
        while self._rng.random() < _SLOW:
            yield
        if not self.is_fresh and self._rng.random() < _KILLED:
            raise EOFError
        self.is_fresh = False
        return self._found

    def why_lost(self) -> Refused:
        """It was killed."""
        return Refused(Refusal.CRASHED, "signal 9")

    def end(self) -> None:
        """There is nothing to end."""


@contextlib.contextmanager
def isolated(seed: int) -> Iterator[None]:
    """Have plain text read so."""
    rng = random.Random(f"reading {seed}")
    with (
        mock.patch.object(registry, "_registry", registry.Registry((MARKDOWN, RST, Plain()), tuple)),
        mock.patch.object(isolation, "_Child", functools.partial(Child, rng)),
    ):
        try:
            yield
        finally:
            isolation.rest()
