"""Somebody at work on the documents: writes, edits, moves, deletes, reverts, all drawn from one seed."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Protocol


class Place(Protocol):
    """Where documents are."""

    def write(self, path: str, text: str) -> None: ...

    def remove(self, path: str) -> None: ...

    def move(self, path: str, to: str) -> None: ...


STEADY = "steady.md"
_WORDS = (
    "ant",
    "bat",
    "bee",
    "cat",
    "cow",
    "dog",
    "elk",
    "emu",
    "fox",
    "gnu",
    "hen",
    "ibis",
    "jay",
    "koi",
    "newt",
)


def prose(rng: random.Random, sections: int = 3) -> str:
    """A document of as many chunks as it has sections, none like any other."""
    return "\n\n".join(
        f"# Part {part}\n\nNumber {rng.getrandbits(64):016x}: {' '.join(rng.choices(_WORDS, k=60))}."
        for part in range(sections)
    )


class Author:
    """Works on documents. `history` has every text that ever stood under a path; `STEADY` is only edited."""

    def __init__(self, place: Place, seed: int) -> None:
        self._place = place
        self._rng = random.Random(seed)
        self._texts: dict[str, str] = {}
        self._made = 0
        self.history: dict[str, set[str]] = defaultdict(set)

    def begin(self, documents: int = 5) -> None:
        """The first documents."""
        self._write(STEADY, prose(self._rng))
        for _ in range(documents - 1):
            self._new()

    def act(self, times: int = 1) -> None:
        """Do something to some document."""
        for _ in range(times):
            choice = self._rng.choices((self._edit, self._new, self._move, self._remove), (6, 2, 2, 2))[0]
            choice()

    def every_act(self, new: int = 1) -> None:
        """One of each: an edit, a move, a removal, and so many new documents."""
        self._edit()
        self._move()
        self._remove()
        for _ in range(new):
            self._new()

    def _write(self, path: str, text: str) -> None:
        self._place.write(path, text)
        self._texts[path] = text
        self.history[path].add(text)

    def _new(self) -> None:
        self._made += 1
        folder = self._rng.choice(("", "a/", "a/b/"))
        self._write(f"{folder}d{self._made}.md", prose(self._rng, self._rng.randint(1, 4)))

    def _edit(self) -> None:
        path = self._rng.choice(sorted(self._texts))
        older = sorted(self.history[path] - {self._texts[path]})
        if older and self._rng.random() < 0.2:
            self._write(path, self._rng.choice(older))  # a revert: every part is paid for
            return
        parts = self._texts[path].split("\n\n# ")
        part = self._rng.randrange(len(parts))
        parts[part] += f" Edited {self._rng.getrandbits(64):016x}."
        self._write(path, "\n\n# ".join(parts))

    def _move(self) -> None:
        path = self._other()
        if path is None:
            return
        self._made += 1
        to = f"moved/m{self._made}.md"
        self._place.move(path, to)
        self._texts[to] = self._texts.pop(path)
        self.history[to].add(self._texts[to])

    def _remove(self) -> None:
        path = self._other()
        if path is not None and len(self._texts) > 3:
            self._place.remove(path)
            del self._texts[path]

    def _other(self) -> str | None:
        return self._rng.choice([path for path in sorted(self._texts) if path != STEADY] or [None])
