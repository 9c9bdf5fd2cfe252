"""The user's side: source folders that change, and the dictionary that says what should be searchable."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from voyage_jobs.core.clock import VirtualClock

Document = tuple[str, str]
NAMES = ("a.md", "b.md", "c.txt", "d/e.md", "d/f ' \" %.md", "d/g/h.txt")
RECORDS = ("k.jsonl#1", "k.jsonl#2", "k.jsonl#3", "d/m.jsonl#1")
"""In some lives, files of records: each of these is a row of one."""
SOURCES = ("books", "notes")
_WORDS = "ant bee cat dog elk fox gnu hen ibis jay koi lynx mole newt owl pug quail rat seal".split()  # noqa: SIM905


@dataclass
class Folders:
    """The roots under one folder. `texts` is what the user wants to be searchable, mounted or not."""

    base: Path
    clock: VirtualClock
    rng: random.Random
    names: tuple[str, ...] = NAMES
    texts: dict[Document, str] = field(default_factory=dict)
    history: dict[Document, set[str]] = field(default_factory=dict)
    """Every text a document ever had."""
    unmounted: dict[str, str] = field(default_factory=dict)
    """Source -> how its root is away: missing, empty, or full of files that are no text any more (spoilt)."""
    on_come_or_go: Callable[[Document], None] = lambda document: None
    _ticks: int = 0

    def __post_init__(self) -> None:
        paragraphs = [self._paragraph(number) for number in range(14)]
        self._paragraphs = paragraphs
        for source in SOURCES:
            self.root(source).mkdir(parents=True)

    def root(self, source: str) -> Path:
        """Where a source stands when it is mounted."""
        return self.base / source

    # --- what a user does ---

    def act(self) -> str:
        """Do one thing at random; says what."""
        acts: list[tuple[int, Callable[[], str]]] = [
            (10, self._write),
            (3, self._touch),
            (3, self._delete),
            (3, self._move),
            (2, self._copy),
            (4, self._revert),
            (1, self._blank),
            (1, self._empty_out),
            (2, self._unmount),
            (4, self._mount),
        ]
        weights, choices = zip(*acts, strict=True)
        return self.rng.choices(choices, weights)[0]()

    def mount_all(self) -> None:
        """Bring every root back."""
        while self.unmounted:
            self._mount()

    def _write(self) -> str:
        document = self._somewhere()
        if document is None:
            return "nothing"
        text = self._text()
        self._put(document, text, replace=self.rng.random() < 0.5)
        return f"write {_named(document)}"

    def _touch(self) -> str:
        document = self._existing()
        if document is None:
            return "nothing"
        self._put(document, self.texts[document], replace=self.rng.random() < 0.5)
        return f"touch {_named(document)}"

    def _delete(self) -> str:
        document = self._existing()
        if document is None:
            return "nothing"
        self._drop(document)
        return f"delete {_named(document)}"

    def _move(self) -> str:
        origin, target = self._existing(), self._somewhere()
        if origin is None or target is None or origin == target:
            return "nothing"
        text = self.texts[origin]
        if is_record(origin) or is_record(target):
            self._drop(origin)
            self._put(target, text, replace=True)
            return f"move {_named(origin)} to {_named(target)}"
        target_path = self._path(target)
        target_path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(self._path(origin), target_path)
        self._forget(origin)
        self._want(target, text)
        return f"move {_named(origin)} to {_named(target)}"

    def _copy(self) -> str:
        origin, target = self._existing(), self._somewhere()
        if origin is None or target is None or origin == target:
            return "nothing"
        self._put(target, self.texts[origin], replace=True)
        return f"copy {_named(origin)} to {_named(target)}"

    def _revert(self) -> str:
        document = self._existing()
        if document is None:
            return "nothing"
        self._put(document, self.rng.choice(sorted(self.history[document])), replace=self.rng.random() < 0.5)
        return f"revert {_named(document)}"

    def _blank(self) -> str:
        document = self._existing()
        if document is None or is_record(document):
            return "nothing"
        self._forget(document)
        self._write_file(self._path(document), "\n \n", replace=False)
        return f"blank {_named(document)}"

    def _empty_out(self) -> str:
        """Delete everything of one source: the guard will ask whether that is meant."""
        source = self.rng.choice(SOURCES)
        if source in self.unmounted:
            return "nothing"
        for document in [each for each in self.texts if each[0] == source]:
            self._drop(document)
        return f"empty out {source}"

    def _unmount(self) -> str:
        source = self.rng.choice(SOURCES)
        if source in self.unmounted:
            return "nothing"
        how = self.rng.choice(("missing", "empty", "spoilt"))
        self.root(source).rename(self._away(source))
        if how != "missing":
            self.root(source).mkdir()
        if how == "spoilt":
            self._spoil(source)
        self.unmounted[source] = how
        return f"unmount {source}: {how}"

    def _mount(self) -> str:
        if not self.unmounted:
            return "nothing"
        source = self.rng.choice(sorted(self.unmounted))
        if self.unmounted.pop(source) != "missing":
            shutil.rmtree(self.root(source))
        self._away(source).rename(self.root(source))
        return f"mount {source}"

    def _spoil(self, source: str) -> None:
        """Every file is there, and none is a text any more: a disk that fails, a tool that encrypts."""
        away = self._away(source)
        for path in sorted(each for each in away.rglob("*") if each.is_file()):
            self._write_file(self.root(source) / path.relative_to(away), "\0\1", replace=False)

    # --- how ---

    def _away(self, source: str) -> Path:
        return self.base / f"{source}.away"

    def _path(self, document: Document) -> Path:
        return self.root(document[0]) / document[1]

    def _somewhere(self) -> Document | None:
        mounted = [source for source in SOURCES if source not in self.unmounted]
        return (self.rng.choice(mounted), self.rng.choice(self.names)) if mounted else None

    def _existing(self) -> Document | None:
        known = sorted(document for document in self.texts if document[0] not in self.unmounted)
        return self.rng.choice(known) if known else None

    def _put(self, document: Document, text: str, *, replace: bool) -> None:
        if is_record(document):
            self._want(document, text.strip())
            self._write_records(document, replace=replace)
            return
        self._write_file(self._path(document), text, replace=replace)
        self._want(document, text)

    def _write_records(self, document: Document, *, replace: bool) -> None:
        """Write the file that a record is in, in any order; it goes with its last record."""
        source, file = document[0], document[1].partition("#")[0]
        rows = [
            json.dumps({"id": name.partition("#")[2], "text": text})
            for (of, name), text in sorted(self.texts.items())
            if of == source and name.startswith(f"{file}#")
        ]
        self.rng.shuffle(rows)
        path = self.root(source) / file
        if rows:
            self._write_file(path, "\n".join(rows) + "\n", replace=replace)
        else:
            path.unlink()

    def _want(self, document: Document, text: str) -> None:
        if document not in self.texts:
            self.on_come_or_go(document)
        self.texts[document] = text
        self.history.setdefault(document, set()).add(text)

    def _drop(self, document: Document) -> None:
        if is_record(document):
            self._forget(document)
            self._write_records(document, replace=True)
            return
        self._path(document).unlink()
        self._forget(document)

    def _forget(self, document: Document) -> None:
        del self.texts[document]
        self.on_come_or_go(document)

    def _write_file(self, path: Path, text: str, *, replace: bool) -> None:
        """Write in place, or beside and rename; the modification time is that of the virtual clock."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if replace:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
        path.write_text(text)
        self._ticks += 1
        written_ns = int(self.clock.wall() * 1e9) + self._ticks * 1000
        os.utime(path, ns=(written_ns, written_ns))

    # --- words ---

    def _paragraph(self, number: int) -> str:
        words = " ".join(self.rng.choice(_WORDS) for _ in range(self.rng.randint(8, 30)))
        return f"Number {number}: {words}."

    def _text(self) -> str:
        """One to three sections of well-worn paragraphs, so that documents share texts; rarely a new one."""
        if self.rng.random() < 0.4:
            self._paragraphs.append(self._paragraph(len(self._paragraphs)))
        chosen = self.rng.sample(self._paragraphs[-14:], self.rng.randint(1, 3))
        return "\n\n".join(f"# Part {part}\n\n{text}" for part, text in enumerate(chosen)) + "\n"


def is_record(document: Document) -> bool:
    """Whether it is a row of a file."""
    return "#" in document[1]


def _named(document: Document) -> str:
    return f"{document[0]}:{document[1]}"
