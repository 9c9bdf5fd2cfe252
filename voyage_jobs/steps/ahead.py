"""Reading the files of a scan ahead of their turn, on as many cores as the engine has; the outcome has their order.

Files of safe readers are read and cut several at a time, by one task of the engine; those of isolated ones one by one.
What an engine loses is read here: a task has no effect but its answer.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple, TypeAlias

from voyage_jobs.engine import children
from voyage_jobs.engine.children import Away, Lost, TooLong
from voyage_jobs.engine.waiting import Steps, finished
from voyage_jobs.readers.reader import Refused
from voyage_jobs.readers.registry import Registered
from voyage_jobs.sources.files import FileStat, Skip
from voyage_jobs.sources.source import Opened, Source
from voyage_jobs.splitting.split import SplitOptions
from voyage_jobs.splitting.task import CUT, Cut, File, answered, asked, is_safe
from voyage_jobs.steps import circuits
from voyage_jobs.steps.active import Active
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.reading import ReadDocument, reading_document, reading_opened, skip_of

PART_BYTES, PART_FILES = 1 << 20, 64
"""Of the files of one task. A single file may be larger."""
LEAST_BYTES = 2_000
"""Of a file on average: smaller ones are cut in less time than it takes to have it done elsewhere."""
AHEAD = 4
"""So many tasks for each that can be carried out at once are begun, or done and not yet recorded."""
WORTH_BYTES = 32 << 20
"""What a scan reads here, about two seconds, before it has an engine at work: a child takes a third of one to start."""


class Turn(NamedTuple):
    """What one name of a folder came to, to be noted in its turn."""

    folder: str
    found: Skip | FileStat | ReadDocument
    """A FileStat: not read yet."""
    age_s: float = 0.0
    """How long before it was read a file was written to."""
    cut: Cut | None = None
    under: Active | None = None
    """What it was cut for."""


Work: TypeAlias = Steps[list[Turn]]


class _File(NamedTuple):
    folder: str
    path: str
    stat: FileStat
    reader: Registered


@dataclass
class Ahead:
    """The reading of one scan."""

    context: Context
    source: Source
    options: SplitOptions
    age_s: Callable[[int], float]
    """Of a time of change, in ns."""
    _part: list[_File] = field(default_factory=list)
    _part_bytes: int = 0
    _seen_bytes: int = 0

    @property
    def at_once(self) -> int:
        """How many works are worked at."""
        return self.context.engine.at_once

    @property
    def most(self) -> int:
        """How many may be begun."""
        return 1 if self.at_once == 1 else AHEAD * self.at_once

    def told(self, folder: str, found: Skip | FileStat) -> Iterator[Work]:
        """Something that is to be noted and needs no reading."""
        yield from self.flush()
        yield done([Turn(folder, found)])

    def read(self, folder: str, stat: FileStat, reader: Registered) -> Iterator[Work]:
        """A file that is to be read."""
        file = _File(folder, f"{folder}/{stat.name}" if folder else stat.name, stat, reader)
        self._seen_bytes += stat.size
        if not (self._is_worth_it() and is_safe(reader) and not reader.missing):
            yield from self.flush()
            yield self._alone(file)
            return
        if self._part_bytes + stat.size > PART_BYTES:
            yield from self.flush()
        self._part.append(file)
        self._part_bytes += stat.size
        if len(self._part) == PART_FILES:
            yield from self.flush()

    def flush(self) -> Iterator[Work]:
        """What was put together up to now."""
        if self._part:
            files, size, self._part, self._part_bytes = self._part, self._part_bytes, [], 0
            if size < len(files) * LEAST_BYTES:
                yield from map(self._alone, files)
            else:
                yield self._together(files)

    def _is_worth_it(self) -> bool:
        return (
            self.at_once > 1
            and self._seen_bytes > WORTH_BYTES
            and not circuits.rests(self.context, circuits.ENGINE)
        )

    def _alone(self, file: _File) -> Work:
        age_s = self.age_s(file.stat.mtime_ns)
        found = yield from reading_document(self.source, file.path, file.stat, file.reader, self._ask)
        return [Turn(file.folder, found, age_s)]

    def _together(self, files: list[_File]) -> Work:
        active = self.context.active
        ages_s = [self.age_s(file.stat.mtime_ns) for file in files]
        opened = [self.source.open(file.path, file.stat) for file in files]
        taken = [(file, each) for file, each in zip(files, opened, strict=True) if isinstance(each, Opened)]
        told = [_of_task(file, snapshot) for file, snapshot in taken]
        data = io.BytesIO(b"".join(snapshot.file.read() for _, snapshot in taken))
        answer = yield from self._asked(asked(active.profile, self.options, told), data)
        if answer is None:
            return [
                Turn(file.folder, finished(self._here(file, each)), age_s)
                for file, each, age_s in zip(files, opened, ages_s, strict=True)
            ]
        found = answered(answer, active.count if active.count.exact else None)
        return [
            Turn(file.folder, each, age_s)
            if isinstance(each, Skip)
            else _turn(file, each, next(found), age_s, active)
            for file, each, age_s in zip(files, opened, ages_s, strict=True)
        ]

    def _asked(self, request: bytes, data: BinaryIO) -> Steps[dict[str, Any] | None]:
        """What the engine says of a task of ours; None where it is lost, so that the same is to be done here."""
        if circuits.rests(self.context, circuits.ENGINE):
            return None
        try:
            return (yield from self._ask(CUT, request, data))
        except (Lost, TooLong, OSError) as lost:
            self._lost(lost)
            return None

    def _ask(self, task: str, request: bytes, data: BinaryIO) -> Steps[dict[str, Any]]:
        """Have a task carried out by the engine; by a child of this process while an engine elsewhere is away."""
        if not circuits.rests(self.context, circuits.ENGINE):
            try:
                answer = yield from self.context.engine.ask(task, request, data)
            except Away as away:
                self._lost(away)
            else:
                circuits.end_rest(self.context, circuits.ENGINE)
                return answer
        return (yield from children.ask(task, request, data))

    def _here(self, file: _File, opened: Opened | Skip) -> Steps[Skip | ReadDocument]:
        if isinstance(opened, Skip):
            return opened
        opened.file.seek(0)
        return (yield from reading_opened(opened, file.path, file.reader))

    def _lost(self, error: Exception) -> None:
        circuits.let_rest(self.context, circuits.ENGINE, "engine")
        self.context.log.warning("engine.lost", kind=self.context.engine.kind, error=repr(error))


def done(turns: list[Turn]) -> Work:
    """What is done already."""
    yield from ()
    return turns


def _of_task(file: _File, opened: Opened) -> File:
    return File(file.path, file.reader.name, file.reader.options, opened.stat.size)


def _turn(
    file: _File, opened: Opened, found: tuple[object, Cut] | Refused, age_s: float, active: Active
) -> Turn:
    if isinstance(found, Refused):
        return Turn(file.folder, skip_of(opened.stat, found), age_s)
    text, cut = found
    read = ReadDocument(text, file.reader, opened.content_hash, opened.stat)  # type: ignore[arg-type]
    return Turn(file.folder, read, age_s, cut, active)
